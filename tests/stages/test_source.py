"""How a file becomes an image, how paths become frames, and what each is called."""

from __future__ import annotations

import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fabio
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from xrdpipe.geometry.orientation import TRANSFORMS
from xrdpipe.io.files import references
from xrdpipe.io.image_file import read_file
from xrdpipe.io.memory import Memory
from xrdpipe.model.errors import ConfigError, FrameError
from xrdpipe.model.reference import Reference
from xrdpipe.stages.source import Source
from xrdpipe.stages.source_demo import Demo
from xrdpipe.stages.stage import Setup

RAMP = np.arange(12, dtype=np.uint16).reshape(3, 4)


@given(st.lists(st.sampled_from(sorted(TRANSFORMS)), max_size=6))
def test_every_transform_can_be_undone(names: list[str]) -> None:
    source = Source(transform=names)
    np.testing.assert_array_equal(source.to_raw(source.to_frame(RAMP)), RAMP)


def test_transforms_are_applied_in_the_order_they_are_named() -> None:
    np.testing.assert_array_equal(Source(transform=["flipud"]).to_frame(RAMP), RAMP[::-1])
    np.testing.assert_array_equal(Source(transform=["fliplr"]).to_frame(RAMP), RAMP[:, ::-1])
    np.testing.assert_array_equal(Source(transform=["transpose"]).to_frame(RAMP), RAMP.T)
    np.testing.assert_array_equal(Source(transform=["rot90"]).to_frame(RAMP), np.rot90(RAMP))
    np.testing.assert_array_equal(Source(transform=["flipud", "transpose"]).to_frame(RAMP), RAMP[::-1].T)
    np.testing.assert_array_equal(Source(transform=["transpose", "flipud"]).to_frame(RAMP), RAMP.T[::-1])


def test_an_unknown_transform_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"transform=flip_ud.*'flipud'"):
        Source(transform=["flip_ud"])


@pytest.mark.parametrize("values", [{"frames": 0}, {"frames": 502}, {"seed": -1}])
def test_an_impossible_demo_is_refused(values: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        Demo(**values)


@pytest.mark.parametrize("dtype", ["u1", "i1", "<u2", ">u2", "<i4", ">i4", "<u4", "<f4", ">f4", "<f8"])
def test_tiffs_of_every_type_and_byte_order_read_as_written(dtype: str, tmp_path: Path) -> None:
    image = RAMP.astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", image, byteorder=">" if dtype.startswith(">") else "<")
    read = Source().read(tmp_path / "a.tif")
    assert read.dtype == np.float32
    assert read.flags.c_contiguous
    np.testing.assert_array_equal(read, image)


@pytest.mark.parametrize("options", [{"rowsperstrip": 1}, {"compression": "zlib"}, {"bigtiff": True}, {"predictor": 2}])
def test_tiffs_of_other_layouts_read_the_same(options: dict[str, Any], tmp_path: Path) -> None:
    if "predictor" in options:
        options = options | {"compression": "zlib"}
    tifffile.imwrite(tmp_path / "a.tif", RAMP, **options)
    np.testing.assert_array_equal(Source().read(tmp_path / "a.tif"), RAMP)


@pytest.mark.parametrize(("form", "suffix"), [("edfimage", "edf"), ("cbfimage", "cbf"), ("tifimage", "tif")])
def test_formats_of_fabio_are_read(form: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    getattr(fabio, form).__dict__[{"edfimage": "EdfImage", "cbfimage": "CbfImage", "tifimage": "TifImage"}[form]](
        data=RAMP.astype(np.int32)
    ).write(str(path))
    np.testing.assert_array_equal(Source().read(path), RAMP)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, ">f8"])
def test_an_npy_array_is_an_image(dtype: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", RAMP.astype(dtype))
    np.testing.assert_array_equal(Source().read(tmp_path / "a.npy"), RAMP.astype(dtype).astype(np.float32))


def _text(path: Path) -> None:
    path.write_text("this is no picture")


def _truncated(path: Path) -> None:
    tifffile.imwrite(path, np.ones((64, 64), np.uint16))
    path.write_bytes(path.read_bytes()[:-100])


def _truncated_compressed(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 60000, (64, 64), np.uint16)
    tifffile.imwrite(path, noise, compression="zlib")
    path.write_bytes(path.read_bytes()[:-3000])


def _objects(path: Path) -> None:
    with open(path, "wb") as file:
        np.save(file, np.array([[{}, 1]], dtype=object), allow_pickle=True)


def _lying_npy(path: Path) -> None:
    with open(path, "wb") as file:
        np.save(file, RAMP)
    path.write_bytes(
        path.read_bytes().replace(b"(3, 4)", b"(9999999,9999999)"[:6]).replace(b"'shape': (9999", b"'shape': (9**9")
    )


def _huge_npy(path: Path) -> None:
    header = {"descr": "<f8", "fortran_order": False, "shape": (1 << 30, 1 << 30)}
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)


