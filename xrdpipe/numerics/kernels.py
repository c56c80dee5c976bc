"""Compiled loops over single frames: the automatic mask.

Every function runs on one thread and releases the GIL, so threads may process different frames or share one. Arrays
are flat and C-contiguous. To share a frame, pass slices of all pixel arrays (`threshold`, `scatter_to_rings`,
`integrate`) or a slice of ``starts`` for a range of rings (`mask_median`, `mask_mean`). Masks are the same, byte for
byte, however a frame is shared.

Three arrays describe the rings, and depend on the geometry alone:

- ``order`` (uint32, pixels): flat indices of the pixels, sorted stably by ring;
- ``starts`` (int64, rings + 1): start of each ring in ``order``;
- ``slots`` (uint32, pixels): inverse of ``order``, ``slots[order] = arange(pixels)``.

Every ring number that `numpy.digitize` returns is a ring, 0 included.

A mask is uint8, 0 = good; the first step that masks a pixel sets its bit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compiled import compiled, prefetch
from .constants import GOOD, INF, LOWER, LOWEST_KEY, NAN, NOT_FINITE, OUTLIER, UPPER
from .ring_statistics import (
    good_range,
    longest_ring,
    median_of_keys,
    ring_std,
    ring_sum,
    ring_variance,
    sort_items,
    to_key,
)

AHEAD = 8  # pixels of a ring, half a cache line


@compiled
def threshold(image: NDArray[np.float32], mask: NDArray[np.uint8], lower: float, upper: float) -> None:
    """Mask good pixels that are not finite, below ``lower`` or above ``upper``; in place.

    Parameters
    ----------
    image
        Counts, float32, shape (pixels,).
    mask
        Mask to update, shape (pixels,).
    lower, upper
        Limits in counts; -inf and inf for none. They are rounded to float32, as numpy does in ``image < lower``.
    """
    low, high = np.float32(lower), np.float32(upper)
    for i in range(len(image)):
        mask[i] = _by_threshold(image[i], mask[i], low, high)


@compiled
def _by_threshold(value: np.float32, before: np.uint8, low: np.float32, high: np.float32) -> np.uint8:
    """Return the mask of a pixel from its mask before; without a branch."""
    bit = LOWER if value < low else UPPER if value > high else GOOD
    bit = bit if abs(value) < INF else NOT_FINITE
    return before | (bit if before == GOOD else GOOD)


@compiled
def scatter_to_rings(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    lower: float,
    upper: float,
    slots: NDArray[np.uint32],
    values: NDArray[np.float32],
) -> None:
    """Apply `threshold`, then copy the pixels into ring order: ``values[slots] = image``, NaN if masked.

    Sequential reads with scattered writes are more than twice as fast as the reverse, which misses the TLB. The next
    pixels of a ring follow in the next rows of the frame, so that their cache line is fetched in time.

    Parameters
    ----------
    image, mask, lower, upper
        As in `threshold`.
    slots
        Position of each pixel in ring order.
    values
        Output, float32, all pixels of the frame. `mask_median` and `mask_mean` read it.
    """
    low, high = np.float32(lower), np.float32(upper)
    for i in range(len(image)):
        mask[i] = _by_threshold(image[i], mask[i], low, high)
        at = np.uint64(slots[i])
        prefetch(values, at + np.uint64(AHEAD))
        values[at] = image[i] if mask[i] == GOOD else NAN


@compiled
def scatter_good(
    image: NDArray[np.float32], mask: NDArray[np.uint8], slots: NDArray[np.uint32], values: NDArray[np.float32]
) -> None:
    """Copy the pixels into ring order as `scatter_to_rings` does without thresholds; the mask stays as it is."""
    for i in range(len(image)):
        at = np.uint64(slots[i])
        prefetch(values, at + np.uint64(AHEAD))
        values[at] = image[i] if (mask[i] == GOOD) & (abs(image[i]) < INF) else NAN


@compiled
def mask_median(
    values: NDArray[np.float32],
    order: NDArray[np.uint32],
    starts: NDArray[np.int64],
    alpha: float,
    mask: NDArray[np.uint8],
) -> None:
    """Mask the pixels with ``|v - median| > alpha * std``, ring by ring.

    Median and population standard deviation are float64; the mask is the one that numpy's, bit for bit, give.

    Parameters
    ----------
    values
        Pixels in ring order, NaN if masked; see `scatter_to_rings`. Outliers become NaN too.
    order, starts
        The rings.
    alpha
        Limit in standard deviations; a negative or NaN value masks nothing.
    mask
        Mask to update, shape (pixels,).
    """
    if not alpha >= 0:
        return
    size = longest_ring(starts)
    work, keys = np.empty(size, np.float64), np.empty(size, np.int32)
    far, found = np.empty(size + 8, np.uint8), np.empty(size + 8, np.uint32)
    words = far[: len(far) // 8 * 8].view(np.uint64)
    for ring in range(len(starts) - 1):
        v, pixels = values[starts[ring] : starts[ring + 1]], order[starts[ring] : starts[ring + 1]]
        good, bits = np.int64(0), v.view(np.int32)
        for i in range(len(v)):
            keys[i] = to_key(bits[i])
            good += v[i] == v[i]
        if good == 0:
            continue
        median = median_of_keys(keys[: len(v)], good)
        variance, error = ring_variance(v, good, median)
        low, high = good_range(median, alpha * np.sqrt(max(variance - error, 0.0)))
        lowest, highest = good_range(median, alpha * np.sqrt(max(variance + error, 0.0)))
        if low != lowest or high != highest:  # the last bits of the standard deviation decide, and numpy's count
            good = np.int64(0)
            for i in range(len(v)):  # branch-free: the next value overwrites a NaN
                work[good] = v[i]
                good += v[i] == v[i]
            low, high = good_range(median, alpha * ring_std(work[:good]))
        for i in range(len(v)):
            far[i] = (v[i] < low) | (v[i] > high)
        far[len(v) : len(v) + 8] = 0
        count = np.uint64(0)
        for word in range((len(v) + 7) // 8):  # most words have no outlier
            if words[word] != 0:
                for i in range(8 * word, 8 * word + 8):
                    found[count] = i
                    count += np.uint64(far[i])
        for k in range(count):
            mask[pixels[found[k]]] |= OUTLIER
            v[found[k]] = NAN


@compiled
def mask_mean(
    values: NDArray[np.float32],
    order: NDArray[np.uint32],
    starts: NDArray[np.int64],
    alpha: float,
    mask: NDArray[np.uint8],
) -> None:
    """Mask ring by ring, one pixel at a time, while the worst has ``|v - mean| / std >= alpha``.

    Of equally bad pixels, the one with the lowest flat index goes first. The worst pixel is the lowest or the highest
    value that remains, so each ring is sorted once. Running sums from the middle outwards give mean and standard
    deviation of the remaining values without cancellation. (After one of several equal values is removed, the others
    deviate more than before: they are removed too, in any order.)

    Parameters
    ----------
    values, order, starts, mask
        As in `mask_median`.
    alpha
        Limit in standard deviations; a negative or NaN value masks nothing.
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
            key = to_key(bits[i] if v[i] != 0 else np.int32(0))  # -0.0 equals 0.0; ties keep their order
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
                _running_sums(x, middle - 1, low - 1, np.int64(-1), center, sums, squares)
                _running_sums(x, middle, high + 1, np.int64(1), center, sums, squares)
            count = high - low + 1
            mean = (sums[high] + (sums[low] if low < middle else 0.0)) / count
            variance = (squares[high] + (squares[low] if low < middle else 0.0)) / count - mean * mean
            below, above = mean - (x[low] - center), x[high] - center - mean
            if not max(below, above) >= alpha * np.sqrt(max(variance, 0.0)):
                break
            at = low if below > above else high
            if below == above:
                first = high  # first of the highest values; equal values are in the order of their indices
                while x[first - 1] == x[high]:
                    first -= 1
                at = low if np.uint32(items[low]) < np.uint32(items[first]) else high
            mask[pixels[np.uint32(items[at])]] |= OUTLIER
            v[np.uint32(items[at])] = NAN
            low, high = low + (at == low), high - (at != low)


