"""Compiled loops that reduce an image, a mask or a pattern to fewer numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compiled import compiled


@compiled
def shrink(
    image: NDArray[np.float32],
    masked: NDArray[np.bool_],
    step: int,
    values: NDArray[np.float32],
    share: NDArray[np.float32],
) -> tuple[float, float]:
    """Average the good pixels of square blocks of an image.

    Parameters
    ----------
    image, masked
        Pixels and their mask, (slow, fast).
    step
        Side of a block in pixels. Incomplete blocks at the border are left out.
    values
        Output, mean of the good pixels of each block, NaN if there is none.
    share
        Output, masked share of each block.

    Returns
    -------
    mean, std : float
        Mean and standard deviation of the good pixels in all blocks; 0 and 1 if there is none.
    """
    count, total, square = 0, 0.0, 0.0
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            good, block = 0, 0.0
            for i in range(row * step, row * step + step):
                for j in range(column * step, column * step + step):
                    if not masked[i, j]:
                        v = np.float64(image[i, j])
                        good += 1
                        block += v
                        square += v * v
            count += good
            total += block
            values[row, column] = block / good if good else np.nan
            share[row, column] = 1 - good / (step * step)
    if count == 0:
        return 0.0, 1.0
    mean = total / count
    return mean, np.sqrt(max(square / count - mean * mean, 0.0))


@compiled
def histogram(mask: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the number of pixels with each value, int64, shape (256,)."""
    counts = np.zeros((4, 256), np.int64)  # four counters, so that equal neighbours do not wait for each other
    whole = len(mask) // 8
    words = mask[: 8 * whole].view(np.uint64)  # most pixels are good: one comparison checks eight of them
    good = np.int64(0)
    for word in range(whole):
        if words[word] == 0:
            good += 8
            continue
        for i in range(8 * word, 8 * word + 8):
            counts[i % 4, mask[i]] += 1
    for i in range(8 * whole, len(mask)):
        counts[0, mask[i]] += 1
    counts[0, 0] += good
    total: NDArray[np.int64] = counts.sum(axis=0)
    return total


@compiled
def find_peaks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Find all peaks of a curve, as scipy.signal's `find_peaks` and `peak_widths` define them.

    scipy.signal takes longer to import than everything else that a run needs.

    Parameters
    ----------
    values
        Curve, at least three values, none of them NaN.

    Returns
    -------
    ndarray
        A row per peak: index of its top (the middle of a plateau), its prominence, and the positions on its left and
        right where the curve falls to half of the prominence; (peaks, 4).
    """
    found, count, last = np.empty((len(values) // 2, 4)), 0, len(values) - 1
    start = 1
    while start < last:
        if values[start - 1] < values[start]:
            end = start + 1
            while end < last and values[end] == values[start]:
                end += 1
            if values[end] < values[start]:
                found[count, 0] = (start + end - 1) // 2
                count += 1
                start = end
        start += 1
    for peak in range(count):
        top = int(found[peak, 0])
        height, base = values[top], np.empty(2)
        ends = np.empty(2, np.int64)
        for side in range(2):  # the lowest value on the way to a higher one
            at, step = top, 2 * side - 1
            base[side], ends[side] = height, top
            while 0 <= at <= last and values[at] <= height:
                if values[at] < base[side]:
                    base[side], ends[side] = values[at], at
                at += step
        prominence = height - max(base[0], base[1])
        half = height - 0.5 * prominence
        for side in range(2):
            at, step = top, 2 * side - 1
            while at != ends[side] and half < values[at]:
                at += step
            position = float(at)
            if values[at] < half:
                position -= step * ((half - values[at]) / (values[at - step] - values[at]))
            found[peak, 2 + side] = position
        found[peak, 1] = prominence
    return found[:count]
