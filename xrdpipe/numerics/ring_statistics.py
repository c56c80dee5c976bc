"""Compiled statistics of the pixels of one ring: sum, standard deviation, median, order, smooth surface."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compiled import compiled, reordered
from .constants import HIGHEST_KEY, INF, LOWEST_KEY

EPSILON = 2.0**-52  # of float64
_SAMPLE = 15  # keys in the sample that brackets a median
EXPLAINED = 0.15  # share of the variance that a surface has to explain; it explains some 0.07 of 80 random values
RIDGE = 1e-6  # keeps a fit regular where all pixels are at one place


@compiled
def longest_ring(starts: NDArray[np.int64]) -> int:
    """Return the number of pixels in the longest ring, at least 1."""
    longest = 1
    for ring in range(len(starts) - 1):
        longest = max(longest, starts[ring + 1] - starts[ring])
    return longest


@compiled
def ring_sum(x: NDArray[np.float64]) -> float:
    """Return ``x.sum()``, bit for bit: pairwise, in the order of numpy's ``pairwise_sum``."""
    n = len(x)
    if n > 128:
        half = n // 2 - n // 2 % 8
        return ring_sum(x[:half]) + ring_sum(x[half:])
    total, tail = -0.0, 0
    if n >= 8:
        a, b, c, d, e, f, g, h = x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]
        tail = n - n % 8
        for i in range(8, tail, 8):
            a += x[i]
            b += x[i + 1]
            c += x[i + 2]
            d += x[i + 3]
            e += x[i + 4]
            f += x[i + 5]
            g += x[i + 6]
            h += x[i + 7]
        total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for i in range(tail, n):
        total += x[i]
    return total


@compiled
def ring_std(x: NDArray[np.float64]) -> float:
    """Return ``x.std()``, bit for bit; overwrite ``x``."""
    mean = ring_sum(x) / len(x)
    for i in range(len(x)):
        x[i] = (x[i] - mean) * (x[i] - mean)
    return float(np.sqrt(ring_sum(x) / len(x)))


@compiled
def ring_variance(x: NDArray[np.float32], good: np.int64, middle: float) -> tuple[float, float]:
    """Return the population variance of the values that are not NaN, and a bound of its error.

    The square of `ring_std`, which adds in another order, is no further away.

    Parameters
    ----------
    x
        Values.
    good
        Number of the values that are not NaN.
    middle
        Value near the mean, such as the median, so that nothing cancels.
    """
    total, square = _moments(x, middle)
    return variance_of_moments(total, square, good, middle)


@compiled
def variance_of_moments(total: float, square: float, good: np.int64, middle: float) -> tuple[float, float]:
    """Return what `ring_variance` does, from the sums of ``x - middle`` and of its square, added in any order."""
    mean, square = total / good, square / good
    # Rounding: of the sums here, at most 3 * good of EPSILON / 2; of numpy's mean, less than 1e-14 of the values.
    error = (4 * good + 64) * EPSILON * square + 2e-28 * (square + middle * middle)
    return square - mean * mean, error


@reordered
def _moments(x: NDArray[np.float32], middle: float) -> tuple[float, float]:
    """Return the sums of ``x - middle`` and of its square without NaN."""
    total, square = 0.0, 0.0
    for i in range(len(x)):
        away = np.float64(x[i]) - middle if x[i] == x[i] else 0.0
        total += away
        square += away * away
    return total, square


@compiled
def good_range(middle: float, limit: float) -> tuple[np.float32, np.float32]:
    """Return the lowest and highest float32 v that does not have ``|v - middle| > limit``, in float64."""
    return _furthest(middle, limit, -1), _furthest(middle, limit, 1)


@compiled
def _furthest(middle: float, limit: float, side: int) -> np.float32:
    """Return the end of the range on one side: the rounded one or its neighbour, but for limits that round to 0."""
    bits = np.empty(1, np.int32)
    value = bits.view(np.float32)
    value[0] = -side * INF
    inside = np.int64(to_key(bits[0]))  # the key of a good number
    value[0] = side * INF
    outside = np.int64(to_key(bits[0])) + side  # of NaN
    value[0] = np.float32(middle + side * limit)
    key, step = np.int64(to_key(bits[0])), np.int64(1)
    while abs(outside - inside) > 1:
        bits[0] = to_key(np.int32(key))
        if side * (np.float64(value[0]) - middle) <= limit:
            inside = key
            key += side * step
        else:
            outside = key
            key -= side * step
        step = min(4 * step, np.int64(2**33))  # without overflow, which the compiler excludes
        if not side * inside < side * key < side * outside:
            key = (inside + outside) >> 1
    bits[0] = to_key(np.int32(inside))
    found: np.float32 = value[0]
    return found


@compiled
def to_key(bits: np.int32) -> np.int32:
    """Map the bits of a float32 to an int32 of the same order, or back; a NaN is above all others."""
    return bits if bits >= 0 else bits ^ HIGHEST_KEY


