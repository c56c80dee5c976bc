"""How configuration becomes a stage, and what is refused on the way."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xrdpipe.config.schema import build, validated
from xrdpipe.model.errors import ConfigError, nearest
from xrdpipe.model.frame import Frame
from xrdpipe.stages.background import Background
from xrdpipe.stages.integ.integ import Integ
from xrdpipe.stages.mask import Mask
from xrdpipe.stages.source import Source
from xrdpipe.stages.stage import Setup, Stage

MASK = "xrdpipe.stages.mask.Mask"


@dataclass(frozen=True)
class Ball(Stage):
    """A stage with a parameter that has no default."""

    radius: float
    names: list[str] = field(default_factory=list)
    anything: Any = None

    def prepare(self, setup: Setup) -> Callable[[Frame], Frame]:
        return lambda frame: frame


def test_values_make_the_stage_they_name() -> None:
    assert build({"_target_": MASK, "alpha": 3, "edge": None}, "mask") == Mask(edge=None, alpha=3.0)
    assert build({"_target_": MASK}, "mask") == Mask()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"alhpa": 3}, r"^mask\.alhpa: no such key; did you mean '(mask\.)?alpha'\?"),
        ({"xyz": 3}, r"^mask\.xyz: no such key; allowed: .*edge, .*lower_thresh, .*file, "),
        ({"alpha": "abc"}, r"^mask\.alpha=abc: a number or null expected$"),
        ({"alpha": [1, 2]}, r"^mask\.alpha=\[1, 2\]: a number or null expected$"),
        ({"alpha": {"a": 1}}, r"^mask\.alpha=.*: a number or null expected$"),
        ({"edge": 1.5}, r"^mask\.edge=1\.5: a whole number or null expected$"),
        ({"edge": "many"}, r"^mask\.edge=many: a whole number or null expected$"),
        ({"auto_type": None}, r"^mask\.auto_type=None: text expected$"),
        ({"alpha": -1}, r"^mask\.alpha=-1\.0: a number > 0 expected"),
        ({"alpha": "???"}, r"^mask\.alpha=\?\?\?: a number or null expected$"),
        ({"alpha": "${oc.env:HOME}"}, r"^mask\.alpha=.*: a number or null expected$"),
        ({"alpha": "${nope}"}, r"^mask\.alpha=.*: a number or null expected$"),
        ({"alpha": "${"}, r"^mask\.alpha=.*: a number or null expected$"),
        ({"auto_type": "mode"}, r"^mask\.auto_type=mode: unknown; "),
    ],
)
def test_a_wrong_key_type_or_value_is_told_with_its_full_name_and_what_would_be_right(
    values: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        build({"_target_": MASK, **values}, "mask")


@pytest.mark.parametrize(
    ("cls", "values", "key"),
    [
        (Integ, {"npt": 12.5}, "npt"),
        (Integ, {"npt": None}, "npt"),
        (Integ, {"radial_range": 5}, "radial_range"),
        (Integ, {"radial_range": [1, "x"]}, "radial_range"),
        (Integ, {"radial_range": [1, None]}, "radial_range"),
        (Integ, {"correctSolidAngle": "perhaps"}, "correctSolidAngle"),
        (Source, {"transform": "flipud"}, "transform"),
        (Source, {"transform": ["flip"]}, "transform"),
        (Source, {"transform": [None]}, "transform"),
        (Background, {"scale": True}, "scale"),
        (Background, {"scale": None}, "scale"),
        (Background, {"file": [3]}, "file"),
    ],
)
def test_every_kind_of_field_is_checked(cls: type[Stage], values: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^group\.{key}") as error:
        validated(cls, values, "group")
    assert len(str(error.value).splitlines()) == 1


@given(st.text())
def test_any_text_is_a_path_and_stays_as_it_is(path: str) -> None:
    assert validated(Background, {"file": path}, "background") == Background(file=path)


def test_a_parameter_without_default_must_be_given() -> None:
    assert validated(Ball, {"radius": 2}, "ball") == Ball(2.0)
    with pytest.raises(ConfigError, match=r"^ball\.radius: missing"):
        validated(Ball, {}, "ball")
    with pytest.raises(ConfigError, match=r"^ball\.radius=\?\?\?"):
        validated(Ball, {"radius": "???"}, "ball")


@pytest.mark.parametrize("value", [5, "text", "${x}", "${", [1, [2]], {"a": {"b": None}}, True, None])
def test_a_field_of_any_type_takes_what_it_is_given(value: Any) -> None:
    assert validated(Ball, {"radius": 1, "anything": value}, "ball").anything == value


# --- nothing is run


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.Popen",
        "builtins.eval",
        "numpy.load",
        "trap.Stage",
        "trap",
        "",
        ".",
        ".mask.Mask",
        "xrdpipe",
        "xrdpipe.stages.mask",
        "xrdpipe.nowhere.Mask",
        "xrdpipe.stages.mask.Nothing",
        "xrdpipe.stages.mask.Mask.prepare",
        "xrdpipe.stages.mask.AUTO_TYPES",
        "xrdpipe.stages.mask.np.load",
        "xrdpipe.stages.mask.replace",
        "xrdpipe.io.writing.write_text",
        "xrdpipe.stages.stage.Stage.__init__",
        "xrdpipe.model.frame.Frame",
        "xrdpipe_evil.Stage",
    ],
)
def test_a_target_that_is_no_stage_is_refused_and_nothing_is_imported(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("trap", "xrdpipe_evil"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"^mask\._target_=|^mask: no _target_"):
        build({"_target_": target}, "mask")
    assert not (tmp_path / "sprung").exists()
    assert not {"trap", "xrdpipe_evil"} & set(sys.modules)


@pytest.mark.parametrize("target", [None, 5, ["xrdpipe.stages.mask.Mask"], {"_target_": MASK}])
def test_a_target_that_is_no_text_is_refused(target: Any) -> None:
    with pytest.raises(ConfigError, match=r"^mask: no _target_"):
        build({"_target_": target}, "mask")


def test_a_target_inside_a_value_is_a_value_and_nothing_more() -> None:
    with pytest.raises(ConfigError, match=r"^mask\.file=.*paths expected, or null"):
        build({"_target_": MASK, "file": {"_target_": "os.getcwd"}}, "mask")


def test_a_stage_is_no_source() -> None:
    with pytest.raises(ConfigError, match=r"source\._target_=xrdpipe\.stages\.mask\.Mask: Mask is no source"):
        build({"_target_": MASK}, "source", Source)


def test_a_value_that_no_file_could_hold_is_refused_and_not_a_crash() -> None:
    with pytest.raises(ConfigError):
        build({"_target_": "xrdpipe.stages.integ.integ.Integ", "method": {1, 2}}, "integ")


def test_the_nearest_name_or_else_all_are_suggested() -> None:
    assert nearest("alhpa", ["alpha", "edge"]).startswith("did you mean 'alpha'?")
    assert nearest("zzz", ["alpha", "edge"]) == "allowed: alpha, edge"


def test_a_stage_without_files_has_none() -> None:
    ball = Ball(1.0)
    assert (ball.needs.files, ball.writes("a"), ball.needs.variance) == ({}, [], False)
