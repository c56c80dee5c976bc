"""Completion in real shells: what is offered is right, and what is inserted is one word, whatever is in the folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command import call
from terminal import words_after

from xrdpipe.cli.completion.answer import answer, split_line
from xrdpipe.cli.completion.candidates import candidates
from xrdpipe.cli.completion.values import KEYS, LISTS, METRICS, UNITS, VALUES
from xrdpipe.cli.help import TAIL, help_text
from xrdpipe.cli.look import OWN
from xrdpipe.cli.main import COMMANDS
from xrdpipe.config.described import every_key
from xrdpipe.config.keys import allowed

HOSTILE = ("a b.tif", "it's $(touch pwned).tif", 'q"w.tif', "semi;touch pwned.tif", "ü.tif", "[b].tif", "T=300/f.tif")
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], ['eval "$(xrdpipe completion bash)"']),
    "zsh": (["zsh", "-f", "-i"], ['eval "$(xrdpipe completion zsh)"']),
}
TYPED = {  # a line -> its last word after TAB
    "xrdpipe mask.al": "mask.alpha=",
    "xrdpipe mask=str": "mask=strict",
    "xrdpipe integ.error_model=po": "integ.error_model=poisson",
    "xrdpipe output.format=[chi,xye_": "output.format=[chi,xye_topas",
    "xrdpipe calibrate calibrant=CeO": "calibrant=CeO2",
    "xrdpipe a": "a b.tif",
    "xrdpipe it": "it's $(touch pwned).tif",
    "xrdpipe semi": "semi;touch pwned.tif",
    "xrdpipe poni=~/ü": "poni=~/ü.tif",
    "xrdpipe 'a ": "a b.tif",
    "xrdpipe \\[": "[b].tif",
    "xrdpipe T=300/": "T=300/f.tif",
    "xrdpipe --config-dir own mask=$(to": "mask=$(touch pwned)",
    "FOO=1 xrdpipe experiment=p": "experiment=pdf",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of files and own options with hostile names."""
    for name in (*HOSTILE, "own/mask/$(touch pwned).yaml", "own/mask/a\nb.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("# mine\n")
    return tmp_path


def in_shells() -> dict[str, str]:
    """The environment of a shell whose `xrdpipe` is that of these tests."""
    scripts = os.path.dirname(sys.executable)
    return {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "LC_ALL": "C.UTF-8", "ZDOTDIR": "/nonexistent"}


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS)
def test_a_tab_completes_to_one_word_that_the_shell_reads_back_whole(shell: str, folder: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    program, setup = SHELLS[shell]
    for line, expected in TYPED.items():
        if shell == "zsh" and "[" in line:  # zsh itself reads an open bracket as a pattern
            continue
        typed, env = line.replace("$(to", r"\$\(to"), {**in_shells(), "HOME": str(folder)}
        got = words_after(program, setup, typed, folder, env)
        assert got[-1] == expected, line
        assert got[0] == "xrdpipe"
    assert not (folder / "pwned").exists()


@pytest.mark.slow
def test_fish_is_offered_the_same_words(folder: Path) -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    script = "xrdpipe completion fish | source; complete -C $argv[1]"
    for line, expected in {
        "xrdpipe mask.al": "mask.alpha=",
        "xrdpipe mask=str": "mask=strict",
        "xrdpipe it": "it's $(touch pwned).tif",
        "xrdpipe mask.file=a": "mask.file=a b.tif",
        "xrdpipe output_dir=T": "output_dir=T=300/",
    }.items():
        command = ["fish", "--no-config", "-c", script, line]
        ended = subprocess.run(command, cwd=folder, env={**os.environ, **in_shells()}, capture_output=True, text=True)
        assert [each.partition("\t")[0] for each in ended.stdout.splitlines()] == [expected], line
    assert not (folder / "pwned").exists()


def words(*typed: str) -> set[str]:
    return {each.partition("\t")[0] for each in answer(["zsh", "--", *typed])[1:]}


def test_keys_are_those_of_the_option_that_is_chosen() -> None:
    assert "integ.npt_azim=" not in words("integ.")
    assert "integ.npt_azim=" in words("integ=cake", "integ.")
    assert "integ.npt_azim=" in words("experiment=pdf", "integ.")
    assert words("source=demo", "source.fr") == {"source.frames="}
    assert words("mask.invert=") == {"mask.invert=true", "mask.invert=false"}
    assert words("-m", "mask=strict,ro") == {"mask=strict,robust"}
    assert words("+mask.al") == {"+mask.alpha="}


def test_commands_have_their_own_words() -> None:
    assert words("cal") == {"calibrate"}
    assert words("poni=a.poni", "cal") == set()
    assert words("completion", "") == {"bash", "zsh", "fish"}
    assert words("new", "") == {"experiment"}
    assert words("new", "experiment", "mine", "") == {"from=", "to="}
    assert words("calibrate", "wave") == {"wavelength="}
    assert "detector=Pilatus1M" in words("calibrate", "detector=Pil")
    assert words("config", "mask.al") == {"mask.alpha"}
    assert words("--cfg", "") == {"job", "hydra", "all"}
    assert candidates(["replay"], "out").paths == candidates([], "output_dir=x").paths == "folders"
    assert candidates(["--"], "ma").words == {}


def test_what_cannot_be_completed_gives_nothing_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "mask").mkdir()
    (tmp_path / "mask" / "torn.yaml").write_bytes(b"\xff\xfe")
    for typed in (
        ["=", "=="],
        ["..."],
        ["mask.alpha.x="],
        ["--config-dir", str(tmp_path), "mask="],
        ["\0"],
        ["x" * 10**5],
    ):
        assert all("\n" not in line for line in answer(["fish", "--", *typed]))
    for arguments in ([], ["bash"], ["bash", "=:", "xrdpipe", "--"], ["bash", "=:", "xrdpipe", "--", "nothing"]):
        assert answer(arguments) == []
        assert call("--complete", *arguments) == (0, "", "")


