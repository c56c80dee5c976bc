"""Figures for a paper: what is in the files, and when there is a waterfall."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import FAST, call
from PIL import Image as Picture

from xrdpipe.io.formats import chi_text
from xrdpipe.model.errors import ConfigError
from xrdpipe.model.frame import Frame, Results
from xrdpipe.model.pattern import Pattern
from xrdpipe.model.record import Record
from xrdpipe.model.series import Series as RunSeries
from xrdpipe.results.folder import Folder
from xrdpipe.stages.plot import paper, paper_figures
from xrdpipe.stages.plot.paper import Paper
from xrdpipe.stages.plot.paper_figures import (
    Image,
    Line,
    Waterfall,
    heat_map,
    image_figure,
    offset_lines,
    pattern_figure,
)
from xrdpipe.stages.plot.series import Series, read_series
from xrdpipe.stages.source import Source
from xrdpipe.stages.stage import Setup

AXIS = np.linspace(1, 10, 200)
MM = 72 / 25.4  # points


def of_folder(folder: Path) -> RunSeries:
    return RunSeries(folder, {}, {}, "", None, "")


def finish(stage: Paper, folder: Path, records: list[Record]) -> list[str]:
    """What a run of these records ends with."""
    (collector,) = stage.collect(of_folder(folder))
    return collector.end({record.name: record for record in records})


ALL: dict[str, Any] = {"image": Image(), "pattern": Line(), "format": ["pdf", "svg", "png"]}


def frame(name: str = "a", scale: float = 100.0) -> Frame:
    image = np.tile(np.linspace(0, scale, 100, dtype=np.float32), (120, 1))
    mask = np.zeros(image.shape, np.uint8)
    mask[:30] = 1
    intensity = scale * (1 + np.sin(AXIS) ** 2)
    return Frame(name, image, mask=mask, results=Results(Pattern(AXIS, intensity, intensity / 9, "q_A^-1", "q label")))


def figures(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "figures").iterdir())}


def written(folder: Path, number: int, **values: Any) -> list[Record]:
    """A folder with so many patterns, and their records."""
    folder.mkdir(exist_ok=True)
    for each in range(number):
        pattern = Pattern(AXIS, 10 + each + np.sin(AXIS), None, "q_A^-1")
        (folder / f"f_{each}.chi").write_text(chi_text(pattern, {}))
    columns = [{name: value(each) for name, value in values.items()} for each in range(number)]
    return [Record(f"f_{each}.tif", f"f_{each}", "done", columns=columns[each]) for each in range(number)]


@pytest.fixture(scope="module")
def drawn(_geometry: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The figures of one frame in every format."""
    source, folder = Source(), tmp_path_factory.mktemp("drawn")
    Paper(**ALL).prepare(Setup(_geometry, source.read, source.to_raw, folder))(frame())
    return figures(folder)


@pytest.mark.slow
def test_image_and_pattern_are_drawn_in_every_format_and_declared(drawn: dict[str, bytes]) -> None:
    assert set(drawn) == {f"a_{what}.{kind}" for what in ("image", "pattern") for kind in ("pdf", "svg", "png")}
    assert sorted(Paper(**ALL).writes("a")) == sorted(f"figures/{name}" for name in drawn)
    starts = {"pdf": b"%PDF-", "svg": b"<?xml", "png": b"\x89PNG"}
    assert all(content.startswith(starts[name[-3:]]) for name, content in drawn.items())


def test_fonts_are_embedded_as_truetype_and_nothing_says_when_or_with_what(drawn: dict[str, bytes]) -> None:
    for name in ("a_image.pdf", "a_pattern.pdf"):
        assert b"/FontFile2" in drawn[name]
        assert b"/Type3" not in drawn[name]
    for name, content in drawn.items():
        assert b"CreationDate" not in content, name
        assert b"dc:date" not in content, name
        assert not re.search(rb"atplotlib (v?\d|ver)", content), name


@pytest.mark.slow
def test_a_figure_has_the_width_that_was_asked_for(setup: Setup) -> None:
    assert setup.folder is not None
    for width in (85.0, 170.0):
        Paper(pattern=Line(), width=width).prepare(setup)(frame(f"w{width:.0f}"))
    for name, content in figures(setup.folder).items():
        box = re.search(rb"/MediaBox \[ ?([\d. ]+)\]", content)
        assert box is not None
        assert float(box[1].split()[2]) == pytest.approx(MM * int(name[1:].partition("_")[0]), abs=0.5)


def test_only_the_image_is_pixels(drawn: dict[str, bytes]) -> None:
    assert b"/Subtype /Image" not in drawn["a_pattern.pdf"]
    assert b"<image" not in drawn["a_pattern.svg"]
    assert re.search(rb"/Width 100\b", drawn["a_image.pdf"])  # its own, not resampled
    assert drawn["a_image.svg"].count(b"<image") == 2  # and the colour bar


