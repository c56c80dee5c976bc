"""Integrity check of chunks compressed by bitshuffle and LZ4.

Their filters do not check the lengths of the blocks, and may crash on a damaged chunk.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING

from ..model.errors import FrameError

if TYPE_CHECKING:
    import h5py


LZ4, BITSHUFFLE = 32004, 32008  # HDF5 filter numbers
_HEAD = 12  # bytes: unpacked size of the chunk (8) and of a block (4)


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
    if number not in (LZ4, BITSHUFFLE) or (number == BITSHUFFLE and (len(values) < 5 or values[4] == 0)):
        return
    item = dataset.dtype.itemsize if number == BITSHUFFLE else 0
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
    if int.from_bytes(content[:8], "big") != size or block == 0:
        return False
    remainder = size % (8 * item) if item else 0
    position = _HEAD
    for _ in range(-(-(size - remainder) // block)):
        position += 4 + int.from_bytes(content[position : position + 4], "big")
        if position > len(content):
            return False
    return position + remainder == len(content)
