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

WAVES = 4 * HARMONICS + 1  # those that products of two harmonics consist of

POOLED = 8  # rings on either side that decide together whether a group of sectors is shadowed

FITS = 3  # of a ring, each without what the last one found too low or too high

INNER = 64  # rings about the beam, of which no row is left out

SAMPLED = 8  # one of so many rows is enough for the levels of other rings where counts are many

STIFF = 20.0  # rings from the beam within which only the first harmonic is free

TOGETHER = 30.0  # pixels that vary together where a ring varies more than counts do


def inner_rows(cell: NDArray[np.uint32], rings: int, fast: int) -> NDArray[np.bool_]:
    """Return the rows that hold a pixel of the innermost `INNER` rings: these rings are small, so all pixels count."""
    near = ((cell % np.uint32(rings)) < INNER).reshape(-1, fast)
    rows: NDArray[np.bool_] = np.logical_or.reduce(near, axis=1)
    return rows


@compiled
def add_cells(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    cell: NDArray[np.uint32],
    fast: int,
    inner: NDArray[np.bool_],
    sampled: bool,
    sums: NDArray[np.float64],
) -> None:
    """Add number, value and square of the good pixels to ``sums`` of their cells, float64, (cells, 3).

    If ``sampled``, the ``inner`` rows and one of `SAMPLED` others count; if not, all the rest.
    """
    for row in range(len(inner)):
        if (inner[row] or row % SAMPLED == 0) != sampled:
            continue
        for i in range(row * fast, row * fast + fast):
            if mask[i] == GOOD:
                c, v = cell[i], np.float64(image[i])
                sums[c, 0] += 1.0
                sums[c, 1] += v
                sums[c, 2] += v * v


