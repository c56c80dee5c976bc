"""Chunks as bitshuffle and LZ4 pack them: whether one is whole; their filters do not ask, and may crash of it."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING

from ..model.errors import FrameError

if TYPE_CHECKING:
    import h5py


LZ4, BITSHUFFLE = 32004, 32008  # numbers of the filters


_HEAD = 12  # bytes: size of what is unpacked (8), of a block of it (4)


def check(dataset: h5py.Dataset, index: tuple[int, ...]) -> None:
    """FrameError where a chunk of the image ``index`` is damaged, as far as the lengths of its blocks tell."""
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
        if mask == 0 and not whole(content, prod(chunks) * dataset.dtype.itemsize, item):
            raise FrameError(f"{dataset.name}: what is stored of it is damaged")


def whole(content: bytes, size: int, item: int) -> bool:
    """Whether the blocks of a chunk fill it, no more and no less.

    ``size``: bytes when it is unpacked; ``item``: bytes of a number with bitshuffle, which packs numbers by eights and
    leaves the rest as they are; 0 without.
    """
    block = int.from_bytes(content[8:_HEAD], "big")
    if int.from_bytes(content[:8], "big") != size or block == 0:
        return False
    rest = size % (8 * item) if item else 0
    at = _HEAD
    for _ in range(-(-(size - rest) // block)):
        at += 4 + int.from_bytes(content[at : at + 4], "big")
        if at > len(content):
            return False
    return at + rest == len(content)
