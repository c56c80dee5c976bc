"""What cannot be is refused before anything is written; a bad frame fails alone. Always in one or two lines."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from command import FAST, P, call, tree, xrdpipe

F = "data/ni_1.tiff"
SHAPE = (120, 100)


@pytest.mark.parametrize("words", ["mask=none mask.file=data/inverted.npy"])
def test_the_polarity_of_a_mask_is_never_guessed(words: str, here: Path) -> None:
    mask = np.ones(SHAPE, np.uint8)
    mask[40:50, 40:50] = 0
    np.save("data/inverted.npy", mask)
    assert call(P, F, *FAST, *words.split(), "output.mask=true", "output_dir=out").status == 0
    assert np.array_equal(np.load("out/masks/ni_1.npy"), mask)


CODE = {
    "mask._target_=os.system +mask.command='touch evil'": "mask._target_=os.system",
    "mask._target_=numpy.save": "mask._target_=numpy.save",
    "mask._target_=xrdpipe.io.writing.write_text": "mask._target_",
    "mask._target_=xrdpipe.stages.mask.np.save": "mask._target_",
    "mask._target_=xrdpipe.stages.source.Source +mask.edge=null": "mask",
    "source._target_=xrdpipe.stages.mask.Mask": "source._target_",
    "parallel._target_=os.system": "parallel",
    "+hydra.callbacks.evil._target_=evil.Callback": "hydra.callbacks",
    "++hydra.callbacks={evil:{_target_:evil.Callback}}": "hydra.callbacks",
    "+hydra.job_logging.handlers.evil.class=evil.Handler": "hydra.job_logging",
    "++hydra.job_logging={version:1,handlers:{evil:{'()':evil.make}}}": "hydra.job_logging",
    "++hydra.hydra_logging={version:1,handlers:{evil:{'()':evil.make}}}": "hydra.hydra_logging",
    "hydra/job_logging=default": "hydra.job_logging",
    "hydra.launcher._target_=evil.Launcher": "hydra.launcher",
    "hydra.sweeper._target_=evil.Sweeper": "hydra.sweeper",
    "++hydra.job.env_set={PYTHONSTARTUP:evil.py}": "hydra.job.env_set",
    "hydra.searchpath=[pkg://evil]": "hydra.searchpath",
    "--experimental-rerun=evil.pickle": "--experimental-rerun",
}


@pytest.mark.parametrize("sweep", [[], ["-m", "integ.npt=50,60"]], ids=["one run", "a sweep"])
@pytest.mark.parametrize("words", CODE)
def test_a_command_line_that_brings_code_along_is_refused(
    words: str, sweep: list[str], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "evil.py").write_text("from pathlib import Path\nPath('evil').touch()\n")
    monkeypatch.syspath_prepend(str(here))
    before = tree(here)
    told = call(*sweep, P, F, *re.findall(r"(?:'[^']* [^']*'|\S)+", words), "output_dir=out")
    assert told.status == 2, told
    assert CODE[words] in told.err
    assert len(told.err.splitlines()) == 1
    assert tree(here) == before


CODE_FILES = {
    "mask=evil": ("mask/evil.yaml", "_target_: os.system\ncommand: touch evil\n"),
    "mask=default": ("mask/default.yaml", "_target_: evil.Mask\n"),
    "mask=deep": ("mask/deep.yaml", "defaults: [default]\nfile: {_target_: os.system, command: touch evil}\n"),
    "mask=callback": (
        "mask/callback.yaml",
        "# @package _global_\nhydra: {callbacks: {evil: {_target_: evil.Callback}}}\n",
    ),
    "mask=logging": (
        "mask/logging.yaml",
        "# @package _global_\nhydra: {job_logging: {handlers: {evil: {(): evil.make}}}}\n",
    ),
    "hydra/job_logging=evil": ("hydra/job_logging/evil.yaml", "version: 1\nhandlers: {evil: {(): evil.make}}\n"),
    "hydra/launcher=evil": ("hydra/launcher/evil.yaml", "_target_: evil.Launcher\n"),
    "--config-name=evil": ("evil.yaml", "defaults: [config, _self_]\nhydra: {searchpath: ['pkg://evil']}\n"),
    "quiet=true": ("local/default.yaml", "# @package _global_\nhydra: {callbacks: {e: {_target_: evil.Callback}}}\n"),
}


@pytest.mark.slow
@pytest.mark.parametrize("word", CODE_FILES)
def test_a_config_dir_that_brings_code_along_is_refused(word: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "evil.py").write_text("from pathlib import Path\nPath('evil').touch()\n")
    monkeypatch.syspath_prepend(str(here))
    name, content = CODE_FILES[word]
    (here / "their" / name).parent.mkdir(parents=True, exist_ok=True)
    (here / "their" / name).write_text(content)
    before = tree(here)
    told = call(P, F, "--config-dir=their", word, "output_dir=out")
    assert told.status == 2, told
    assert len(told.err.splitlines()) <= 2
    assert tree(here) == before


@pytest.mark.slow
def test_the_command_runs_nothing_that_a_config_names(here: Path) -> None:
    (here / "evil.py").write_text("from pathlib import Path\nPath('evil').touch()\n")
    before = tree(here)
    for words in ("mask._target_=evil.Mask", "+hydra.callbacks.evil._target_=evil.Callback"):
        told = xrdpipe(P, F, words, "output_dir=out", cwd=here, env={"PYTHONPATH": os.fspath(here)})
        assert (told.status, len(told.err.splitlines())) == (2, 1), told
    assert tree(here) == before
