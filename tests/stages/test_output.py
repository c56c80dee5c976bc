"""What the files of a frame say."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from xrdpipe.io.formats import chi_text
from xrdpipe.model.errors import ConfigError
from xrdpipe.model.frame import Frame, Info, Results
from xrdpipe.model.pattern import Pattern
from xrdpipe.stages.output import Output
from xrdpipe.stages.source import Source
from xrdpipe.stages.stage import Setup

IMAGE = np.zeros((120, 100), np.float32)
AXIS = np.array([0.5, 1.0, 1.5])
PATTERN = Pattern(AXIS, np.array([1.0, np.nan, 3.0]), None, "q_A^-1", method="the method")


def table(text: str) -> np.ndarray:
    return np.atleast_2d(np.loadtxt(text.splitlines(), comments="#"))


def test_two_columns_and_three_with_sigma() -> None:
    assert table(chi_text(PATTERN, {})).shape == (2, 2)
    assert table(chi_text(replace(PATTERN, sigma=np.array([0.1, np.nan, 0.3])), {})).tolist() == [
        [0.5, 1.0, 0.1],
        [1.5, 3.0, 0.3],
    ]


def test_a_bin_without_a_pixel_has_no_row_and_a_zero_has_one() -> None:
    text = chi_text(replace(PATTERN, intensity=np.array([np.nan, 0.0, -2.0])), {})
    assert table(text).tolist() == [[1.0, 0.0], [1.5, -2.0]]
    assert "nan" not in text


def test_rows_are_14_6e() -> None:
    rows = [line for line in chi_text(PATTERN, {}).splitlines() if not line.startswith("#")]
    assert rows == ["  5.000000e-01   1.000000e+00", "  1.500000e+00   3.000000e+00"]


@pytest.mark.parametrize("sigma", [None, AXIS])
def test_the_last_header_line_names_the_columns_above_them(sigma: np.ndarray | None) -> None:
    lines = chi_text(replace(PATTERN, sigma=sigma), {"program": "x"}).splitlines()
    header = [line for line in lines if line.startswith("#")]
    assert lines[: len(header)] == header
    assert header[-1].lstrip("# ").split() == ["q_A^-1", "intensity", "sigma"][: 2 if sigma is None else 3]
    assert len(header[-1]) == len(lines[-1])


finite = st.floats(-1e30, 1e30, allow_subnormal=False).filter(lambda x: x == 0 or abs(x) > 1e-30)


@given(arrays(np.float64, 7, elements=finite), arrays(np.float64, 7, elements=finite | st.just(np.nan)), st.booleans())
def test_numbers_come_back_to_seven_digits(radial: np.ndarray, intensity: np.ndarray, with_sigma: bool) -> None:
    pattern = Pattern(radial, intensity, np.abs(radial) if with_sigma else None, "r_mm")
    kept = ~np.isnan(intensity)
    text = chi_text(pattern, {"a": "b"})
    if not kept.any():
        assert all(line.startswith("#") for line in text.splitlines())
        return
    expected = np.column_stack([radial, intensity, np.abs(radial)][: 3 if with_sigma else 2])[kept]
    expected = expected[np.argsort(expected[:, 0], kind="stable")]
    np.testing.assert_allclose(table(text), expected, rtol=1e-6, atol=0)


@settings(suppress_health_check=[HealthCheck.too_slow])  # the first text takes seconds
@given(st.dictionaries(st.text("abc", min_size=1), st.text() | st.lists(st.text()), max_size=4))
def test_whatever_the_header_says_it_stays_a_header(provenance: dict[str, object]) -> None:
    text = chi_text(PATTERN, provenance)
    assert table(text).tolist() == [[0.5, 1.0], [1.5, 3.0]]
    assert sum(line.startswith("# ") for line in text.split("\n")) == len(provenance) + 1


def test_json_in_the_header_is_one_line_that_reads_back() -> None:
    config = {"mask": {"alpha": 2.0, "file": None}, "integ": {"method": ["full", "csr"]}}
    line = next(line for line in chi_text(PATTERN, {"config": config}).splitlines() if line.startswith("# config: "))
    assert json.loads(line.removeprefix("# config: ")) == config


def test_the_header_has_provenance_method_and_image_but_no_time_host_or_folder(setup: Setup, tmp_path: Path) -> None:
    setup = replace(setup, provenance={"program": "xrdpipe 1, pyFAI 2", "poni": "g.poni xxh128:0"})
    Output().prepare(setup)(Frame("a", IMAGE, results=Results(PATTERN), info=Info("a.tiff", "xxh128:abc")))
    lines = (tmp_path / "out" / "a.chi").read_text().splitlines()
    assert lines[:4] == [
        "# program: xrdpipe 1, pyFAI 2",
        "# poni: g.poni xxh128:0",
        "# method: the method",
        "# image: a.tiff xxh128:abc",
    ]
    assert str(tmp_path) not in "\n".join(lines)
    assert os.uname().nodename not in "\n".join(lines)


def test_the_same_pattern_gives_the_same_bytes(setup: Setup, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        Output(mask=True).prepare(replace(setup, folder=tmp_path / folder))(Frame("a", IMAGE, results=Results(PATTERN)))
    for name in ("a.chi", "masks/a.npy"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_mask_on_disk_is_in_the_orientation_of_the_raw_file(setup: Setup, tmp_path: Path) -> None:
    source = Source(transform=["rot90", "flipud"])
    raw = np.zeros((100, 120), np.uint8)
    raw[:10, 50:] = 1
    turned = replace(setup, read=source.read, to_raw=source.to_raw)
    frame = Frame("a", IMAGE, mask=np.ascontiguousarray(source.to_frame(raw)), results=Results(PATTERN))
    Output(mask=True).prepare(turned)(frame)
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "masks" / "a.npy"), raw)
    assert frame.mask is not None
    np.testing.assert_array_equal(source.read(tmp_path / "out" / "masks" / "a.npy"), frame.mask)  # as mask.file


def test_a_mask_on_disk_is_uint8_with_1_for_every_pixel_that_does_not_count(setup: Setup, tmp_path: Path) -> None:
    mask = np.zeros(IMAGE.shape, np.uint8)
    mask[6, 6], mask[7, 7] = 1, 4
    Output(mask=True).prepare(setup)(Frame("a", IMAGE, mask=mask, results=Results(PATTERN)))
    saved = np.load(tmp_path / "out" / "masks" / "a.npy", allow_pickle=False)
    assert saved.dtype == np.uint8
    assert np.argwhere(saved == 1).tolist() == [[6, 6], [7, 7]]
    assert saved.sum() == 2


def test_only_what_is_asked_for_is_written_and_nothing_is_left_beside_it(setup: Setup, tmp_path: Path) -> None:
    frame = Frame("a", IMAGE, results=Results(PATTERN))
    Output().prepare(setup)(frame)
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["a.chi"]
    Output(mask=True).prepare(setup)(frame)
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == ["a.chi", "a.npy", "masks"]
    assert (Output().writes("a"), Output(mask=True).writes("a")) == (["a.chi"], ["a.chi", "masks/a.npy"])


def test_without_a_folder_nothing_is_written(setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    Output(mask=True).prepare(replace(setup, folder=None))(Frame("a", IMAGE, results=Results(PATTERN)))
    assert sorted(tmp_path.rglob("*")) == before


def test_an_unknown_format_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"format=chii.*'chi'"):
        Output(format="chii")