@compiled
def _count(keys: NDArray[np.int32], pivot: np.int32) -> np.int64:
    """Return the number of keys below ``pivot``."""
    below = np.int32(0)
    for i in range(len(keys)):
        below = np.int32(below + np.int32(keys[i] < pivot))
    return np.int64(below)


@compiled
def _split(keys: NDArray[np.int32], pivot: np.int32) -> tuple[np.int64, np.int32, np.int32]:
    """Return the number of keys below ``pivot``, the highest of them, and the lowest of the others.

    Counted upwards from the pivot modulo 2**32, the lowest of the others is nearest and the highest below is furthest.
    So three plain reductions are enough, which the compiler vectorizes.
    """
    below, nearest, furthest = np.int32(0), np.uint32(2**32 - 1), np.uint32(0)
    for i in range(len(keys)):
        below = np.int32(below + np.int32(keys[i] < pivot))
        distance = np.uint32(keys[i] - pivot)
        nearest = min(distance, nearest)
        furthest = max(distance, furthest)
    return np.int64(below), np.int32(pivot + furthest), np.int32(pivot + nearest)


@compiled
def median_of_keys(keys: NDArray[np.int32], good: np.int64) -> float:
    """Return the median of the ``good`` lowest keys as float64.

    The median of an even number is the mean of the two in the middle. A sample brackets the key of rank ``good // 2``,
    then interpolation narrows the bracket, until a pass over all keys finds it next to the pivot. The result is exact,
    takes two or three passes, and moves no key.
    """
    rank = good // 2
    sample = np.empty(_SAMPLE, np.int32)
    size = min(len(keys), _SAMPLE)
    for i in range(size):
        key, at = keys[i * len(keys) // size], i
        while at > 0 and sample[at - 1] > key:
            sample[at] = sample[at - 1]
            at -= 1
        sample[at] = key
    low, high = LOWEST_KEY, HIGHEST_KEY  # low <= median <= high
    below, upto = np.int64(0), good  # keys < low, keys <= high
    first, last = 0, size
    while first < last:
        middle = (first + last) // 2
        count = _count(keys, sample[middle])
        if count <= rank:
            low, below, first = sample[middle], count, middle + 1
        else:
            high, upto, last = np.int32(sample[middle] - 1), count, middle
    return _narrow(keys, good, low, high, below, upto, np.empty(3, np.int32))


@compiled
def median_near(
    keys: NDArray[np.int32], good: np.int64, guess: np.float32, reach: np.float32, ends: NDArray[np.int32]
) -> float:
    """As `median_of_keys`, faster if the median is within ``reach`` of ``guess``; ``ends`` is scratch, (3,)."""
    value, rank = ends.view(np.float32), good // 2
    value[0], value[1] = guess - reach, guess + reach
    low, high = to_key(ends[0]), to_key(ends[1])
    below, upto = _count(keys, low), _count(keys, high)
    if below <= rank < upto:
        return _narrow(keys, good, low, np.int32(high - 1), below, upto, ends)
    return median_of_keys(keys, good)


@compiled
def _narrow(
    keys: NDArray[np.int32],
    good: np.int64,
    low: np.int32,
    high: np.int32,
    below: np.int64,
    upto: np.int64,
    ends: NDArray[np.int32],
) -> float:
    """Return the median, whose upper key is from ``low`` to ``high``; ``below`` keys are < low, ``upto`` <= high."""
    value, rank, odd, step = ends.view(np.float32), good // 2, good % 2 == 1, 0
    while low < high:
        ends[0], ends[1] = to_key(low), to_key(high)
        value[2] = value[0] + (np.float64(value[1]) - value[0]) * ((rank - below) / (upto - below))
        step += 1
        if step % 4 > 0 and abs(value[2]) < INF:
            pivot = np.int32(min(max(to_key(ends[2]), low + 1), high))
        else:  # bisection always ends
            pivot = np.int32((np.int64(low) + high + 1) >> 1)
        count, down, up = _split(keys, pivot)
        if count == rank:
            low, high = up if odd else down, up
            break
        if count < rank:
            low, below = up, count
        else:
            high, upto = down, count
    if not odd and below == rank:  # the other middle key is the next below
        low = _split(keys, high)[1]
    ends[0], ends[1] = to_key(low), to_key(high)
    return (np.float64(value[0]) + np.float64(value[1])) / 2


@compiled
def sort_items(items: NDArray[np.uint64], spare: NDArray[np.uint64]) -> None:
    """Sort by the upper 32 bits, stably: a radix sort, byte by byte; ``spare`` is at least as long."""
    source, target = items, spare[: len(items)]
    for shift in range(32, 64, 8):
        starts = np.zeros(257, np.int64)
        for i in range(len(source)):
            starts[(source[i] >> np.uint64(shift) & np.uint64(255)) + np.uint64(1)] += 1
        for digit in range(256):
            starts[digit + 1] += starts[digit]
        for i in range(len(source)):
            digit = source[i] >> np.uint64(shift) & np.uint64(255)
            target[starts[digit]] = source[i]
            starts[digit] += 1
        source, target = target, source


@compiled
def varies(
    x: NDArray[np.float32],
    middle: float,
    limit: float,
    good: np.int64,
    at: NDArray[np.int64],
    span: tuple[np.int64, np.int64],
    offset: NDArray[np.uint8],
    across: NDArray[np.float64],
    along: NDArray[np.float64],
    y: NDArray[np.float64],
) -> bool:
    """Prepare a fit, and estimate whether a surface explains more than `EXPLAINED` of the variance of an arc.

    The estimate takes the pixels as evenly spread over the arc. It costs a third of the fit.

    Parameters
    ----------
    x, middle, good
        The values of an arc, their median, and how many there are.
    limit
        Largest distance from the median that counts.
    at, span, offset
        Place in arc order of each value, first and last place of the arc, and `geometry.rings.Arcs.offset`.
    across, along
        Output, the places of the pixels across and along the arc, from -1 to 1.
    y
        Output, ``x - middle``, values beyond ``limit`` set to it.
    """
    scale, centre = 1 / np.float64(span[1] - span[0]), span[0] + span[1] - 1
    for i in range(good):
        y[i] = min(max(x[i] - middle, -limit), limit)
        across[i], along[i] = (offset[at[i]] - 127.5) / 128, (2 * at[i] - centre) * scale
    y0, yy, ya, yb, yaa, yab, ybb = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(good):
        p, q = y[i] * across[i], y[i] * along[i]
        y0 += y[i]
        yy += y[i] * y[i]
        ya += p
        yb += q
        yaa += p * across[i]
        yab += p * along[i]
        ybb += q * along[i]
    yaa -= y0 / 3
    ybb -= y0 / 3
    explained = 3 * (ya * ya + yb * yb) + 9 * yab * yab + 11.25 * (yaa * yaa + ybb * ybb)  # Legendre's polynomials
    return bool(explained > EXPLAINED * (good * yy - y0 * y0))


@compiled
def fit_surface(
    good: np.int64, across: NDArray[np.float64], along: NDArray[np.float64], surface: NDArray[np.float64]
) -> None:
    """Fit a polynomial of degree two in ``across`` and ``along`` to the values in ``surface``.

    It minimizes the mean square of what is left and, for a fit that is always unique, `RIDGE` times the sum of the
    squares of the coefficients. ``surface`` is replaced by the polynomial, ``along`` by the terms of it that depend on
    ``along`` alone, 0 in the mean.
    """
    a, b, aa, ab, bb, aaa, aab, abb, bbb = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    aaaa, aaab, aabb, abbb, bbbb = 0.0, 0.0, 0.0, 0.0, 0.0
    y0, ya, yb, yaa, yab, ybb = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(good):
        y, p, q = surface[i], across[i], along[i]
        pp, pq, qq = p * p, p * q, q * q
        a += p
        b += q
        aa += pp
        ab += pq
        bb += qq
        aaa += pp * p
        aab += pp * q
        abb += p * qq
        bbb += qq * q
        aaaa += pp * pp
        aaab += pp * pq
        aabb += pp * qq
        abbb += pq * qq
        bbbb += qq * qq
        y0 += y
        ya += y * p
        yb += y * q
        yaa += y * pp
        yab += y * pq
        ybb += y * qq
    m = np.array(
        (
            (np.float64(good), a, b, aa, ab, bb),
            (a, aa, ab, aaa, aab, abb),
            (b, ab, bb, aab, abb, bbb),
            (aa, aaa, aab, aaaa, aaab, aabb),
            (ab, aab, abb, aaab, aabb, abbb),
            (bb, abb, bbb, aabb, abbb, bbbb),
        )
    )
    c = np.array((y0, ya, yb, yaa, yab, ybb))
    _solve(m, c, RIDGE * good)
    for i in range(good):
        p, q = across[i], along[i]
        surface[i] = c[0] + p * (c[1] + p * c[3] + q * c[4]) + q * (c[2] + q * c[5])
        along[i] = c[2] * q + c[5] * (q * q - 1 / 3)


@compiled
def _solve(m: NDArray[np.float64], c: NDArray[np.float64], ridge: float) -> None:
    """Solve ``(m + ridge) x = c`` for a positive definite ``m`` by Cholesky's method; x is written to ``c``."""
    n, inverse = len(c), np.empty(len(c))
    for j in range(n):
        for k in range(j):
            for i in range(k):
                m[j, k] -= m[j, i] * m[k, i]
            m[j, k] *= inverse[k]
            m[j, j] -= m[j, k] * m[j, k]
            c[j] -= m[j, k] * c[k]
        inverse[j] = 1 / np.sqrt(m[j, j] + ridge)
        c[j] *= inverse[j]
    for j in range(n - 1, -1, -1):
        for k in range(j + 1, n):
            c[j] -= m[k, j] * c[k]
        c[j] *= inverse[j]
