"""`xrdpipe inspect` says what is in a file."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from command import call
from PIL import Image

from xrdpipe.cli.inspect import inspect, thumbnail


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two frames in an HDF5 file, with a blank, a pixel mask, a monitor and a pixel without a count."""
    monkeypatch.chdir(tmp_path)
    images = np.arange(24000, dtype=np.uint16).reshape(2, 120, 100)
    images[0, 5, 5] = 65535
    with h5py.File("scan.h5", "w") as file:
        file["entry/data/data"] = images
        file["entry/blank"] = images[0]
        file["entry/monitor"] = [7.5, 8.5]
        file["entry/detector/pixel_mask"] = np.eye(120, 100, dtype=np.uint32)
    return tmp_path / "scan.h5"


def test_a_stack_is_described_with_all_its_datasets(stack: Path) -> None:
    seen = inspect(stack)
    assert (seen.count, seen.image.shape, seen.image.dtype) == (2, (120, 100), np.uint16)
    assert seen.used == "/entry/data/data"
    assert seen.datasets == {
        "/entry/data/data": "2 x 120 x 100 uint16",
        "/entry/blank": "120 x 100 uint16",
        "/entry/detector/pixel_mask": "120 x 100 uint32",
    }
    assert seen.masked == 100
    assert seen.header == {"/entry/monitor": 7.5}
    assert seen.statistics["largest"] == 11999  # without the sentinel
    assert seen.statistics["percentile 50"] == pytest.approx(6000, abs=1)
    assert seen.statistics["pixels, the largest number of the type"] == 1


def test_the_command_tells_all_and_names_what_cannot_be_read(stack: Path) -> None:
    tifffile.imwrite("a.tif", np.full((9, 8), -1.5, np.float32), description="temperature: 300", metadata=None)
    told = call("inspect", "scan.h5::[1]", "nowhere.tif", "a.tif")
    assert told.status == 1
    assert told.err == "xrdpipe: nowhere.tif: no such file\n"
    for words in ("120 x 100", "uint16", "/entry/data/data", "/entry/monitor: 8.5", "9 x 8", "temperature: 300"):
        assert words in told.out
    assert "pixels, below zero: 72" in told.out


def test_a_thumbnail_is_written_on_request_only(stack: Path) -> None:
    assert call("inspect", "scan.h5").status == 0
    assert not list(Path().glob("*.png"))
    for word, path in (
        ("true", "scan_0000_thumbnail.png"),
        ("small", "small/scan_0000_thumbnail.png"),
        ("a.png", "a.png"),
    ):
        assert call("inspect", "scan.h5", f"thumbnail={word}").status == 0
        with Image.open(path) as picture:
            assert max(picture.size) <= 300
    assert thumbnail(inspect(stack)) == Path("a.png").read_bytes()


@pytest.mark.parametrize("words", [(), ("thumbnail=true",), ("scan.h5", "colour=red"), ("scan.h5::data",)])
def test_a_request_that_makes_no_sense_is_refused(words: tuple[str, ...], stack: Path) -> None:
    told = call("inspect", *words)
    assert told.status == 2
    assert len(told.err.splitlines()) == 1


def test_a_frame_of_true_and_false_has_numbers_too(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.eye(4, dtype=bool))
    seen = inspect(tmp_path / "a.npy")
    assert (seen.statistics["largest"], seen.statistics["mean"]) == (1, 0.25)
