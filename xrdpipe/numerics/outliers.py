"""Compiled masks by median absolute deviation and by sigma clipping; growth of a mask.

As in `kernels`: one thread, no GIL, flat C-contiguous arrays; the same bytes however arcs or rings are shared.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compiled import compiled, prefetch, reordered
from .constants import LOWER, NOT_FINITE, OUTLIER, UPPER
from .kernels import threshold
from .ring_statistics import fit_surface, longest_ring, median_of_keys, ring_std, ring_sum, to_key, varies

GROWN = np.uint8(1 << 7)  # last bit of a mask: neighbours of pixels that the frame's own values mask
AUTOMATIC = np.uint8(LOWER | UPPER | OUTLIER | NOT_FINITE)
MAD_TO_STD = 1.4826  # standard deviation over median absolute deviation of a normal distribution
AHEAD = 16  # numbers that are fetched ahead in each arc

# Where a surface takes the place of an arc's median
ENOUGH = 24  # pixels, at least
STEEP = 4.0  # least variance of the arc, in that of counts
BETTER = 0.9  # largest share of the scatter that may be left
CAUTION = 1.3  # factor for the scatter about the surface, which is smaller than that of other pixels and has long tails
DOUBT = 0.1  # error of the surface as a share of its distance from the median
GOOD, NAN = np.uint8(0), np.float32(np.nan)


@compiled
def scatter_pairs_to_rings(
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    mask: NDArray[np.uint8],
    lower: float,
    upper: float,
    slots: NDArray[np.uint32],
    pairs: NDArray[np.float32],
) -> None:
    """Apply `threshold`, then copy ``image, variance`` into ring order, NaN if masked.

    A pixel whose variance is not finite is masked as one that is not finite itself.

    Parameters
    ----------
    image, mask, lower, upper
        As in `threshold`.
    variance
        Variance in counts**2, float32, shape (pixels,).
    slots
        Position of each pixel in ring order.
    pairs
        Output, float32, shape (pixels, 2). `mask_mad` reads it.
    """
    threshold(image, mask, lower, upper)
    threshold(variance, mask, -np.inf, np.inf)
    flat = pairs.reshape(-1)
    for i in range(len(image)):
        at = np.uint64(2) * np.uint64(slots[i])
        prefetch(flat, at + np.uint64(AHEAD))
        flat[at] = image[i] if mask[i] == GOOD else NAN
        flat[at + np.uint64(1)] = variance[i]


@compiled
def mask_mad(
    pairs: NDArray[np.float32],
    order: NDArray[np.uint32],
    starts: NDArray[np.int64],
    alpha: float,
    mask: NDArray[np.uint8],
    level: NDArray[np.float32],
    offset: NDArray[np.uint8],
) -> None:
    """Mask, arc by arc, the pixels whose value or variance is far from that of the arc.

    With m the median of x over the good pixels of an arc (float32), MAD the median of ``|x - m|`` (float32) and w the
    variance, a pixel is masked where ``|x - m| > alpha * s`` with ``s**2 = max((1.4826 * MAD)**2, median(w), w)``, for
    x the values and for x the variances. A variance is counts, so its own noise is its root. It shows pixels that a
    subtraction hides, because they count nothing or too much in both frames.

    An arc whose scatter is more than twice that of counts has a surface instead, a polynomial of degree two in the
    places across and along the arc, if that leaves less scatter: where a peak is narrower than a pixel, counts change
    within a third of a pixel. Then m is the value of the surface, and ``s**2 = max((1.3 * 1.4826 * MAD)**2, median(w),
    w) + (0.1 * d)**2``, d being the distance of the surface from the median. What is far from the median stays masked
    where only the variation along the arc explains it: that may be a shadow.

    Parameters
    ----------
    pairs
        Values and variances in arc order, see `scatter_pairs_to_rings`.
    order, starts, offset
        The arcs, see `geometry.rings.Arcs`.
    alpha
        Limit in standard deviations.
    mask
        Mask to update, shape (pixels,).
    level
        Output, float32: median(w) of as many arcs as it is long, NaN for an arc without a good pixel.
    """
    size = longest_ring(starts)
    v, w, far = np.empty(size, np.float32), np.empty(size, np.float32), np.empty(size, np.float32)
    keys, at = np.empty(size, np.int32), np.empty(size, np.int64)
    across, along, surface = np.empty(size), np.empty(size), np.zeros(size)
    for arc in range(len(starts) - 1):
        has_level, first, last = arc < len(level), starts[arc], starts[arc + 1]
        good = _good_pairs(pairs[first:last], v, w)
        if has_level:
            level[arc] = np.float32(_median(w, good, keys)) if good else NAN
        if good == 0 or _is_calm(v[:good], w[:good], alpha, far):
            continue
        noise = level[arc] if has_level else np.float32(_median(w, good, keys))
        count, differ = np.int64(0), np.int64(0)
        for i in range(first, last):  # branch-free: the next place overwrites that of a NaN
            at[count] = i
            valid = np.int64(pairs[i, 0] == pairs[i, 0])
            differ += valid & np.int64(pairs[i, 0] != pairs[i, 1])
            count += valid
        span = (first, last)
        if differ:
            middle = np.float32(_median(v, good, keys))
            _mask_far(
                v, w, middle, noise, good, alpha, far, keys, at, span, offset, across, along, surface, order, mask
            )
        _mask_far(w, w, noise, noise, good, alpha, far, keys, at, span, offset, across, along, surface, order, mask)


@compiled
def _good_pairs(pairs: NDArray[np.float32], v: NDArray[np.float32], w: NDArray[np.float32]) -> np.int64:
    """Copy values and variances of the good pixels of an arc; return their number."""
    good = np.int32(0)
    for i in range(len(pairs)):
        v[i], w[i] = pairs[i, 0], pairs[i, 1]
        good += np.int32(v[i] == v[i])
    if good == len(pairs):
        return np.int64(good)
    left = np.int64(0)
    for i in range(len(pairs)):
        value = v[i]
        v[left], w[left] = value, w[i]
        left += np.int64(value == value)
    return left


@compiled
def _is_calm(v: NDArray[np.float32], w: NDArray[np.float32], alpha: float, scratch: NDArray[np.float32]) -> bool:
    """Say whether no pixel of an arc can be an outlier, whatever the medians are; most arcs of most frames are calm.

    A median is within one standard deviation of the mean. So nothing is further from the median of x than it is from
    the mean and that; and median(w), which s**2 is never below, is at least mean - standard deviation.
    """
    noise, std, reach = _reach(w, scratch)
    least = noise - std
    limit = alpha * alpha * least
    if not (least > 0 and reach * reach < limit):
        return False
    reach = _reach(v, scratch)[2]
    return bool(reach * reach < limit)


@reordered
def _reach(x: NDArray[np.float32], scratch: NDArray[np.float32]) -> tuple[float, float, float]:
    """Return mean and standard deviation, and how far a value may be from the median; rounded up for float32 sums."""
    first, total, square = x[0], np.float32(0), np.float32(0)
    for i in range(len(x)):
        d = x[i] - first
        total += d
        square += d * d
    mean = total / np.float32(len(x))
    for i in range(len(x)):
        d = x[i] - first - mean
        scratch[i] = d * d
    bits, most = scratch.view(np.int32), np.int32(0)  # of the same order, as squares are not negative
    for i in range(len(x)):
        most = max(most, bits[i])
    bits[0] = most
    furthest = np.float64(scratch[0])
    spread = np.float64(square) / len(x) - np.float64(mean) * np.float64(mean)
    std = np.sqrt(max(spread, 0.0) + 1e-4 * furthest)
    return np.float64(first) + np.float64(mean), std, 1.001 * np.sqrt(furthest) + std


@compiled
def _mask_far(
    x: NDArray[np.float32],
    w: NDArray[np.float32],
    middle: np.float32,
    noise: np.float32,
    good: np.int64,
    alpha: float,
    far: NDArray[np.float32],
    keys: NDArray[np.int32],
    at: NDArray[np.int64],
    span: tuple[np.int64, np.int64],
    offset: NDArray[np.uint8],
    across: NDArray[np.float64],
    along: NDArray[np.float64],
    surface: NDArray[np.float64],
    order: NDArray[np.uint32],
    mask: NDArray[np.uint8],
) -> None:
    """Mask pixels far from the ``middle`` of ``x``, see `mask_mad`; compute MAD and surface only if they matter."""
    limit, candidates = alpha * alpha, 0
    for i in range(good):
        far[i] = abs(x[i] - middle)
        distance = np.float64(far[i])
        candidates += int(distance * distance > limit * np.float64(max(noise, w[i])))
    if candidates == 0:
        return
    spread = MAD_TO_STD * _median(far, good, keys)
    steep = good >= ENOUGH and spread * spread > STEEP * noise > 0
    if steep and varies(x, np.float64(middle), alpha * spread, good, at, span, offset, across, along, surface):
        fit_surface(good, across, along, surface)
        candidates = 0
        for i in range(good):
            far[i] = abs(x[i] - middle - surface[i])
            distance = np.float64(far[i])
            candidates += int(distance * distance > limit * np.float64(max(noise, w[i])))
        if candidates == 0:
            return
        left = MAD_TO_STD * _median(far, good, keys)
        if left < BETTER * spread:
            inner, outer = max(CAUTION * CAUTION * left * left, np.float64(noise)), spread * spread
            for i in range(good):
                distance, doubt, own = np.float64(far[i]), DOUBT * surface[i], np.float64(w[i])
                flat = x[i] - middle - surface[i] + along[i]
                away = min(abs(np.float64(x[i]) - middle), abs(flat))
                near_surface = distance * distance <= limit * (max(inner, own) + doubt * doubt)
                if not near_surface or away * away > limit * max(outer, own):
                    mask[order[at[i]]] |= OUTLIER
            return
        for i in range(good):
            far[i] = abs(x[i] - middle)
    least = max(spread * spread, np.float64(noise))
    for i in range(good):
        distance = np.float64(far[i])
        if distance * distance > limit * max(least, np.float64(w[i])):
            mask[order[at[i]]] |= OUTLIER


@compiled
def _median(x: NDArray[np.float32], good: np.int64, keys: NDArray[np.int32]) -> float:
    """Return the median of the first ``good`` values as float64; overwrite ``keys``."""
    bits = x.view(np.int32)
    for i in range(good):
        keys[i] = to_key(bits[i])
    return median_of_keys(keys[:good], good)


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
        As in `kernels.mask_median`.
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
            scratch[:count] = x[:count]
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


@compiled
def find_shadow(level: NDArray[np.float32], ring: NDArray[np.int32], alpha: float) -> int:
    """Return the first ring outside the shadow of a beamstop that fills whole rings; 0 if there is none.

    Rings below k are in the shadow where each of the k rings from k + 4 on, a good pixel further out, is more than four
    times as bright as the brightest of them, and brighter by more than ``alpha`` times the root of its counts. k is the
    largest such number, at least 4. A Bragg ring, which is dark again outside, and a smooth rise do not qualify.

    Parameters
    ----------
    level
        Counts per arc, float32; NaN for an arc without a pixel. A ring is as bright as its brightest arc.
    ring
        Ring of each arc, int32, ascending, counted from the beam.
    alpha
        Limit in standard deviations.
    """
    rings = 0 if len(ring) == 0 else ring[len(ring) - 1] + 1
    bright = np.full(rings, np.nan, np.float64)
    for arc in range(len(ring)):
        if not bright[ring[arc]] >= level[arc]:
            bright[ring[arc]] = level[arc]
    first, inside = 0, -1.0
    for k in range(1, (rings - 4) // 2):
        if bright[k - 1] == bright[k - 1]:
            inside = max(inside, bright[k - 1])
        if k < 4 or inside < 0:
            continue
        outside = np.inf
        for i in range(k + 4, 2 * k + 4):
            if bright[i] == bright[i]:
                outside = min(outside, bright[i])
            if not (outside > 4 * inside and outside - inside > alpha * np.sqrt(outside)):
                break
        else:
            if outside < np.inf:
                first = k
    return first


@compiled
def grow(mask: NDArray[np.uint8], by: int) -> None:
    """Set `GROWN` for every good pixel near one that the frame's own values mask; in place.

    Pixels that are masked independently of the values (user, detector, edge) do not grow.

    Parameters
    ----------
    mask
        Mask to update, uint8, (slow, fast).
    by
        Largest distance in rows and columns.
    """
    slow, fast = mask.shape
    for i in range(slow):
        for j in range(fast):
            if mask[i, j] & AUTOMATIC:
                for k in range(max(0, i - by), min(slow, i + by + 1)):
                    for m in range(max(0, j - by), min(fast, j + by + 1)):
                        if mask[k, m] == GOOD:
                            mask[k, m] = GROWN
