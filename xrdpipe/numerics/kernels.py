"""Compiled loops over single frames: automatic mask and azimuthal integration.

Every function runs on one thread and releases the GIL: threads may work on different frames side by side, or share
one. Arrays are flat, C-contiguous, and stay where they are, so a slice is a share of the work: slices of all the
pixel arrays (`threshold`, `lay_out`, `integrate`), or a slice of ``starts`` for a range of rings (`mask_median`,
`mask_mean`). Masks come out the same, byte for byte, however a frame is shared out.

Rings are given by three arrays that depend on the geometry alone: ``order`` (uint32, pixels), the flat indices of the
pixels sorted stably by ring; ``starts`` (int64, rings + 1), where each ring begins in it; ``slots`` (uint32, pixels),
its inverse: ``slots[order] = arange(pixels)``. Every ring number that `numpy.digitize` gives is a ring, 0 included.

A mask is uint8, 0 = good; the first step that masks a pixel sets its bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .compiled import compiled

USER, DETECTOR, EDGE, LOWER, UPPER, OUTLIER, NOT_FINITE = (np.uint8(1 << bit) for bit in range(7))


# ---------------------------------------------------------------------------------------------------- automatic mask

_GOOD = np.uint8(0)


_NAN, _INF = np.float32(np.nan), np.float32(np.inf)


_BLOCK = 1024  # pixels that stay in the first level cache between two loops


RUN = 16  # pixels that are sampled together, a cache line of them


_SAMPLE = 15  # keys that bracket a median before it is searched


_LOWEST, _HIGHEST = np.int32(-(2**31)), np.int32(2**31 - 1)


@compiled
def threshold(image: NDArray[np.float32], mask: NDArray[np.uint8], lower: float, upper: float) -> None:
    """Mask what is not finite, below ``lower`` or above ``upper`` (counts; -inf, inf: none) where ``mask`` is 0.

    The limits are rounded to float32, as numpy does in ``image < lower``.
    """
    low, high = np.float32(lower), np.float32(upper)
    for i in range(len(image)):
        v = image[i]
        bit = LOWER if v < low else UPPER if v > high else _GOOD
        bit = bit if abs(v) < _INF else NOT_FINITE
        mask[i] |= bit if mask[i] == _GOOD else _GOOD


@compiled
def scatter_to_rings(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    lower: float,
    upper: float,
    slots: NDArray[np.uint32],
    values: NDArray[np.float32],
) -> None:
    """`threshold`, and the pixels in the order of their rings: ``values[slots] = image``, NaN where masked.

    ``values`` (float32, all pixels of the frame) is what `mask_median` and `mask_mean` read. Writing it in the order
    of the frame is more than twice as fast as reading the frame in the order of the rings, which misses the TLB.
    """
    block = np.empty(_BLOCK, np.float32)
    for first in range(0, len(image), _BLOCK):
        pixels, bits, to = image[first : first + _BLOCK], mask[first : first + _BLOCK], slots[first : first + _BLOCK]
        threshold(pixels, bits, lower, upper)
        for i in range(len(pixels)):
            block[i] = pixels[i] if bits[i] == _GOOD else _NAN
        for i in range(len(pixels)):
            values[to[i]] = block[i]


@compiled
def mask_median(
    values: NDArray[np.float32],
    order: NDArray[np.uint32],
    starts: NDArray[np.int64],
    alpha: float,
    mask: NDArray[np.uint8],
) -> None:
    """Mask the pixels with ``|v - median| > alpha * std``, ring by ring, over the pixels that `lay_out` left there.

    Median and population standard deviation are float64 and have numpy's bits. A negative or NaN ``alpha`` masks
    nothing.
    """
    if not alpha >= 0:
        return
    size = _longest(starts)
    work, keys, found = np.empty(size, np.float64), np.empty(size, np.int32), np.empty(size, np.uint32)
    for ring in range(len(starts) - 1):
        v, pixels = values[starts[ring] : starts[ring + 1]], order[starts[ring] : starts[ring + 1]]
        good = np.int64(0)  # a literal 0 would have `_median` compiled twice
        for i in range(len(v)):  # without a branch: the next value overwrites a NaN
            work[good] = v[i]
            good += v[i] == v[i]
        if good == 0:
            continue
        limit = alpha * _std(work[:good])
        bits = v.view(np.int32)
        for i in range(len(v)):
            keys[i] = _key(bits[i])
        median = _median(keys[: len(v)], good)
        many = 0
        for i in range(len(v)):
            found[many] = i
            many += abs(v[i] - median) > limit
        for i in range(many):
            mask[pixels[found[i]]] |= OUTLIER


@compiled
def mask_mean(
    values: NDArray[np.float32],
    order: NDArray[np.uint32],
    starts: NDArray[np.int64],
    alpha: float,
    mask: NDArray[np.uint8],
) -> None:
    """Mask ring by ring, one pixel at a time: as long as the worst has ``|v - mean| / std >= alpha``, it goes.

    Of equally bad pixels the one with the lowest flat index goes first. The worst is the lowest or the highest value
    left, so each ring is sorted once; sums made outwards from the middle give mean and std of what is left without
    cancellation. (Without one of several equal values the others are worse than before: they go too, in any order.)
    A negative or NaN ``alpha`` masks nothing.
    """
    if not alpha >= 0:
        return
    size = _longest(starts)
    items, spare = np.empty(size, np.uint64), np.empty(size, np.uint64)
    x, sums, squares = np.empty(size), np.empty(size), np.empty(size)
    for ring in range(len(starts) - 1):
        v, pixels = values[starts[ring] : starts[ring + 1]], order[starts[ring] : starts[ring + 1]]
        good, bits = 0, v.view(np.int32)
        for i in range(len(v)):
            key = _key(bits[i] if v[i] != 0 else np.int32(0))  # -0.0 is 0.0: equal values stay in order of index
            items[good] = np.uint64(key - np.int64(_LOWEST)) << np.uint64(32) | np.uint64(i)
            good += v[i] == v[i]
        _sort(items[:good], spare)
        for i in range(good):
            x[i] = v[np.uint32(items[i])]
        low, high, middle = 0, good - 1, -1
        while low < high and x[low] < x[high]:
            if not low <= middle <= high:
                middle = (low + high) // 2
                center = x[middle]
                _outwards(x, middle - 1, low - 1, np.int64(-1), center, sums, squares)
                _outwards(x, middle, high + 1, np.int64(1), center, sums, squares)
            many = high - low + 1
            mean = (sums[high] + (sums[low] if low < middle else 0.0)) / many
            variance = (squares[high] + (squares[low] if low < middle else 0.0)) / many - mean * mean
            below, above = mean - (x[low] - center), x[high] - center - mean
            if not max(below, above) >= alpha * np.sqrt(max(variance, 0.0)):
                break
            at = low if below > above else high
            if below == above:
                first = high  # of the highest values; equal ones are in order of their index
                while x[first - 1] == x[high]:
                    first -= 1
                at = low if np.uint32(items[low]) < np.uint32(items[first]) else high
            mask[pixels[np.uint32(items[at])]] |= OUTLIER
            low, high = low + (at == low), high - (at != low)


@compiled
def _longest(starts: NDArray[np.int64]) -> int:
    """Pixels in the longest ring, at least 1."""
    longest = 1
    for ring in range(len(starts) - 1):
        longest = max(longest, starts[ring + 1] - starts[ring])
    return longest


@compiled
def _sum(x: NDArray[np.float64]) -> float:
    """``x.sum()``, bit for bit: pairwise, in the order of numpy's ``pairwise_sum``."""
    n = len(x)
    if n > 128:
        half = n // 2 - n // 2 % 8
        return _sum(x[:half]) + _sum(x[half:])
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
def _std(x: NDArray[np.float64]) -> float:
    """``x.std()``, bit for bit; overwrites ``x``."""
    mean = _sum(x) / len(x)
    for i in range(len(x)):
        x[i] = (x[i] - mean) * (x[i] - mean)
    return float(np.sqrt(_sum(x) / len(x)))


