"""Ring bias: the distance of a pattern from a robust mean of all pixels of its rings, masked or not.

A mask can spoil a pattern in three ways: it leaves bad pixels in, it removes one side of the noise (or of a steep
ring), or it removes so much that little is left to average. The scatter of the remaining pixels shows none of these,
because it falls the more is masked. The distance of the pattern from a robust mean of all pixels of the same bin, which
does not depend on the mask, shows all three: two means of the same pixels share their noise, and differ only by the
effect of the mask.
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

BINS = 40  # bins in the sample, evenly spaced
SAMPLE = 1 << 15  # pixels in the sample, evenly spaced
FAR = 6.0  # robust standard deviations; pixels further from their ring are excluded
KNOWN = np.uint8(USER | DETECTOR | NOT_FINITE)  # masked for a property of the pixel, not for its counts


def sample_bins(matrix: Matrix, norm: NDArray[np.float32], npt: int) -> dict[str, NDArray[Any]]:
    """Return the part of a matrix that `ring_bias` needs: every k-th bin, and a sample of its pixels.

    Parameters
    ----------
    matrix
        Pixel-major matrix of the pattern.
    norm
        Normalization per pixel, float32; empty for 1.
    npt
        Number of bins.

    Returns
    -------
    dict
        ``rows`` (int64): the bins. ``ends`` (int64, one more): start of each bin in the other arrays. ``at`` (uint32):
        the pixel. ``weights`` (float32): its share in the bin times its norm. ``norms`` (float32): its norm. ``places``
        (float32): centre of the pixel in bins.
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
    stride = max(1, -(-int(np.diff(indptr)[rows].sum()) // SAMPLE))  # 1 if none of these bins has a pixel
    chosen = [np.arange(indptr[row], indptr[row + 1], stride) for row in rows]
    entries = np.concatenate(chosen)
    at = indices[entries].astype(np.uint32)
    norms = norm[at] if norm.size else np.ones(at.size, np.float32)
    ends = np.concatenate([[0], np.cumsum([each.size for each in chosen])]).astype(np.int64)
    weights = (data[entries] * norms).astype(np.float32)
    places = middle[at].astype(np.float32)
    return {"rows": rows, "ends": ends, "at": at, "weights": weights, "norms": norms, "places": places}


def ring_bias(
    image: NDArray[np.float32], mask: NDArray[np.uint8], intensity: NDArray[np.float64], sample: Mapping[str, Any]
) -> float:
    """Return the root mean square distance of a pattern from the robust means of its rings.

    Parameters
    ----------
    image, mask
        Flat pixels and their mask.
    intensity
        The pattern, shape (npt,). For an empty bin (NaN), the line between its neighbours counts.
    sample
        Arrays of `sample_bins`.

    Returns
    -------
    float
        Distance in standard errors; NaN if no sampled bin has a good pixel.
    """
    filled = ~np.isnan(intensity)
    positions = np.arange(intensity.size)
    line = np.interp(positions, positions[filled], intensity[filled])
    names = ("rows", "ends", "at", "weights", "norms", "places")
    total, count = _distance(image, mask, line, *(sample[name] for name in names))
    return float(np.sqrt(total / count)) if count else np.nan


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
    """Return the sum of the squared distances in standard errors, and the number of bins in it.

    Each pixel is compared with the pattern at its own position, so that the slope of a peak does not count as scatter.
    """
    longest = 1
    for row in range(len(rows)):
        longest = max(longest, ends[row + 1] - ends[row])
    residual, keys = np.empty(longest, np.float32), np.empty(longest, np.int32)
    value, weight = np.empty(longest, np.float64), np.empty(longest, np.float64)
    total, count, last = 0.0, 0, len(line) - 1
    for row in range(len(rows)):
        good, remaining, divisor = np.int64(0), 0.0, 0.0
        for i in range(ends[row], ends[row + 1]):
            v, norm = np.float64(image[at[i]]), np.float64(norms[i])
            if mask[at[i]] & KNOWN or not (abs(v) < np.inf and 0 < abs(norm) < np.inf):
                continue
            below = min(int(places[i]), last)
            part = places[i] - below
            expected = line[below] + part * (line[min(below + 1, last)] - line[below])
            if mask[at[i]] == 0:
                remaining += weights[i] * v / norm
                divisor += weights[i]
            value[good], weight[good], residual[good] = v / norm, weights[i], v / norm - expected
            good += 1
        if good == 0:
            continue
        bits = residual.view(np.int32)
        for i in range(good):
            keys[i] = to_key(bits[i])
        median = median_of_keys(keys[:good], good)
        for i in range(good):
            residual[i] = abs(residual[i] - median)
        for i in range(good):
            keys[i] = bits[i]
        sigma = max(1.4826 * median_of_keys(keys[:good], good), 1.0)  # at least one count
        signal, share, square = 0.0, 0.0, 0.0
        for i in range(good):
            if residual[i] <= FAR * sigma:
                signal += weight[i] * value[i]
                share += weight[i]
                square += weight[i] * weight[i]
        if share > 0:
            pattern = remaining / divisor if divisor > 0 else line[rows[row]]
            total += (signal / share - pattern) ** 2 * share * share / (square * sigma * sigma)
            count += 1
    return total, count