def test_masked_pixels_are_white_and_good_ones_are_not(setup: Setup) -> None:
    assert setup.folder is not None
    Paper(image=Image(), format=["png"]).prepare(setup)(frame())
    with Picture.open(setup.folder / "figures" / "a_image.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    column = pixels[:, pixels.shape[1] // 3].astype(int)
    dark = np.flatnonzero((column.sum(axis=1) < 600) & (np.ptp(column, axis=1) > 8))
    line = np.flatnonzero(column.sum(axis=1) < 100)[0]  # the frame of the axes, above the masked rows
    assert (dark[-1] - dark[0]) / (dark[-1] - line) == pytest.approx(90 / 120, abs=0.03)


@pytest.mark.slow
def test_the_same_frame_gives_the_same_bytes_also_from_many_threads(setup: Setup, tmp_path: Path) -> None:
    steps = [Paper(**ALL).prepare(replace(setup, folder=tmp_path / name)) for name in ("one", "many")]
    frames = [frame(f"f{number}", 100.0 + number) for number in range(2)]
    for each in frames:
        steps[0](each)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(steps[1], frames))
    assert figures(tmp_path / "one") == figures(tmp_path / "many")


def test_matplotlib_is_left_as_it_was(setup: Setup) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    Paper(pattern=Line(), format=["png"]).prepare(setup)(frame())
    assert dict(matplotlib.rcParams) == before


@pytest.mark.slow
@pytest.mark.parametrize("what", ["masked all over", "all the same", "below zero", "as ever"])
def test_every_image_and_pattern_can_be_drawn(what: str) -> None:
    good = frame()
    assert good.pattern is not None
    empty = replace(good.pattern, intensity=np.full_like(AXIS, np.nan), sigma=None)
    odd = {
        "masked all over": replace(good, mask=np.ones(good.image.shape, np.uint8), results=Results(empty)),
        "all the same": replace(good, image=np.full(good.image.shape, 5, np.float32)),
        "below zero": replace(good, image=good.image - 200, results=Results(replace(good.pattern, intensity=-AXIS))),
        "as ever": good,
    }[what]
    assert odd.pattern is not None
    for scale in paper_figures.SCALES:
        image_figure(odd, paper_figures.Image(scale=scale), 85).draw_without_rendering()
        pattern_figure(odd.pattern, paper_figures.Line(scale=scale), 85).draw_without_rendering()


def test_axes_say_what_they_are_with_units() -> None:
    pattern = frame().pattern
    assert pattern is not None
    (axes,) = pattern_figure(pattern, paper_figures.Line(), 85).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("q (Å⁻¹)", "Intensity (counts)")


# ---------------------------------------------------------------------------------------------------------- waterfall


def series(number: int) -> Series:
    rows = np.array([10 + np.sin(AXIS + row) for row in range(number)])
    return Series("2th_deg", AXIS, rows, [f"f_{row}" for row in range(number)])


def test_lines_stand_apart_in_counts_and_each_has_its_label() -> None:
    figure = offset_lines(series(3), [300.0, 400.0, 512.5], "Temperature (K)", Waterfall(offset=5), 85)
    (axes,) = figure.axes
    lines = [line.get_ydata() for line in axes.get_lines()]
    assert [np.mean(np.asarray(line) - row) for line, row in zip(lines, series(3).intensity, strict=True)] == [0, 5, 10]
    (beside,) = axes.child_axes
    assert [tick.get_text() for tick in beside.get_yticklabels()] == ["300", "400", "512.5"]
    assert (axes.get_xlabel(), beside.get_ylabel()) == ("2θ (°)", "Temperature (K)")
    assert "5 apart" in axes.get_ylabel()


def test_a_single_strong_peak_does_not_set_the_lines_far_apart() -> None:
    peaked = series(6)
    peaked.intensity[:, 50] = 1e5
    figure = offset_lines(peaked, list(peaked.names), "", Waterfall(), 85)
    bottoms = [np.median(line.get_ydata()) for line in figure.axes[0].get_lines()]
    assert bottoms[-1] - bottoms[0] < 1.5e5


@pytest.mark.parametrize(("scale", "drawn"), [("sqrt", np.sqrt), ("log", np.log10)])
def test_lines_of_another_scale_are_those_of_the_transformed_intensity(scale: str, drawn: Any) -> None:
    some = series(2)
    figure = offset_lines(some, list(some.names), "", Waterfall(offset=3, scale=scale), 85)
    upper = figure.axes[0].get_lines()[1].get_ydata()
    assert np.allclose(upper, drawn(some.intensity[1]) + 3)
    assert "lines 3 apart" in figure.axes[0].get_ylabel()


