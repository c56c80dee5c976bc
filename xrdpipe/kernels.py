"""Compiled loops over single frames: automatic mask and azimuthal integration.

Every function runs on one thread and releases the GIL: threads may work on different frames side by side, or share
one. Arrays are flat, C-contiguous, and stay where they are, so a slice is a share of the work: slices of all the
pixel arrays (`threshold`, `lay_out`, `integrate`), or a slice of ``starts`` for a range of rings (`mask_median`,
`mask_mean`). Masks come out the same, byte for byte, however a frame is shared out.

Rings are given by three arrays that depend on the geometry alone: ``order`` (uint32, pixels), the flat indices of the
pixels sorted stably by ring; ``starts`` (int64, rings + 1), where each ring begins in it; ``slots`` (uint32, pixels),
its inverse: ``slots[order] = arange(pixels)``. Every ring number that `numpy.digitize` gives is a ring, 0 included.

A mask is uint8, 0 = good; the first step that masks a pixel sets its bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

USER, DETECTOR, EDGE, LOWER, UPPER, OUTLIER, NOT_FINITE = (np.uint8(1 << bit) for bit in range(7))

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile at the first call; keep the machine code on disk where numba finds a folder it can write to."""
    options = {"nogil": True, "error_model": "numpy"}
    try:
        result: Function = njit(cache=True, **options)(function)
    except RuntimeError:  # "cannot cache function: no locator available"
        result = njit(**options)(function)
    return result


# ---------------------------------------------------------------------------------------------------- automatic mask

_GOOD = np.uint8(0)
_NAN, _INF = np.float32(np.nan), np.float32(np.inf)
_BLOCK = 1024  # pixels that stay in the first level cache between two loops
_SAMPLE = 15  # keys that bracket a median before it is searched
_TOP, _ALL = np.uint32(0x80000000), np.uint32(0xFFFFFFFF)


@compiled
def threshold(image: NDArray[np.float32], mask: NDArray[np.uint8], lower: float, upper: float) -> None:
    """Mask what is not finite, below ``lower`` or above ``upper`` (counts; -inf, inf: none) where ``mask`` is 0.

    The limits are rounded to float32, as numpy does in ``image < lower``.
    """
    low, high = np.float32(lower), np.float32(upper)
    for i in range(len(image)):
        v = image[i]
        bit = LOWER if v < low else UPPER if v > high else _GOOD
        bit = bit if abs(v) < _INF else NOT_FINITE
        mask[i] |= bit if mask[i] == _GOOD else _GOOD


@compiled
def lay_out(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    lower: float,
    upper: float,
    slots: NDArray[np.uint32],
    values: NDArray[np.float32],
) -> None:
    """`threshold`, and the pixels in the order of their rings: ``values[slots] = image``, NaN where masked.

    ``values`` (float32, all pixels of the frame) is what `mask_median` and `mask_mean` read. Writing it in the order
    of the frame is more than twice as fast as reading the frame in the order of the rings, which misses the TLB.
    """
    block = np.empty(_BLOCK, np.float32)
    for first in range(0, len(image), _BLOCK):
        pixels, bits, to = image[first : first + _BLOCK], mask[first : first + _BLOCK], slots[first : first + _BLOCK]
        threshold(pixels, bits, lower, upper)
        for i in range(len(pixels)):
            block[i] = pixels[i] if bits[i] == _GOOD else _NAN
        for i in range(len(pixels)):
            values[to[i]] = block[i]


@compiled
def mask_median(
    values: NDArray[np.float32],
    order: NDArray[np.uint32],
    starts: NDArray[np.int64],
    alpha: float,
    mask: NDArray[np.uint8],
) -> None:
    """Mask the pixels with ``|v - median| > alpha * std``, ring by ring, over the pixels that `lay_out` left there.

    Median and population standard deviation are float64 and have numpy's bits. A std of 0 or a NaN in ``alpha``
    mask nothing.
    """
    size = _longest(starts)
    work, keys, found = np.empty(size, np.float64), np.empty(size, np.uint32), np.empty(size, np.uint32)
    for ring in range(len(starts) - 1):
        v, pixels = values[starts[ring] : starts[ring + 1]], order[starts[ring] : starts[ring + 1]]
        good = 0
        for i in range(len(v)):  # without a branch: the next value overwrites a NaN
            work[good] = v[i]
            good += v[i] == v[i]
        if good == 0:
            continue
        limit = alpha * _std(work[:good])
        if not limit > 0 and alpha != 0:
            continue
        bits = v.view(np.uint32)
        for i in range(len(v)):
            keys[i] = _key(bits[i])
        median = _median(keys[: len(v)], good)
        many = 0
        for i in range(len(v)):
            found[many] = i
            many += abs(v[i] - median) > limit
        for i in range(many):
            mask[pixels[found[i]]] |= OUTLIER


@compiled
def mask_mean(
    values: NDArray[np.float32],
    order: NDArray[np.uint32],
    starts: NDArray[np.int64],
    alpha: float,
    mask: NDArray[np.uint8],
) -> None:
    """Mask ring by ring, one pixel at a time: as long as the worst has ``|v - mean| / std >= alpha``, it goes.

    Of equally bad pixels the one with the lowest flat index goes first. The worst is the lowest or the highest value
    left, so each ring is sorted once; sums made outwards from the middle give mean and std of what is left without
    cancellation.
    """
    size = _longest(starts)
    items, spare = np.empty(size, np.uint64), np.empty(size, np.uint64)
    bits, x, sums, squares = np.empty(size, np.uint32), np.empty(size), np.empty(size), np.empty(size)
    for ring in range(len(starts) - 1):
        v, pixels = values[starts[ring] : starts[ring + 1]], order[starts[ring] : starts[ring + 1]]
        good = 0
        raw = v.view(np.uint32)
        for i in range(len(v)):
            key = _key(raw[i] if v[i] != 0 else np.uint32(0))  # -0.0 is 0.0: equal values stay in order of index
            items[good] = np.uint64(key) << np.uint64(32) | np.uint64(i)
            good += v[i] == v[i]
        _sort(items[:good], spare)
        for i in range(good):
            bits[i] = _bits(np.uint32(items[i] >> np.uint64(32)))
        for i in range(good):
            x[i] = bits.view(np.float32)[i]
        low, high, middle, run = 0, good - 1, -1, good
        while low < high and x[low] < x[high]:
            if not low <= middle <= high:
                middle = (low + high) // 2
                center = x[middle]
                _outwards(x, low, middle - 1, -1, center, sums, squares)
                _outwards(x, middle, high, 1, center, sums, squares)
            if high < run:  # a new highest value: turn its pixels, so that they leave in order of index
                run = high
                while x[run - 1] == x[high]:
                    run -= 1
                items[run : high + 1] = items[run : high + 1][::-1].copy()
            many = high - low + 1
            mean = (sums[high] + (sums[low] if low < middle else 0.0)) / many
            variance = (squares[high] + (squares[low] if low < middle else 0.0)) / many - mean * mean
            below, above = mean - (x[low] - center), x[high] - center - mean
            if not max(below, above) >= alpha * np.sqrt(max(variance, 0.0)):
                break
            first, last = np.uint32(items[low]), np.uint32(items[high])
            if below > above or (below == above and first < last):
                mask[pixels[first]] |= OUTLIER
                low += 1
            else:
                mask[pixels[last]] |= OUTLIER
                high -= 1
