"""Images read from the chunks of HDF5 files are those that HDF5 reads, and damaged chunks fail."""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xrdpipe.io import chunks, files
from xrdpipe.model.errors import FrameError

BITSHUFFLE = hdf5plugin.Bitshuffle(cname="lz4")
DIRECT: dict[str, dict[str, Any]] = {
    "none": {},
    "deflate": {"compression": "gzip"},
    "shuffle and deflate": {"compression": "gzip", "shuffle": True},
    "bitshuffle": dict(BITSHUFFLE),
    "bitshuffle in small blocks": dict(hdf5plugin.Bitshuffle(nelems=64, cname="lz4")),
}
BY_HDF5: dict[str, dict[str, Any]] = {
    "zstd": dict(hdf5plugin.Bitshuffle(cname="zstd")),
    "lz4": dict(hdf5plugin.LZ4()),
    "blosc": dict(hdf5plugin.Blosc()),
    "checksum": {"compression": "gzip", "fletcher32": True},
    "scale and offset": {"scaleoffset": True},
}
TYPES = ["u1", "i1", "<u2", ">u2", "<i4", ">u4", "<u8", "<f2", "<f4", ">f4", "<f8"]


def same(path: Path) -> None:
    """Check that every frame is what h5py reads, in the same type."""
    with h5py.File(path, "r") as file:
        expected = file["data"][()].reshape(-1, *file["data"].shape[-2:])
    frames = files.list_frames(f"{path}::/data").references
    assert len(frames) == len(expected)
    for frame, image in zip(frames, expected, strict=True):
        pixels = files.read(frame)[0]
        assert pixels.dtype == image.dtype
        assert pixels.tobytes() == image.tobytes()


