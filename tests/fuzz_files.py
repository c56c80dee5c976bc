"""Frames for the fuzzer: a small file of every format, files whose headers lie, and what spoils a file."""

from __future__ import annotations

import bz2
import gzip
import io
import random
import re
import struct
import tempfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import tifffile
from fabio.fabioformats import get_class_by_name
from tiny import TINY

SHAPE = TINY.shape
HUGE = [0, 1, -1, 255, 2**15, 2**16 - 1, 2**20, 2**31 - 1, -(2**31), 2**32 - 1, 2**40, 2**62, -(2**63), 2**64 - 1]
NUMBERS = [b"nan", b"inf", b"-inf", b"1e308", b"1e-308", b"1e999", b"9" * 400, b"", b"x"]


@cache
def images(pixels: str = "counts") -> dict[str, bytes]:
    """A small file of every format that can be written here, by name; ``pixels``: counts, or a mask of 0 and 1."""
    counts = np.random.default_rng(1).poisson(30, SHAPE).astype(np.uint16)
    image = counts if pixels == "counts" else (counts > 40).astype(np.uint8)
    stack = np.stack([image] * 3)
    made: dict[str, bytes] = {}

    def tiff(name: str, data: Any, **keys: Any) -> None:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, data, **{"photometric": "minisblack", **keys})
        made[name] = buffer.getvalue()

    tiff("plain.tif", image)
    tiff("motorola.tif", image, byteorder=">", description="temperature: 300\nI0 = 2")
    tiff("big.tif", image.astype(np.int32), bigtiff=True)
    tiff("float.tif", image.astype(np.float32))
    tiff("deflate.tif", image, compression="zlib", rowsperstrip=16)
    tiff("tiles.tif", image, tile=(32, 32), compression="zlib")
    tiff("pages.tif", stack)
    tiff("plane.mask", image.astype(np.uint8))
    for name, array in {"plain.npy": image, "stack.npy": stack, "float.npy": image.astype(">f8")}.items():
        buffer = io.BytesIO()
        np.save(buffer, array)
        made[name] = buffer.getvalue()
    with tempfile.TemporaryDirectory() as folder:

        def written(name: str, write: Callable[[str], object]) -> None:
            write(path := str(Path(folder, name)))
            made[name] = Path(path).read_bytes()

        for name, kind in {
            "plain.edf": "edfimage",
            "plain.cbf": "cbfimage",
            "plain.mccd": "marccdimage",
            "dtrek.img": "dtrekimage",
            "bruker.sfrm": "bruker100image",
            "oxford.img": "oxdimage",
            "fit2d.msk": "fit2dmaskimage",
        }.items():
            header = {"Title": "nickel", "temperature": "300", "motor_mne": "x y", "motor_pos": "1 2"}
            written(name, get_class_by_name(kind)(data=image, header=header if "edf" in kind else {}).write)
        made["plain.edf.gz"] = gzip.compress(made["plain.edf"], mtime=0)
        made["plain.edf.bz2"] = bz2.compress(made["plain.edf"])
        made["stack.edf"] = made["plain.edf"] * 2
        made["stack.ge3"] = bytes(8192) + b"".join(np.full((2048, 1), 1, "<u2").tobytes() for _ in range(8))
        for name, write in _HDF5.items():

            def make(path: str, write: Callable[[h5py.File, Any], None] = write) -> None:
                with h5py.File(path, "w", track_order=False) as file:
                    write(file, image)

            written(name, make)
    return made


def _eiger(file: h5py.File, image: Any) -> None:
    data = file.create_group("entry/data")
    data.create_dataset("data_000001", data=np.stack([image] * 2), chunks=(1, *SHAPE), **hdf5plugin.Bitshuffle())
    data["data_000002"] = h5py.ExternalLink("linked.h5", "/entry/data/data")
    file["entry/instrument/detector/pixel_mask"] = np.zeros(SHAPE, np.uint32)


def _nexus(file: h5py.File, image: Any) -> None:
    file.attrs["default"], file["entry/data/data"] = "entry", np.stack([image] * 2)
    file["entry"].attrs["default"], file["entry/data"].attrs["signal"] = "data", "data"
    file["entry/sample/temperature"] = [300.0, 301.0]


def _virtual(file: h5py.File, image: Any) -> None:
    file["raw"] = np.stack([image] * 2)
    layout = h5py.VirtualLayout((2, *SHAPE), image.dtype)
    layout[...] = h5py.VirtualSource(".", "raw", (2, *SHAPE))
    file.create_virtual_dataset("entry/data", layout)


def _packed(file: h5py.File, image: Any) -> None:
    file.create_dataset("data", data=np.stack([image] * 2), chunks=(1, 40, 50), compression="gzip", shuffle=True)


_HDF5: dict[str, Callable[[h5py.File, Any], None]] = {
    "plain.h5": lambda file, image: file.create_dataset("data", data=image) and None,
    "packed.h5": _packed,
    "lz4.h5": lambda file, image: file.create_dataset("data", data=image, chunks=SHAPE, **hdf5plugin.LZ4()) and None,
    "eiger_master.h5": _eiger,
    "nexus.nxs": _nexus,
    "virtual.h5": _virtual,
}


