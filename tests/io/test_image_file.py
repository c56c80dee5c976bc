"""Which frames are in a file, how one is read, what it is called; and runs over stacks."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import fabio
import numpy as np
import pytest
import tifffile
from fabio.cbfimage import CbfImage
from fabio.edfimage import EdfImage
from hdf5_files import IMAGES, Images, arrays, numbers
from hypothesis import given, settings
from hypothesis import strategies as st

from xrdpipe.io import files
from xrdpipe.io.header import header
from xrdpipe.model.errors import FrameError
from xrdpipe.model.reference import Reference


def write_edf(path: Path) -> None:
    image = fabio.edfimage.EdfImage(data=IMAGES[0].astype(np.int32), header={"temperature": "300"})
    for number, each in enumerate(IMAGES[1:], 301):
        image.append_frame(data=each.astype(np.int32), header={"temperature": str(number)})
    image.write(str(path))


def write_tiff(path: Path) -> None:
    with tifffile.TiffWriter(path) as file:
        for number, each in enumerate(IMAGES, 300):
            file.write(each, contiguous=False, description=f"temperature: {number}", metadata=None)


@pytest.mark.parametrize(("write", "suffix"), [(write_edf, "edf"), (write_tiff, "tif")])
def test_files_of_several_frames_give_each_with_its_header(write: Any, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    write(path)
    np.testing.assert_array_equal(arrays(path), IMAGES)
    found = files.list_frames(path).references
    assert [header(each)["temperature"] for each in found] == [300, 301, 302, 303, 304, 305]
    assert numbers(f"{path}::[1:3]") == [1, 2]


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"byteorder": ">"}, {"compression": "zlib"}])
def test_pages_of_tiffs_of_every_layout_are_frames(options: dict[str, Any], tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", IMAGES, photometric="minisblack", **options)
    np.testing.assert_array_equal(arrays(tmp_path / "a.tif"), IMAGES)
    np.save(tmp_path / "a.npy", IMAGES)
    np.testing.assert_array_equal(arrays(tmp_path / "a.npy"), IMAGES)


def test_a_truncated_tiff_gives_its_whole_pages_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write_tiff(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    content = files.list_frames(path)
    assert 0 < len(content.references) < 6
    assert "truncated" in content.notes[0]
    np.testing.assert_array_equal(arrays(path), IMAGES[: len(content.references)])


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # fabio leaves files open that it cannot read
@given(st.sampled_from([b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"]), st.binary(max_size=60), st.integers(0, 40))
@settings(max_examples=50)
def test_a_tiff_of_nonsense_is_a_frame_that_fails(start: bytes, rest: bytes, at: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.tif")
        path.write_bytes(start + at.to_bytes(4, "little") + rest)
        for reference in files.list_frames(path).references:
            with pytest.raises(FrameError):
                files.read(reference)


def test_a_number_of_thousands_of_digits_is_no_size(tmp_path: Path) -> None:
    (tmp_path / "a.edf").write_bytes(b"{\nDim_1 = 5 ;\nDim_2 = 5 ;\nSize = " + b"9" * 5000 + b" ;\n}\n" + bytes(50))
    (reference,) = files.list_frames(tmp_path / "a.edf").references
    with pytest.raises(FrameError, match="fabio"):
        files.read(reference)


def test_a_number_of_dimensions_that_never_ends_is_refused(tmp_path: Path) -> None:
    EdfImage(data=IMAGES[0]).write(str(tmp_path / "a.edf"))
    content = (tmp_path / "a.edf").read_bytes()
    (tmp_path / "a.edf").write_bytes(content.replace(b"Dim_2", b"Dim_4611686018427387904") + b" ")
    (reference,) = files.list_frames(tmp_path / "a.edf").references
    with pytest.raises(FrameError, match="claims 4611686018427387904 dimensions"):
        files.read(reference)


def test_a_file_that_never_ends_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", IMAGES[:2], photometric="minisblack", compression="zlib")
    content = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        first, second = (page.offset for page in tiff.pages)
    at = content.find(second.to_bytes(4, "little"), first)
    content[at : at + 4] = first.to_bytes(4, "little")
    (tmp_path / "a.tif").write_bytes(content)
    CbfImage(data=IMAGES[0].astype(np.int32)).write(str(tmp_path / "a.cbf"))
    cbf = (tmp_path / "a.cbf").read_bytes()
    (tmp_path / "a.cbf").write_bytes(cbf.replace(b"\x0c\x1a\x04\xd5", b"XXXX"))
    for name, reason in (("a.tif", "lead to one another"), ("a.cbf", "no numbers begin")):
        (reference,) = files.list_frames(tmp_path / name).references
        with pytest.raises(FrameError, match=reason):
            files.read(reference)


class Reading:
    """Reads a frame; what is given happens at the first times that it does."""

    def __init__(self, *happens: Any) -> None:
        self.happens, self.times = list(happens), 0

    def __call__(self, reference: Reference) -> Images:
        self.times += 1
        raw = files.read(reference)[0]
        if self.happens:
            self.happens.pop(0)()
        return raw


@pytest.fixture
def single(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reference:
    monkeypatch.setattr("xrdpipe.io.files._PAUSE", 0.0)
    tifffile.imwrite(tmp_path / "f.tif", IMAGES[0])
    return Reference("f", tmp_path / "f.tif")


def test_a_file_that_is_replaced_while_it_is_read_is_read_again(single: Reference) -> None:
    reading = Reading(lambda: tifffile.imwrite(single.path, IMAGES[1][:10]))
    raw, state = files.read_steady(single, reading)
    assert np.array_equal(raw, IMAGES[1][:10])
    assert state == files.reference_state(single)


def test_a_file_that_changes_again_and_again_fails(single: Reference) -> None:
    changes = [lambda size=size: tifffile.imwrite(single.path, IMAGES[1][:size]) for size in (5, 6, 7)]
    with pytest.raises(FrameError, match=r"^it changed while it was read$"):
        files.read_steady(single, Reading(*changes))


def test_a_file_that_is_empty_while_it_is_written_anew_is_read_again(single: Reference) -> None:
    def written_anew(reference: Reference) -> tuple[Images, str]:
        try:
            return files.read(reference)
        except FrameError:
            tifffile.imwrite(single.path, IMAGES[2])
            raise

    single.path.write_bytes(b"")
    with pytest.raises(FrameError, match="empty"):  # it stays so
        files.read_steady(single, files.read)
    (raw, _), _ = files.read_steady(single, written_anew)
    assert np.array_equal(raw, IMAGES[2])


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO, errno.ETIMEDOUT])
def test_what_a_network_file_system_says_once_is_asked_again_and_what_it_says_twice_fails(
    number: int, single: Reference
) -> None:
    def stale() -> None:
        raise FrameError("cannot be read") from OSError(number, os.strerror(number))

    def stale_in_hdf5() -> None:
        raise FrameError("cannot be read") from OSError(f"Can't read data (time = Mon, errno = {number}, error = ...)")

    for each in (stale, stale_in_hdf5):
        assert np.array_equal(files.read_steady(single, Reading(each))[0], IMAGES[0])
        with pytest.raises(FrameError, match="cannot be read"):
            files.read_steady(single, Reading(each, each))


def test_a_file_that_is_not_there_is_not_waited_for(single: Reference) -> None:
    single.path.unlink()
    reading = Reading()
    with pytest.raises(FrameError, match="no such file"):
        files.read_steady(single, reading)
    assert reading.times == 0


def test_a_stack_may_grow_while_a_frame_of_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "stack.npy"
    np.save(path, IMAGES[:2])
    reading = Reading(lambda: np.save(path, IMAGES))
    raw, _ = files.read_steady(Reference("f", path, None, "", 1), reading)
    assert reading.times == 1
    assert np.array_equal(raw, IMAGES[1])
