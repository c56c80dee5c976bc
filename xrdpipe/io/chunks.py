"""Chunks of HDF5 datasets: read and unpacked without HDF5, and checked where HDF5 unpacks them.

HDF5 reads and unpacks for one thread of a process at a time. What is read here is read by all threads at once. The
filters of bitshuffle and LZ4 do not check the lengths of the blocks, and may crash on a damaged chunk.
"""

from __future__ import annotations

import ctypes
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..model.errors import FrameError

if TYPE_CHECKING:
    import h5py

Unpack = Callable[[bytes, NDArray[Any]], bool]  # fills an array with the content of a chunk; False if it is damaged

DEFLATE, SHUFFLE, LZ4, BITSHUFFLE = 1, 2, 32004, 32008  # HDF5 filter numbers
_LZ4_OF_BITSHUFFLE = 2  # its number among the compressions of bitshuffle
_HEAD = 12  # bytes: unpacked size of the chunk (8) and of a block (4)
_MOST = 256  # chunks an image: HDF5 finds more of them faster
_OVERHEAD = 1 << 16  # bytes by which a packed chunk may be larger than twice the unpacked one


@dataclass(frozen=True)
class Layout:
    """How the images of a dataset are stored, for those layouts that are read without HDF5.

    Attributes
    ----------
    name
        Path of the dataset.
    shape
        Shape of an image, (slow, fast).
    chunk
        Shape of a chunk on these axes; None without chunks.
    dtype
        Type of the pixels as they are stored.
    unpack
        Function that unpacks a chunk.
    file
        Descriptor of the file, as long as that is open.
    """

    name: str
    shape: tuple[int, ...]
    chunk: tuple[int, ...] | None
    dtype: np.dtype[Any]
    unpack: Unpack
    file: int


@dataclass(frozen=True)
class Stored:
    """Where the chunks of one image are: corner (slow, fast), offset in the file, size in bytes."""

    layout: Layout
    chunks: tuple[tuple[tuple[int, ...], int, int], ...]

    def read(self, file: int) -> NDArray[Any]:
        """Read the image from a file descriptor; raise FrameError if a chunk is damaged or the file too short."""
        layout, length = self.layout, os.fstat(file).st_size
        image = np.empty(layout.shape, layout.dtype)
        whole = layout.chunk in (None, layout.shape)
        for (slow, fast), offset, size in self.chunks:
            chunk = image if whole else np.empty(layout.chunk or (), layout.dtype)
            # Sizes are checked before memory is taken.
            if offset + size > length:
                raise FrameError(f"{layout.name}: the file is truncated, {offset + size - length} bytes are missing")
            if size > 2 * chunk.nbytes + _OVERHEAD:
                raise FrameError(f"{layout.name}: what is stored of it is damaged")
            content = os.pread(file, size, offset)  # type: ignore[attr-defined,unused-ignore] # see `layout`
            if not layout.unpack(content, chunk):
                raise FrameError(f"{layout.name}: what is stored of it is damaged")
            if not whole:
                part = image[slow : slow + chunk.shape[0], fast : fast + chunk.shape[1]]
                part[...] = chunk[: part.shape[0], : part.shape[1]]
        return image


