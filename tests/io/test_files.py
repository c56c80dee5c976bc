"""Which frames are in a file, how one is read, what it is called; and runs over stacks."""

from __future__ import annotations

from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest
from hdf5_files import IMAGES, arrays, eiger, numbers

from xrdpipe.io import files, hdf5
from xrdpipe.io.header import header
from xrdpipe.io.paths import split_path
from xrdpipe.model.errors import ConfigError, FrameError


def test_an_eiger_master_is_its_series_whatever_the_compression(tmp_path: Path) -> None:
    path = eiger(tmp_path, **hdf5plugin.Bitshuffle(cname="lz4"))
    assert numbers(path) == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(arrays(path), IMAGES)
    assert files.read(files.list_frames(path).references[3])[0].dtype == np.uint32


def test_a_data_file_that_is_missing_is_named_and_its_frames_are_left_out(tmp_path: Path) -> None:
    path = eiger(tmp_path)
    (tmp_path / "scan_data_000003.h5").unlink()
    content = files.list_frames(path)
    assert len(content.references) == 4
    assert "scan_data_000003.h5, which is not there" in content.notes[0]
    np.testing.assert_array_equal(arrays(path), IMAGES[:4])


def test_the_default_plot_of_nexus_comes_before_what_is_larger(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.nxs", "w") as file:
        file["entry/larger"] = np.zeros((9, 40, 50))
        file["entry/measured/frames"] = IMAGES
        file["entry/shown/signal"] = h5py.SoftLink("/entry/measured/frames")
        file.attrs["default"] = "entry"
        file["entry"].attrs["default"] = "shown"
        file["entry/shown"].attrs["signal"] = "signal"
    np.testing.assert_array_equal(arrays(tmp_path / "a.nxs"), IMAGES)


def test_without_a_default_the_largest_stack_is_taken_and_a_rival_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["flat"] = np.zeros((100, 100))
        file["spectra"] = np.zeros((1000, 4))
        file["x/images"] = IMAGES
        file["x/again"] = h5py.SoftLink("/x/images")
    content = files.list_frames(tmp_path / "a.h5")
    assert (len(content.references), content.notes) == (6, ())
    files.forget_files()
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["x/others"] = IMAGES
    assert "/x/others has the same shape" in files.list_frames(tmp_path / "a.h5").notes[0]


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        ("::/entry/data/data_*", [0, 1, 2, 3, 4, 5]),
        ("::/entry/data/data_000002", [0, 1]),
        ("::/entry/data/data_*[1:3]", [1, 2]),
        ("::[2:]", [2, 3, 4, 5]),
        ("::[::2]", [0, 2, 4]),
        ("::[-2:]", [4, 5]),
        ("::[3]", [3]),
        ("::[-1]", [5]),
        ("::", [0, 1, 2, 3, 4, 5]),
    ],
)
def test_a_dataset_and_a_slice_can_be_named(tail: str, expected: list[int], tmp_path: Path) -> None:
    path = eiger(tmp_path)
    assert numbers(f"{path}{tail}") == expected


@pytest.mark.parametrize("tail", ["::data", "::[1:2:3:4]", "::[a]", "::/a[1", "::[]"])
def test_what_is_neither_dataset_nor_slice_is_refused(tail: str) -> None:
    with pytest.raises(ConfigError, match=r"after :: the path of a dataset"):
        split_path(f"a.h5{tail}") if tail != "::/a[1" else split_path("a.h5::[1")


def test_a_slice_without_frames_is_refused_and_a_frame_that_is_not_there_fails(tmp_path: Path) -> None:
    path = eiger(tmp_path)
    with pytest.raises(ConfigError, match="none of the 6 frames"):
        files.list_frames(f"{path}::[6:]")
    (missing,) = files.list_frames(f"{path}::[6]").references
    with pytest.raises(FrameError, match="no frame 6"):
        files.read(missing)


def test_a_dataset_of_more_dimensions_is_a_row_of_frames(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["map"] = IMAGES.reshape(2, 3, 20, 30)
        file["one"] = IMAGES[4]
    np.testing.assert_array_equal(arrays(tmp_path / "a.h5"), IMAGES)
    assert numbers(f"{tmp_path}/a.h5::/one") == [None]
    np.testing.assert_array_equal(arrays(f"{tmp_path}/a.h5::/one")[0], IMAGES[4])


def test_a_virtual_dataset_is_read_and_what_it_lacks_is_told(tmp_path: Path) -> None:
    layout = h5py.VirtualLayout((6, 20, 30), np.uint32)
    for at in range(3):
        with h5py.File(tmp_path / f"part_{at}.h5", "w") as file:
            file["data"] = IMAGES[2 * at : 2 * at + 2]
        layout[2 * at : 2 * at + 2] = h5py.VirtualSource(f"part_{at}.h5", "data", (2, 20, 30))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("entry/data", layout)
    np.testing.assert_array_equal(arrays(tmp_path / "a.h5"), IMAGES)
    files.forget_files()
    (tmp_path / "part_1.h5").unlink()
    content = files.list_frames(tmp_path / "a.h5")
    assert [each.index for each in content.references] == [0, 1, 4, 5]
    assert "4 of 6 frames" in content.notes[0]


@pytest.mark.parametrize("chunks", [(1, 20, 30), (2, 20, 30), (1, 7, 11)])
def test_frames_that_were_not_written_yet_are_left_out(chunks: tuple[int, ...], tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("data", (6, 20, 30), np.uint32, chunks=chunks)
        data[:4] = IMAGES[:4]
    content = files.list_frames(tmp_path / "a.h5")
    assert [each.index for each in content.references] == [0, 1, 2, 3]
    assert "4 of 6 frames" in content.notes[0]
    np.testing.assert_array_equal(arrays(tmp_path / "a.h5"), IMAGES[:4])


def test_values_of_each_frame_and_of_the_file_are_its_header(tmp_path: Path) -> None:
    found = [header(each) for each in files.list_frames(eiger(tmp_path)).references]
    assert [each["/entry/sample/temperature"] for each in found] == [300, 301, 302, 303, 304, 305]
    assert {each["count_time"] for each in found} == {0.5}
    assert header(files.list_frames(f"{tmp_path}/scan_master.h5::[4]").references[0])["temperature"] == 304


def test_the_detectors_own_mask_is_found(tmp_path: Path) -> None:
    path = eiger(tmp_path)
    mask = hdf5.pixel_mask(path, (20, 30))
    assert mask is not None
    assert (mask.dtype, mask.sum(), mask[3, 4]) == (np.uint32, 1, 1)
    assert hdf5.pixel_mask(path, (30, 20)) is None
