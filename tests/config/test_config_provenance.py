"""`--cfg job`: what would run, and where each value is from."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from command import call
from omegaconf import OmegaConf

from xrdpipe.config.arguments import translate
from xrdpipe.config.loader import Loader, force_overrides, to_builtin


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A --config-dir with an option, an experiment and settings for every run."""
    monkeypatch.chdir(tmp_path)
    files = {
        "mask/lab6": "# LaB6\n_target_: xrdpipe.mask.Mask\nedge: 5\n",
        "experiment/day": "# @package _global_\nmask:\n  alpha: 4.0\nplot:\n  image: null\n",
        "local/default": "# @package _global_\nsource:\n  transform: [flipud]\n",
    }
    for name, text in files.items():
        path = tmp_path / "my" / f"{name}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return "my"


def origins(*words: str) -> dict[str, str]:
    """The last part of a key -> where it is from; of a key that is there twice, the first."""
    lines = [line.partition(" # ") for line in call("--cfg", "job", *words).out.splitlines() if " # " in line]
    return {text.partition(":")[0].strip(): origin for text, _, origin in reversed(lines)}


def test_every_value_says_where_it_is_from(mine: str) -> None:
    words = ("--config-dir", mine, "mask=lab6", "experiment=day", "integ.npt=100", "+integ.extra=1", "output_dir=x")
    found = origins(*words)
    assert found["quiet"] == "conf/config.yaml"
    assert found["transform"] == "my/local/default.yaml"
    assert found["edge"] == "my/mask/lab6.yaml"
    assert found["alpha"] == found["image"] == "my/experiment/day.yaml"
    assert found["npt"] == found["extra"] == found["output_dir"] == "command line"
    assert found["scale"] == "conf/background/default.yaml"


def test_an_option_that_was_picked_is_named(mine: str) -> None:
    assert origins("mask=strict", "-p", "mask") | {"edge": ""} == {
        **dict.fromkeys(["_target_", "lower_thresh", "upper_thresh", "alpha"], "conf/mask/strict.yaml"),
        **dict.fromkeys(
            ["auto_type", "file", "invert", "detector", "grow", "max_iter", "regions"], "conf/mask/strict.yaml"
        ),
        "edge": "",
    }


def test_what_no_file_says_is_there_with_the_default_of_its_class(mine: str) -> None:
    told = call("--config-dir", mine, "mask=lab6", "--cfg", "job", "-p", "mask").out
    assert "auto_type: median" in told
    assert told.count("# default of xrdpipe.mask.Mask") == 10


def test_every_line_with_a_value_has_an_origin() -> None:
    for words in ([], ["mask=strict", "plot=paper"], ["experiment=pdf", "source=demo"], ["plot.image={vmax: 3}"]):
        for line in call("--cfg", "job", *words).out.splitlines():
            assert line.endswith(":") or " # " in line, line


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["mask=strict", "integ.unit=q_A^-1"],
        ["experiment=pdf", "+x='1e5'", "poni='a # b'", "images=[a,'1']", "+y={}", "+z=[{a: 1}]"],
    ],
)
def test_what_is_printed_is_the_configuration_that_runs(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "told.yaml").write_text(call("--cfg", "job", *words).out)
    composed = to_builtin(Loader().compose(force_overrides(translate(words)[0])))
    assert OmegaConf.to_container(OmegaConf.load(tmp_path / "told.yaml")) == composed


def test_bare_paths_are_shown_among_the_images(frames: list[Path]) -> None:
    told = call("--cfg", "job", str(frames[0])).out
    assert yaml.safe_load(told)["images"] == [str(frames[0])]
    assert told.splitlines()[1].endswith("# command line")


def test_a_part_can_be_shown_alone_and_one_that_is_not_there_is_told() -> None:
    assert call("--cfg", "job", "-p", "mask.alpha").out.splitlines()[1].split() == [
        "2.0",
        "#",
        "conf/mask/default.yaml",
    ]
    told = call("--cfg", "job", "-p", "masc")
    assert (told.status, told.err) == (2, "xrdpipe: --package masc: no such part; did you mean 'mask'?\n")


def test_a_wrong_value_is_shown_as_it_is_and_hydras_own_configuration_as_ever() -> None:
    assert "alpha: abc" in call("--cfg", "job", "-p", "mask", "mask.alpha=abc").out
    assert "JoblibLauncher" in call("--cfg", "hydra").out
    for word in ("defaults", "searchpath", "config"):
        assert call("--info", word).status == 0
