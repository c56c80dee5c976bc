"""Frames chosen and grouped by what their headers say, and the expressions that say it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from command import FAST, P, call, results, run_record, summary_rows, xrdpipe

from xrdpipe import integrate
from xrdpipe.model.errors import ConfigError, FrameError
from xrdpipe.numerics.expression import Expression

TEMPERATURES = (300, 400, 300, "broken", 400)


@pytest.fixture
def series(data: Path, frames: list[Path], poni: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five frames whose headers say 300, 400, 300, broken and 400 kelvin."""
    for number, kelvin in enumerate(TEMPERATURES):
        image = tifffile.imread(frames[number % 3])
        tifffile.imwrite(data / f"t_{number}.tif", image, description=f"temperature = {kelvin}", metadata=None)
    monkeypatch.chdir(data.parent)
    return data


def _names(folder: str) -> list[str]:
    return [row["name"] for row in summary_rows(Path(folder))]


def test_where_takes_the_frames_for_which_it_is_true(series: Path) -> None:
    done = call(P, "data/t_*.tif", "output_dir=out", "source.where=temperature > 350 or number == 0", *FAST)
    assert done.status == 0, done.err
    assert _names("out") == ["t_0", "t_1", "t_4"]
    assert "leaves out 1 frames" in done.err
    assert "'broken'" in done.err
    call(P, "data/t_1.tif", "output_dir=all", *FAST)
    assert results(Path("out"), "t_1.chi") == results(Path("all"), "*.chi")


def test_group_averages_the_frames_with_the_same_value(series: Path) -> None:
    done = call(P, "data/t_*.tif", "output_dir=out", "source.group=temperature", "integ.error_model=poisson", *FAST)
    assert done.status == 0, done.err
    assert _names("out") == ["t_0", "t_1", "t_3"]
    images = {"mean": np.mean([tifffile.imread(f"data/t_{at}.tif") for at in (0, 2)], axis=0, dtype=np.float32)}
    alone = integrate("data/tiny.poni", images, overrides=list(FAST), output_dir=None)
    np.testing.assert_allclose(
        np.loadtxt("out/t_0.chi")[:, 1], alone.patterns["mean"].intensity[: len(np.loadtxt("out/t_0.chi"))], rtol=1e-5
    )
    record = next(each for each in run_record(Path("out"))["images"] if each["name"] == "t_1")
    assert [Path(path).name for path in record["parts"]] == ["t_1.tif", "t_4.tif"]


def test_a_replay_groups_the_same_frames(series: Path) -> None:
    words = ("source.group=temperature", "source.where=number != 3", *FAST)
    assert call(P, "data/t_*.tif", "output_dir=out", *words).status == 0
    done = call("replay", "out", "output_dir=again")
    assert done.status == 0, done.err
    assert results(Path("out"), "*.chi") == results(Path("again"), "*.chi")


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("source.where=temperature > 900", "true for none of 5 frames"),
        ("source.where=temprature > 300", "no such key; the nearest are temperature"),
        ("source.where=temperature = 300", "== compares"),
        ("source.where=temperature", "a condition expected"),
        ("source.where=__import__('os').system('id') == 0", "is not allowed"),
        ("source.where=header.keys == 0", "header.keys is not allowed"),
        ("source.group=sample", "no frame has it"),
        ("source.group=(lambda: 1)()", "is not allowed"),
    ],
)
def test_a_wrong_expression_is_refused_before_any_frame(word: str, reason: str, series: Path) -> None:
    done = call(P, "data/t_*.tif", "output_dir=out", word, *FAST)
    assert done.status == 2
    assert reason in done.err
    assert "Traceback" not in done.err
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2 + 3 * 4 ** 0.5 - 7 % 4 // 2", 7.0),
        ("not (1 < a <= 2) or 'x' in b", True),
        ("a in [1, 2] and header['odd key'] == 'abc'", True),
        ("sqrt(abs(-4)) * cos(0)", 2.0),
        ("arctan2(0, 1)", 0.0),
    ],
)
def test_an_expression_has_the_value_that_python_gives(text: str, value: Any) -> None:
    values = {"a": 2, "b": "xyz", "odd key": "abc"}
    assert Expression("k", text)(lambda name, _: values[name]) == value


@pytest.mark.parametrize("text", ["9 ** 9 ** 9 ** 9", "1 / 0", "(-1) ** 0.5", "'a' * 3", "1 < 'a'", "log(0)", "sin()"])
def test_an_expression_without_a_value_fails_for_its_frame(text: str) -> None:
    with pytest.raises(FrameError, match="k="):
        Expression("k", text)(lambda name, _: 1)


@pytest.mark.parametrize(
    "text", ["", "1" * 2000, "-" * 500 + "1", "(" * 300 + "1", "a.b", "[x for x in y]", "f'{a}'", "a[0]", "open('x')"]
)
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="k="):
        Expression("k", text)


@pytest.mark.slow
def test_the_command_line_takes_an_expression_as_typed(series: Path) -> None:
    word = "source.where=name in ['t_0', 't_1'] and header['temperature'] == 300"
    done = xrdpipe(P, "data/t_*.tif", "output_dir=out", word, *FAST, cwd=series.parent)
    assert done.status == 0, done.err
    assert _names("out") == ["t_0"]