def test_a_long_label_leaves_room_for_the_lines() -> None:
    with paper_figures.paper_style():
        figure = offset_lines(series(2), ["a" * 40 + "1", "a" * 40 + "2"], "", Waterfall(), 85)
        figure.draw_without_rendering()
    assert figure.axes[0].get_position().width > 0.4


def test_labels_of_many_lines_do_not_overlap() -> None:
    with paper_figures.paper_style():
        figure = offset_lines(series(60), list(range(60)), "Frame", Waterfall(), 85)
        figure.draw_without_rendering()
    (beside,) = figure.axes[0].child_axes
    boxes = [tick.get_window_extent() for tick in beside.get_yticklabels() if tick.get_text()]
    assert len(boxes) >= 10
    assert all(upper.y0 >= lower.y1 - 1 for lower, upper in pairwise(boxes))


def test_a_heat_map_has_an_axis_of_the_values_where_they_rise_or_fall_and_their_names_where_not() -> None:
    straight = heat_map(series(4), [300, 310, 330, 400.0], "Temperature (K)", Waterfall(), 85).axes[0]
    assert straight.get_ylim() == pytest.approx((295, 435))
    assert straight.get_ylabel() == "Temperature (K)"
    names = heat_map(series(4), ["a", "b", "$x_", None], "sample", Waterfall(), 85).axes[0]
    assert [tick.get_text() for tick in names.get_yticklabels()] == ["a", "b", "$x_", ""]
    again = heat_map(series(4), [300, 400, 300, 200], "T", Waterfall(), 85).axes[0]
    assert [tick.get_text() for tick in again.get_yticklabels()] == ["300", "400", "300", "200"]


@pytest.mark.parametrize("draw", [offset_lines, heat_map])
def test_names_are_never_taken_for_formulas(draw: Any) -> None:
    draw(series(3), ["$\\frac{", "a_b^c", "{"], "$\\nope", Waterfall(), 85).draw_without_rendering()


@pytest.mark.slow
def test_a_few_patterns_are_lines_and_more_are_a_heat_map(tmp_path: Path) -> None:
    records = written(tmp_path, 5)
    stage = Paper(waterfall=Waterfall(lines=5))
    assert finish(stage, tmp_path, records) == []
    assert b"/Subtype /Image" not in figures(tmp_path)["waterfall.pdf"]
    assert stage.collect(of_folder(tmp_path))[0].files == ("figures/waterfall.pdf",)
    finish(Paper(waterfall=Waterfall(lines=4)), tmp_path, records)
    assert b"/Subtype /Image" in figures(tmp_path)["waterfall.pdf"]


def test_a_long_series_is_thinned_and_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paper, "BANDS", 4)
    records = written(tmp_path, 11)
    assert finish(Paper(waterfall=Waterfall(), format=["png"]), tmp_path, records) == [
        "one in 3 of 11 patterns is in figures/waterfall"
    ]


@pytest.mark.parametrize("number", [0, 1])
def test_there_is_no_waterfall_of_less_than_two_patterns(number: int, tmp_path: Path) -> None:
    records = written(tmp_path, number)
    assert "two patterns" in finish(Paper(waterfall=Waterfall()), tmp_path, records)[0]
    assert not (tmp_path / "figures").exists()
    assert (
        finish(Paper(image=Image(), waterfall=Waterfall()), tmp_path, records) == []
    )  # the other figures were the wish


def test_failed_frames_and_missing_patterns_are_left_out(tmp_path: Path) -> None:
    records = written(tmp_path, 4)
    records[1] = replace(records[1], status="failed")
    (tmp_path / "f_2.chi").unlink()
    assert finish(Paper(waterfall=Waterfall()), tmp_path, records) == []
    found = read_series(tmp_path, [record.name for record in records if record.status == "done"])
    assert found is not None
    assert found.names == ["f_0", "f_3"]


@pytest.mark.slow
def test_a_column_labels_the_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def look(series: Series, labels: Any, title: str, keys: Waterfall, width: float) -> Any:
        seen.update(labels=labels, title=title)
        return offset_lines(series, labels, title, keys, width)

    monkeypatch.setattr(paper, "offset_lines", look)
    records = written(tmp_path, 3, temperature=lambda number: 300 + 50 * number)
    finish(Paper(waterfall=Waterfall(), label="temperature", format=["png"]), tmp_path, records)
    assert seen == {"labels": [300, 350, 400], "title": "temperature"}
    finish(Paper(waterfall=Waterfall(), label="temperature", axis="Temperature (K)", format=["png"]), tmp_path, records)
    assert seen["title"] == "Temperature (K)"
    (note,) = finish(Paper(waterfall=Waterfall(), label="pressure", format=["png"]), tmp_path, records)
    assert "plot.label=pressure" in note
    assert seen["labels"] == ["f_0", "f_1", "f_2"]


