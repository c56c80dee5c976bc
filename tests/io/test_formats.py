"""Text formats: what stands in the files, and that programs and libraries that use them read the same numbers."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import FAST, call, tree
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import xrdpipe
from xrdpipe.io.formats import FORMATS, format_of, fxye_text, read_pattern
from xrdpipe.model.errors import ConfigError, FrameError
from xrdpipe.model.frame import Frame, Results
from xrdpipe.model.pattern import Pattern
from xrdpipe.stages.integ.integ import Integ
from xrdpipe.stages.output import Output

ALL = list(FORMATS)
DIGITS = dict.fromkeys(ALL, 5e-07) | dict.fromkeys(["xy", "csv", "xye", "xye_topas", "chi_fit2d"], 5e-8)
AXIS = np.linspace(1.5, 13.5, 25)
VALUES = np.concatenate([[np.nan] * 3, np.geomspace(1e-4, 1e6, 20), [np.nan] * 2])
PATTERN = Pattern(AXIS, VALUES, np.sqrt(VALUES), "2th_deg")
FILLED = slice(3, 23)
HEADER = {"program": "xrdpipe 1", "config": {"integ": {"unit": "2th_deg"}}, "image": "my frame 1.tiff xxh128:0"}


def write(folder: Path, name: str, pattern: Pattern = PATTERN, header: dict[str, Any] | None = None) -> Path:
    path = folder / f"f{FORMATS[name].suffix}"
    path.write_text(FORMATS[name].text(pattern, HEADER if header is None else header))
    return path


def agree(found: Any, expected: Any, name: str) -> None:
    np.testing.assert_allclose(found, expected, rtol=DIGITS[name], atol=0)


# ------------------------------------------------------------------------------------------------- what stands in them


@pytest.mark.parametrize("name", ALL)
def test_every_line_ends_and_no_number_is_missing(name: str) -> None:
    text = FORMATS[name].text(PATTERN, HEADER)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert "nan" not in text
    assert "\r" not in text


@pytest.mark.parametrize("name", ALL)
def test_rows_are_in_the_order_of_the_axis_and_none_is_empty(name: str) -> None:
    _, table = FORMATS[name].read(FORMATS[name].text(PATTERN, HEADER))
    assert len(table) == 20
    assert (np.diff(table[:, 0]) > 0).all()


def test_a_falling_axis_is_turned_round() -> None:
    turned = replace(PATTERN, radial=AXIS[::-1])
    _, table = FORMATS["xy"].read(FORMATS["xy"].text(turned, {}))
    assert (np.diff(table[:, 0]) > 0).all()
    assert table[0, 1] == 1e6


def test_xy_has_two_columns_whatever_there_is_and_xye_nothing_but_numbers() -> None:
    assert len(FORMATS["xy"].text(PATTERN, HEADER).splitlines()[-1].split()) == 2
    lines = FORMATS["xye"].text(PATTERN, HEADER).splitlines()
    assert [len([float(word) for word in line.split()]) for line in lines] == [3] * 20


def test_csv_names_its_columns() -> None:
    rows = list(csv.reader(io.StringIO(FORMATS["csv"].text(PATTERN, HEADER))))
    assert rows[0] == ["2th_deg", "intensity", "sigma"]
    assert rows[1][0] == "3.0000000e+00"
    bare = FORMATS["csv"].text(replace(PATTERN, sigma=None), HEADER)
    assert bare.startswith("2th_deg,intensity\n")


def test_fit2d_has_four_lines_of_words() -> None:
    lines = FORMATS["chi_fit2d"].text(PATTERN, HEADER).splitlines()
    assert lines[:3] == ["my_frame_1.tiff", "2-Theta Angle (Degrees)", "Intensity"]
    assert int(lines[3]) == len(lines) - 4 == 20


def test_topas_comments_begin_with_an_apostrophe() -> None:
    lines = FORMATS["xye_topas"].text(PATTERN, HEADER).splitlines()
    assert [line[0] for line in lines[:4]] == ["'"] * 4
    assert all(len(line.split()) == 3 for line in lines[4:])


@pytest.mark.parametrize(("unit", "to_degrees"), [("2th_deg", 1), ("2th_rad", np.degrees(1))])
def test_fxye_is_in_centidegrees_with_the_step_in_its_bank(unit: str, to_degrees: float) -> None:
    lines = FORMATS["fxye"].text(replace(PATTERN, radial=AXIS / to_degrees, unit=unit), HEADER).splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("BANK"))
    bank = lines[at].split()
    assert bank[:5] == ["BANK", "1", "20", "20", "CONS"]
    assert bank[7:] == ["0", "0", "FXYE"]
    start, step = float(bank[5]), float(bank[6])
    x = np.array([float(line.split()[0]) for line in lines[at + 1 :]])
    np.testing.assert_allclose(x, AXIS[FILLED] * 100, rtol=1e-8)
    np.testing.assert_allclose(x, start + step * np.arange(20), atol=1e-5)
    assert lines[0] == "my frame 1.tiff"
    assert all(line.startswith("# ") for line in lines[1:at])


def test_fxye_has_no_gaps_and_one_step() -> None:
    gap = VALUES.copy()
    gap[[10, 11]] = np.nan
    with pytest.raises(FrameError, match=r"2 bins without a pixel, the first at 2theta 6.5.*integ.npt"):
        fxye_text(replace(PATTERN, intensity=gap), HEADER)
    with pytest.raises(FrameError, match="not equally wide"):
        fxye_text(replace(PATTERN, radial=AXIS**2), HEADER)
    with pytest.raises(FrameError, match="fewer than two"):
        fxye_text(replace(PATTERN, intensity=np.full(25, np.nan)), HEADER)


@pytest.mark.parametrize("name", ["chi", "xy", "xye_topas", "fxye", "chi_fit2d"])
@given(image=st.text(st.characters(exclude_categories=["Cs"])))
def test_whatever_an_image_is_called_the_numbers_stay_numbers(name: str, image: str) -> None:
    text = FORMATS[name].text(PATTERN, {"image": f"{image} xxh128:0", "program": "x"})
    _, table = FORMATS[name].read(text)
    assert len(table) == 20


# ------------------------------------------------------------------------------------------------- read again

numbers = st.floats(1e-20, 1e20)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
@given(intensity=arrays(np.float64, 9, elements=numbers), sigma=arrays(np.float64, 9, elements=numbers))
def test_numbers_come_back_within_the_printed_digits(name: str, intensity: Any, sigma: Any) -> None:
    form, axis = FORMATS[name], AXIS[:9]
    unit, table = form.read(form.text(Pattern(axis, intensity, sigma, "2th_deg"), HEADER))
    assert unit == ("" if name == "xye" else "2th_deg")
    for column, expected in zip(table.T, (axis, intensity, sigma), strict=False):
        agree(column, expected, name)


@pytest.mark.parametrize("name", ALL)
def test_the_report_finds_the_pattern_in_whatever_was_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"config": {"integ": {"unit": "2th_deg"}}}))
    write(tmp_path, name)
    found = read_pattern(tmp_path, "f")
    assert found is not None
    assert found.unit == "2th_deg"
    agree(found.radial, AXIS[FILLED], name)
    agree(found.intensity, VALUES[FILLED], name)
    assert read_pattern(tmp_path, "g") is None
    assert read_pattern(tmp_path, f"../{tmp_path.name}/f") is None


def test_a_file_tells_its_format_by_its_name() -> None:
    assert format_of("a_fit2d.chi") is FORMATS["chi_fit2d"]
    assert format_of("a.chi") is FORMATS["chi"]
    assert format_of("a.npy") is None
    assert len({form.suffix for form in FORMATS.values()}) == len(FORMATS)


# ------------------------------------------------------------------------------------------------- read by others


@pytest.mark.parametrize("name", ["chi", "xy", "xye", "chi_fit2d"])
def test_dioptas_reads_it(tmp_path: Path, name: str) -> None:
    xypattern = pytest.importorskip("xypattern", reason="xypattern, which reads patterns for Dioptas, is not installed")
    pattern = xypattern.Pattern.from_file(str(write(tmp_path, name)))
    agree(pattern.x, AXIS[FILLED], name)
    agree(pattern.y, VALUES[FILLED], name)


@pytest.mark.parametrize("name", ["chi", "xy", "xye", "xye_topas", "chi_fit2d", "fxye"])
def test_diffpy_reads_it(tmp_path: Path, name: str) -> None:
    parsers = pytest.importorskip("diffpy.utils.parsers", reason="diffpy.utils is not installed")
    columns = np.transpose(parsers.load_data(str(write(tmp_path, name))))
    factor = 100 if name == "fxye" else 1
    for column, expected in zip(columns, (factor * AXIS, PATTERN.intensity, PATTERN.sigma), strict=False):
        agree(column, expected[FILLED], name)  # type: ignore[index]


def test_pandas_reads_csv(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    table = pandas.read_csv(write(tmp_path, "csv"))
    assert list(table.columns) == ["2th_deg", "intensity", "sigma"]
    agree(table["sigma"], PATTERN.sigma[FILLED], "csv")  # type: ignore[index]


@pytest.mark.parametrize("name", ["chi", "xy", "xye", "csv"])
def test_numpy_reads_it(tmp_path: Path, name: str) -> None:
    words = {"delimiter": ",", "skiprows": 1} if name == "csv" else {}
    table = np.loadtxt(write(tmp_path, name), **words)  # type: ignore[call-overload]
    agree(table[:, 1], VALUES[FILLED], name)


# ------------------------------------------------------------------------------------------------- in a run


@pytest.fixture
def here(frames: list[Path], poni: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


WORDS = ("poni=data/tiny.poni", "data/ni_1.tiff", *FAST, "mask.edge=0")
RADIAL = "integ.radial_range=[1,6]"


@pytest.mark.slow
def test_all_formats_at_once_hold_the_same_pattern(here: Path) -> None:
    run = xrdpipe.integrate(
        "data/tiny.poni",
        "data/ni_1.tiff",
        integ=("two_theta", {"npt": 60, "error_model": "poisson", "radial_range": [2, 6]}),
        output={"format": [*ALL, "nxs"]},
        plot="none",
        output_dir="out",
    )
    pattern = run.patterns["ni_1"]
    for name in ALL:
        path = here / "out" / f"ni_1{FORMATS[name].suffix}"
        _, table = FORMATS[name].read(path.read_text())
        for column, expected in zip(table.T, (pattern.radial, pattern.intensity, pattern.sigma), strict=False):
            agree(column, expected[~np.isnan(pattern.intensity)], name)  # type: ignore[index]
    assert set(run.frames[0].outputs) == {f"ni_1{form.suffix}" for form in FORMATS.values()}
    assert call("replay", "out").out.count("identical: 8 of 8") == 1


@pytest.mark.parametrize("name", ["xye", "xye_topas", "fxye"])
def test_a_format_with_sigma_is_refused_where_there_is_none_with_the_way_out(here: Path, name: str) -> None:
    before = tree(here)
    told = call(*WORDS, "integ=two_theta", f"output.format=[chi,{name}]", "output_dir=out")
    assert told.status == 2
    assert f"output.format={name}" in told.err
    assert "integ.error_model=poisson" in told.err
    assert "output.format=xy" in told.err
    assert tree(here) == before


def test_fxye_is_refused_for_another_axis_than_2theta(here: Path) -> None:
    told = call(*WORDS, "output.format=fxye", "integ.error_model=poisson", "output_dir=out")
    assert told.status == 2
    assert "integ.unit=2th_deg" in told.err


def test_a_stage_that_does_not_say_its_columns_is_asked_frame_by_frame(here: Path) -> None:
    assert Integ(error_model="poisson").makes.columns == ("q_A^-1", "intensity", "sigma")
    frame = Frame("f", np.zeros((2, 2), np.float32), results=Results(replace(PATTERN, sigma=None)))
    with pytest.raises(FrameError, match=r"no sigma.*integ.error_model=poisson"):
        FORMATS["xye"].text(frame.pattern, {})  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["nope", ["chi", "chi"], [], 3, None, [["chi"]]])
def test_what_is_no_format_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="format="):
        Output(format=value)


@pytest.mark.slow
def test_two_frames_never_share_a_file(here: Path) -> None:
    (here / "data" / "ni_1_fit2d.tiff").write_bytes((here / "data" / "ni_1.tiff").read_bytes())
    words = (*WORDS, "data/ni_1_fit2d.tiff", "output_dir=out")
    told = call(*words, "output.format=[chi,chi_fit2d]")
    assert told.status == 2
    assert "ni_1_fit2d.chi" in told.err
    assert call(*words, "output.format=chi").status == 0


def test_a_frame_that_a_format_cannot_hold_leaves_no_file(here: Path) -> None:
    words = ("integ=two_theta", "integ.npt=3000", "integ.method=[no,csr,cython]", "integ.error_model=poisson")
    told = call(*WORDS, *words, "output.format=[chi,fxye]", "output_dir=out")
    assert told.status == 1
    assert "bins without a pixel" in told.err
    assert not list((here / "out").glob("ni_1*"))


@pytest.mark.parametrize("form", ["xy", "nxs", "xye", "csv"])
def test_a_report_draws_a_run_without_chi(here: Path, form: str) -> None:
    assert call(*WORDS, f"output.format={form}", "integ.error_model=poisson", "output_dir=out").status == 0
    from xrdpipe.stages.plot.preview import small_patterns

    shown, drawn, _ = small_patterns(here / "out", ["ni_1"], [0])
    assert shown == [0]
    assert drawn["axis"] == "q (Å⁻¹)"