def _colour(path: Path) -> None:
    tifffile.imwrite(path, np.zeros((8, 9, 3), np.uint8), photometric="rgb")


def _truncated_colour(path: Path) -> None:
    _colour(path)
    path.write_bytes(path.read_bytes()[:-5])


def _stack(path: Path) -> None:
    with open(path, "wb") as file:
        np.save(file, np.zeros((2, 8, 9)))


def _pages(path: Path) -> None:
    tifffile.imwrite(path, np.zeros((2, 8, 9), np.uint16), photometric="minisblack")


def _complex(path: Path) -> None:
    with open(path, "wb") as file:
        np.save(file, np.zeros((8, 9), complex))


def _nothing(path: Path) -> None:
    with open(path, "wb") as file:
        np.save(file, np.zeros((0, 9)))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "no such file"),
        (Path.mkdir, "folder"),
        (Path.touch, "empty"),
        (_text, "not an image"),
        (_truncated, "truncated, 100 bytes"),
        (_truncated_compressed, "truncated, 3000 bytes"),
        (_objects, "not a plain .npy"),
        (_lying_npy, "not a plain .npy"),
        (_huge_npy, "truncated"),
        (_colour, "colour|3-dimensional"),
        (_truncated_colour, "truncated"),
        (_stack, "3-dimensional"),
        (_pages, "2 frames|3-dimensional"),
        (_complex, "complex128"),
        (_nothing, "no pixels"),
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # fabio leaves files open that it cannot read
def test_what_is_no_image_fails_with_a_reason_of_one_line(make: Any, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tiff"
    make(path)
    with pytest.raises(FrameError, match=reason) as error:
        read_file(path)
    assert len(str(error.value).splitlines()) == 1


def test_a_pickle_inside_a_file_is_never_loaded(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "sprung"),)

    with open(tmp_path / "a.npy", "wb") as file:
        np.save(file, np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(FrameError):
        read_file(tmp_path / "a.npy")
    assert not (tmp_path / "sprung").exists()


def test_the_same_content_has_the_same_hash_wherever_it_lies(frames: list[Path], tmp_path: Path) -> None:
    shutil.copy(frames[0], tmp_path / "copy.tiff")
    first, copy, second = (read_file(path)[1] for path in (frames[0], tmp_path / "copy.tiff", frames[1]))
    assert first == copy != second


def test_a_frame_carries_its_name_file_hash_and_float_image(setup: Setup, frames: list[Path]) -> None:
    frame = Source().prepare(setup)(Reference("mine", frames[0]))
    raw, digest = read_file(frames[0])
    assert (frame.name, frame.info.file, frame.info.digest, frame.variance) == ("mine", "ni_1.tiff", digest, None)
    assert frame.image.dtype == np.float32
    np.testing.assert_array_equal(frame.image, raw)


def test_an_array_is_a_frame_whose_hash_is_that_of_its_values(setup: Setup) -> None:
    read = Source().prepare(setup)
    array = np.arange(12000.0).reshape(120, 100)
    frame, twisted = read(Reference("a", Path("a"), array)), read(Reference("a", Path("a"), np.asfortranarray(array)))
    assert frame.info.digest == twisted.info.digest
    np.testing.assert_array_equal(frame.image, array)


def test_a_frame_of_another_shape_fails_and_says_both_shapes(setup: Setup) -> None:
    with pytest.raises(FrameError, match=r"100 x 120 pixels.*120 x 100"):
        Source().prepare(setup)(Reference("a", Path("a"), np.zeros((100, 120))))


def test_the_image_of_a_file_is_in_the_orientation_of_the_frames(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RAMP)
    read: NDArray[np.float32] = Source(transform=["rot90", "flipud"]).read(tmp_path / "a.tif")
    np.testing.assert_array_equal(read, np.flipud(np.rot90(RAMP)))


def test_frames_are_remembered_by_many_threads_at_once(
    data: Path, frames: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, size = Memory(), 2 * 120 * 100
    monkeypatch.setattr(Memory, "room", 100 * size)
    paths = [data / f"f_{number}.tiff" for number in range(300)]
    for path in paths:
        os.link(frames[0], path)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            read = list(pool.map(own.read, references(paths)))
    finally:
        sys.setswitchinterval(before)
    assert {digest for _, digest in read} == {read_file(frames[0])[1]}
    assert len(own.files) == 100