@settings(max_examples=60)
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 70), st.integers(1, 70)),
    st.tuples(st.integers(1, 80), st.integers(1, 80)),
    st.sampled_from(TYPES),
    st.sampled_from(sorted(DIRECT)),
    st.integers(0, 2**32 - 1),
)
def test_pixels_are_those_of_hdf5(
    shape: tuple[int, int, int], chunk: tuple[int, int], dtype: str, filters: str, seed: int
) -> None:
    images = np.random.default_rng(seed).poisson(3, shape).astype(dtype)
    chunk = min(chunk[0], shape[1]), min(chunk[1], shape[2])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.h5")
        with h5py.File(path, "w") as file:
            data = file.create_dataset("data", data=images, chunks=(1, *chunk), **DIRECT[filters])
            few = chunks.layout(data) is not None
            assert few == (-(-shape[1] // chunk[0]) * -(-shape[2] // chunk[1]) <= 256)
        same(path)
        files.forget_files()


@pytest.mark.parametrize("filters", BY_HDF5)
def test_other_filters_are_left_to_hdf5(filters: str, tmp_path: Path) -> None:
    images = np.random.default_rng(0).poisson(3, (2, 20, 30)).astype(np.uint16)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        assert chunks.layout(file.create_dataset("data", data=images, chunks=(1, 20, 30), **BY_HDF5[filters])) is None
    same(tmp_path / "a.h5")


@pytest.mark.parametrize(
    ("shape", "chunk", "direct"),
    [
        ((20, 30), None, True),
        ((2, 3, 20, 30), None, True),
        ((2, 3, 20, 30), (1, 1, 8, 30), True),
        ((4, 20, 30), (2, 20, 30), False),
    ],
)
def test_images_without_chunks_and_chunks_of_several_images(
    shape: tuple[int, ...], chunk: tuple[int, ...] | None, direct: bool, tmp_path: Path
) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("data", data=np.arange(np.prod(shape), dtype=np.int32).reshape(shape), chunks=chunk)
        assert (chunks.layout(data) is not None) == direct
    same(tmp_path / "a.h5")


def test_numbers_that_hdf5_converts_and_chunks_that_a_filter_left_out(tmp_path: Path) -> None:
    kind = h5py.h5t.STD_U16LE.copy()
    kind.set_precision(12)
    images = np.random.default_rng(0).poisson(3, (2, 20, 30)).astype(np.uint16)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        space = h5py.h5s.create_simple(images.shape)
        h5py.Dataset(h5py.h5d.create(file.id, b"data", kind, space))[...] = images
        assert chunks.layout(file["data"]) is None
    same(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        data = file.create_dataset("data", data=images, chunks=(1, 20, 30), **BITSHUFFLE)
        data.id.write_direct_chunk((1, 0, 0), images[0].tobytes(), 1)
    same(tmp_path / "b.h5")


def test_threads_read_more_files_than_stay_open(tmp_path: Path) -> None:
    images = np.random.default_rng(0).poisson(3, (40, 60, 50)).astype(np.uint16)
    for number, image in enumerate(images):
        with h5py.File(tmp_path / f"{number:02d}.h5", "w") as file:
            file.create_dataset("data", data=image[np.newaxis], chunks=(1, 60, 50), **BITSHUFFLE)
    frames = files.references(sorted(tmp_path.glob("*.h5")))
    with ThreadPoolExecutor(8) as pool:
        for number, (pixels, _) in enumerate(pool.map(files.read, frames * 5)):
            assert np.array_equal(pixels, images[number % 40])


def test_a_file_that_changes_is_read_anew(tmp_path: Path) -> None:
    for value, side in ((1, 20), (2, 20), (3, 30)):
        with h5py.File(tmp_path / f"{value}.h5", "w") as file:
            file.create_dataset("data", data=np.full((2, side, 30), value), chunks=(1, side, 30), **BITSHUFFLE)
        os.replace(tmp_path / f"{value}.h5", tmp_path / "a.h5")
        same(tmp_path / "a.h5")


@pytest.mark.parametrize("filters", sorted(DIRECT.keys() - {"none"}))  # whose chunks have one length
@pytest.mark.parametrize("longer", [-1, 1, 1 << 20])
def test_a_chunk_of_the_wrong_length_is_damaged(filters: str, longer: int, tmp_path: Path) -> None:
    images = np.random.default_rng(0).poisson(3, (2, 40, 50)).astype(np.uint32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("data", data=images, chunks=(1, 40, 50), **DIRECT[filters])
        content = data.id.read_direct_chunk((0, 0, 0))[1]
        data.id.write_direct_chunk((0, 0, 0), content[:longer] if longer < 0 else content + bytes(longer))
    first, second = files.list_frames(f"{tmp_path}/a.h5::/data").references
    if "deflate" in filters and longer == 1:  # deflate knows its end
        assert np.array_equal(files.read(first)[0], images[0])
    else:
        with pytest.raises(FrameError, match="damaged"):
            files.read(first)
    assert np.array_equal(files.read(second)[0], images[1])


@settings(max_examples=200)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["<u2", "<u4", "<f8"]), st.sampled_from(sorted(DIRECT)[:2]))
def test_a_chunk_of_noise_gives_numbers_or_an_error(seed: int, dtype: str, filters: str) -> None:
    rng = np.random.default_rng(seed)
    image = rng.poisson(3, (40, 50)).astype(dtype)
    with h5py.File("noise.h5", "w", driver="core", backing_store=False) as file:
        data = file.create_dataset("data", data=image, chunks=(40, 50), **DIRECT[filters])
        content = bytearray(data.id.read_direct_chunk((0, 0))[1])
        values = tuple(data.id.get_create_plist().get_filter(0)[2])
    for at in rng.integers(0, len(content), rng.integers(1, 4)):
        content[at] = rng.integers(0, 256)
    unpack = chunks._unpacking(((chunks.BITSHUFFLE, values),), image.dtype.itemsize)
    assert unpack is not None
    assert unpack(bytes(content), np.empty_like(image)) in (True, False)


@pytest.mark.parametrize("item", [0, 3, 8])
def test_a_wrong_size_of_numbers_in_the_filter_is_refused(item: int, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        images = np.random.default_rng(0).poisson(3, (2, 40, 50)).astype(np.uint32)
        file.create_dataset("data", data=images, chunks=(1, 40, 50), **BITSHUFFLE)
    content = (tmp_path / "a.h5").read_bytes()
    values = np.array([0, 4, 4, 0, 2], "<u4")  # of the filter: version (two), bytes a number, block, LZ4
    start = content.index(values[2:].tobytes())
    (tmp_path / "a.h5").write_bytes(content[:start] + np.uint32(item).tobytes() + content[start + 4 :])
    with pytest.raises(FrameError, match="damaged"):
        files.read(files.list_frames(f"{tmp_path}/a.h5::/data").references[0])