@compiled
def _key(bits: np.int32) -> np.int32:
    """The bits of a float32 as a number of the same order, and back; the NaN of `lay_out` is above all."""
    return bits if bits >= 0 else bits ^ _HIGHEST


@compiled
def _count(keys: NDArray[np.int32], pivot: np.int32) -> np.int64:
    """How many keys are below ``pivot``."""
    below = np.int32(0)
    for i in range(len(keys)):
        below = np.int32(below + np.int32(keys[i] < pivot))
    return np.int64(below)


@compiled
def _split(keys: NDArray[np.int32], pivot: np.int32) -> tuple[np.int64, np.int32, np.int32]:
    """`_count`, the highest key below ``pivot``, the lowest one not below it.

    Upwards from the pivot, modulo 2**32, the lowest is nearest and the highest below is furthest: three plain
    reductions, which the compiler turns into SIMD.
    """
    below, nearest, furthest = np.int32(0), np.uint32(2**32 - 1), np.uint32(0)
    for i in range(len(keys)):
        below = np.int32(below + np.int32(keys[i] < pivot))
        distance = np.uint32(keys[i] - pivot)
        nearest = min(distance, nearest)
        furthest = max(distance, furthest)
    return np.int64(below), np.int32(pivot + furthest), np.int32(pivot + nearest)