def layout(dataset: h5py.Dataset) -> Layout | None:
    """Return how the images of a dataset are stored; None if only HDF5 can read them."""
    import h5py

    dtype, chunk, properties = dataset.dtype, dataset.chunks, dataset.id.get_create_plist()
    if not hasattr(os, "pread") or dataset.file.driver != "sec2" or dataset.file.userblock_size:
        return None
    if dtype.kind not in "uif" or not dataset.id.get_type().equal(h5py.h5t.py_create(dtype)):
        return None  # HDF5 converts the numbers
    if chunk is None:
        plain = properties.get_layout() == h5py.h5d.CONTIGUOUS and dataset.external is None
        return Layout(dataset.name, dataset.shape[-2:], None, dtype, _copied, _descriptor(dataset)) if plain else None
    per_image = prod(-(-size // part) for size, part in zip(dataset.shape[-2:], chunk[-2:], strict=True))
    if prod(chunk[:-2]) != 1 or per_image > _MOST:  # HDF5 keeps a chunk of several images for the next one
        return None
    filters = [properties.get_filter(number) for number in range(properties.get_nfilters())]
    unpack = _unpacking(tuple((number, values) for number, _, values, _ in filters), dtype.itemsize)
    if unpack is None:
        return None
    return Layout(dataset.name, dataset.shape[-2:], chunk[-2:], dtype, unpack, _descriptor(dataset))


def _descriptor(dataset: h5py.Dataset) -> int:
    import h5py

    return int(h5py.h5i.get_file_id(dataset.id).get_vfd_handle())


def stored(dataset: h5py.Dataset, layout: Layout, index: tuple[int, ...]) -> Stored | None:
    """Return where the chunks of an image are; None if HDF5 has to read it, because a chunk is missing.

    Parameters
    ----------
    dataset, layout
        Dataset of images, and its layout.
    index
        Index of the image on the leading axes.
    """
    if layout.chunk is None:
        start, size = dataset.id.get_offset(), prod(layout.shape) * layout.dtype.itemsize
        if start is None:
            return None
        at = int(np.ravel_multi_index(index, dataset.shape[:-2])) if index else 0
        return Stored(layout, (((0, 0), start + at * size, size),))
    chunks = []
    for corner in product(*(range(0, *pair) for pair in zip(layout.shape, layout.chunk, strict=True))):
        found = dataset.id.get_chunk_info_by_coord((*index, *corner))
        if found.byte_offset is None or found.filter_mask:
            return None
        chunks.append((corner, found.byte_offset, found.size))
    return Stored(layout, tuple(chunks))


def _unpacking(filters: tuple[tuple[int, tuple[int, ...]], ...], item: int) -> Unpack | None:
    """Return the function that undoes filters (number, values) of numbers of ``item`` bytes; None if there is none."""
    match filters:
        case ():
            return _copied
        case ((number, _),) if number == DEFLATE:
            return _inflated
        case ((first, values), (second, _)) if (first, second) == (SHUFFLE, DEFLATE) and values == (item,):
            return _inflated_and_unshuffled
        case ((number, (_, _, size, _, compression, *_)),) if number == BITSHUFFLE:
            if size == item and compression == _LZ4_OF_BITSHUFFLE and _bitshuffle() is not None:
                return _bitunshuffled
    return None


def _copied(content: bytes, chunk: NDArray[Any]) -> bool:
    if len(content) != chunk.nbytes:
        return False
    chunk[...] = np.frombuffer(content, chunk.dtype).reshape(chunk.shape)
    return True


def _inflated(content: bytes, chunk: NDArray[Any]) -> bool:
    unpacker = zlib.decompressobj()
    try:
        # One byte more than expected, so that a longer content shows; never more, whatever is packed.
        return _copied(unpacker.decompress(content, chunk.nbytes + 1), chunk) and unpacker.eof
    except zlib.error:
        return False


def _inflated_and_unshuffled(content: bytes, chunk: NDArray[Any]) -> bool:
    planes = np.empty((chunk.dtype.itemsize, chunk.size), np.uint8)  # the first bytes of all numbers, then the second
    if not _inflated(content, planes):
        return False
    chunk.view(np.uint8).reshape(chunk.size, -1)[...] = planes.T
    return True


def _bitunshuffled(content: bytes, chunk: NDArray[Any]) -> bool:
    item, unpack = chunk.dtype.itemsize, _bitshuffle()
    if unpack is None or not is_complete(content, chunk.nbytes, item):
        return False
    blocks = np.frombuffer(content, np.uint8, offset=_HEAD)
    block = int.from_bytes(content[8:_HEAD], "big") // item
    return bool(unpack(blocks.ctypes.data, chunk.ctypes.data, chunk.size, item, block) == blocks.size)


@lru_cache(maxsize=1)
def _bitshuffle() -> Callable[..., int] | None:
    """Return bitshuffle's own function from the library of its filter, or None if that does not offer it."""
    import hdf5plugin

    try:
        library = ctypes.CDLL(hdf5plugin.get_config().registered_filters["bshuf"])
        function = library.bshuf_decompress_lz4
    except (OSError, AttributeError, KeyError, TypeError):  # Windows exports nothing; another package has the filter
        return None
    function.restype = ctypes.c_int64  # bytes that were read; negative after an error
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_size_t] * 3]
    return function


def check(dataset: h5py.Dataset, index: tuple[int, ...]) -> None:
    """Raise FrameError if a chunk of an image is damaged, as far as the lengths of its blocks show.

    Parameters
    ----------
    dataset
        Dataset of images.
    index
        Index of the image on the leading axes.
    """
    chunks = dataset.chunks
    if chunks is None or dataset.id.get_create_plist().get_nfilters() != 1:
        return
    number, _, values, _ = dataset.id.get_create_plist().get_filter(0)
    if number not in (LZ4, BITSHUFFLE):
        return
    item = dataset.dtype.itemsize if number == BITSHUFFLE else 0
    if item and (len(values) < 3 or values[2] != item):  # the filter divides by it
        raise FrameError(f"{dataset.name}: what is stored of it is damaged")
    if item and (len(values) < 5 or values[4] == 0):
        return
    first = tuple(at // size * size for at, size in zip(index, chunks, strict=False))
    for corner in product(*(range(0, *pair) for pair in zip(dataset.shape[-2:], chunks[-2:], strict=True))):
        mask, content = dataset.id.read_direct_chunk((*first, *corner))
        if mask == 0 and not is_complete(content, prod(chunks) * dataset.dtype.itemsize, item):
            raise FrameError(f"{dataset.name}: what is stored of it is damaged")


def is_complete(content: bytes, size: int, item: int) -> bool:
    """Return whether the blocks of a chunk fill it exactly.

    Parameters
    ----------
    content
        Bytes of the chunk.
    size
        Unpacked size in bytes.
    item
        Bytes per number with bitshuffle, which packs eight numbers at a time and stores the remainder as it is; 0
        without.
    """
    block = int.from_bytes(content[8:_HEAD], "big")
    if int.from_bytes(content[:8], "big") != size or block == 0 or (item and block % (8 * item)):
        return False
    remainder = size % (8 * item) if item else 0
    position = _HEAD
    for _ in range(-(-(size - remainder) // block)):
        position += 4 + int.from_bytes(content[position : position + 4], "big")
        if position > len(content):
            return False
    return position + remainder == len(content)