@cache
def lies() -> dict[str, bytes]:
    """Files of a few kilobytes whose headers speak of gigabytes and more."""
    made: dict[str, bytes] = {}

    def npy(name: str, shape: tuple[int, ...], kind: str = "<u2") -> None:
        text = str({"descr": kind, "fortran_order": False, "shape": shape})
        header = text.ljust(117).encode() + b"\n"
        made[name] = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + bytes(100)

    npy("square.npy", (10**9, 10**9))
    npy("six_gb.npy", (60_000, 50_000))
    npy("many.npy", (10**12, 100, 100))
    npy("empty_frames.npy", (10**12, 0, 5))
    npy("negative.npy", (-5, 100))
    npy("text.npy", (10, 10), "<U999999999")
    head = "{{\nHeaderID = EH:000001:000000:000000 ;\nImage = 1 ;\nByteOrder = LowByteFirst ;\nDataType = {} ;\n"
    head += "Dim_1 = {} ;\nDim_2 = {} ;\nSize = {} ;\n"
    for name, values in {
        "square.edf": ("UnsignedShort", 10**6, 10**6, 2 * 10**12),
        "six_gb.edf": ("FloatValue", 40_000, 40_000, 24_000),
        "digits.edf": ("UnsignedShort", "9" * 5000, 5, "9" * 5000),
    }.items():
        made[name] = head.format(*values).ljust(1022).encode() + b"}\n" + bytes(24_000)
    cbf, small = images()["plain.cbf"], gzip.compress(bytes(10 << 20), mtime=0)
    for name, size in {"square.cbf": b"1000000", "six_gb.cbf": b"40000"}.items():
        bigger = re.sub(rb"(Fastest|Second)-Dimension: \d+", rb"\1-Dimension: " + size, cbf)
        made[name] = re.sub(rb"Number-of-Elements: \d+", b"Number-of-Elements: " + str(int(size) ** 2).encode(), bigger)
    made["bomb.edf.gz"] = gzip.compress(images()["plain.edf"], mtime=0) + 400 * small
    made["bomb.cbf.gz"] = gzip.compress(cbf, mtime=0) + 400 * small
    made["bomb.tif.gz"] = 400 * small
    zeros = zlib.compress(bytes(10 << 20), 9)
    for name, side in {"square.tif": 2**31 - 1, "six_gb.tif": 50_000, "one_gb.tif": 32_000}.items():
        tags = [(256, 4, side), (257, 4, side), (258, 3, 16), (259, 3, 8), (262, 3, 1), (273, 4, 134), (277, 3, 1)]
        tags += [(278, 4, side), (279, 4, len(zeros))]
        entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
        made[name] = (b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)).ljust(134, b"\0") + zeros
    with tempfile.TemporaryDirectory() as folder:
        for name, shape, chunks, write in (
            ("square.h5", (1 << 20, 1 << 20), (1 << 10, 1 << 10), False),
            ("huge_chunk.h5", (30_000, 30_000), (30_000, 30_000), False),
            ("many.h5", (10**12, 10, 10), (1, 10, 10), True),
            ("many_in_one.h5", (10**9, 10, 10), (10**7, 10, 10), False),
            ("wide.h5", (10**9, 8, 8), (10**6, 8, 8), True),
        ):
            with h5py.File(path := Path(folder, name), "w") as file:
                data = file.create_dataset("data", shape, "u1", chunks=chunks, compression="gzip", compression_opts=1)
                if write:
                    data[0] = 1
            made[name] = path.read_bytes()
        for name, shape in {"virtual_many.h5": (10**13, 10, 10), "virtual_wide.h5": (10**9, 10, 10)}.items():
            with h5py.File(path := Path(folder, name), "w") as file:
                layout = h5py.VirtualLayout(shape, "u2")
                layout[0] = h5py.VirtualSource("gone.h5", "raw", (10, 10))
                file.create_virtual_dataset("data", layout)
            made[name] = path.read_bytes()
    return made


# Spoiling


def spoil(content: bytes, dice: random.Random) -> bytes:
    """The file with one to three things wrong in it: bytes, numbers of its header, its length."""
    spoiled = bytearray(content)
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        dice.choice(_WAYS)(spoiled, dice)
    return bytes(spoiled)


def _place(content: bytearray, dice: random.Random) -> int:
    """Somewhere in the file; its two ends, where headers are, are more likely."""
    near = int(dice.paretovariate(0.4)) - 1
    at = dice.choice((near, near, len(content) - 1 - near, dice.randrange(1 << 30)))
    return at % max(1, len(content))


def _flip(content: bytearray, dice: random.Random) -> None:
    for _ in range(dice.choice((1, 1, 4, 50))):
        if content:
            content[_place(content, dice)] ^= 1 << dice.randrange(8)


def _number(content: bytearray, dice: random.Random) -> None:
    size, order = dice.choice((1, 2, 4, 8)), dice.choice(("little", "big"))
    at = _place(content, dice) // 2 * 2
    value = dice.choice(HUGE) if dice.random() < 0.7 else dice.randrange(1 << 8 * size)
    content[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, order)  # type: ignore[arg-type]


def _digits(content: bytearray, dice: random.Random) -> None:
    found = [match.span() for match in re.finditer(rb"-?\d+(\.\d+)?", bytes(content[:8192]))]
    if found:
        start, end = dice.choice(found)
        value = dice.choice([*(str(each).encode() for each in HUGE), *NUMBERS])
        content[start:end] = value.ljust(end - start) if dice.random() < 0.5 else value


def _truncate(content: bytearray, dice: random.Random) -> None:
    del content[_place(content, dice) :]


def _grow(content: bytearray, dice: random.Random) -> None:
    content += dice.choice((b"\0", b"}\n", bytes(content[:512]), dice.randbytes(5))) * dice.choice((1, 100, 1000))


def _cut(content: bytearray, dice: random.Random) -> None:
    at = _place(content, dice)
    del content[at : at + dice.choice((1, 2, 8, 100, 4096))]


def _repeat(content: bytearray, dice: random.Random) -> None:
    at, other = _place(content, dice), _place(content, dice)
    content[other:other] = content[at : at + dice.choice((1, 8, 64, 512))]


_WAYS = (_flip, _flip, _number, _number, _number, _digits, _digits, _truncate, _grow, _cut, _repeat)