@compiled
def _median(keys: NDArray[np.int32], good: np.int64) -> float:
    """The median of the ``good`` lowest keys, as float64; of an even number the mean of the two in the middle.

    The one of rank ``good // 2`` is bracketed, by a sample first and then by interpolation, until a pass over all
    keys finds it next to the pivot: exact, two or three passes, and none of them moves a key.
    """
    rank, odd = good // 2, good % 2 == 1
    sample = np.empty(_SAMPLE, np.int32)
    size = min(len(keys), _SAMPLE)
    for i in range(size):
        key, at = keys[i * len(keys) // size], i
        while at > 0 and sample[at - 1] > key:
            sample[at] = sample[at - 1]
            at -= 1
        sample[at] = key
    low, high = _LOWEST, _HIGHEST  # low <= median <= high
    below, upto = np.int64(0), good  # keys < low, keys <= high
    first, last = 0, size
    while first < last:
        middle = (first + last) // 2
        count = _count(keys, sample[middle])
        if count <= rank:
            low, below, first = sample[middle], count, middle + 1
        else:
            high, upto, last = np.int32(sample[middle] - 1), count, middle
    ends = np.empty(3, np.int32)
    value = ends.view(np.float32)
    step = 0
    while low < high:
        ends[0], ends[1] = _key(low), _key(high)
        value[2] = value[0] + (np.float64(value[1]) - value[0]) * ((rank - below) / (upto - below))
        step += 1
        if step % 4 > 0 and abs(value[2]) < _INF:
            pivot = np.int32(min(max(_key(ends[2]), low + 1), high))
        else:  # halving ends in any case
            pivot = np.int32((np.int64(low) + high + 1) >> 1)
        count, down, up = _split(keys, pivot)
        if count == rank:
            low, high = up if odd else down, up
            break
        if count < rank:
            low, below = up, count
        else:
            high, upto = down, count
    if not odd and below == rank:  # the other one is the next below
        low = _split(keys, high)[1]
    ends[0], ends[1] = _key(low), _key(high)
    return (np.float64(value[0]) + np.float64(value[1])) / 2


@compiled
def _sort(items: NDArray[np.uint64], spare: NDArray[np.uint64]) -> None:
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
def _outwards(
    x: NDArray[np.float64],
    start: int,
    stop: int,
    step: np.int64,
    center: float,
    sums: NDArray[np.float64],
    squares: NDArray[np.float64],
) -> None:
    """Running sums of ``x - center`` and of its square, from ``start`` to before ``stop``."""
    total, square = 0.0, 0.0
    for i in range(start, stop, step):
        total += x[i] - center
        square += (x[i] - center) ** 2
        sums[i], squares[i] = total, square


# -------------------------------------------------------------------------------------------------------- integration


@compiled
def transpose(
    indptr: NDArray[np.int32],
    indices: NDArray[np.int32],
    data: NDArray[np.float32],
    starts: NDArray[np.uint32],
    bins: NDArray[Any],
    coefs: NDArray[np.float32],
) -> None:
    """Turn pyFAI's CSR matrix (rows are bins) into the pixel-major one that `integrate` reads.

    Pixel p adds to ``bins[starts[p]:starts[p + 1]]`` with the weights ``coefs[...]`` there. Filled here: ``starts``
    (uint32, pixels + 1), ``bins`` (uint16, or uint32 for more than 65536 bins) and ``coefs`` (float32), as long as
    ``data``.
    """
    starts[:] = 0
    for i in range(len(indices)):
        starts[indices[i] + 1] += 1
    for pixel in range(len(starts) - 1):
        starts[pixel + 1] += starts[pixel]
    for row in range(len(indptr) - 1):
        for i in range(indptr[row], indptr[row + 1]):
            to = starts[indices[i]]
            bins[to], coefs[to] = row, data[i]
            starts[indices[i]] += 1
    for pixel in range(len(starts) - 1, 0, -1):  # each start has moved on to the next one
        starts[pixel] = starts[pixel - 1]
    starts[0] = 0


@compiled
def integrate(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    norm: NDArray[np.float32],
    variance: NDArray[np.float32],
    azimuthal: bool,
    starts: NDArray[np.uint32],
    bins: NDArray[Any],
    coefs: NDArray[np.float32],
    sums: NDArray[np.float64],
) -> None:
    """Add the pixels to ``sums`` (float64, (5, bins)): signal, normalization, variance, normalization**2, count.

    As pyFAI's CSR engines: c the weight of a pixel in a bin, these are the sums of ``c * image``, ``c * norm``,
    ``c**2 * variance``, ``(c * norm)**2`` and ``c``; intensity = signal / normalization, sigma = sqrt(variance) /
    normalization. ``norm`` (solid angle, polarization, ... multiplied; empty: 1) and ``variance`` (counts**2; empty:
    none) are given per pixel. With ``azimuthal`` the variance is the scatter in the bin, updated pixel by pixel in
    pyFAI's way (after Schubert and Gertz, SSDBM 2018), which depends on their order: no slices then.
    Variance and normalization**2 are left alone without either. Masked pixels do not count, nor do those where one of
    the numbers is not finite or ``norm`` is 0.

    Added in another order, floats differ in the last bits: for the same bytes from any number of threads, cut the
    frame into a fixed number of slices, give each its own ``sums``, and add these in order.
    """
    weighted, errors = len(norm) > 0, len(variance) > 0 and not azimuthal
    if not (weighted or errors or azimuthal):  # the usual case: a loop of its own takes a fifth less time
        for pixel in range(len(image)):
            signal = np.float64(image[pixel])
            if mask[pixel] != _GOOD or not abs(signal) < _INF:
                continue
            for i in range(starts[pixel], starts[pixel + 1]):
                c, to = np.float64(coefs[i]), bins[i]
                sums[0, to] += c * signal
                sums[1, to] += c
        for to in range(sums.shape[1]):
            sums[4, to] = sums[1, to]
        return
    for pixel in range(len(image)):
        signal = np.float64(image[pixel])
        weight = np.float64(norm[pixel]) if weighted else 1.0
        scatter = np.float64(variance[pixel]) if errors else 0.0
        if mask[pixel] != _GOOD or not (abs(signal) < _INF and 0 < abs(weight) < _INF and abs(scatter) < _INF):
            continue
        for i in range(starts[pixel], starts[pixel + 1]):
            c, to = np.float64(coefs[i]), bins[i]
            share = c * weight
            if azimuthal and sums[3, to] > 0:
                before = sums[0, to] / sums[1, to] - signal / weight
                after = (sums[0, to] + c * signal) / (sums[1, to] + share) - signal / weight
                sums[2, to] += share * share * before * after
            elif errors:
                sums[2, to] += c * c * scatter
            if errors or azimuthal:
                sums[3, to] += share * share
            sums[0, to] += c * signal
            sums[1, to] += share
            sums[4, to] += c


# --------------------------------------------------------------------------------------------- pictures and metrics


@compiled
def shrink(
    image: NDArray[np.float32],
    masked: NDArray[np.bool_],
    step: int,
    values: NDArray[np.float32],
    share: NDArray[np.float32],
) -> tuple[float, float]:
    """Fill ``values`` with the mean of the good pixels of every block (NaN if none), ``share`` with the masked part.

    All are (slow, fast); blocks are ``step`` pixels a side, and what fills none is left out. Returns mean and standard
    deviation of the good pixels in them, 0 and 1 where there is none.
    """
    many, total, square = 0, 0.0, 0.0
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
            many += good
            total += block
            values[row, column] = block / good if good else np.nan
            share[row, column] = 1 - good / (step * step)
    if many == 0:
        return 0.0, 1.0
    mean = total / many
    return mean, np.sqrt(max(square / many - mean * mean, 0.0))


@compiled
def histogram(mask: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How many pixels have each value, int64, (256,)."""
    counts = np.zeros((4, 256), np.int64)  # four, so that equal neighbours do not wait for each other
    whole = len(mask) // 8
    words = mask[: 8 * whole].view(np.uint64)  # most pixels are good, and eight of them are one comparison
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
def scatter(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    norm: NDArray[np.float32],
    starts: NDArray[np.uint32],
    bins: NDArray[Any],
    coefs: NDArray[np.float32],
    intensity: NDArray[np.float64],
    stride: int,
    sums: NDArray[np.float64],
) -> None:
    """Add some good pixels to ``sums`` (float64, (3, bins)): c, ``c * r**2`` and ``(c * norm * r)**2``.

    Of every ``stride`` runs of `RUN` pixels the first: neighbours in memory cost hardly more than one alone. c is the
    weight of a pixel in a bin, r its distance from the ``intensity`` there, arguments as in `integrate`.
    """
    weighted = len(norm) > 0
    for first in range(0, len(image), stride * RUN):
        for pixel in range(first, min(first + RUN, len(image))):
            weight = np.float64(norm[pixel]) if weighted else 1.0
            if mask[pixel] != _GOOD or not abs(image[pixel]) < _INF or not 0 < abs(weight) < _INF:
                continue
            v = np.float64(image[pixel]) / weight
            for i in range(starts[pixel], starts[pixel + 1]):
                c, to = np.float64(coefs[i]), bins[i]
                r = v - intensity[to]
                sums[0, to] += c
                sums[1, to] += c * r * r
                sums[2, to] += (c * weight * r) ** 2
