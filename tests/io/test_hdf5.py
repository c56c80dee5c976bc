"""Which frames are in a file, how one is read, what it is called; and runs over stacks."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from fabio.cbfimage import CbfImage
from hdf5_files import IMAGES, arrays, eiger

from xrdpipe.io import files, hdf5
from xrdpipe.model.errors import FrameError


def test_a_huge_dataset_of_nothing_costs_no_memory(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("wide", (2, 1 << 20, 1 << 20), np.uint8, chunks=(1, 1024, 1024))
        bomb = file.create_dataset("bomb", (2, 30000, 30000), np.uint8, chunks=(1, 30000, 30000), compression="gzip")
        bomb.id.write_direct_chunk((0, 0, 0), b"x" * 1000)
    for name, reason in (("wide", "claims"), ("bomb", "bytes where 1000 are stored")):
        (reference,) = files.list_frames(f"{tmp_path}/a.h5::/{name}").references
        with pytest.raises(FrameError, match=reason):
            files.read(reference)


def _lying(name: str, path: Path) -> Path:
    """A file of some kilobytes whose header claims much more."""
    path = path / name
    if name.endswith(".npy"):
        shape = (10**12, 0, 5) if name == "frames.npy" else (60_000, 50_000)
        header = str({"descr": "<u2", "fortran_order": False, "shape": shape}).ljust(117).encode() + b"\n"
        path.write_bytes(b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + bytes(100))
    elif name.endswith(".h5"):
        with h5py.File(path, "w") as file:
            if name == "virtual.h5":
                layout = h5py.VirtualLayout((10**13, 10, 10), "u2")
                layout[0] = h5py.VirtualSource("gone.h5", "raw", (10, 10))
                file.create_virtual_dataset("data", layout)
            else:
                file.create_dataset("data", (10**9, 8, 8), "u1", chunks=(10**6, 8, 8), compression="gzip")[0] = 1
    elif name.endswith(".cbf"):
        CbfImage(data=np.ones((20, 30), np.int32)).write(str(path))
        content = path.read_bytes().replace(b"Dimension: 20", b"Dimension: 16000")
        content = content.replace(b"Dimension: 30", b"Dimension: 16000").replace(
            b"Elements: 600", b"Elements: 256000000"
        )
        path.write_bytes(content)
    else:
        path.write_bytes(gzip.compress(bytes(10 << 20)) * 100)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("square.npy", "truncated, 59999"),
        ("frames.npy", "3-dimensional"),
        ("virtual.h5", "claims 10000000000000 frames"),
        ("many.h5", "claims 1000000000 frames"),
        ("square.cbf", "claims 2048000000 bytes"),
        ("bomb.edf.gz", "unpacked it has more than 256 MB"),
    ],
)
def test_a_header_that_lies_about_its_size_costs_no_memory(name: str, reason: str, tmp_path: Path) -> None:
    path = _lying(name, tmp_path)
    tracemalloc.start()
    try:
        (reference,) = files.list_frames(path).references
        with pytest.raises(FrameError, match=reason):
            files.read(reference)
        assert tracemalloc.get_traced_memory()[1] < 1 << 25
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("signature", [b"SNOD", b"TREE", b"HEAP", b"GCOL"])
def test_a_damaged_hdf5_file_fails_alone(signature: bytes, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["default"], file["entry/data"] = "entry", IMAGES
    content = (tmp_path / "a.h5").read_bytes()
    assert signature in content
    (tmp_path / "a.h5").write_bytes(content.replace(signature, b"XXXX"))
    (reference,) = files.list_frames(tmp_path / "a.h5").references
    with pytest.raises(FrameError):
        files.read(reference)
    hdf5.forget()


@pytest.mark.parametrize("filters", [hdf5plugin.Bitshuffle(), hdf5plugin.Bitshuffle(cname="zstd"), hdf5plugin.LZ4()])
@pytest.mark.parametrize(("shape", "parts"), [((20, 30), 1), ((999, 1001), 1), ((999, 1001), 3), ((3, 5), 1)])
def test_a_damaged_chunk_fails_before_it_is_unpacked(
    filters: Any, shape: tuple[int, int], parts: int, tmp_path: Path
) -> None:
    images = np.random.default_rng(1).poisson(2, (2, *shape)).astype(np.uint32)
    chunk = (1, -(-shape[0] // parts), shape[1])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("data", data=images, chunks=chunk, **filters)
    assert np.array_equal(arrays(f"{tmp_path}/a.h5::/data"), images)
    files.forget_files()
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        mask, content = file["data"].id.read_direct_chunk((0, 0, 0))
        spoiled = content[:12] + (1 << 20).to_bytes(4, "big") + content[16:] if len(content) > 16 else content[:12]
        file["data"].id.write_direct_chunk((0, 0, 0), spoiled, mask)
    first, second = files.list_frames(f"{tmp_path}/a.h5::/data").references
    with pytest.raises(FrameError, match="damaged"):
        files.read(first)
    assert np.array_equal(files.read(second)[0], images[1])


def _objects(file: h5py.File) -> None:
    file.create_dataset("x", (2, 20, 30), h5py.special_dtype(vlen=np.uint8))


def _outside(file: h5py.File) -> None:
    file.create_dataset("x", (2, 20, 30), np.uint8, external=[("/etc/passwd", 0, 1200)])


def _fifo(file: h5py.File) -> None:
    os.mkfifo(Path(file.filename).parent / "fifo")
    file["x"] = h5py.ExternalLink("fifo", "/x")


def _circle(file: h5py.File) -> None:
    file["y"] = h5py.SoftLink("/x")
    file["x"] = h5py.SoftLink("/y")


def _text(file: h5py.File) -> None:
    (Path(file.filename).parent / "text").write_text("no HDF5")
    file["x"] = h5py.ExternalLink("text", "/x")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_objects, "no images"),
        (_outside, "refused"),
        (_fifo, "not there"),
        (_circle, "lead to one another"),
        (_text, "HDF5 cannot read"),
        (lambda file: file.create_group("x/images"), "is a group"),
        (lambda file: file.create_dataset("X", data=IMAGES), "there is X"),
        (lambda file: file.create_dataset("x", data=np.zeros(9)), "no images"),
        (lambda file: None, "has no /x"),
    ],
)
def test_what_holds_no_images_fails_with_a_reason_of_one_line(make: Any, reason: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        make(file)
    (reference,) = files.list_frames(f"{tmp_path}/a.h5::/x").references
    with pytest.raises(FrameError, match=reason) as error:
        files.read(reference)
    assert len(str(error.value).splitlines()) == 1


def test_a_damaged_file_is_one_frame_that_fails(tmp_path: Path) -> None:
    path = eiger(tmp_path)
    path.write_bytes(path.read_bytes()[:-500])
    (reference,) = files.list_frames(path).references
    with pytest.raises(FrameError, match="truncated"):
        files.read(reference)
