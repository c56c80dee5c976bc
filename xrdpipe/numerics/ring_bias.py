"""How far a pattern is from what all pixels of its rings say, masked or not: the metric that tells good masks from bad.

A mask can spoil a pattern in three ways: it leaves bad pixels in, it takes one side of the noise away (or of a steep
ring), or it takes away so much that little is left to average. None of them shows in the scatter of the pixels that
are left, which only falls the more is masked. All three show in the distance of the pattern from a robust mean of all
pixels of the same bin, a mean that does not depend on the mask: two means of the same pixels share their noise, and
differ by what masking did.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .compiled import compiled
from .constants import DETECTOR, NOT_FINITE, USER
from .ring_statistics import median_of_keys, to_key
from .sparse_matrix import Matrix

BINS = 40  # that are looked at, evenly spread


SAMPLE = 1 << 15  # pixels that are looked at in them, evenly spread


FAR = 6.0  # robust standard deviations: a pixel further from its ring than this is no part of it


KNOWN = np.uint8(USER | DETECTOR | NOT_FINITE)  # masked for what is known of the pixel, not for what it counts


def sampled(matrix: Matrix, norm: NDArray[np.float32], npt: int) -> dict[str, NDArray[Any]]:
    """What `ring_bias` needs of a matrix for every k-th of its ``npt`` bins, k as small as `SAMPLE` lets it.

    ``rows`` (int64) are the bins, ``ends`` (int64, one more) where each begins in the rest: ``at`` (uint32) the pixel,
    ``weights`` (float32) its share in the bin times its ``norm``, ``norms`` that norm, ``places`` (float32) the middle
    of the pixel in bins.
    """
    pixels = matrix.starts.size - 1
    counts = np.diff(matrix.starts).astype(np.int64)
    order = np.argsort(matrix.bins, kind="stable")
    indices = np.repeat(np.arange(pixels, dtype=np.uint32), counts)[order]
    data, indptr = matrix.coefs[order], np.concatenate([[0], np.cumsum(np.bincount(matrix.bins, minlength=npt))])
    step = max(1, (indptr.size - 1) // BINS)
    bins = np.repeat(np.arange(indptr.size - 1, dtype=np.float32), np.diff(indptr))
    share = np.bincount(indices, data, pixels)
    with np.errstate(invalid="ignore", divide="ignore"):
        middle = np.bincount(indices, data * bins, pixels) / share
    rows = np.arange(step // 2, indptr.size - 1, step)
    stride = max(1, -(-int(np.diff(indptr)[rows].sum()) // SAMPLE))  # where none of these bins has a pixel, 1
    chosen = [np.arange(indptr[row], indptr[row + 1], stride) for row in rows]
    entries = np.concatenate(chosen)
    at = indices[entries].astype(np.uint32)
    norms = norm[at] if norm.size else np.ones(at.size, np.float32)
    ends = np.concatenate([[0], np.cumsum([each.size for each in chosen])]).astype(np.int64)
    weights = (data[entries] * norms).astype(np.float32)
    places = middle[at].astype(np.float32)
    return {"rows": rows, "ends": ends, "at": at, "weights": weights, "norms": norms, "places": places}


def ring_bias(
    image: NDArray[np.float32], mask: NDArray[np.uint8], intensity: NDArray[np.float64], kept: Mapping[str, Any]
) -> float:
    """Distance of a pattern from the robust mean of its rings, in standard errors: root mean square over the bins.

    ``image`` and ``mask`` are flat, ``intensity`` is the pattern (NaN: no good pixel), ``kept`` is from `sampled`. A
    bin that the pattern lacks has what a reader of the pattern would take there, the line between its neighbours.
    """
    filled = ~np.isnan(intensity)
    places = np.arange(intensity.size)
    line = np.interp(places, places[filled], intensity[filled])
    names = ("rows", "ends", "at", "weights", "norms", "places")
    total, many = _distance(image, mask, line, *(kept[name] for name in names))
    return float(np.sqrt(total / many)) if many else np.nan


@compiled
def _distance(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    line: NDArray[np.float64],
    rows: NDArray[np.int64],
    ends: NDArray[np.int64],
    at: NDArray[np.uint32],
    weights: NDArray[np.float32],
    norms: NDArray[np.float32],
    places: NDArray[np.float32],
) -> tuple[float, int]:
    """Sum over the bins of the squared distance in standard errors, and how many bins it is of.

    Pixels are compared with the pattern at their own place, so that the slope of a peak is no scatter.
    """
    longest = 1
    for row in range(len(rows)):
        longest = max(longest, ends[row + 1] - ends[row])
    apart, keys = np.empty(longest, np.float32), np.empty(longest, np.int32)
    value, weight = np.empty(longest, np.float64), np.empty(longest, np.float64)
    total, many, last = 0.0, 0, len(line) - 1
    for row in range(len(rows)):
        good, left, divisor = np.int64(0), 0.0, 0.0
        for i in range(ends[row], ends[row + 1]):
            v, norm = np.float64(image[at[i]]), np.float64(norms[i])
            if mask[at[i]] & KNOWN or not (abs(v) < np.inf and 0 < abs(norm) < np.inf):
                continue
            below = min(int(places[i]), last)
            part = places[i] - below
            here = line[below] + part * (line[min(below + 1, last)] - line[below])
            if mask[at[i]] == 0:
                left += weights[i] * v / norm
                divisor += weights[i]
            value[good], weight[good], apart[good] = v / norm, weights[i], v / norm - here
            good += 1
        if good == 0:
            continue
        bits = apart.view(np.int32)
        for i in range(good):
            keys[i] = to_key(bits[i])
        middle = median_of_keys(keys[:good], good)
        for i in range(good):
            apart[i] = abs(apart[i] - middle)
        for i in range(good):
            keys[i] = bits[i]
        sigma = max(1.4826 * median_of_keys(keys[:good], good), 1.0)  # of a normal distribution; a count is the least
        signal, share, square = 0.0, 0.0, 0.0
        for i in range(good):
            if apart[i] <= FAR * sigma:
                signal += weight[i] * value[i]
                share += weight[i]
                square += weight[i] * weight[i]
        if share > 0:
            pattern = left / divisor if divisor > 0 else line[rows[row]]
            total += (signal / share - pattern) ** 2 * share * share / (square * sigma * sigma)
            many += 1
    return total, many