def test_a_label_that_no_header_is_read_for_is_refused(setup: Setup) -> None:
    with pytest.raises(ConfigError, match=r"plot\.label=temprature.*source\.columns.*did you mean 'temperature'"):
        Paper(waterfall=Waterfall(), label="temprature").prepare(replace(setup, columns=["temperature"]))
    with pytest.raises(ConfigError, match="none is read"):
        Paper(waterfall=Waterfall(), label="temperature").prepare(setup)
    Paper(waterfall=Waterfall(), label="temperature").prepare(replace(setup, columns=["temperature"]))


# ---------------------------------------------------------------------------------------------------------------- run


@pytest.fixture
def run(poni: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    return lambda *words: call(f"poni={poni}", *FAST[1:], "quiet=true", *words)


@pytest.mark.slow
def test_frames_that_are_added_later_come_into_the_figure(run: Any, frames: list[Path], tmp_path: Path) -> None:
    words = ("plot=waterfall", "plot.format=[png]")
    assert run(*frames, *words, "output_dir=once").status == 0
    assert run(frames[0], *words, "output_dir=by_and_by").err.count("two patterns") == 1
    assert not (tmp_path / "by_and_by" / "figures").exists()
    assert run(*frames[1:], *words, "output_dir=by_and_by").status == 0
    assert figures(tmp_path / "by_and_by") == figures(tmp_path / "once")


@pytest.mark.slow
def test_a_run_that_is_resumed_has_the_figure_too(run: Any, frames: list[Path], tmp_path: Path) -> None:
    words = ("plot=waterfall", "plot.format=[png]", "output_dir=out")
    run(*frames, *words)
    before = figures(tmp_path / "out")
    (tmp_path / "out" / "figures" / "waterfall.png").unlink()
    assert run(*frames, *words, "resume=true").status == 0
    assert figures(tmp_path / "out") == before


@pytest.mark.slow
def test_a_figure_of_another_configuration_goes_with_its_patterns(run: Any, frames: list[Path], tmp_path: Path) -> None:
    run(*frames, "plot=waterfall", "plot.format=[png]", "output_dir=out")
    assert run(*frames, "plot=none", "mask=none", "overwrite=true", "output_dir=out").status == 0
    assert not list((tmp_path / "out" / "figures").iterdir())


def test_a_dry_run_tells_of_the_figure(run: Any, frames: list[Path]) -> None:
    assert "figures/waterfall.pdf" in run(*frames, "plot=paper", "dry_run=true").out


def test_a_figure_that_cannot_be_made_costs_no_frame(
    run: Any, frames: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> list[str]:
        raise OSError("no space left")

    monkeypatch.setattr(Paper, "_draw_waterfall", broken)
    told = run(*frames, "plot=waterfall", "output_dir=out")
    assert told.status == 0
    assert "figures/waterfall.pdf, figures/waterfall.png: could not be finished (no space left)" in told.err
    assert json.loads((tmp_path / "out" / "run.json").read_text())["status"] == "done"
    assert len(Folder(tmp_path / "out").records) == 3


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["plot.format=[gif]"], "plot.format=gif: unknown; allowed: pdf, svg, png"),
        (["plot.format=[]"], "plot.format=[]: at least one expected"),
        (["plot.width=8.5"], "plot.width=8.5: 40 to 400 mm expected"),
        (["plot.image.cmap=cividiss"], "plot.image.cmap=cividiss: no such colour map; did you mean 'cividis'?"),
        (["plot.image.scale=cubic"], "plot.image.scale=cubic: unknown; allowed: linear, sqrt, log"),
        (["plot.image.vmin=low"], "plot.image.vmin=low: a number or null expected"),
        (["plot.pattern.color=blau"], "plot.pattern.color=blau: a colour expected"),
        (["plot.pattern.linewidth=0"], "plot.pattern.linewidth=0.0: points"),
        (["plot.waterfall.offsett=3"], "plot.waterfall.offsett: no such key; did you mean 'plot.waterfall.offset'?"),
        (["plot.waterfall.lines=-1"], "plot.waterfall.lines=-1: a number >= 0 expected"),
        (["plot.label=temperature"], "plot.label=temperature: no such column"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    words: list[str], told: str, run: Any, frames: list[Path], tmp_path: Path
) -> None:
    result = run(*frames, "plot=paper", *words, "output_dir=out")
    assert result.status == 2
    assert told in result.err
    assert not (tmp_path / "out").exists()
