"""The expected level of every pixel: a robust fit of slow azimuthal variation to every ring."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..compiled import compiled
from ..constants import GOOD

SECTORS = 128  # of the circle, that the statistics are made in

GROUPS = 32  # of sectors, that the azimuthal variation is fitted to

HARMONICS = 4  # cosines and sines of chi to 4 chi: slower variation is no region

TERMS = 2 * HARMONICS + 1

POOLED = 8  # rings on either side that decide together whether a group of sectors is shadowed

FITS = 3  # of a ring, each without what the last one found too low or too high

STIFF = 20.0  # rings from the beam within which only the first harmonic is free

TOGETHER = 30.0  # pixels that vary together where a ring varies more than counts do


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
    """Return the harmonics at the middle of every sector, (sectors, terms)."""
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
def fit_rings(sums: NDArray[np.float64], coefficients: NDArray[np.float64], variance: NDArray[np.float64]) -> float:
    """Fit the harmonics to every ring, robustly; ``sums`` is (sectors, rings, 3).

    ``coefficients`` (rings, terms) are in counts; ``variance`` (rings, 2) gets that of a pixel about its ring and the
    relative one of groups of sectors beyond it (texture that the harmonics do not describe).
    """
    rings, many = sums.shape[1], SECTORS // GROUPS
    design, middle = _design(), np.zeros((GROUPS, TERMS))
    for s in range(SECTORS):
        for k in range(TERMS):
            middle[s // many, k] += design[s, k] / many
    normal, products = np.empty(TERMS * (TERMS + 1) // 2), np.empty((GROUPS, TERMS * (TERMS + 1) // 2))
    for g in range(GROUPS):
        i = 0
        for row in range(TERMS):
            for column in range(row + 1):
                products[g, i] = middle[g, row] * middle[g, column]
                i += 1
    n, m = np.zeros((rings, GROUPS)), np.zeros((rings, GROUPS))
    wt, z = np.zeros((rings, GROUPS)), np.zeros((rings, GROUPS))
    within, free = np.zeros(rings), np.zeros(rings)
    for s in range(SECTORS):
        for r in range(rings):
            count = sums[s, r, 0]
            if count > 0:
                n[r, s // many] += count
                m[r, s // many] += sums[s, r, 1]
                within[r] += sums[s, r, 2] - sums[s, r, 1] * sums[s, r, 1] / count
                free[r] += count - 1
    for r in range(rings):
        variance[r, 0] = max(within[r], 0.0) / free[r] if free[r] > 0 else 0.0
        for g in range(GROUPS):
            if n[r, g] > 0:
                m[r, g] /= n[r, g]
            wt[r, g] = n[r, g]
    a, b = np.empty((TERMS, TERMS)), np.empty(TERMS)
    size, pooled = np.empty(GROUPS), np.empty((rings, GROUPS))
    for again in range(FITS):
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
            normal[:] = 0.0
            b[:] = 0.0
            for g in range(GROUPS):
                w = wt[r, g]
                if w > 0:
                    for i in range(len(normal)):
                        normal[i] += w * products[g, i]
                    w *= m[r, g]
                    for i in range(TERMS):
                        b[i] += w * middle[g, i]
            i = 0
            for row in range(TERMS):
                for column in range(row + 1):
                    a[row, column] = normal[i]
                    i += 1
            for k in range(1, TERMS):
                size_k = 0.5 if k < 5 else 0.2
                a[k, k] += (1e-6 if k < 3 else (STIFF / (r + 1.0)) ** 2) * total + (
                    v / (size_k * level) ** 2 if level > 0 else total
                )
            _solve(a, b)
            coefficients[r] = b
            for g in range(GROUPS):
                e = 0.0
                for k in range(TERMS):
                    e += middle[g, k] * b[k]
                z[r, g] = (m[r, g] - e) * np.sqrt(n[r, g] / v) if n[r, g] > 0 and v > 0 else 0.0
        if again == FITS - 1:
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
def _pool(z: NDArray[np.float64], n: NDArray[np.float64], pooled: NDArray[np.float64]) -> None:
    """Set ``pooled`` to the sum of z over the rings within `POOLED`, over the root of their number."""
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
    """Return the standard deviation of z from its median distance to 0, at least 1."""
    many = 0
    for g in range(GROUPS):
        if n[g] > 0:
            size[many] = abs(z[g])
            many += 1
    return max(1.0, 1.4826 * np.median(size[:many])) if many > 2 else 1.0


@compiled
def _grainy(n: NDArray[np.float64], coefficients: NDArray[np.float64], variance: NDArray[np.float64]) -> float:
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
def tabulate(coefficients: NDArray[np.float64], variance: NDArray[np.float64], table: NDArray[np.float32]) -> None:
    """Set ``table`` (sectors, rings, 2) to the weights e / v and e**2 / v of a pixel, e being the expected level."""
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
def centre(
    sums: NDArray[np.float64], coefficients: NDArray[np.float64], variance: NDArray[np.float64], gain: float
) -> int:
    """Give the rings in a beamstop's shadow, which have no lit pixel to tell, the level of those outside.

    Rings below k may be dark where each quarter of the k rings from k + k / 4 + 2 on is more than three times as bright
    as they are, and by five standard deviations. Of these k the largest is taken whose contrast is at least half of the
    best. The level is that of the darkest quarter; rings below k + k / 4 + 2 that have most of it keep theirs.
    Returns how many rings were looked at, 0 where nothing is dark.
    """
    rings = sums.shape[1]
    n, s, v = np.zeros(rings + 1), np.zeros(rings + 1), np.zeros(rings + 1)
    for r in range(rings):
        a, b = 0.0, 0.0
        for sector in range(SECTORS):
            a += sums[sector, r, 0]
            b += sums[sector, r, 1]
        n[r + 1], s[r + 1], v[r + 1] = n[r] + a, s[r] + b, v[r] + a * variance[r, 0]
    contrast, lit = np.zeros(rings), np.zeros(rings)
    for k in range(3, rings // 2 - 3):
        gap = k // 4 + 2
        if not n[k] > 0:
            continue
        if k + gap + k > rings:
            break
        inside = max(s[k] / n[k], 0.0)
        level, noise = np.inf, 0.0
        for quarter in range(4):
            a, b = k + gap + k * quarter // 4, k + gap + max(k * quarter // 4 + 1, k * (quarter + 1) // 4)
            many = n[b] - n[a]
            if many > 0 and (s[b] - s[a]) / many < level:
                level, noise = (s[b] - s[a]) / many, (v[b] - v[a]) / many * (1 / n[k] + 1 / many)
        if level < np.inf and level > 3 * inside and level - inside > 5 * np.sqrt(noise):
            contrast[k], lit[k] = level / (inside + np.sqrt(gain * level / n[k])), level
    found = 0
    for k in range(rings):
        if contrast[k] > 0 and contrast[k] >= 0.5 * contrast.max():
            found = k
    if found == 0:
        return 0
    outer = found + found // 4 + 2
    for r in range(outer):
        many = n[r + 1] - n[r]
        if many > 0 and s[r + 1] - s[r] > 0.8 * lit[found] * many:
            continue
        coefficients[r] = 0.0
        coefficients[r, 0] = lit[found]
        variance[r, 0], variance[r, 1] = gain * lit[found], 0.0
    return outer
