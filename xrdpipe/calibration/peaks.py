"""The peak of one ring: its mean profile, and its shift in sectors of the ring."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..numerics.compiled import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

STEP = 0.5  # pixels of a bin of the mean profile
NARROWEST = 0.4  # pixels, standard deviation of a peak
SEEN = 3.0  # standard deviations by which the top of the mean profile rises
ROUNDS = 3  # of the fit in sectors
BANDS = 9  # of distances, one standard deviation wide, whose scatter is known


@dataclass(frozen=True)
class Profile:
    """Mean profile of a ring: position and standard deviation of its peak, pixels, and its height in counts."""

    centre: float
    width: float
    height: float


@dataclass(frozen=True)
class SectorFits:
    """Fits of the peak of a ring in sectors.

    Attributes
    ----------
    shifts, errors
        Shift of the peak and its standard deviation, pixels, (sectors,).
    heights
        Of the peak, counts, (sectors,); where the counts say little, near the mean of the ring.
    clear
        Typical height over its error.
    total
        Mean height over its error.
    """

    shifts: Floats
    errors: Floats
    heights: Floats
    clear: float
    total: float


def mean_profile(distance: Floats, value: Floats) -> Profile | None:
    """Return the peak of the mean profile; None without one.

    Parameters
    ----------
    distance
        Of pixels from where the ring should be, pixels, (n,).
    value
        Counts, (n,).
    """
    reach = np.abs(distance).max()
    number = max(int(2 * reach / STEP), 3)
    place = np.minimum(((distance + reach) / (2 * reach) * number).astype(np.intp), number - 1)
    counts = np.bincount(place, minlength=number)
    if (counts < 3).any():
        return None
    mean = np.bincount(place, value, number) / counts
    error = np.sqrt(np.maximum(np.bincount(place, value**2, number) / counts - mean**2, 1e-9) / counts)
    x = (np.arange(number) + 0.5) / number * 2 * reach - reach
    edge = max(number // 6, 1)
    base = np.interp(x, [x[:edge].mean(), x[-edge:].mean()], [mean[:edge].mean(), mean[-edge:].mean()])
    net = mean - base
    top = int(np.argmax(np.convolve(net, np.ones(3) / 3, mode="same")))
    if net[top] < SEEN * error[top]:
        return None
    above = net > net[top] / 2
    low, high = top, top
    while low > 0 and above[low - 1]:
        low -= 1
    while high < number - 1 and above[high + 1]:
        high += 1
    start = (base.mean(), 0.0, float(net[top]), float(x[top]), max((high - low + 1) * STEP / 2.355, NARROWEST))
    return _gaussian(x, mean, error, start)


def _gaussian(x: Floats, mean: Floats, error: Floats, start: tuple[float, ...]) -> Profile | None:
    """Return the Gaussian on a line that fits a mean profile; None if there is none inside."""
    from scipy.optimize import least_squares

    def bell(values: Floats) -> tuple[Floats, Floats]:
        x_over_width = (x - values[3]) / values[4]
        return x_over_width, np.exp(-(x_over_width**2) / 2)

    def residuals(values: Floats) -> Floats:
        base, slant, height, _, _ = values
        return np.asarray((base + slant * x + height * bell(values)[1] - mean) / error)

    def jacobian(values: Floats) -> Floats:
        away, shape = bell(values)
        change = values[2] * shape * away / values[4]
        return np.stack([np.ones_like(x), x, shape, change, change * away], axis=1) / error[:, None]

    low, high = [-np.inf, -np.inf, 0.0, x[0], NARROWEST], [np.inf, np.inf, np.inf, x[-1], x[-1] - x[0]]
    fitted = least_squares(residuals, start, jacobian, (low, high), max_nfev=30)
    _, _, height, centre, width = fitted.x
    inside = x[0] < centre - width and centre + width < x[-1]
    return Profile(float(centre), float(width), float(height)) if inside else None


def fit_sectors(
    distance: Floats, value: Floats, counts: Floats, sector: Ints, width: float, scatter: float
) -> SectorFits:
    """Fit a line and a Gaussian to the counts in each sector.

    For small shifts the problem is linear, and its solution has a known error. The scatter of the residuals at each
    distance is that of the counts or larger, as grains make it.

    Parameters
    ----------
    distance
        Of pixels from the peak of the mean profile, pixels, (n,).
    value
        Counts without those of other rings, (n,).
    counts
        Counts, from which the variance follows, (n,).
    sector
        Number of the sector of each pixel, from 0, (n,).
    width
        Standard deviation of the peak, pixels.
    scatter
        Variance per count.
    """
    number = int(sector.max()) + 1
    shift, extra = np.zeros(number), np.ones(BANDS)
    for _ in range(ROUNDS):
        variance = scatter * np.maximum(_band_means(distance, counts, sector, shift, width), 0.05)
        matrix, right = _normal_equations(distance, value, sector, shift, width, variance * extra)
        solution, inverse, regular = _solve(matrix, right)
        pixels, squares = _misfit(distance, value, sector, shift, width, variance, solution)
        # both sides have the same weight: a peak that is no Gaussian then shifts to neither
        extra = np.maximum((squares + squares[::-1]) / np.maximum(pixels + pixels[::-1] - 8 * number / BANDS, 1), 1.0)
        height, error = solution[:, 2], np.sqrt(np.maximum(inverse[:, 2, 2], 1e-300))
        total, likely = _likely(height, error, regular)
        change = np.divide(solution[:, 3], likely, out=np.zeros(number), where=likely > 0) * width
        shift = np.clip(shift + np.clip(change, -width, width), -3 * width, 3 * width)
    wrong = ~regular | (likely <= 0)
    errors = np.divide(
        width * np.sqrt(np.maximum(inverse[:, 3, 3], 0)), likely, out=np.full(number, np.inf), where=~wrong
    )
    clear = float(np.median(np.where(regular, height / error, 0.0)))
    return SectorFits(shift, errors, np.where(wrong, 0.0, likely), clear, total)


@compiled
def _band(x: float) -> int:
    return min(max(int(x + BANDS / 2), 0), BANDS - 1)


@compiled
def _columns(distance: float, shift: float, width: float) -> tuple[float, float, float, float]:
    """Return a constant, a line, a Gaussian, and its change with a shift in widths."""
    x = (distance - shift) / width
    bell = np.exp(-(x**2) / 2)
    return 1.0, distance / width, bell, bell * x


@compiled
def _band_means(distance: Floats, counts: Floats, sector: Ints, shift: Floats, width: float) -> Floats:
    """Return the mean count of the pixels of each sector and band, (sectors, bands)."""
    sums, number = np.zeros((len(shift), BANDS)), np.zeros((len(shift), BANDS))
    for pixel in range(len(distance)):
        place, band = sector[pixel], _band((distance[pixel] - shift[sector[pixel]]) / width)
        sums[place, band] += abs(counts[pixel])
        number[place, band] += 1
    return sums / np.maximum(number, 1)


@compiled
def _normal_equations(
    distance: Floats, value: Floats, sector: Ints, shift: Floats, width: float, variance: Floats
) -> tuple[Floats, Floats]:
    """Return matrix (sectors, 4, 4) and right side (sectors, 4) of the fits; the variance is (sectors, bands)."""
    matrix, right = np.zeros((len(shift), 4, 4)), np.zeros((len(shift), 4))
    for pixel in range(len(distance)):
        place = sector[pixel]
        columns = _columns(distance[pixel], shift[place], width)
        weight = 1 / variance[place, _band((distance[pixel] - shift[place]) / width)]
        for i in range(4):
            right[place, i] += weight * columns[i] * value[pixel]
            for j in range(4):
                matrix[place, i, j] += weight * columns[i] * columns[j]
    return matrix, right


@compiled
def _misfit(
    distance: Floats, value: Floats, sector: Ints, shift: Floats, width: float, variance: Floats, solution: Floats
) -> tuple[Floats, Floats]:
    """Return the number of pixels of each band, and the sum of their squared residuals over their variance."""
    number, squares = np.zeros(BANDS), np.zeros(BANDS)
    for pixel in range(len(distance)):
        place, band = sector[pixel], _band((distance[pixel] - shift[sector[pixel]]) / width)
        columns = _columns(distance[pixel], shift[place], width)
        residual = value[pixel]
        for i in range(4):
            residual -= columns[i] * solution[place, i]
        number[band] += 1
        squares[band] += residual**2 / variance[place, band]
    return number, squares


def _solve(matrix: Floats, right: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return solution (sectors, 4), its covariance (sectors, 4, 4), and whether there is one."""
    scale = np.maximum(np.trace(matrix, axis1=1, axis2=2), 1e-12)
    regular = np.linalg.cond(matrix) < 1e8
    matrix[~regular] = np.eye(4) * scale[~regular, None, None]
    inverse = np.linalg.inv(matrix)
    return np.einsum("nij,nj->ni", inverse, right), np.asarray(inverse), np.asarray(regular)


def _likely(height: Floats, error: Floats, regular: NDArray[np.bool_]) -> tuple[float, Floats]:
    """Return the mean height over its error, and the heights, drawn to their mean where the counts say little.

    How much heights differ is estimated as by DerSimonian and Laird, Control. Clin. Trials 7, 177 (1986).
    """
    if not regular.any():
        return 0.0, np.zeros_like(height)
    weight = np.where(regular, error**-2, 0.0)
    total = weight.sum()
    mean = float((weight * height).sum() / total)
    excess = (weight * (height - mean) ** 2).sum() - (regular.sum() - 1)
    spread = max(float(excess / max(total - (weight**2).sum() / total, 1e-300)), 0.0)
    pull = error**2 / (error**2 + spread)
    return mean * float(np.sqrt(total)), height + pull * (mean - height)