def test_a_line_of_bash_is_split_as_bash_does() -> None:
    line = split_line("""xrdpipe a\\ b 'c d'"e" mask.file="x y""", "=:")
    assert (line.words, line.word, line.quote) == (["xrdpipe", "a b", "c de"], "mask.file=x y", '"')


def test_an_answer_imports_neither_numpy_nor_hydra_nor_pyfai() -> None:
    code = (
        "import sys; from xrdpipe.cli.main import main; main(['--complete', 'zsh', '--', 'calibrate', 'detector=P']);"
        "main(['--complete', 'bash', '=:', 'xrdpipe', '--', 'xrdpipe integ.unit=']);"
        "assert not {'hydra', 'numpy', 'pyFAI', 'fabio', 'omegaconf', 'yaml', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_values_are_those_that_the_schemas_allow() -> None:
    from pyFAI.units import RADIAL_UNITS

    from xrdpipe.calibration.refine import NAMES
    from xrdpipe.config.parallel import ARRAYS, CLUSTERS
    from xrdpipe.numerics import metrics
    from xrdpipe.stages.plot.paper_figures import FORMATS

    keys = dict(every_key())
    assert set(VALUES) <= set(keys)
    for key, names in VALUES.items():
        said = {*re.split(r", or |, | or ", allowed(key)), "null"}
        if key not in ("integ.unit", "sweep.rank", "parallel.cluster", "background.scale"):
            assert said == {*names, "null"}, key
    assert set(UNITS) <= set(RADIAL_UNITS)
    assert set(METRICS) == set(metrics.METRICS)
    assert set(VALUES["parallel.cluster"]) == {*CLUSTERS, *ARRAYS}
    assert set(LISTS["plot.format"]) == set(FORMATS)
    assert set(LISTS["fix"]) == set(NAMES)


def test_every_command_and_key_of_a_command_can_be_completed() -> None:
    assert words("") >= set(COMMANDS)
    assert set(KEYS["look"]) == set(OWN)


def test_the_manual_says_how_to_install_it_and_a_wrong_shell_is_refused() -> None:
    assert 'eval "$(xrdpipe completion bash)"' in TAIL
    assert "xrdpipe completion" in help_text()
    for words_typed in ([], ["tcsh"], ["bash", "zsh"]):
        told = call("completion", *words_typed)
        assert told.status == 2
        assert 'eval "$(xrdpipe completion bash)"' in told.err
