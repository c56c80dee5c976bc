"""How far a pattern is from the truth, as far as the frame alone can tell: the metric that tells good masks from bad.

A mask can spoil a pattern in three ways: it leaves bad pixels in, it takes away one side of the noise or of a texture,
or it leaves too few pixels to average. All three are estimated as one number, the sum of the absolute errors of the
pattern over the sum of the pattern. It has two parts: the bias against the good pixels of each ring, as `ring_truth`
judges them whatever the mask says, and the noise of the pixels that the mask left.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from math import erf, exp, pi, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..model.arrays import read_only
from .compiled import compiled, reordered
from .constants import DETECTOR, NOT_FINITE, USER
from .ring_statistics import longest_ring
from .ring_truth import judge_ring
from .sparse_matrix import Matrix

BINS = 256  # that are looked at, evenly spread
SAMPLE = 1 << 16  # pixels that are looked at in them, evenly spread
PARTS = 8  # of these bins, every eighth: how they differ says how sure the number is
UNSEEN = 9.0  # variances: a pattern further from the mean of the sampled pixels has bad pixels outside the sample
LARGEST = np.float64(np.finfo(np.float32).max)
ARRAYS = ("rows", "ends", "at", "order", "weights", "norms")  # of `sample_bins`, as `compare` takes them
KNOWN = np.uint8(USER | DETECTOR | NOT_FINITE)  # masked for what is known of the pixel, not for what it counts


# Of each sampled bin: the mean of its good pixels, what they count, their variance if they were counts, how much more
# it is; the bias of the pattern, its variance and that of the pattern in units of that variance; what was not sampled
MEAN, LEVEL, VARIANCE, NOISE, BIAS, UNSURE, SPREAD, OUTSIDE = range(8)


class PatternError(NamedTuple):
    """The estimated relative error of a pattern, and the same of every eighth of its bins; these have it as mean."""

    total: float
    parts: tuple[float, ...]


def sample_bins(
    matrix: Matrix, norm: NDArray[np.float32], npt: int, chi: NDArray[np.floating[Any]]
) -> dict[str, NDArray[Any]]:
    """Return what `pattern_error` needs of a matrix for every k-th of its ``npt`` bins, k as small as `BINS` lets it.

    ``chi`` is the azimuth of every pixel (rad, flat). Returned: ``rows`` (int64) are the bins, ``ends`` (int64, one
    more) where each begins in the rest, where pixels stand by azimuth: ``at`` (uint32) the pixel, ``weights``
    (float32) its share in the bin times its ``norm``, ``norms`` that norm. ``order`` (uint32) sorts ``at``.
    ``stride`` (int64, one): one of so many pixels is there.
    """
    step = max(1, npt // BINS)
    rows = np.arange(step // 2, npt, step)
    number = np.full(npt, -1)
    number[rows] = np.arange(rows.size)
    entries = np.flatnonzero(number[matrix.bins] >= 0)
    ring = number[matrix.bins[entries]]
    pixels = np.searchsorted(matrix.starts, entries, side="right") - 1
    order = np.lexsort((chi[pixels], ring))
    entries, pixels = entries[order], pixels[order].astype(np.uint32)
    ends = np.concatenate([[0], np.cumsum(np.bincount(ring, minlength=rows.size))])
    stride = max(1, -(-entries.size // SAMPLE))
    some = np.concatenate([np.arange(first, last, stride) for first, last in pairwise(ends)])
    norms = norm[pixels[some]] if norm.size else np.ones(some.size, np.float32)
    usable = np.isfinite(norms) & (norms != 0)
    some, norms = some[usable], norms[usable]
    at = pixels[some]
    return {
        "rows": rows.astype(np.int64),
        "ends": np.searchsorted(some, ends).astype(np.int64),
        "at": at,
        "order": np.argsort(at, kind="stable").astype(np.uint32),
        "weights": (matrix.coefs[entries[some]] * norms).astype(np.float32),
        "norms": norms.astype(np.float32),
        "stride": np.array([stride]),
    }


def pattern_error(
    image: NDArray[np.float32],
    raw: NDArray[np.float32],
    mask: NDArray[np.uint8],
    columns: int,
    intensity: NDArray[np.float64],
    samples: Mapping[str, Any],
) -> PatternError:
    """Estimate the sum of the absolute errors of a pattern over the sum of the pattern, from the frame alone.

    Parameters
    ----------
    image, raw, mask
        The frame as it was integrated, the same before anything was subtracted, and its mask; flat.
    columns
        How long a row of the frame is.
    intensity
        The pattern; NaN where it has no pixel. There it is the line between its neighbours, as a reader takes it.
    samples
        What `sample_bins` returns.
    """
    filled = ~np.isnan(intensity)
    places = np.arange(intensity.size)
    line = np.interp(places, places[filled], intensity[filled])
    found = np.full((samples["rows"].size, 8), np.nan)
    image, raw, mask, stride = read_only(image), read_only(raw), read_only(mask), int(samples["stride"][0])
    rows, ends, at, order, weights, norms = (read_only(samples[name]) for name in ARRAYS)
    compare(image, raw, mask, columns, line, rows, ends, at, order, weights, norms, stride, found)
    parts = np.zeros(PARTS)
    total = sum_errors(found, gain(found), stride, parts)
    if not total > 0:
        return PatternError(np.nan, ())
    parts *= PARTS / total
    return PatternError(float(parts.mean()), tuple(float(part) for part in parts))


def gain(found: NDArray[np.float64]) -> float:
    """Return variance over counts of the quiet quarter of the bins that count enough; 1 where pixels count photons."""
    noise = found[found[:, LEVEL] > 20, NOISE]
    return float(np.sort(noise)[noise.size // 4]) if noise.size else 1.0


@compiled
def compare(
    image: NDArray[np.float32],
    raw: NDArray[np.float32],
    mask: NDArray[np.uint8],
    columns: int,
    line: NDArray[np.float64],
    rows: NDArray[np.int64],
    ends: NDArray[np.int64],
    at: NDArray[np.uint32],
    order: NDArray[np.uint32],
    weights: NDArray[np.float32],
    norms: NDArray[np.float32],
    stride: int,
    found: NDArray[np.float64],
) -> None:
    """Set ``found`` (float64, (sampled bins, 8)), see `MEAN` and the others; NaN where a bin has no good pixel."""
    pairs, marks = np.empty((len(at), 2), np.float32), np.empty(len(at), np.uint8)
    for i in order:  # that of the frame, where sampled pixels share cache lines
        pairs[i, 0], pairs[i, 1], marks[i] = raw[at[i]], image[at[i]], mask[at[i]]
    longest = longest_ring(ends)
    counts, values, keys = (np.empty(longest, np.float32), np.empty(longest, np.float32), np.empty(longest, np.int32))
    bad, masked, kept = np.empty(longest, np.bool_), np.empty(longest, np.bool_), np.empty(longest, np.int32)
    pixels, shares = np.empty(longest, np.uint32), np.empty((2, longest), np.float32)
    for row in range(len(rows)):
        ring = slice(ends[row], ends[row + 1])
        many = _usable(pairs[ring], marks[ring], counts, values, masked, kept)
        if many == 0:
            continue
        p, w, n = at[ring], weights[ring], norms[ring]
        if many < len(p):
            for k in range(many):
                pixels[k], shares[0, k], shares[1, k] = p[kept[k]], w[kept[k]], n[kept[k]]
            p, w, n = pixels[:many], shares[0, :many], shares[1, :many]
        noise = judge_ring(raw, columns, p, counts[:many], masked[:many], bad[:many], keys)
        sums = _sum_ring(counts[:many], values, w, n, masked, bad)
        (good, signal, share, square, level, variance), (left, left_share, left_square), common = sums
        if good == 0 or not share > 0:
            continue
        mean, own = signal / share, square / (share * share)
        found[row, MEAN], found[row, LEVEL], found[row, NOISE] = mean, level / good, noise
        found[row, VARIANCE] = max(variance / good, 1e-3)
        if left_share > 0:
            spread = left_square / (left_share * left_share)
            found[row, BIAS] = left / left_share - mean
            found[row, UNSURE] = max(spread + own - 2 * common / (left_share * share), 0.0)
            found[row, OUTSIDE] = line[rows[row]] - left / left_share
        else:
            spread = own
            found[row, BIAS], found[row, UNSURE], found[row, OUTSIDE] = line[rows[row]] - mean, own, 0.0
        found[row, SPREAD] = spread / stride


@compiled
def _usable(
    pairs: NDArray[np.float32],
    marks: NDArray[np.uint8],
    counts: NDArray[np.float32],
    values: NDArray[np.float32],
    masked: NDArray[np.bool_],
    kept: NDArray[np.int32],
) -> int:
    """Copy the pixels of a ring that are finite and not `KNOWN` to be bad, and set ``kept``, which; return how many."""
    many = 0
    for k in range(len(marks)):  # without a branch
        counts[many], values[many], masked[many], kept[many] = pairs[k, 0], pairs[k, 1], marks[k] != 0, k
        finite = (abs(pairs[k, 0]) < np.inf) & (abs(pairs[k, 1]) < np.inf)
        many += int(finite & (marks[k] & KNOWN == 0))
    return many


@reordered
def _sum_ring(
    counts: NDArray[np.float32],
    values: NDArray[np.float32],
    weights: NDArray[np.float32],
    norms: NDArray[np.float32],
    masked: NDArray[np.bool_],
    bad: NDArray[np.bool_],
) -> tuple[tuple[float, float, float, float, float, float], tuple[float, float, float], float]:
    """Return the sums over a ring.

    Of the good pixels: how many they are, signal, share, its square, counts and variance; of those that the mask left:
    signal, share and its square; of the pixels that are both: the square of the share.
    """
    good, signal, share, square, level, variance = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    left, left_share, left_square, common = 0.0, 0.0, 0.0, 0.0
    for k in range(len(counts)):  # without a branch, so that it is vectorized
        w, factor = np.float64(weights[k]), 1 / np.float64(norms[k])
        v = w * values[k] * factor
        noise = min(abs(counts[k]) + abs(counts[k] - values[k]), LARGEST) * factor * factor  # never infinite
        is_left, is_good = 1.0 - masked[k], 1.0 - bad[k]
        left += is_left * v
        left_share += is_left * w
        left_square += is_left * w * w
        good += is_good
        signal += is_good * v
        share += is_good * w
        square += is_good * w * w
        level += is_good * counts[k]
        variance += is_good * noise
        common += is_left * is_good * w * w
    return (good, signal, share, square, level, variance), (left, left_share, left_square), common


@compiled
def folded_normal(bias: float, noise: float) -> float:
    """Return the mean of abs(bias + x), x being normal with standard deviation ``noise``."""
    if noise <= 0:
        return abs(bias)
    ratio = bias / noise
    return noise * sqrt(2 / pi) * exp(-ratio * ratio / 2) + bias * erf(ratio / sqrt(2.0))


@compiled
def sum_errors(found: NDArray[np.float64], gain: float, stride: int, parts: NDArray[np.float64]) -> float:
    """Add the expected absolute errors of the bins to ``parts``, one after another; return the sum of the pattern.

    ``found`` is what `compare` set. Bins in the shadow of the beamstop, which fills them, do not count.
    """
    total = 0.0
    for row in range(_shadowed(found[:, LEVEL]), len(found)):
        if not abs(found[row, MEAN]) < np.inf:
            continue
        variance = found[row, VARIANCE] * gain
        bias, noise = max(found[row, BIAS] ** 2 - found[row, UNSURE] * variance, 0.0), found[row, SPREAD] * variance
        outside = found[row, OUTSIDE] ** 2
        chance = (stride - 1) * noise  # what the sample and the whole differ by anyway
        if outside > UNSEEN * chance:
            bias += outside - chance
        parts[row % len(parts)] += folded_normal(sqrt(bias), sqrt(noise))
        total += abs(found[row, MEAN])
    return total


@compiled
def _shadowed(level: NDArray[np.float64]) -> int:
    """How many of the first bins are in a shadow: each of as many bins after them counts four times as much."""
    found, inside = 0, -1.0
    for k in range(1, len(level) // 3):
        if level[k - 1] == level[k - 1]:
            inside = max(inside, level[k - 1])
        if inside < 0:
            continue
        outside = np.inf
        for i in range(k + 1, 2 * k + 2):
            if level[i] == level[i]:
                outside = min(outside, level[i])
        if np.inf > outside > 4 * inside:
            found = k + 1
    return found