@compiled
def _running_sums(
    x: NDArray[np.float64],
    start: int,
    stop: int,
    step: np.int64,
    center: float,
    sums: NDArray[np.float64],
    squares: NDArray[np.float64],
) -> None:
    """Write running sums of ``x - center`` and of its square, from ``start`` to before ``stop``.

    Parameters
    ----------
    x
        Values.
    start, stop, step
        Range of indices.
    center
        Value to subtract.
    sums, squares
        Outputs, as long as ``x``.
    """
    total, square = 0.0, 0.0
    for i in range(start, stop, step):
        total += x[i] - center
        square += (x[i] - center) ** 2
        sums[i], squares[i] = total, square


@compiled
def mask_sigma_clip(
    values: NDArray[np.float32],
    order: NDArray[np.uint32],
    starts: NDArray[np.int64],
    alpha: float,
    max_iter: int,
    mask: NDArray[np.uint8],
) -> None:
    """Mask all pixels of a ring with ``|v - mean| > alpha * std``, at most ``max_iter`` times.

    Iteration stops when no pixel is masked. Mean and population standard deviation are float64 and equal numpy's bit
    for bit.

    Parameters
    ----------
    values, order, starts, mask
        As in `mask_median`.
    alpha
        Limit in standard deviations.
    max_iter
        Largest number of iterations.
    """
    size = longest_ring(starts)
    x, scratch, at = np.empty(size), np.empty(size), np.empty(size, np.uint32)
    for ring in range(len(starts) - 1):
        count = np.int64(0)
        for i in range(starts[ring], starts[ring + 1]):
            x[count], at[count] = values[i], order[i]
            count += values[i] == values[i]
        for _ in range(max_iter):
            if count == 0:
                break
            mean = ring_sum(x[:count]) / count
            for i in range(count):
                scratch[i] = x[i]
            limit = alpha * ring_std(scratch[:count])
            left = np.int64(0)
            for i in range(count):
                if abs(x[i] - mean) > limit:
                    mask[at[i]] |= OUTLIER
                else:
                    x[left], at[left] = x[i], at[i]
                    left += 1
            if left == count:
                break
            count = left
