"""Compiled mask by median absolute deviation; growth of a mask.

As in `kernels`: one thread, no GIL, flat C-contiguous arrays.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compiled import add_pixel, compiled, prefetch
from .constants import GOOD, HIGHEST_KEY, INF, LOWER, NAN, NOT_FINITE, OUTLIER, UPPER
from .ring_statistics import EPSILON, fit_surface, longest_ring, median_near, to_key, varies

GROWN = np.uint8(1 << 7)  # last bit of a mask: neighbours of pixels that the frame's own values mask
AUTOMATIC = np.uint8(LOWER | UPPER | OUTLIER | NOT_FINITE)
MAD_TO_STD = 1.4826  # standard deviation over median absolute deviation of a normal distribution
BLOCK = 64  # keys of a median: loops over whole blocks have no remainder, which takes as long as they
CHUNK = 1024  # pixels whose numbers stay in the first-level cache
ROUNDING = 1e-6  # of float32, with room for a few of them

# Where a surface takes the place of an arc's median
ENOUGH = 24  # pixels, at least
STEEP = 4.0  # least variance of the arc, in that of counts
BETTER = 0.9  # largest share of the scatter that may be left
CAUTION = 1.3  # factor for the scatter about the surface, which is smaller than that of other pixels and has long tails
HALF = np.float32(0.5)  # standard deviations from what is expected, within which a median is looked for first
DOUBT = 0.1  # error of the surface as a share of its distance from the median


@compiled
def mask_mad(
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    mask: NDArray[np.uint8],
    lower: float,
    upper: float,
    order: NDArray[np.uint32],
    starts: NDArray[np.int64],
    arc_of: NDArray[np.uint32],
    offset: NDArray[np.uint8],
    alpha: float,
    level: NDArray[np.float32],
) -> None:
    """Apply `threshold`, then mask the pixels whose value or variance is far from that of their arc.

    With m the median of x over the good pixels of an arc (float32), MAD the median of ``|x - m|`` (float32) and w the
    variance, a pixel is masked where ``|x - m| > alpha * s`` with ``s**2 = max((1.4826 * MAD)**2, median(w), w)``, for
    x the values and for x the variances. A variance is counts, so its own noise is its root. It shows pixels that a
    subtraction hides, because they count nothing or too much in both frames.

    An arc whose scatter is more than twice that of counts has a surface instead, a polynomial of degree two in the
    places across and along the arc, if that leaves less scatter: where a peak is narrower than a pixel, counts change
    within a third of a pixel. Then m is the value of the surface, and ``s**2 = max((1.3 * 1.4826 * MAD)**2, median(w),
    w) + (0.1 * d)**2``, d being the distance of the surface from the median. What is far from the median stays masked
    where only the variation along the arc explains it: that may be a shadow.

    One pass through the frame finds the arcs in which no pixel can be an outlier, which most are. The pixels of the
    others are gathered.

    Parameters
    ----------
    image, mask, lower, upper
        As in `threshold`.
    variance
        Variance in counts**2, float32, shape (pixels,). A pixel whose variance is not finite is masked as one that is
        not finite itself.
    order, starts, arc_of, offset
        The arcs, see `geometry.rings.Arcs`.
    alpha
        Limit in standard deviations.
    level
        Output, float32: median(w) of as many arcs as it is long, NaN for an arc without a good pixel.
    """
    arcs, size = len(starts) - 1, longest_ring(starts)
    missing = np.zeros(arcs, np.int32)
    loud = _find_loud(image, variance, mask, lower, upper, starts, arc_of, alpha, len(level), missing)
    v, w, far = np.empty(size, np.float32), np.empty(size, np.float32), np.empty(size, np.float32)
    keys, at = np.empty(size + BLOCK, np.int32), np.empty(size, np.int64)
    fit = np.empty(size), np.empty(size), np.zeros(size)
    ends, noise, middle = np.empty(3, np.int32), np.float32(0), np.float32(0)
    for nth in range(len(loud)):
        arc, following = loud[nth], loud[min(nth + 1, len(loud) - 1)]
        for i in range(starts[following], starts[following + 1]):
            prefetch(image, np.uint64(order[i]))
            prefetch(variance, np.uint64(order[i]))
        has_level, first, last = arc < len(level), starts[arc], starts[arc + 1]
        good, differ = np.int64(0), np.int64(0)
        any_missing = missing[arc] > 0
        for i in range(first, last):  # branch-free: the next pixel overwrites a masked one
            pixel = np.uint64(order[i])
            v[good], w[good], at[good] = image[pixel], variance[pixel], i
            valid = np.int64(mask[pixel] == GOOD) if any_missing else np.int64(1)
            differ += valid & np.int64(v[good] != w[good])
            good += valid
        if good == 0:
            if has_level:
                level[arc] = NAN
            continue
        noise = np.float32(_median(w, good, keys, noise, HALF * np.sqrt(noise), ends))
        if has_level:
            level[arc] = noise
        span = (first, last)
        if differ:
            middle = np.float32(_median(v, good, keys, middle, HALF * np.sqrt(noise), ends))
            if _any_far(v[:good], w, middle, noise, alpha * alpha, far):
                _mask_far(v, w, middle, noise, good, alpha, far, keys, ends, at, span, offset, *fit, order, mask)
        if _any_far(w[:good], w, noise, noise, alpha * alpha, far):
            _mask_far(w, w, noise, noise, good, alpha, far, keys, ends, at, span, offset, *fit, order, mask)


@compiled
def _find_loud(
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    mask: NDArray[np.uint8],
    lower: float,
    upper: float,
    starts: NDArray[np.int64],
    arc_of: NDArray[np.uint32],
    alpha: float,
    always: int,
    missing: NDArray[np.int32],
) -> NDArray[np.int64]:
    """Apply `threshold`, and return the first ``always`` arcs and those in which a pixel may be an outlier.

    ``missing`` grows by the number of masked pixels of each arc.
    """
    arcs = len(starts) - 1
    table = _new_table(arcs)
    pixels = np.empty(4 * CHUNK, np.float32)
    for start in range(0, len(image), CHUNK):
        stop = min(start + CHUNK, len(image))
        v, w, bits, to = image[start:stop], variance[start:stop], mask[start:stop], arc_of[start:stop]
        _threshold_both(v, w, bits, np.float32(lower), np.float32(upper))
        _set_pixels(v, w, np.float32(alpha), pixels)
        if not _any_masked(bits):
            for i in range(len(to)):
                add_pixel(pixels, i, table, np.int64(to[i]))
        else:
            for i in range(len(to)):
                if bits[i] == GOOD:
                    add_pixel(pixels, i, table, np.int64(to[i]))
                else:
                    missing[to[i]] += 1
    loud, many = np.empty(arcs, np.int64), 0
    lowest = table.view(np.float32)
    for arc in range(arcs):
        good = starts[arc + 1] - starts[arc] - missing[arc]
        loud[many] = arc
        many += int(arc < always or (good > 0 and not _is_calm(good, table, lowest, 8 * arc, alpha)))
    return loud[:many]


@compiled
def _new_table(arcs: int) -> NDArray[np.float64]:
    """Return a table for `add_pixel`, whose lines are cache lines."""
    room = np.empty(8 * arcs + 8, np.float64)
    first = -(room.ctypes.data // 8) % 8
    table = room[first : first + 8 * arcs]
    lowest = table.view(np.float32)
    for arc in range(arcs):
        table[8 * arc : 8 * arc + 4] = 0.0
        lowest[16 * arc + 8 : 16 * arc + 12] = INF
    return table


@compiled
def _threshold_both(
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    mask: NDArray[np.uint8],
    low: np.float32,
    high: np.float32,
) -> None:
    """As `threshold` of the image, then of the variance without limits."""
    for i in range(len(image)):
        bit = (LOWER if image[i] < low else GOOD) | (UPPER if image[i] > high else GOOD)
        bit = bit if (abs(image[i]) < INF) & ((abs(variance[i]) < INF) | (bit != GOOD)) else NOT_FINITE
        mask[i] |= bit if mask[i] == GOOD else GOOD


@compiled
def _set_pixels(
    image: NDArray[np.float32], variance: NDArray[np.float32], alpha: np.float32, pixels: NDArray[np.float32]
) -> None:
    """Set ``pixels`` to v, w, ``alpha * sqrt(w) - v`` and -w of each pixel in turn."""
    zero = np.float32(0)
    for i in range(len(image)):
        v, w = image[i], variance[i]
        pixels[4 * i], pixels[4 * i + 1] = v, w
        pixels[4 * i + 2], pixels[4 * i + 3] = alpha * np.sqrt(w if w > zero else zero) - v, -w


@compiled
def _any_masked(mask: NDArray[np.uint8]) -> bool:
    bits = GOOD
    for i in range(len(mask)):
        bits |= mask[i]
    return bool(bits != GOOD)


@compiled
def _is_calm(good: np.int64, sums: NDArray[np.float64], lowest: NDArray[np.float32], line: int, alpha: float) -> bool:
    """Say whether no pixel of an arc can be an outlier, whatever its medians are, from a line of `add_pixel`.

    A median is within one standard deviation of the mean, so median(w) has a least value. A pixel is no outlier if it
    is within ``alpha`` times the root of that from its median; above the median, its own w will do too.
    """
    low, low_w = np.float64(lowest[2 * line + 8]), np.float64(lowest[2 * line + 9])
    high_w = -np.float64(lowest[2 * line + 11])
    high = -np.float64(lowest[2 * line + 10])  # the highest v - alpha * sqrt(w)
    own = alpha * np.sqrt(max(high_w, 0.0))
    least, most = _median_range(sums[line + 1], sums[line + 3], good, max(abs(low_w), abs(high_w)))
    limit = (1 - ROUNDING) * alpha * np.sqrt(max(least, 0.0))
    if not (least > 0 and most - low_w < limit and high_w - (1 - ROUNDING) * own < least):
        return False
    least, most = _median_range(sums[line], sums[line + 2], good, max(abs(low), abs(high) + own))
    return bool(most - low < limit and high < least)


@compiled
def _median_range(total: float, square: float, good: np.int64, size: float) -> tuple[float, float]:
    """Return bounds of a median of values up to ``size``, with room for rounding, from their sum and that of squares.

    The room is for the bounds, and for all that is computed in float32.
    """
    share = 1 / good
    mean, square = total * share, square * share
    reach = np.sqrt(max(square - mean * mean, 0.0) + 4 * good * EPSILON * square) + ROUNDING * size
    return mean - reach, mean + reach


@compiled
def _any_far(
    x: NDArray[np.float32],
    w: NDArray[np.float32],
    middle: np.float32,
    noise: np.float32,
    limit: float,
    far: NDArray[np.float32],
) -> bool:
    """Set ``far`` to the distances from the ``middle``; say whether one is too far if counts alone scatter."""
    candidates = np.int32(0)
    for i in range(len(x)):
        far[i] = abs(x[i] - middle)
        distance, own = np.float64(far[i]), w[i] if w[i] > noise else noise
        candidates += np.int32(distance * distance > limit * np.float64(own))
    return bool(candidates > 0)


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
    ends: NDArray[np.int32],
    at: NDArray[np.int64],
    span: tuple[np.int64, np.int64],
    offset: NDArray[np.uint8],
    across: NDArray[np.float64],
    along: NDArray[np.float64],
    surface: NDArray[np.float64],
    order: NDArray[np.uint32],
    mask: NDArray[np.uint8],
) -> None:
    """Mask pixels that are too ``far`` from the ``middle`` of ``x``, see `mask_mad`; ``far`` is overwritten."""
    limit = alpha * alpha
    usual = np.sqrt(noise) / np.float32(MAD_TO_STD)
    spread = MAD_TO_STD * _median(far, good, keys, usual, HALF * usual, ends)
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
        left = MAD_TO_STD * _median(far, good, keys, usual, HALF * usual, ends)
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
def _median(
    x: NDArray[np.float32],
    good: np.int64,
    keys: NDArray[np.int32],
    guess: np.float32,
    reach: np.float32,
    ends: NDArray[np.int32],
) -> float:
    """Return the median of the first ``good`` values as float64, see `median_near`; overwrite ``keys``."""
    bits = x.view(np.int32)
    for i in range(good):
        keys[i] = to_key(bits[i])
    full = good + -good % BLOCK
    keys[good:full] = HIGHEST_KEY
    return median_near(keys[:full], good, guess, reach, ends)


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
