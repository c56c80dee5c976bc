"""What a ring really counts, judged from the frame alone: which of its pixels are bad, whatever a mask says.

A shadow, a gap or a dead line is a run of pixels along the ring that count too little together. A hot pixel, a dead
one or a cosmic ray stands alone, while a spot of the sample has neighbours that take part. Texture, polarization and
tilt vary slowly along the ring. Everything is judged by the noise of counts, so that it works where most pixels count
nothing.
"""

from __future__ import annotations

from math import log, sqrt

import numpy as np
from numpy.typing import NDArray

from .compiled import compiled, reordered
from .ring_statistics import median_of_keys, to_key

BLOCKS = 32  # parts of a ring, at most, whose means show how the ring varies with azimuth
COUNTS = 16.0  # in such a part, at least
ALONE = 12.0  # log-likelihood ratio from which on a single pixel is no part of its ring: about five sigma
TOGETHER = 8.0  # the same for a run of pixels that count too little
BELIEVED = 1.0  # the same where the mask masks that run
DEFICIT = 0.08  # of what is expected: what such a run lacks, at least; texture alone may lack less
RUN = 3  # pixels of such a run, at least
PASSES = (0.15, 0.7)  # shares of the beam that a shadow lets pass: a beamstop or gap, and a translucent arm
SPOT = 0.1  # of the excess of a pixel: what its neighbours have in three of four directions where it is a spot
WINDOW = 2 * (BLOCKS // 6) + 1  # blocks, at most, whose median is the level of the one in their middle
LEAST = 0.02  # counts: no ring is expected to count less


@compiled
def surprise(value: float, level: float) -> float:
    """Half the deviance of a count from what is expected: minus its log-likelihood ratio; at least 0."""
    return (value * log(value / level) if value > 0 else 0.0) - (value - level)


@compiled
def median(values: NDArray[np.float32], keys: NDArray[np.int32]) -> float:
    """Return the median of at least one value; ``keys``, at least as long, is overwritten."""
    bits = values.view(np.int32)
    for i in range(len(values)):
        keys[i] = to_key(bits[i])
    return median_of_keys(keys[: len(values)], np.int64(len(values)))


@compiled
def is_spot(raw: NDArray[np.float32], columns: int, at: np.int64, level: float, limit: float) -> bool:
    """Whether the neighbours of a bright pixel are bright too in three of the four directions through it.

    A hot pixel has no bright neighbours, the track of a cosmic ray has them in one direction or two.
    """
    row, column = at // columns, at % columns
    rows = len(raw) // columns
    first, second, third = -1.0, -1.0, -1.0
    for direction in range(4):
        down = 0 if direction == 0 else 1
        right = 1 if direction == 0 else direction - 2  # (0, 1), (1, -1), (1, 0), (1, 1)
        best = 0.0
        if row + down < rows and 0 <= column + right < columns:
            best = max(best, np.float64(raw[at + down * columns + right]))
        if row - down >= 0 and 0 <= column - right < columns:
            best = max(best, np.float64(raw[at - down * columns - right]))
        if best > first:
            first, second, third = best, first, second
        elif best > second:
            second, third = best, second
        elif best > third:
            third = best
    return third - level >= SPOT * (raw[at] - level) and surprise(third, level) >= limit / 3


@compiled
def judge_ring(
    raw: NDArray[np.float32],
    columns: int,
    at: NDArray[np.uint32],
    counts: NDArray[np.float32],
    masked: NDArray[np.bool_],
    bad: NDArray[np.bool_],
    keys: NDArray[np.int32],
) -> float:
    """Find the bad pixels of a ring, and return its noise: variance over level, 1 for counts.

    Parameters
    ----------
    raw
        The whole frame, flat, as counted: before anything was subtracted.
    columns
        How long a row of the frame is.
    at, counts
        The pixels of the ring by azimuth, at least one, and what they count.
    masked
        True where the mask that is judged masks a pixel. It decides only where a run of pixels counts too little, but
        not so clearly that the ring alone shows it: a mask that looks at several rings together may know better.
    bad
        True where a pixel is bad; overwritten.
    keys
        Room for as many numbers as there are pixels.

    Returns
    -------
    float
        Variance over level of neighbouring pixels; 1 where there are too few counts to tell.
    """
    many = len(counts)
    level = max(_mean_below(counts, 3 * max(median(counts, keys), 0.0) + 8), LEAST)
    noise = 1.0
    if many > 8:
        apart = keys[: many - 1].view(np.float32)  # not negative, so that the bits are the keys
        for k in range(many - 1):
            apart[k] = abs(counts[k + 1] - counts[k])
        usual = median_of_keys(keys[: many - 1], np.int64(many - 1))
        spread = (1.0484 * usual) ** 2  # of normal noise: 1.4826 / sqrt(2)
        noise = spread / level if level > 5 or spread > 20 else 1.0
    wide = max(noise, 1.0)
    room, ends = np.empty((5, BLOCKS)), np.empty(BLOCKS + 1, np.int64)
    levels = room[0]
    levels[:], ends[0], ends[1:], bad[:] = level, 0, many, False
    _mark_single_pixels(raw, columns, at, counts, levels, ends, wide * ALONE, bad)
    ripple = _follow_azimuth(counts, bad, wide, level, room, ends)
    if _mark_single_pixels(raw, columns, at, counts, levels, ends, wide * ALONE, bad):  # others than before
        ripple = _follow_azimuth(counts, bad, wide, level, room, ends)
    _mark_runs(counts, levels, ends, max(wide, ripple) * TOGETHER, bad)
    _mark_masked_runs(counts, levels, ends, masked, wide * BELIEVED, bad)
    return noise


@reordered
def _mean_below(counts: NDArray[np.float32], ceiling: float) -> float:
    """Return the mean of the counts, where those above the ceiling count as much as it."""
    total = 0.0
    for k in range(len(counts)):
        total += min(np.float64(counts[k]), ceiling)
    return total / len(counts)


@reordered
def _sum_good(counts: NDArray[np.float32], bad: NDArray[np.bool_]) -> tuple[float, int]:
    """Return the sum of the counts that are not bad, and how many these are."""
    total, size = 0.0, 0
    for k in range(len(counts)):
        good = not bad[k]
        total += counts[k] * good
        size += good
    return total, size


@compiled
def _mark_single_pixels(
    raw: NDArray[np.float32],
    columns: int,
    at: NDArray[np.uint32],
    counts: NDArray[np.float32],
    levels: NDArray[np.float64],
    ends: NDArray[np.int64],
    limit: float,
    bad: NDArray[np.bool_],
) -> bool:
    """Set ``bad``: True where a pixel alone is too far from the level of its block, and no spot.

    Returns whether that changes ``bad``.
    """
    changed = False
    for block in range(len(levels)):
        level = levels[block]
        far = limit * level  # whose distance squared is no larger is no surprise
        odd = 0  # pixels to look at again; mostly there is none
        for k in range(ends[block], ends[block + 1]):
            away = counts[k] - level
            odd += int(away * away > far) | int(bad[k])
        if odd == 0:
            continue
        for k in range(ends[block], ends[block + 1]):
            away, alone = counts[k] - level, False
            if away * away > far and surprise(np.float64(counts[k]), level) > limit:
                alone = away < 0 or not is_spot(raw, columns, np.int64(at[k]), level, limit)
            changed |= alone != bad[k]
            bad[k] = alone
    return changed


@compiled
def _follow_azimuth(
    counts: NDArray[np.float32],
    bad: NDArray[np.bool_],
    wide: float,
    level: float,
    room: NDArray[np.float64],
    ends: NDArray[np.int64],
) -> float:
    """Set the levels of the blocks of a ring and their ``ends``: running medians of the means of blocks.

    The levels are ``room[0]``; the other four rows are overwritten. Returns how much the blocks scatter around the
    levels: variance over what counts would give, 1 where there are few.
    """
    many = len(counts)
    total, size = _sum_good(counts, bad)
    blocks = int(min(BLOCKS, max(1.0, min(total / COUNTS / wide, size / 6))))
    levels, means, sizes, near, scatter = room[0], room[1], room[2], room[3], room[4]
    near[: WINDOW + 1] = np.inf
    for block in range(BLOCKS + 1):
        ends[block] = min(block, blocks) * many // blocks
    for block in range(blocks):
        signal, size = _sum_good(counts[ends[block] : ends[block + 1]], bad[ends[block] : ends[block + 1]])
        sizes[block] = size
        means[block] = signal / size if size > 0 else np.inf
    reach = max(2, blocks // 6)
    window = min(blocks, 2 * reach + 1)
    found, first = 0, 0
    for other in range(window):
        _insert(means[other], near, other)
        found += int(sizes[other] > 0)
    for block in range(blocks):
        if min(max(block - reach, 0), blocks - window) > first:  # by one
            _replace(means[first], means[first + window], near)
            found += int(sizes[first + window] > 0) - int(sizes[first] > 0)
            first += 1
        levels[block] = max(_middle(near, found), LEAST) if found else level
    if blocks < 6:
        return 1.0
    found = 0
    for block in range(blocks):
        if sizes[block] > 0:
            found = _insert(abs(means[block] - levels[block]) / sqrt(levels[block] / sizes[block]), scatter, found)
    return float((1.4826 * _middle(scatter, found)) ** 2) if found else 1.0


@compiled
def _insert(value: float, values: NDArray[np.float64], found: int) -> int:
    """Put a value at its place among the first ``found`` of sorted ``values``; return how many there are then."""
    at = found
    while at > 0 and values[at - 1] > value:
        values[at] = values[at - 1]
        at -= 1
    values[at] = value
    return found + 1


@compiled
def _replace(old: float, new: float, values: NDArray[np.float64]) -> None:
    """Replace one of at most `WINDOW` sorted values, which infinity follows; without a branch, which is faster."""
    before = -np.inf
    for k in range(WINDOW):
        other = values[k] if values[k] < old else values[k + 1]  # without the old one
        values[k] = min(max(before, new), other)
        before = other


@compiled
def _middle(values: NDArray[np.float64], found: int) -> float:
    """Return the median of the first ``found`` of sorted ``values``."""
    return float((values[(found - 1) // 2] + values[found // 2]) / 2)


@compiled
def _mark_runs(
    counts: NDArray[np.float32],
    levels: NDArray[np.float64],
    ends: NDArray[np.int64],
    limit: float,
    bad: NDArray[np.bool_],
) -> None:
    """Mark the runs of pixels that are explained by a shadow that lets one of the `PASSES` of the beam pass.

    The log-likelihood ratio of shadow and ring is added up pixel by pixel, and from 0 again where it is below; a run
    ends where it was highest.
    """
    dark, dim = log(PASSES[0]), log(PASSES[1])
    a, a_highest, a_start, a_last = 0.0, 0.0, 0, -1  # of the dark shadow
    b, b_highest, b_start, b_last = 0.0, 0.0, 0, -1  # of the dim one
    for block in range(len(levels)):
        a_each, b_each = (1 - PASSES[0]) * levels[block], (1 - PASSES[1]) * levels[block]
        for k in range(ends[block], ends[block + 1]):
            a += counts[k] * dark + a_each
            b += counts[k] * dim + b_each
            if a > a_highest:
                a_highest, a_last = a, k
            if a <= 0 or a_highest - a > limit:  # over, whatever comes
                if a_highest > limit:
                    bad[a_start : a_last + 1] = True
                a, a_highest, a_start, a_last = 0.0, 0.0, k + 1, -1
            if b > b_highest:
                b_highest, b_last = b, k
            if b <= 0 or b_highest - b > limit:
                if b_highest > limit:
                    bad[b_start : b_last + 1] = True
                b, b_highest, b_start, b_last = 0.0, 0.0, k + 1, -1
    if a_highest > limit:
        bad[a_start : a_last + 1] = True
    if b_highest > limit:
        bad[b_start : b_last + 1] = True


@compiled
def _mark_masked_runs(
    counts: NDArray[np.float32],
    levels: NDArray[np.float64],
    ends: NDArray[np.int64],
    masked: NDArray[np.bool_],
    limit: float,
    bad: NDArray[np.bool_],
) -> None:
    """Mark the runs of `RUN` and more masked pixels that together lack `DEFICIT` and more, beyond ``limit``."""
    start, block, many = 0, 0, len(counts)
    while start < many:
        stop = start
        while stop < many and masked[stop]:
            stop += 1
        if stop - start >= RUN:
            signal, expected = 0.0, 0.0
            for k in range(start, stop):
                while ends[block + 1] <= k:
                    block += 1
                signal += counts[k]
                expected += levels[block]
            if signal < (1 - DEFICIT) * expected and surprise(max(signal, 0.0), expected) > limit:
                bad[start:stop] = True
        start = stop + 1
