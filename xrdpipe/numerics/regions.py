"""Compiled search for regions that receive too little: shadows, translucent arms, gaps and dead lines.

Neighbouring pixels are judged together, so that a shadow is found at any count rate where its sum is significant.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compiled import compiled
from .constants import GOOD, OUTLIER

SECTORS = 128  # of the circle, that the statistics are made in

GROUPS = 32  # of sectors, that the azimuthal variation is fitted to

HARMONICS = 4  # cosines and sines of chi to 4 chi: slower variation is no region

TERMS = 2 * HARMONICS + 1

POOLED = 8  # rings on either side that decide together whether a group of sectors is shadowed

TOGETHER = 30.0  # pixels that vary together where a ring varies more than counts do

SHADE = np.uint8(255)  # of a mask in the making: in a region, so no part of a level, but still looked at

LINE = 0.8  # of the level, that a dead line lacks

TILE = 4  # pixels along a tile's side: the smallest block that is searched


@compiled
def add_cells(
    image: NDArray[np.float32], mask: NDArray[np.uint8], cell: NDArray[np.uint32], sums: NDArray[np.float64]
) -> None:
    """Add number, value and square of the good pixels to ``sums`` of their cells, float64, (cells, 3)."""
    for i in range(len(image)):
        if mask[i] == GOOD:
            c, v = cell[i], np.float64(image[i])
            sums[c, 0] += 1.0
            sums[c, 1] += v
            sums[c, 2] += v * v


@compiled
def _design() -> NDArray[np.float64]:
    """The harmonics at the middle of every sector, (sectors, terms)."""
    out = np.ones((SECTORS, TERMS))
    for s in range(SECTORS):
        chi = (s + 0.5) / SECTORS * 2 * np.pi
        for k in range(1, HARMONICS + 1):
            out[s, 2 * k - 1], out[s, 2 * k] = np.cos(k * chi), np.sin(k * chi)
    return out


@compiled
def _solve(a: NDArray[np.float64], b: NDArray[np.float64]) -> None:
    """Solve ``a x = b`` for positive definite ``a`` by Cholesky; ``b`` becomes x, ``a`` is overwritten."""
    n = len(b)
    for i in range(n):
        for j in range(i + 1):
            t = a[i, j]
            for k in range(j):
                t -= a[i, k] * a[j, k]
            a[i, j] = np.sqrt(max(t, 1e-300)) if i == j else t / a[j, j]
    for i in range(n):
        for k in range(i):
            b[i] -= a[i, k] * b[k]
        b[i] /= a[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            b[i] -= a[k, i] * b[k]
        b[i] /= a[i, i]


@compiled
def fit_rings(
    sums: NDArray[np.float64], rounds: int, stiff: float, coefficients: NDArray[np.float64], variance: NDArray[np.float64]
) -> float:
    """Fit the harmonics to every ring, robustly; ``sums`` is (sectors, rings, 3).

    ``coefficients`` (rings, terms) are in counts; ``variance`` (rings, 2) gets that of a pixel about its ring and the
    relative one of groups of sectors beyond it (texture that the harmonics do not describe).
    """
    rings, many = sums.shape[1], SECTORS // GROUPS
    design, middle = _design(), np.zeros((GROUPS, TERMS))
    for s in range(SECTORS):
        for k in range(TERMS):
            middle[s // many, k] += design[s, k] / many
    n, m = np.zeros((rings, GROUPS)), np.zeros((rings, GROUPS))
    wt, z = np.zeros((rings, GROUPS)), np.zeros((rings, GROUPS))
    for r in range(rings):
        within, free = 0.0, 0.0
        for s in range(SECTORS):
            count = sums[s, r, 0]
            if count > 0:
                n[r, s // many] += count
                m[r, s // many] += sums[s, r, 1]
                within += sums[s, r, 2] - sums[s, r, 1] * sums[s, r, 1] / count
                free += count - 1
        variance[r, 0] = max(within, 0.0) / free if free > 0 else 0.0
        for g in range(GROUPS):
            if n[r, g] > 0:
                m[r, g] /= n[r, g]
            wt[r, g] = n[r, g]
    a, b = np.empty((TERMS, TERMS)), np.empty(TERMS)
    size, pooled = np.empty(GROUPS), np.empty((rings, GROUPS))
    for again in range(rounds):
        for r in range(rings):
            v = variance[r, 0]
            total, level = 0.0, 0.0
            for g in range(GROUPS):
                total += wt[r, g]
                level += wt[r, g] * m[r, g]
            coefficients[r] = 0.0
            if not total > 0:
                continue
            level = abs(level / total)
            a[:] = 0.0
            b[:] = 0.0
            for g in range(GROUPS):
                w = wt[r, g]
                if w > 0:
                    for i in range(TERMS):
                        t = w * middle[g, i]
                        b[i] += t * m[r, g]
                        for j in range(i + 1):
                            a[i, j] += t * middle[g, j]
            for k in range(1, TERMS):
                size_k = 0.5 if k < 5 else 0.2
                a[k, k] += (1e-6 if k < 3 else (stiff / (r + 1.0)) ** 2) * total + (v / (size_k * level) ** 2 if level > 0 else total)
            _solve(a, b)
            coefficients[r] = b
            for g in range(GROUPS):
                e = 0.0
                for k in range(TERMS):
                    e += middle[g, k] * b[k]
                z[r, g] = (m[r, g] - e) * np.sqrt(n[r, g] / v) if n[r, g] > 0 and v > 0 else 0.0
        if again == rounds - 1:
            break
        _pool(z, n, pooled)
        for r in range(rings):
            own = _spread(z[r], n[r], size)
            near = _spread(pooled[r], n[r], size)
            for g in range(GROUPS):
                u, q = z[r, g] / (3 * own), pooled[r, g] / (3 * near)
                wt[r, g] = n[r, g] / ((1 + u * u) * (1 + u * u)) / ((1 + q * q) * (1 + q * q))
    for r in range(rings):
        own, total, level = _spread(z[r], n[r], size), 0.0, coefficients[r, 0]
        for g in range(GROUPS):
            total += n[r, g]
        excess = (own * own - 1) * variance[r, 0] / max(total / GROUPS, 1.0)
        variance[r, 1] = excess / (level * level) if own > 1.3 and level > 0 else 0.0
    return _grainy(n, coefficients, variance)


@compiled
def _grainy(
    n: NDArray[np.float64], coefficients: NDArray[np.float64], variance: NDArray[np.float64]
) -> float:
    """Add to a ring's variance what it has beyond counts, for as many pixels as vary together.

    Spots and steep flanks vary over several pixels, counts do not. What counts alone have, over their level, is that of
    the middle ring.
    """
    rings = len(n)
    ratio, many = np.empty(rings), 0
    for r in range(rings):
        if variance[r, 0] > 0 and coefficients[r, 0] ** 2 * n[r].sum() > 200 * variance[r, 0]:
            ratio[many] = variance[r, 0] / coefficients[r, 0]
            many += 1
    if many < 8:
        return 1.0
    gain = np.quantile(ratio[:many], 0.2)
    for r in range(rings):
        total, level = 0.0, coefficients[r, 0]
        for g in range(GROUPS):
            total += n[r, g]
        if level > 0 and total > 0:
            usual = gain * level * (1 + 3 * np.sqrt((2 + gain / level) / total))
            variance[r, 0] += TOGETHER * max(variance[r, 0] - usual, 0.0)
    return float(gain)


@compiled
def _pool(z: NDArray[np.float64], n: NDArray[np.float64], pooled: NDArray[np.float64]) -> None:
    """The sum of z over the rings within `POOLED`, over the root of their number."""
    rings = len(z)
    for g in range(GROUPS):
        total, many = 0.0, 0
        for r in range(-POOLED, rings):
            if r + POOLED < rings and n[r + POOLED, g] > 0:
                total += min(max(z[r + POOLED, g], -5.0), 5.0)
                many += 1
            gone = r - POOLED - 1
            if gone >= 0 and n[gone, g] > 0:
                total -= min(max(z[gone, g], -5.0), 5.0)
                many -= 1
            if r >= 0:
                pooled[r, g] = total / np.sqrt(max(many, 1))


@compiled
def _spread(z: NDArray[np.float64], n: NDArray[np.float64], size: NDArray[np.float64]) -> float:
    """The standard deviation of z from its median distance to 0, at least 1."""
    many = 0
    for g in range(GROUPS):
        if n[g] > 0:
            size[many] = abs(z[g])
            many += 1
    return max(1.0, 1.4826 * np.median(size[:many])) if many > 2 else 1.0


@compiled
def tabulate(
    coefficients: NDArray[np.float64], variance: NDArray[np.float64], table: NDArray[np.float32]
) -> None:
    """The weights of a pixel: ``table`` (sectors, rings, 2) gets e / v and e**2 / v, e being the expected level."""
    design = _design()
    for s in range(SECTORS):
        for r in range(len(coefficients)):
            e = 0.0
            for k in range(TERMS):
                e += design[s, k] * coefficients[r, k]
            e = max(e, 0.1 * coefficients[r, 0])
            v = variance[r, 0] + 8 * variance[r, 1] * e * e
            good = e > 0 and v > 0
            table[s, r, 0] = e / v if good else 0.0
            table[s, r, 1] = e * e / v if good else 0.0


@compiled
def tile_sums(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    cell: NDArray[np.uint32],
    table: NDArray[np.float32],
    fast: int,
    tiles: NDArray[np.float32],
) -> None:
    """Add deviation and information of the pixels to ``tiles``, (slow / TILE, fast / TILE, 2).

    Of pixels that are outliers those below their level count: a shadow whose darkest pixels are masked is still one.
    """
    d, e = np.zeros(fast + TILE, np.float32), np.zeros(fast + TILE, np.float32)
    for i in range(len(image) // fast):
        row_sums(image[i * fast :], mask[i * fast :], cell[i * fast :], table, d[:fast], e[:fast])
        for j in range(tiles.shape[1]):
            tiles[i // TILE, j, 0] += (d[4 * j] + d[4 * j + 1]) + (d[4 * j + 2] + d[4 * j + 3])
            tiles[i // TILE, j, 1] += (e[4 * j] + e[4 * j + 1]) + (e[4 * j + 2] + e[4 * j + 3])


@compiled
def row_sums(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    cell: NDArray[np.uint32],
    table: NDArray[np.float32],
    d: NDArray[np.float32],
    e: NDArray[np.float32],
) -> None:
    """Deviation and information of the first ``len(d)`` pixels."""
    zero = np.float32(0)
    for j in range(len(d)):
        c, bits = cell[j], mask[j]
        information = table[c, 1]
        deviation = image[j] * table[c, 0] - information
        use = bits == GOOD or bits == SHADE or (bits == OUTLIER and deviation < zero)
        d[j] = deviation if use else zero
        e[j] = information if use else zero


@compiled
def lines(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    cell: NDArray[np.uint32],
    table: NDArray[np.float32],
    fast: int,
    least: float,
    shortest: int,
    region: NDArray[np.uint8],
) -> None:
    """Set ``region`` on the pieces of rows and columns that are dead: at most one of each row and one of each column.

    The piece is that of the largest sum of log likelihood ratios, of a line that lacks `LINE` of its level against one
    that lacks nothing; it has to be at least ``least``.
    """
    slow = len(image) // fast
    d, e = np.empty(fast, np.float32), np.empty(fast, np.float32)
    ratio, zero = np.empty(fast, np.float32), np.float32(0)
    rows, score = np.empty((slow, 2), np.int32), np.empty(slow, np.float32)
    total, best = np.zeros(fast, np.float32), np.zeros(fast, np.float32)
    begin, first, last = np.zeros(fast, np.int32), np.zeros(fast, np.int32), np.zeros(fast, np.int32)
    a = np.float32(np.log(1 - LINE))
    b = a + np.float32(LINE)
    for i in range(slow):
        at = i * fast
        row_sums(image[at:], mask[at:], cell[at:], table, d, e)
        run, most, start, f, g = zero, zero, 0, 0, 0
        for j in range(fast):
            ratio[j] = a * d[j] + b * e[j]
        for j in range(fast):
            t = total[j] + ratio[j]
            up = t > zero
            begin[j] = begin[j] if up else i + 1
            total[j] = t if up else zero
            if t > best[j]:
                best[j], first[j], last[j] = t, begin[j], i + 1
        for j in range(fast):
            run += ratio[j]
            if run <= zero:
                run, start = zero, j + 1
            elif run > most:
                most, f, g = run, start, j + 1
        rows[i, 0], rows[i, 1], score[i] = f, g, most
    columns = np.empty((fast, 2), np.int32)
    columns[:, 0], columns[:, 1] = first, last
    for steep in range(2):
        ends, many, sums = (columns, fast, best) if steep else (rows, slow, score)
        i = 0
        while i < many:
            if not (sums[i] > least and ends[i, 1] - ends[i, 0] >= shortest):
                i += 1
                continue
            j = i + 1
            while j < many and sums[j] > least and ends[j, 1] - ends[j, 0] >= shortest and (
                2 * (min(ends[i, 1], ends[j, 1]) - max(ends[i, 0], ends[j, 0])) > ends[i, 1] - ends[i, 0]
            ):
                j += 1
            middle = (i + j - 1) // 2
            f, g = ends[middle, 0], ends[middle, 1]
            beside = 0.0
            for k in (i - 1, j):
                if 0 <= k < many:
                    beside = max(beside, _ratio(image, mask, cell, table, fast, k, f, g, steep == 1))
            if beside < 0.3 * sums[middle] and g - f >= 4 * (j - i):
                for k in range(i, j):
                    if steep:
                        region[ends[k, 0] : ends[k, 1], k] = 1
                    else:
                        region[k, ends[k, 0] : ends[k, 1]] = 1
            i = j


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
    """The log likelihood ratio of a piece of row k, or column k where ``steep``."""
    total, lost = 0.0, np.log(1 - LINE)
    d, e = np.empty(1, np.float32), np.empty(1, np.float32)
    for j in range(f, g):
        at = j * fast + k if steep else k * fast + j
        row_sums(image[at:], mask[at:], cell[at:], table, d, e)
        total += (d[0] + e[0]) * lost + LINE * e[0]
    return total


@compiled
def box(x: NDArray[np.float64], k: int, out: NDArray[np.float64]) -> None:
    """Sums over windows of k x k that begin at each element, cut at the edge; ``x`` is a summed-area table."""
    slow, fast = out.shape
    for i in range(slow):
        low = min(i + k, slow)
        for j in range(fast):
            right = min(j + k, fast)
            out[i, j] = x[low, right] - x[i, right] - x[low, j] + x[i, j]


@compiled
def summed(x: NDArray[np.float32], out: NDArray[np.float64]) -> None:
    """The summed-area table of x, one row and column longer, float64."""
    slow, fast = x.shape
    for j in range(fast + 1):
        out[0, j] = 0.0
    for i in range(slow):
        total = 0.0
        out[i + 1, 0] = 0.0
        for j in range(fast):
            total += x[i, j]
            out[i + 1, j + 1] = out[i, j + 1] + total


@compiled
def seeds(
    tiles: NDArray[np.float32], least: float, significance: float, depth: NDArray[np.float32]
) -> int:
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
        for i in range(slow - k + 1):
            for j in range(fast - k + 1):
                n = e[i + k, j + k] - e[i, j + k] - e[i + k, j] + e[i, j]
                s = d[i + k, j + k] - d[i, j + k] - d[i + k, j] + d[i, j]
                if s < -least * n and s * s > significance * significance * n:
                    found += 1
                    deep = np.float32(min(-s / n, 1.0))
                    for a in range(max(0, i - 1), min(slow, i + k + 1)):
                        for b in range(max(0, j - 1), min(fast, j + k + 1)):
                            depth[a, b] = max(depth[a, b], deep)
    return found


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


SLOPES = 24  # directions within 45 degrees of the rows, and as many about the columns

SQUARE = 64  # pixels along a side that are refined together

MARGIN = 36  # pixels around it that are looked at


@compiled
def halfway(deep: float) -> float:
    """The deficit at which counts are as likely in a shadow of this depth as outside."""
    deep = min(max(deep, 0.01), 0.98)
    return 1 + deep / np.log(1 - deep)


@compiled
def settle(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    cell: NDArray[np.uint32],
    table: NDArray[np.float32],
    fast: int,
    depth: NDArray[np.float32],
    bond: float,
    rounds: int,
    region: NDArray[np.uint8],
) -> None:
    """Let the border of ``region`` settle: a pixel follows its own counts and its eight neighbours (ICM)."""
    slow = len(image) // fast
    d, e = np.empty(fast, np.float32), np.empty(fast, np.float32)
    old = np.zeros((slow + 2, fast + 2), np.uint8)
    for _ in range(rounds):
        old[1:-1, 1:-1] = region
        for i in range(slow):
            if not depth[i // TILE].any():
                continue
            at = i * fast
            row_sums(image[at:], mask[at:], cell[at:], table, d, e)
            for j in range(fast):
                deep = min(np.float64(depth[i // TILE, j // TILE]), 0.95)
                if deep == 0:
                    continue
                near = 0
                for a in range(3):
                    for b in range(3):
                        near += old[i + a, j + b]
                near -= old[i + 1, j + 1]
                lost = np.log(1 - deep)
                ratio = (d[j] + e[j]) * lost + deep * e[j]
                region[i, j] = ratio + bond * (2 * near - 8) > 0


@compiled
def _strip(
    d: NDArray[np.float32],
    e: NDArray[np.float32],
    h: int,
    w: int,
    y: int,
    x: int,
    way: int,
    enough: float,
) -> tuple[float, float]:
    """Sums over a strip of three pixels' width about (y, x), as long as it takes, at most 65 pixels."""
    steep, slope = way >= SLOPES, (way % SLOPES - SLOPES // 2) / (SLOPES / 2)
    s, n = 0.0, 0.0
    for far in range(33):
        for side in range(2 if far else 1):
            t = far if side == 0 else -far
            i = int(np.floor(slope * t + 0.5))
            for off in range(-1, 2):
                a, b = (y + t, x + i + off) if steep else (y + i + off, x + t)
                if 0 <= a < h and 0 <= b < w:
                    s += d[a, b]
                    n += e[a, b]
        if far >= 4 and n >= enough:
            break
    return s, n


@compiled
def refine(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    cell: NDArray[np.uint32],
    table: NDArray[np.float32],
    fast: int,
    depth: NDArray[np.float32],
    direction: NDArray[np.int16],
    sure: float,
    region: NDArray[np.uint8],
) -> None:
    """Decide for every pixel near a shadow whether it is in it, and set ``region`` (slow, fast).

    The smallest window around the pixel that can tell decides: one where half of the depth is ``sure`` standard
    deviations. The pixel is in the shadow where the window is darker than halfway.
    """
    slow = len(image) // fast
    side = SQUARE + 2 * MARGIN
    d, e = np.empty((side, side), np.float32), np.empty((side, side), np.float32)
    sd, se = np.empty((side + 1, side + 1)), np.empty((side + 1, side + 1))
    step = SQUARE // TILE
    for top in range(0, slow, SQUARE):
        for left in range(0, fast, SQUARE):
            near = depth[top // TILE : top // TILE + step, left // TILE : left // TILE + step]
            if near.max() == 0:
                continue
            r0, r1 = max(0, top - MARGIN), min(slow, top + SQUARE + MARGIN)
            c0, c1 = max(0, left - MARGIN), min(fast, left + SQUARE + MARGIN)
            for r in range(r0, r1):
                at = r * fast + c0
                row_sums(image[at:], mask[at:], cell[at:], table, d[r - r0, : c1 - c0], e[r - r0, : c1 - c0])
            h, w = r1 - r0, c1 - c0
            summed(d[:h, :w], sd)
            summed(e[:h, :w], se)
            for r in range(top, min(top + SQUARE, slow)):
                for c in range(left, min(left + SQUARE, fast)):
                    deep = np.float64(depth[r // TILE, c // TILE])
                    if deep == 0:
                        continue
                    y, x = r - r0, c - c0
                    share = halfway(deep)
                    way = direction[r // TILE, c // TILE]
                    for half in (0, 1, 2, 3, 4, 6, 8, 11, 16, 23):
                        a, b = max(0, y - half), min(h, y + half + 1)
                        f, g = max(0, x - half), min(w, x + half + 1)
                        n = se[b, g] - se[a, g] - se[b, f] + se[a, f]
                        if way >= 0 and half == 3:
                            s, n = _strip(d, e, h, w, y, x, way, 4 * sure * sure / (deep * deep))
                            region[r, c] = s < -share * n
                            break
                        if n * deep * deep >= 4 * sure * sure or half == 23:
                            s = sd[b, g] - sd[a, g] - sd[b, f] + sd[a, f]
                            region[r, c] = s < -share * n
                            break


@compiled
def deepen(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    cell: NDArray[np.uint32],
    table: NDArray[np.float32],
    fast: int,
    region: NDArray[np.uint8],
    reach: int,
    least: float,
    depth: NDArray[np.float32],
) -> None:
    """Replace ``depth`` by the mean deviation of the pixels in ``region`` within ``reach`` tiles."""
    slow = len(image) // fast
    tiles = np.zeros((depth.shape[0], depth.shape[1], 2), np.float32)
    d, e = np.empty(fast, np.float32), np.empty(fast, np.float32)
    for i in range(slow):
        if not region[i].any():
            continue
        at = i * fast
        row_sums(image[at:], mask[at:], cell[at:], table, d, e)
        for j in range(fast):
            if region[i, j]:
                tiles[i // TILE, j // TILE, 0] += d[j]
                tiles[i // TILE, j // TILE, 1] += e[j]
    sd, se = np.empty((depth.shape[0] + 1, depth.shape[1] + 1)), np.empty((depth.shape[0] + 1, depth.shape[1] + 1))
    summed(tiles[:, :, 0], sd)
    summed(tiles[:, :, 1], se)
    for i in range(depth.shape[0]):
        for j in range(depth.shape[1]):
            if depth[i, j] == 0:
                continue
            a, b = max(0, i - reach), min(depth.shape[0], i + reach + 1)
            f, g = max(0, j - reach), min(depth.shape[1], j + reach + 1)
            n = se[b, g] - se[a, g] - se[b, f] + se[a, f]
            if n > 0:
                s = sd[b, g] - sd[a, g] - sd[b, f] + sd[a, f]
                depth[i, j] = min(max(-s / n, least), 1.0)
            else:
                depth[i, j] = 0.0


@compiled
def drop_faint(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    cell: NDArray[np.uint32],
    table: NDArray[np.float32],
    significance: float,
    region: NDArray[np.uint8],
) -> None:
    """Clear the connected parts of ``region`` whose own sum is not lower by ``significance`` standard deviations."""
    slow, fast = region.shape
    flat = region.ravel()
    many = 0
    for i in range(len(flat)):
        many += flat[i] != 0
    stack = np.empty(many, np.int64)
    d, e = np.empty(1, np.float32), np.empty(1, np.float32)
    for i in range(len(flat)):
        if flat[i] != 1:
            continue
        flat[i], stack[0] = 2, i
        end, done = 1, 0
        s, n = 0.0, 0.0
        while done < end:
            at = stack[done]
            done += 1
            row_sums(image[at:], mask[at:], cell[at:], table, d, e)
            s += d[0]
            n += e[0]
            row, column = at // fast, at % fast
            for a in range(max(0, row - 1), min(slow, row + 2)):
                for b in range(max(0, column - 1), min(fast, column + 2)):
                    to = a * fast + b
                    if flat[to] == 1:
                        flat[to], stack[end] = 2, to
                        end += 1
        if not (s < 0 and s * s > significance * significance * n):
            for k in range(end):
                flat[stack[k]] = 0
    for i in range(len(flat)):
        flat[i] = flat[i] != 0


@compiled
def centre(
    sums: NDArray[np.float64], coefficients: NDArray[np.float64], variance: NDArray[np.float64], gain: float
) -> int:
    """Give the rings in a beamstop's shadow, which have no lit pixel to tell, the level of those outside; return k.

    Rings below k are dark where each quarter of the k rings from k + k / 4 + 2 on is more than three times as bright
    as they are, and by five standard deviations.
    """
    rings = sums.shape[1]
    n, s, v = np.zeros(rings + 1), np.zeros(rings + 1), np.zeros(rings + 1)
    for r in range(rings):
        a, b = 0.0, 0.0
        for sector in range(SECTORS):
            a += sums[sector, r, 0]
            b += sums[sector, r, 1]
        n[r + 1], s[r + 1], v[r + 1] = n[r] + a, s[r] + b, v[r] + a * variance[r, 0]
    found, outer = 0, 0
    for k in range(3, rings // 2 - 3):
        gap = k // 4 + 2
        if not n[k] > 0:
            continue
        if k + gap + k > rings:
            break
        inside = s[k] / n[k]
        bright = True
        for quarter in range(4):
            a, b = k + gap + k * quarter // 4, k + gap + max(k * quarter // 4 + 1, k * (quarter + 1) // 4)
            many = n[b] - n[a]
            if not many > 0:
                continue
            level, noise = (s[b] - s[a]) / many, (v[b] - v[a]) / many
            bright &= level > 3 * inside and level - inside > 5 * np.sqrt(noise / n[k] + noise / many)
        if bright:
            found, outer = k, k + gap
    if found == 0:
        return 0
    last = min(rings, outer + max(3, outer // 3))
    mean, many = np.zeros(TERMS), 0.0
    for r in range(outer, last):
        weight = n[r + 1] - n[r]
        for k in range(TERMS):
            mean[k] += weight * coefficients[r, k]
        many += weight
    for r in range(outer):
        for k in range(TERMS):
            coefficients[r, k] = mean[k] / max(many, 1.0) if k == 0 else 0.0
        variance[r, 0], variance[r, 1] = gain * coefficients[r, 0], 0.0
    return outer


def find_regions(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    cell: NDArray[np.uint32],
    rings: int,
    shape: tuple[int, int],
    least: float = 0.08,
    significance: float = 6.5,
    sure: float = 2.5,
    strip: float = 24.0,
    faint: float = 5.0,
    stiff: float = 20.0,
    bond: float = 0.6,
    debug: dict | None = None,
) -> NDArray[np.uint8]:
    """Return where the frame is in a shadow, uint8, (slow, fast)."""
    slow, fast = shape
    sums = np.zeros((SECTORS * rings, 3))
    coefficients, variance = np.zeros((rings, TERMS)), np.zeros((rings, 2))
    table = np.zeros((SECTORS * rings, 2), np.float32)
    region, line = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    used = mask
    for again in range(3):
        sums[:] = 0
        add_cells(image, used, cell, sums)
        cube = sums.reshape(SECTORS, rings, 3)
        gain = fit_rings(cube, 5, stiff, coefficients, variance)
        if again == 0:
            all_sums = cube.copy()
        k = centre(all_sums, coefficients, variance, gain)
        tabulate(coefficients, variance, table.reshape(SECTORS, rings, 2))
        lines(image, used, cell, table, fast, 20.0, 40, line)
        used = np.where(line.ravel() != 0, np.uint8(1) | used, used)
        tiles = np.zeros((-(-slow // TILE), -(-fast // TILE), 2), np.float32)
        tile_sums(image, used, cell, table, fast, tiles)
        depth = np.zeros(tiles.shape[:2], np.float32)
        found = seeds(tiles, least, significance, depth)
        direction = np.full(depth.shape, -1, np.int16)
        pixels = np.count_nonzero(used == 0)
        if tiles[:, :, 1].sum() < 10 * pixels:
            found += strips(tiles, least, strip, depth, direction)
        if debug is not None:
            debug.update(tiles=tiles, depth=depth.copy(), k=k, coefficients=coefficients, variance=variance, line=line)
        if not found:
            return line
        region[:] = 0
        refine(image, used, cell, table, fast, depth, direction, sure, region)
        for _ in range(2):
            deepen(image, used, cell, table, fast, region, 5, least, depth)
            region[:] = 0
            refine(image, used, cell, table, fast, depth, direction, sure, region)
        settle(image, used, cell, table, fast, depth, bond, 4, region)
        drop_faint(image, used, cell, table, faint, region)
        used = np.where(used == SHADE, GOOD, used)
        used[(region.ravel() != 0) & (used == GOOD)] = SHADE
    return region | line
