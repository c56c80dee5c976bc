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

import numpy as np
from numpy.typing import NDArray

from .compiled import compiled
from .constants import BLOCK, GOOD, INF, LOWER, LOWEST_KEY, NAN, NOT_FINITE, OUTLIER, UPPER
from .ring_statistics import longest_ring, median_of_keys, outwards, ring_std, sort_items, to_key


@compiled
def threshold(image: NDArray[np.float32], mask: NDArray[np.uint8], lower: float, upper: float) -> None:
    """Mask what is not finite, below ``lower`` or above ``upper`` (counts; -inf, inf: none) where ``mask`` is 0.

    The limits are rounded to float32, as numpy does in ``image < lower``.
    """
    low, high = np.float32(lower), np.float32(upper)
    for i in range(len(image)):
        v = image[i]
        bit = LOWER if v < low else UPPER if v > high else GOOD
        bit = bit if abs(v) < INF else NOT_FINITE
        mask[i] |= bit if mask[i] == GOOD else GOOD


@compiled
def scatter_to_rings(
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
    block = np.empty(BLOCK, np.float32)
    for first in range(0, len(image), BLOCK):
        pixels, bits, to = image[first : first + BLOCK], mask[first : first + BLOCK], slots[first : first + BLOCK]
        threshold(pixels, bits, lower, upper)
        for i in range(len(pixels)):
            block[i] = pixels[i] if bits[i] == GOOD else NAN
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

    Median and population standard deviation are float64 and have numpy's bits. A negative or NaN ``alpha`` masks
    nothing.
    """
    if not alpha >= 0:
        return
    size = longest_ring(starts)
    work, keys, found = np.empty(size, np.float64), np.empty(size, np.int32), np.empty(size, np.uint32)
    for ring in range(len(starts) - 1):
        v, pixels = values[starts[ring] : starts[ring + 1]], order[starts[ring] : starts[ring + 1]]
        good = np.int64(0)  # a literal 0 would have `median_of_keys` compiled twice
        for i in range(len(v)):  # without a branch: the next value overwrites a NaN
            work[good] = v[i]
            good += v[i] == v[i]
        if good == 0:
            continue
        limit = alpha * ring_std(work[:good])
        bits = v.view(np.int32)
        for i in range(len(v)):
            keys[i] = to_key(bits[i])
        median = median_of_keys(keys[: len(v)], good)
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
    cancellation. (Without one of several equal values the others are worse than before: they go too, in any order.)
    A negative or NaN ``alpha`` masks nothing.
    """
    if not alpha >= 0:
        return
    size = longest_ring(starts)
    items, spare = np.empty(size, np.uint64), np.empty(size, np.uint64)
    x, sums, squares = np.empty(size), np.empty(size), np.empty(size)
    for ring in range(len(starts) - 1):
        v, pixels = values[starts[ring] : starts[ring + 1]], order[starts[ring] : starts[ring + 1]]
        good, bits = 0, v.view(np.int32)
        for i in range(len(v)):
            key = to_key(bits[i] if v[i] != 0 else np.int32(0))  # -0.0 is 0.0: equal values stay in order of index
            items[good] = np.uint64(key - np.int64(LOWEST_KEY)) << np.uint64(32) | np.uint64(i)
            good += v[i] == v[i]
        sort_items(items[:good], spare)
        for i in range(good):
            x[i] = v[np.uint32(items[i])]
        low, high, middle = 0, good - 1, -1
        while low < high and x[low] < x[high]:
            if not low <= middle <= high:
                middle = (low + high) // 2
                center = x[middle]
                outwards(x, middle - 1, low - 1, np.int64(-1), center, sums, squares)
                outwards(x, middle, high + 1, np.int64(1), center, sums, squares)
            many = high - low + 1
            mean = (sums[high] + (sums[low] if low < middle else 0.0)) / many
            variance = (squares[high] + (squares[low] if low < middle else 0.0)) / many - mean * mean
            below, above = mean - (x[low] - center), x[high] - center - mean
            if not max(below, above) >= alpha * np.sqrt(max(variance, 0.0)):
                break
            at = low if below > above else high
            if below == above:
                first = high  # of the highest values; equal ones are in order of their index
                while x[first - 1] == x[high]:
                    first -= 1
                at = low if np.uint32(items[low]) < np.uint32(items[first]) else high
            mask[pixels[np.uint32(items[at])]] |= OUTLIER
            low, high = low + (at == low), high - (at != low)