@compiled
def information(sums: NDArray[np.float64]) -> float:
    """Return the mean over pixels of (level / noise)**2, which is the counts of a pixel where counts alone decide."""
    rings = sums.shape[1]
    n, m, variance = np.zeros((GROUPS, rings)), np.zeros((GROUPS, rings)), np.zeros((rings, 2))
    _groups(sums, n, m, variance)
    total, pixels = 0.0, 0.0
    for g in range(GROUPS):
        for r in range(rings):
            pixels += n[g, r]
            if variance[r, 0] > 0:
                total += n[g, r] * m[g, r] * m[g, r] / variance[r, 0]
    return total / max(pixels, 1.0)


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
def fit_rings(sums: NDArray[np.float64], coefficients: NDArray[np.float64], variance: NDArray[np.float64]) -> None:
    """Fit the harmonics to every ring, robustly; ``sums`` is (sectors, rings, 3).

    ``coefficients`` (rings, terms) are in counts; ``variance`` (rings, 2) gets that of a pixel about its ring and the
    relative one of groups of sectors beyond it (texture that the harmonics do not describe).
    """
    rings = sums.shape[1]
    shape = (GROUPS, rings)
    n, m, z, pooled = np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape)
    _groups(sums, n, m, variance)
    waves, damp = np.empty((GROUPS, WAVES)), np.empty(HARMONICS + 1)
    own, near = np.empty(rings), np.empty(rings)
    _waves(waves, damp)
    weight, value, level = n.copy(), np.empty(shape), np.empty(rings)
    normal, right = np.empty((WAVES, rings)), np.empty((TERMS, rings))
    fit, e, inverse = np.empty((TERMS, rings)), np.empty(rings), np.zeros(rings)
    for r in range(rings):
        inverse[r] = 1 / variance[r, 0] if variance[r, 0] > 0 else 0.0
    a, b = np.empty((TERMS, TERMS)), np.empty(TERMS)
    few = np.empty(GROUPS)
    for again in range(FITS):
        for g in range(GROUPS):  # rows are sliced here and below, so that the compiler vectorizes the loops over rings
            product, one, other = value[g], weight[g], m[g]
            for r in range(rings):
                product[r] = one[r] * other[r]
        _moments(weight, waves, normal)
        _moments(value, waves, right)
        fit[:] = 0.0
        for r in range(rings):
            if not normal[0, r] > 0:
                continue
            _set_normal(normal[:, r], damp, a)
            level[r] = abs(right[0, r] / normal[0, r])
            for k in range(TERMS):
                b[k] = damp[(k + 1) // 2] * right[k, r]
                if k > 0:
                    size = (0.5 if k < 5 else 0.2) * level[r]
                    a[k, k] += (1e-6 if k < 3 else (STIFF / (r + 1.0)) ** 2) * normal[0, r] + (
                        variance[r, 0] / (size * size) if level[r] > 0 else normal[0, r]
                    )
            _solve(a, b)
            for k in range(TERMS):
                fit[k, r] = b[k]
        for g in range(GROUPS):
            flat = fit[0]
            for r in range(rings):
                e[r] = flat[r]
            for k in range(1, TERMS):
                wave, part = damp[(k + 1) // 2] * waves[g, k], fit[k]
                for r in range(rings):
                    e[r] += wave * part[r]
            off, mean, many = z[g], m[g], n[g]
            for r in range(rings):
                off[r] = (mean[r] - e[r]) * np.sqrt(many[r] * inverse[r])
        if again == FITS - 1:
            break
        _pool(z, n, pooled)
        for r in range(rings):
            own[r], near[r] = 3 * _spread(z[:, r], n[:, r], few), 3 * _spread(pooled[:, r], n[:, r], few)
        for g in range(GROUPS):
            out, off, others, many = weight[g], z[g], pooled[g], n[g]
            for r in range(rings):
                u, q = off[r] / own[r], others[r] / near[r]
                out[r] = many[r] / ((1 + u * u) * (1 + u * u) * (1 + q * q) * (1 + q * q))
    for r in range(rings):
        spread, ring, total = _spread(z[:, r], n[:, r], few), fit[0, r], 0.0
        for g in range(GROUPS):
            total += n[g, r]
        for k in range(TERMS):
            coefficients[r, k] = fit[k, r]
        excess = (spread * spread - 1) * variance[r, 0] / max(total / GROUPS, 1.0)
        variance[r, 1] = excess / (ring * ring) if spread > 1.3 and ring > 0 else 0.0


@compiled
def _groups(
    sums: NDArray[np.float64], n: NDArray[np.float64], m: NDArray[np.float64], variance: NDArray[np.float64]
) -> None:
    """Set number and mean of the pixels of each group (groups, rings), and the variance of a pixel about its sector."""
    rings, many = sums.shape[1], SECTORS // GROUPS
    within, free = np.zeros(rings), np.zeros(rings)
    for s in range(SECTORS):
        for r in range(rings):
            count, total = sums[s, r, 0], sums[s, r, 1]
            if count > 0:
                n[s // many, r] += count
                m[s // many, r] += total
                within[r] += sums[s, r, 2] - total * total / count
                free[r] += count - 1
    for r in range(rings):
        variance[r, 0] = max(within[r], 0.0) / free[r] if free[r] > 0 else 0.0
    for g in range(GROUPS):
        for r in range(rings):
            m[g, r] /= max(n[g, r], 1.0)


@compiled
def _waves(waves: NDArray[np.float64], damp: NDArray[np.float64]) -> None:
    """Set ``waves`` to 1, cos chi, sin chi, cos 2 chi .. in the middle of each group, ``damp`` to their mean over it.

    The mean of cos(k chi) over a group is ``damp[k]`` times that in its middle.
    """
    many = SECTORS // GROUPS
    for g in range(GROUPS):
        chi = (g + 0.5) / GROUPS * 2 * np.pi
        waves[g, 0] = 1.0
        for k in range(1, WAVES // 2 + 1):
            waves[g, 2 * k - 1], waves[g, 2 * k] = np.cos(k * chi), np.sin(k * chi)
    for k in range(HARMONICS + 1):
        damp[k] = 0.0
        for s in range(many):
            damp[k] += np.cos(k * (s - (many - 1) / 2) / SECTORS * 2 * np.pi) / many


@compiled
def _moments(values: NDArray[np.float64], waves: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Set ``out`` (waves, rings) to the sums of values (groups, rings) times waves."""
    out[:] = 0.0
    rings = out.shape[1]
    for start in range(0, rings, 128):  # so many stay in the first-level cache
        stop = min(start + 128, rings)
        for g in range(GROUPS):
            part = values[g, start:stop]
            for k in range(out.shape[0]):
                wave, total = waves[g, k], out[k, start:stop]
                for r in range(len(part)):
                    total[r] += wave * part[r]


@compiled
def _set_normal(moments: NDArray[np.float64], damp: NDArray[np.float64], a: NDArray[np.float64]) -> None:
    """Set the lower half of the matrix of the normal equations from the moments of the weights.

    The product of two waves is half the sum or difference of two waves, so a moment for each wave is enough.
    """
    for i in range(TERMS):
        k, sine = (i + 1) // 2, i > 0 and i % 2 == 0
        for j in range(i + 1):
            p, sine_too = (j + 1) // 2, j > 0 and j % 2 == 0
            up, down = k + p, k - p  # down >= 0, because j <= i
            if sine == sine_too:
                low = moments[2 * down - 1] if down > 0 else moments[0]
                high = moments[2 * up - 1] if up > 0 else moments[0]
                product = (low - high) / 2 if sine else (low + high) / 2
            else:
                low = moments[2 * down] if down > 0 else 0.0
                product = (moments[2 * up] + low) / 2 if sine else (moments[2 * up] - low) / 2
            a[i, j] = damp[k] * damp[p] * product


@compiled
def _pool(z: NDArray[np.float64], n: NDArray[np.float64], pooled: NDArray[np.float64]) -> None:
    """Set ``pooled`` to the sum of z over the rings within `POOLED`, over the root of their number."""
    rings = z.shape[1]
    for g in range(GROUPS):
        total, many = 0.0, 0
        for r in range(-POOLED, rings):
            if r + POOLED < rings and n[g, r + POOLED] > 0:
                total += min(max(z[g, r + POOLED], -5.0), 5.0)
                many += 1
            gone = r - POOLED - 1
            if gone >= 0 and n[g, gone] > 0:
                total -= min(max(z[g, gone], -5.0), 5.0)
                many -= 1
            if r >= 0:
                pooled[g, r] = total / np.sqrt(max(many, 1))


@compiled
def _spread(z: NDArray[np.float64], n: NDArray[np.float64], size: NDArray[np.float64]) -> float:
    """Return the standard deviation of z from its median distance to 0, at least 1; ``size`` is scratch."""
    many = 0
    for g in range(GROUPS):
        if n[g] > 0:
            size[many] = abs(z[g])
            many += 1
    if many <= 2:
        return 1.0
    low, high = np.inf, np.inf  # the smallest values that so many are not above: counting takes less time than sorting
    for i in range(many):
        below = 0
        for j in range(many):
            below += int(size[j] <= size[i])
        if below > (many - 1) // 2:
            low = min(low, size[i])
        if below > many // 2:
            high = min(high, size[i])
    return max(1.0, 1.4826 * (low + high) / 2)


def add_grain(total: NDArray[np.float64], coefficients: NDArray[np.float64], variance: NDArray[np.float64]) -> float:
    """Add to a ring's variance what it has beyond counts, for as many pixels as vary together.

    Spots and steep flanks vary over several pixels, counts do not. What counts alone have, over their level, is that of
    the middle ring, which is returned; 1 if there are too few rings to tell. ``total``: number of pixels of each ring.
    """
    level, spread = coefficients[:, 0], variance[:, 0]
    clear = (spread > 0) & (level * level * total > 200 * spread)
    if np.count_nonzero(clear) < 8:
        return 1.0
    gain = float(np.quantile(spread[clear] / level[clear], 0.2))
    lit = (level > 0) & (total > 0)
    e, n = level[lit], total[lit]
    usual = gain * e * (1 + 3 * np.sqrt((2 + gain / e) / n))
    spread[lit] += TOGETHER * np.maximum(spread[lit] - usual, 0)
    return gain


@compiled
def tabulate(coefficients: NDArray[np.float64], variance: NDArray[np.float64], table: NDArray[np.float32]) -> None:
    """Set ``table`` (sectors, rings, 2) to the weights e / v and e**2 / v of a pixel, e being the expected level."""
    design, terms, level = _design(), coefficients.T.copy(), np.empty(len(coefficients))
    for s in range(SECTORS):
        level[:] = 0.0
        for k in range(TERMS):
            wave, term = design[s, k], terms[k]
            for r in range(len(level)):
                level[r] += wave * term[r]
        out, least = table[s], terms[0]
        for r in range(len(level)):
            e = max(level[r], 0.1 * least[r])
            v = variance[r, 0] + 8 * variance[r, 1] * e * e
            good = e > 0 and v > 0
            out[r, 0] = e / v if good else 0.0
            out[r, 1] = e * e / v if good else 0.0


@compiled
def ring_totals(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return number and sum of the pixels of every ring, (rings, 2), from ``sums`` (sectors, rings, 3)."""
    totals = np.zeros((sums.shape[1], 2))
    for s in range(SECTORS):
        part = sums[s]
        for r in range(len(totals)):
            totals[r, 0] += part[r, 0]
            totals[r, 1] += part[r, 1]
    return totals


@compiled
def centre(
    totals: NDArray[np.float64], coefficients: NDArray[np.float64], variance: NDArray[np.float64], gain: float
) -> int:
    """Give the rings in a beamstop's shadow, which have no lit pixel to tell, the level of those outside.

    Rings below k may be dark where each quarter of the k rings from k + k / 4 + 2 on is more than three times as bright
    as they are, and by five standard deviations. Of these k the largest is taken whose contrast is at least half of the
    best. The level is that of the darkest quarter; rings below k + k / 4 + 2 that have most of it keep theirs.
    ``totals`` is what `ring_totals` returned before any region was found.
    Returns how many rings were looked at, 0 where nothing is dark.
    """
    rings = len(totals)
    n, s, v = np.zeros(rings + 1), np.zeros(rings + 1), np.zeros(rings + 1)
    for r in range(rings):
        a, b = totals[r]
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
