"""Compiled search for the peaks of a pattern."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..compiled import compiled


@compiled
def find_peaks(x: NDArray[np.float64], peaks: NDArray[np.int64], prominence: NDArray[np.float64]) -> int:
    """Find the local maxima of ``x`` as ``scipy.signal.find_peaks`` does, whose import takes half a second.

    Parameters
    ----------
    x
        Values without NaN.
    peaks, prominence
        Outputs, of half the length of ``x``: index of each peak, the middle one of several equal values, and its
        prominence.

    Returns
    -------
    int
        Number of peaks.
    """
    count, i, last = 0, 1, len(x) - 1
    while i < last:
        if x[i - 1] < x[i]:
            ahead = i + 1
            while ahead < last and x[ahead] == x[i]:
                ahead += 1
            if x[ahead] < x[i]:
                peaks[count] = (i + ahead - 1) // 2
                prominence[count] = x[peaks[count]] - max(_base(x, peaks[count], -1)[1], _base(x, peaks[count], 1)[1])
                count += 1
                i = ahead
        i += 1
    return count


@compiled
def _base(x: NDArray[np.float64], peak: np.int64, step: int) -> tuple[np.int64, float]:
    """Return index and value of the lowest point between a peak and the next higher one on one side."""
    at, lowest, i = peak, x[peak], peak
    while 0 <= i < len(x) and x[i] <= x[peak]:
        if x[i] < lowest:
            at, lowest = i, x[i]
        i += step
    return at, lowest


@compiled
def half_height(
    x: NDArray[np.float64], peaks: NDArray[np.int64], left: NDArray[np.float64], right: NDArray[np.float64]
) -> None:
    """Set ``left`` and ``right`` to where each peak has half its height, as ``scipy.signal.peak_widths`` does."""
    for number in range(len(peaks)):
        peak = peaks[number]
        (first, low), (last, other) = _base(x, peak, -1), _base(x, peak, 1)
        height = x[peak] - (x[peak] - max(low, other)) * 0.5
        i = peak
        while first < i and height < x[i]:
            i -= 1
        left[number] = i
        if x[i] < height:
            left[number] += (height - x[i]) / (x[i + 1] - x[i])
        i = peak
        while i < last and height < x[i]:
            i += 1
        right[number] = i
        if x[i] < height:
            right[number] -= (height - x[i]) / (x[i - 1] - x[i])
