"""What a file says of a frame besides its pixels, and the columns that users make of it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import fabio
import h5py
import numpy as np
import pytest
import tifffile
from command import FAST, call

from xrdpipe.io.header import Header, header, parse_text, parse_value, with_check
from xrdpipe.model.errors import FrameError
from xrdpipe.model.reference import Reference

IMAGE = np.arange(12, dtype=np.int32).reshape(3, 4)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("temperature: 295.5\nsample = Ni powder", {"temperature": 295.5, "sample": "Ni powder"}),
        ('{"sample": {"temperature": 300}, "name": "a"}', {"sample.temperature": 300, "name": "a"}),
        ("# Exposure_time 1.0 s\r\n# Detector: PILATUS 1M", {"Exposure_time": 1.0, "Detector": "PILATUS 1M"}),
        ("time: 12:30", {"time": "12:30"}),
        ("no more than words", {}),
        ("[1, 2]", {}),
        ("", {}),
    ],
)
def test_a_description_is_json_or_a_key_a_line(text: str, values: dict[str, object]) -> None:
    assert parse_text(text) == values


@pytest.mark.parametrize(
    ("text", "value"),
    [("12", 12), (" 1e3 ", 1000.0), ("-.5", -0.5), ("1_0", "1_0"), ("nan", "nan"), ("295 K", "295 K")],
)
def test_a_number_is_what_looks_like_one(text: str, value: object) -> None:
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


def read(path: Path) -> dict[str, object]:
    return dict(header(Reference("a", path)))


def test_headers_of_edf_cbf_and_tiff_are_read(tmp_path: Path) -> None:
    motors = {"motor_mne": "dx dy", "motor_pos": "1.5 2", "temperature": "295.5"}
    fabio.edfimage.EdfImage(data=IMAGE, header=motors).write(str(tmp_path / "a.edf"))
    edf = read(tmp_path / "a.edf")
    assert (edf["temperature"], edf["dx"], edf["dy"], edf["Dim_1"]) == (295.5, 1.5, 2, 4)
    fabio.cbfimage.CbfImage(data=IMAGE, header={"temperature": "295.5"}).write(str(tmp_path / "a.cbf"))
    assert read(tmp_path / "a.cbf")["temperature"] == 295.5
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, description="temperature: 295.5", software="camera", metadata=None)
    tiff = read(tmp_path / "a.tif")
    assert (tiff["temperature"], tiff["Software"], tiff["ImageWidth"]) == (295.5, "camera", 4)


def test_a_key_is_found_whatever_its_case_and_by_the_end_of_its_path(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, description="Temperature: 1\ntemperature: 2\nI0: 7", metadata=None)
    found = header(Reference("a", tmp_path / "a.tif"))
    assert (found["temperature"], found["Temperature"], found["i0"]) == (2, 1, 7)
    with pytest.raises(KeyError, match="which of"):
        found["TEMPERATURE"]
    assert "Temperature" in found.missing("temperatur")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/sample/temperature"] = 295.5
        file["entry/title"] = "nickel"
        file["entry/data/image"] = IMAGE
    inside = header(Reference("a", tmp_path / "a.h5"))
    assert (inside["/entry/sample/temperature"], inside["temperature"], inside["title"]) == (295.5, 295.5, "nickel")
    with pytest.raises(KeyError, match="did you mean 'temperature'"):
        inside["/entry/sample/temperatur"]


def test_what_has_no_header_has_an_empty_one(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", IMAGE)
    (tmp_path / "a.tif").write_bytes(b"II*\0nothing")
    assert read(tmp_path / "a.npy") == read(tmp_path / "a.tif") == read(tmp_path / "no.edf") == {}
    assert dict(header(Reference("a", Path("a"), IMAGE))) == {}


@pytest.fixture
def heated(frames: list[Path], poni: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Three frames, of which two know their temperature."""
    for number, path in enumerate(frames):
        text = f"temperature: {300 + 10 * number}" if number else "nothing: 1"
        tifffile.imwrite(path, tifffile.imread(path), description=text, metadata=None)
    monkeypatch.chdir(tmp_path)
    return frames


RUN = ("poni=data/tiny.poni", "data/ni_*.tiff", *FAST)


@pytest.mark.slow
def test_values_that_the_user_names_become_columns(heated: list[Path]) -> None:
    told = call(*RUN, "source.columns=[temperature]", "output_dir=out")
    assert told.status == 0
    with open("out/summary.csv") as file:
        assert [row["temperature"] for row in csv.DictReader(file)] == ["", "310", "320"]
    run = json.loads(Path("out/run.json").read_text())
    assert [image["columns"] for image in run["images"]] == [{"temperature": value} for value in (None, 310, 320)]
    assert told.err.count("source.columns=temperature: data/ni_1.tiff") == 1
    assert "source.columns=temperature: empty for 1 of 3 frames" in told.err


def test_a_column_that_no_frame_has_is_told_with_the_nearest_names(heated: list[Path]) -> None:
    told = call(*RUN[:1], *heated[1:], *FAST, "source.columns=[temprature]", "output_dir=out")
    assert told.status == 0
    assert "the nearest are temperature" in told.err
    assert "empty for all frames" in told.err


@pytest.mark.parametrize("name", ["status", "masked_edge", "seconds_mask", "spottiness", "hash", ""])
def test_a_column_that_is_there_already_is_refused(name: str, heated: list[Path]) -> None:
    told = call(*RUN, f"source.columns=['{name}']", "output_dir=out")
    assert told.status == 2
    assert "source.columns=" in told.err
    assert not Path("out").exists()


def test_columns_are_no_part_of_a_results_identity(heated: list[Path]) -> None:
    assert call(*RUN, "output_dir=out").status == 0
    assert call(*RUN, "source.columns=[temperature]", "output_dir=more").status == 0
    assert Path("out/ni_2.chi").read_bytes() == Path("more/ni_2.chi").read_bytes()


def test_columns_can_be_added_to_a_run_that_goes_on(heated: list[Path]) -> None:
    assert call(*RUN, "output_dir=out").status == 0
    told = call(*RUN, "source.columns=[temperature]", "output_dir=out", "resume=true")
    assert "3 of 3 images were done before" in told.err
    with open("out/summary.csv") as file:
        assert [row["temperature"] for row in csv.DictReader(file)] == ["", "310", "320"]


def test_a_header_that_is_read_late_is_checked_to_be_that_of_the_frame() -> None:
    def changed() -> None:
        raise FrameError("it changed while it was read")

    read = Header(lambda: {"Monitor": 3})
    assert with_check(read, lambda: None)["monitor"] == 3
    late = with_check(read, changed)
    with pytest.raises(FrameError, match="changed"):
        late["Monitor"]
