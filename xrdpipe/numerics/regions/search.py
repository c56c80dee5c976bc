"""Where regions are: windows, straight strips, and pieces of rows and columns that are too dark."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..compiled import compiled
from .sums import row_sums, summed

EXCESS = 3.0  # times what the frame's windows are brighter by, a region is darker

LINE = 0.8  # of the level, that a dead line lacks

WINDOWS = 128  # along a side, that say what is usual in a frame

SLOPES = 24  # directions within 45 degrees of the rows, and as many about the columns


@compiled
def seeds(tiles: NDArray[np.float32], least: float, significance: float, depth: NDArray[np.float32]) -> int:
    """How deep the shadow over each tile is at most, 0 where none is significant; returns how many windows are.

    Windows of 1 to 16 tiles along a side are looked at; one that is lower by more than ``least`` of the level and by
    ``significance`` standard deviations gives its depth to the tiles in it.
    """
    slow, fast = depth.shape
    d, e = np.empty((slow + 1, fast + 1)), np.empty((slow + 1, fast + 1))
    summed(tiles[:, :, 0], d)
    summed(tiles[:, :, 1], e)
    found = 0
    for k in (1, 2, 3, 4, 6, 8, 12, 16):
        limit = max(significance, EXCESS * _usual(d, e, k))
        for i in range(slow - k + 1):
            d0, d1, e0, e1, any_dark = d[i], d[i + k], e[i], e[i + k], np.int32(0)
            for j in range(fast - k + 1):  # without a branch, so that the compiler vectorizes it
                n = e1[j + k] - e0[j + k] - e1[j] + e0[j]
                s = d1[j + k] - d0[j + k] - d1[j] + d0[j]
                any_dark += np.int32((s < -least * n) & (s * s > limit * limit * n))
            if any_dark == 0:
                continue
            for j in range(fast - k + 1):
                n = e[i + k, j + k] - e[i, j + k] - e[i + k, j] + e[i, j]
                s = d[i + k, j + k] - d[i, j + k] - d[i + k, j] + d[i, j]
                if s < -least * n and s * s > limit * limit * n:
                    found += 1
                    deep = np.float32(min(-s / n, 1.0))
                    for a in range(max(0, i - 1), min(slow, i + k + 1)):
                        for b in range(max(0, j - 1), min(fast, j + k + 1)):
                            depth[a, b] = max(depth[a, b], deep)
    return found


@compiled
def _usual(d: NDArray[np.float64], e: NDArray[np.float64], k: int) -> float:
    """Return by how many standard deviations a twentieth of the windows of k x k tiles is brighter.

    Counts alone give 1.6; where the frame has structure of its own, brighter and darker, it is more.
    """
    counts, many = np.zeros(1001, np.int64), 0
    step = max(1, k // 2, max(d.shape) // WINDOWS)
    for i in range(0, d.shape[0] - k, step):
        for j in range(0, d.shape[1] - k, step):
            n = e[i + k, j + k] - e[i, j + k] - e[i + k, j] + e[i, j]
            if n > 0:
                s = d[i + k, j + k] - d[i, j + k] - d[i + k, j] + d[i, j]
                counts[min(1000, max(0, int(10 * s / np.sqrt(n))))] += 1
                many += 1
    above = 0
    for bin in range(1000, 0, -1):
        above += counts[bin]
        if above > many // 20:
            return bin / 10
    return 0.0


@compiled
def strips(
    tiles: NDArray[np.float32], least: float, ratio: float, depth: NDArray[np.float32], direction: NDArray[np.int16]
) -> int:
    """As `seeds` for straight strips, one tile wide and at least 8 long, in all directions of `SLOPES`.

    Of every line the piece with the largest sum of log likelihood ratios is taken where that is at least ``ratio``.
    ``direction`` (int16, -1: none) gets the number of the direction of the best one, where `seeds` found nothing.
    """
    slow, fast = depth.shape
    score = np.zeros((slow, fast), np.float32)
    seeded = depth > 0
    at = np.empty(max(slow, fast), np.int64)
    d, e = np.empty((slow + 1, fast + 1)), np.empty((slow + 1, fast + 1))
    summed(tiles[:, :, 0], d)
    summed(tiles[:, :, 1], e)
    ratio *= max(1.0, EXCESS * max(_usual(d, e, 4), _usual(d, e, 16)) / 6) ** 2
    found = 0
    for way in range(2 * SLOPES):
        steep, slope = way >= SLOPES, (way % SLOPES - SLOPES // 2) / (SLOPES / 2)
        along, across = (slow, fast) if steep else (fast, slow)
        for base in range(-along, across + along):
            many = 0
            for j in range(along):
                i = base + int(np.floor(slope * j + 0.5))
                if 0 <= i < across:
                    at[many] = j * fast + i if steep else i * fast + j
                    many += 1
            for assumed in (0.8, 0.3):
                lost = np.log(1 - assumed)
                run, most, start, f, g = 0.0, 0.0, 0, 0, 0
                for m in range(many):
                    a, b = at[m] // fast, at[m] % fast
                    if seeded[a, b]:
                        continue
                    run += (tiles[a, b, 0] + tiles[a, b, 1]) * lost + assumed * tiles[a, b, 1]
                    if run <= 0:
                        run, start = 0.0, m + 1
                    elif run > most:
                        most, f, g = run, start, m + 1
                if most < ratio or g - f < 8:
                    continue
                s, n = 0.0, 0.0
                for m in range(f, g):
                    a, b = at[m] // fast, at[m] % fast
                    if not seeded[a, b]:
                        s += tiles[a, b, 0]
                        n += tiles[a, b, 1]
                if not s < -least * n:
                    continue
                found += 1
                deep, z = np.float32(min(-s / n, 1.0)), np.float32(most)
                for m in range(f, g):
                    a, b = at[m] // fast, at[m] % fast
                    for y in range(max(0, a - 1), min(slow, a + 2)):
                        for x in range(max(0, b - 1), min(fast, b + 2)):
                            if z > score[y, x] and not seeded[y, x]:
                                score[y, x], direction[y, x] = z, way
                            depth[y, x] = max(depth[y, x], deep)
    return found


@compiled
def lines(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    cell: NDArray[np.uint32],
    table: NDArray[np.float32],
    fast: int,
    rows: NDArray[np.float32],
    columns: NDArray[np.float32],
    least: float,
    shortest: int,
    region: NDArray[np.uint8],
) -> int:
    """Set ``region`` on the pieces of rows and columns (see `tiles_and_pieces`) that are dead; return how many are.

    The sum of a piece has to be at least ``least``, and much larger than that of the same piece of the lines beside.
    """
    found = 0
    for steep in range(2):
        pieces = columns if steep else rows
        many, i = len(pieces), 0
        while i < many:
            if not _is_piece(pieces[i], least, shortest):
                i += 1
                continue
            f, g = int(pieces[i, 0]), int(pieces[i, 1])
            j = i + 1
            while (
                j < many
                and _is_piece(pieces[j], least, shortest)
                and 2 * (min(g, int(pieces[j, 1])) - max(f, int(pieces[j, 0]))) > g - f
            ):
                j += 1
            middle = (i + j - 1) // 2
            f, g = int(pieces[middle, 0]), int(pieces[middle, 1])
            beside = 0.0
            for k in (i - 1, j):
                if 0 <= k < many:
                    beside = max(beside, _ratio(image, mask, cell, table, fast, k, f, g, steep == 1))
            if beside < 0.3 * pieces[middle, 2] and g - f >= 4 * (j - i):
                found += j - i
                for k in range(i, j):
                    first, end = int(pieces[k, 0]), int(pieces[k, 1])
                    if steep:
                        region[first:end, k] = 1
                    else:
                        region[k, first:end] = 1
            i = j
    return found


@compiled
def _is_piece(piece: NDArray[np.float32], least: float, shortest: int) -> bool:
    return bool(piece[2] > least and piece[1] - piece[0] >= shortest)


@compiled
def _ratio(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    cell: NDArray[np.uint32],
    table: NDArray[np.float32],
    fast: int,
    k: int,
    f: int,
    g: int,
    steep: bool,
) -> float:
    """Return the log likelihood ratio of a piece of row k, or column k where ``steep``."""
    total, lost = 0.0, np.log(1 - LINE)
    d, e = np.empty(1, np.float32), np.empty(1, np.float32)
    for j in range(f, g):
        at = j * fast + k if steep else k * fast + j
        row_sums(image[at:], mask[at:], cell[at:], table, d, e)
        total += (d[0] + e[0]) * lost + LINE * e[0]
    return total
