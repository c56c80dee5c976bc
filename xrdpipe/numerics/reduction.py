"""Compiled loops that reduce an image, a mask or a pattern: blocks, boxes, counts, peaks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compiled import compiled

DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)  # its 64 runs of six bits differ: one for each power of two
BIT_NUMBERS = np.empty(64, np.int64)  # number of a bit, by the run that the product with it begins with
for _bit in range(64):
    BIT_NUMBERS[(int(DE_BRUIJN) << _bit) % (1 << 64) >> 58] = _bit


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
def lowest_bits(mask: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return how many pixels of a mask, (pixels,), have bit 0, 1, ... 7 as their lowest one, int64, shape (8,)."""
    counts = np.zeros(8, np.int64)
    whole = len(mask) // 8
    words = mask[: 8 * whole].view(np.uint64)  # most pixels are good: one comparison checks eight of them
    last, times = np.uint64(0), 0
    for i in range(whole):
        if words[i] == last:  # rows at the edge
            times += 1
        elif words[i] != 0:
            _count(last, times, counts)
            last, times = words[i], 1
    _count(last, times, counts)
    _count(_word(mask[8 * whole :]), 1, counts)
    return counts


@compiled
def _count(word: np.uint64, times: int, counts: NDArray[np.int64]) -> None:
    """Add the pixels of a word so many times to `lowest_bits`."""
    while word != 0:  # the lowest bit of a word is the lowest one of a pixel
        lowest = word & (~word + np.uint64(1))
        bit = BIT_NUMBERS[(lowest * DE_BRUIJN) >> np.uint64(58)]
        counts[bit & 7] += times
        word &= ~(np.uint64(255) << np.uint64(bit & 56))


@compiled
def _word(mask: NDArray[np.uint8]) -> np.uint64:
    """Return up to eight pixels as one number."""
    word = np.uint64(0)
    for value in mask:
        word = word << np.uint64(8) | np.uint64(value)
    return word


@compiled
def find_peaks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Find all peaks of a curve, as scipy.signal's `find_peaks` and `peak_widths` define them.

    The import of scipy.signal would take a fifth of a run on one frame.

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


@compiled
def describe_pattern(
    radial: NDArray[np.float64], intensity: NDArray[np.float64], most: int
) -> tuple[int, int, float, float]:
    """Describe a pattern by its bins and its strongest peaks.

    Parameters
    ----------
    radial, intensity
        Centres of the bins and their intensity, NaN without a pixel, (npt,).
    most
        Number of peaks that count.

    Returns
    -------
    negative, empty : int
        Number of bins with a negative intensity, and with none.
    ratio, width : float
        Of the strongest peaks, the median ratio of height to background and the median full width at half height, in
        the unit of ``radial``; NaN without a peak. Heights are prominences, see `find_peaks`.
    """
    x, y = np.empty(len(radial)), np.empty(len(radial))
    filled, negative = 0, 0
    for i in range(len(intensity)):
        x[filled], y[filled] = radial[i], intensity[i]
        negative += intensity[i] < 0
        filled += intensity[i] == intensity[i]
    empty = len(intensity) - filled
    if filled < 3:
        return negative, empty, np.nan, np.nan
    peaks = find_peaks(y[:filled])
    count = min(most, len(peaks))
    if count == 0:
        return negative, empty, np.nan, np.nan
    ratios, widths = np.empty(count), np.empty(count)
    for rank in range(count):
        best = 0
        for peak in range(1, len(peaks)):
            if peaks[peak, 1] > peaks[best, 1]:
                best = peak  # of equal ones the first
        height = peaks[best, 1]
        ratios[rank] = height / max(abs(y[int(peaks[best, 0])] - height), 1e-3 * height)
        widths[rank] = _between(x[:filled], peaks[best, 3]) - _between(x[:filled], peaks[best, 2])
        peaks[best, 1] = -1.0  # a height is never negative
    ratios.sort()
    widths.sort()
    low, high = (count - 1) // 2, count // 2
    return negative, empty, (ratios[low] + ratios[high]) / 2, (widths[low] + widths[high]) / 2


@compiled
def _between(values: NDArray[np.float64], position: float) -> float:
    """Return the value at a position between two indices, as `numpy.interp` does."""
    at = int(position)
    value: float = values[at]
    if at < len(values) - 1:
        value += (values[at + 1] - values[at]) * (position - at)
    return value


@compiled
def ring_spread(
    sums: NDArray[np.float64],
    scatter: NDArray[np.float64],
    stride: int,
    relative: NDArray[np.float64],
    proportion: NDArray[np.float64],
) -> int:
    """Compare the scatter of the pixels in each bin with its intensity.

    Parameters
    ----------
    sums, scatter, stride
        Sums of `integration.integrate` and `integration.scatter`, and the distance of the runs in the latter.
    relative
        Output, standard deviation of the pixels in a bin over its intensity, (bins,); of those bins where it is finite.
    proportion
        Output, variance of the sum of a bin, by the scatter, over the square of the sum, (bins,).

    Returns
    -------
    int
        Number of bins in ``relative``.
    """
    count = 0
    for i in range(sums.shape[1]):
        signal = sums[0, i]
        deviation = np.sqrt(scatter[1, i] / scatter[0, i]) / abs(signal / sums[1, i])
        relative[count] = deviation
        count += deviation < np.inf
        floor = max(signal, 1.0)
        proportion[i] = stride * scatter[2, i] / (floor * floor)
    return count


@compiled
def box_mean(image: NDArray[np.float64], window: int, repeat: bool) -> NDArray[np.float64]:
    """Return the mean of a square box around each pixel, as scipy.ndimage's `uniform_filter` to the last bit.

    The import of scipy.ndimage would take longer than all that it is used for.

    Parameters
    ----------
    image
        Values, (slow, fast).
    window
        Side of the box in pixels.
    repeat
        Repeat the values at the border outside the image; otherwise they are 0 there.
    """
    before = window // 2
    means: NDArray[np.float64] = np.empty((image.shape[0], image.shape[1]))
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            means[row, column] = image[row, column]
    if window == 1:
        return means
    for _ in range(2):  # along the columns, then along the rows; each pass transposes
        values = means
        rows, columns = values.shape[0], values.shape[1]
        means = np.empty((columns, rows))
        for column in range(columns):
            total = 0.0
            for row in range(-before, window - before):
                if repeat or 0 <= row < rows:
                    total += values[min(max(row, 0), rows - 1), column]
            means[column, 0] = total / window
            for row in range(1, rows):
                last, first = row - before + window - 1, row - before - 1
                new = values[min(last, rows - 1), column] if repeat or last < rows else 0.0
                old = values[max(first, 0), column] if repeat or first >= 0 else 0.0
                total += new - old
                means[column, row] = total / window
    return means
