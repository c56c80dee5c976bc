"""Compiled masks beyond PDFstream's: by median absolute deviation, by sigma clipping; and how a mask grows.

As in `kernels`: one thread, no GIL, flat C-contiguous arrays; the same bytes however the arcs or rings are shared out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compiled import compiled
from .constants import LOWER, NOT_FINITE, OUTLIER, UPPER
from .kernels import threshold
from .ring_statistics import longest_ring, median_of_keys, ring_std, ring_sum, to_key

GROWN = np.uint8(1 << 7)  # the last bit of a mask: a neighbour of what a frame's own values masked


AUTOMATIC = np.uint8(LOWER | UPPER | OUTLIER | NOT_FINITE)


MAD_TO_STD = 1.4826  # of a normal distribution: standard deviation over median absolute deviation


BLOCK = 1024  # pixels that stay in the first level cache between two loops


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
    """`kernels.lay_out` for `mask_mad`: ``pairs[slots] = image, variance``, NaN where masked; (pixels, 2), float32.

    A pixel whose variance is not finite is masked as one that is not finite itself.
    """
    threshold(image, mask, lower, upper)
    threshold(variance, mask, -np.inf, np.inf)
    block = np.empty((BLOCK, 2), np.float32)
    for first in range(0, len(image), BLOCK):
        many = min(BLOCK, len(image) - first)
        for i in range(many):
            block[i, 0] = image[first + i] if mask[first + i] == GOOD else NAN
            block[i, 1] = variance[first + i]
        for i in range(many):
            to = slots[first + i]
            pairs[to, 0] = block[i, 0]
            pairs[to, 1] = block[i, 1]


@compiled
def mask_mad(
    pairs: NDArray[np.float32],
    order: NDArray[np.uint32],
    starts: NDArray[np.int64],
    alpha: float,
    mask: NDArray[np.uint8],
    level: NDArray[np.float32],
    calm: NDArray[np.bool_],
) -> None:
    """Mask, arc by arc, the pixels whose value or whose variance is far from that of the arc.

    With m the median of x over the good pixels of an arc (float32), MAD the median of ``|x - m|`` (float32) and w the
    variance, a pixel is masked where ``|x - m| > alpha * s`` with ``s**2 = max((1.4826 * MAD)**2, median(w), w)``, for
    x the values and for x the variances. A variance is counts, so its own noise is its root: it shows what a
    subtraction hides, pixels that count nothing or too much in both frames. ``pairs`` is what `lay_out` wrote;
    ``level`` (float32) gets median(w) of as many arcs as it is long, NaN where no pixel is good.
    ``calm`` arcs have no outlier (see `calm.is_calm`).
    """
    size = longest_ring(starts)
    v, w = np.empty(size, np.float32), np.empty(size, np.float32)
    far, keys = np.empty(size, np.float32), np.empty(size, np.int32)
    at = np.empty(size, np.uint32)
    for arc in range(len(starts) - 1):
        wanted = arc < len(level)
        if calm[arc] and not wanted:
            continue
        good = np.int64(0)
        for i in range(starts[arc], starts[arc + 1]):  # without a branch: the next value overwrites a NaN
            v[good], w[good], at[good] = pairs[i, 0], pairs[i, 1], order[i]
            good += pairs[i, 0] == pairs[i, 0]
        if wanted:
            level[arc] = np.float32(_middle(w, good, keys)) if good else NAN
        if good == 0 or calm[arc]:
            continue
        noise = level[arc] if wanted else np.float32(_middle(w, good, keys))
        _far(v, w, np.float32(_middle(v, good, keys)), noise, good, alpha, far, keys, at, mask)
        _far(w, w, noise, noise, good, alpha, far, keys, at, mask)


@compiled
def _far(
    x: NDArray[np.float32],
    w: NDArray[np.float32],
    middle: np.float32,
    noise: np.float32,
    good: np.int64,
    alpha: float,
    far: NDArray[np.float32],
    keys: NDArray[np.int32],
    at: NDArray[np.uint32],
    mask: NDArray[np.uint8],
) -> None:
    """Mask what is far from the ``middle`` of ``x``, see `mask_mad`; MAD is looked for only where it decides."""
    many = 0
    for i in range(good):
        far[i] = abs(x[i] - middle)
        distance = np.float64(far[i])
        many += int(distance * distance > alpha * alpha * np.float64(max(noise, w[i])))
    if many == 0:
        return
    spread = MAD_TO_STD * _middle(far, good, keys)
    least = max(spread * spread, np.float64(noise))
    for i in range(good):
        distance = np.float64(far[i])
        if distance * distance > alpha * alpha * max(least, np.float64(w[i])):
            mask[at[i]] |= OUTLIER


@compiled
def _middle(x: NDArray[np.float32], good: np.int64, keys: NDArray[np.int32]) -> float:
    """The median of the first ``good`` values, as float64; ``keys`` is overwritten."""
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
    """Mask ring by ring all pixels with ``|v - mean| > alpha * std``, and again over those left, ``max_iter`` times.

    Stops where no pixel goes. Mean and population standard deviation are float64 and have numpy's bits.
    """
    size = longest_ring(starts)
    x, scratch, at = np.empty(size), np.empty(size), np.empty(size, np.uint32)
    for ring in range(len(starts) - 1):
        many = np.int64(0)
        for i in range(starts[ring], starts[ring + 1]):
            x[many], at[many] = values[i], order[i]
            many += values[i] == values[i]
        for _ in range(max_iter):
            if many == 0:
                break
            mean = ring_sum(x[:many]) / many
            scratch[:many] = x[:many]
            limit = alpha * ring_std(scratch[:many])
            left = np.int64(0)
            for i in range(many):
                if abs(x[i] - mean) > limit:
                    mask[at[i]] |= OUTLIER
                else:
                    x[left], at[left] = x[i], at[i]
                    left += 1
            if left == many:
                break
            many = left


@compiled
def shadow(level: NDArray[np.float32], ring: NDArray[np.int32], alpha: float) -> int:
    """The number of the first ring outside a beamstop's shadow that fills its rings; 0 where there is none.

    A ring that is all shadow has nothing to be compared with but its neighbours. ``level`` (counts, NaN: no pixel) and
    ``ring`` (ascending, counted from the beam) are given per arc; a ring is as bright as its brightest arc. Rings below
    k are in the shadow where each of the k rings from k + 4 on, a good pixel further out, is more than four times as
    bright as the brightest of them, and brighter by more than ``alpha`` times the root of its counts; k is the largest
    such number, at least 4. So a Bragg ring, which is dark again outside, and a smooth rise are none.
    """
    many = 0 if len(ring) == 0 else ring[len(ring) - 1] + 1
    bright = np.full(many, np.nan, np.float64)
    for arc in range(len(ring)):
        if not bright[ring[arc]] >= level[arc]:
            bright[ring[arc]] = level[arc]
    found, inside = 0, -1.0
    for k in range(1, (many - 4) // 2):
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
                found = k
    return found


@compiled
def grow(mask: NDArray[np.uint8], by: int) -> None:
    """Set `GROWN` for every good pixel within ``by`` rows and columns of one that its value masked; in place.

    ``mask`` is (slow, fast). What was masked before any value was looked at (user, detector, edge) does not grow.
    """
    slow, fast = mask.shape
    for i in range(slow):
        for j in range(fast):
            if mask[i, j] & AUTOMATIC:
                for k in range(max(0, i - by), min(slow, i + by + 1)):
                    for m in range(max(0, j - by), min(fast, j + by + 1)):
                        if mask[k, m] == GOOD:
                            mask[k, m] = GROWN
