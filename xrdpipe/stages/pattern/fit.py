"""Fits of single peaks: a Gaussian or pseudo-Voigt on a straight line, by weighted least squares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SHAPES = ("pseudo_voigt", "gaussian")
GAUSS = 4 * math.log(2)
SOLVER: Any = {"x_scale": "jac", "ftol": 1e-10, "xtol": 1e-10, "gtol": 1e-10}
SIGNIFICANT = 5.0  # standard deviations that a found peak stands out at least
HALF_REGION = 2.5  # half width of the region of a found peak, in its full widths at half maximum


class Peak(NamedTuple):
    """A fitted peak; an error is a standard error, NaN where there is none.

    Attributes
    ----------
    position, fwhm, area
        In the unit of the axis, the same, and intensity times that unit.
    eta
        Share of the Lorentzian, 0 to 1.
    level
        Value of the line at ``position``.
    reduced_chi2
        Squared residuals over sigma, per degree of freedom; NaN without sigma.
    fit
        "ok", or why there is no peak; the numbers are then NaN.
    """

    position: float = math.nan
    position_error: float = math.nan
    fwhm: float = math.nan
    fwhm_error: float = math.nan
    area: float = math.nan
    area_error: float = math.nan
    eta: float = math.nan
    eta_error: float = math.nan
    level: float = math.nan
    reduced_chi2: float = math.nan
    fit: str = "ok"


def profile(values: Sequence[float] | Floats, x: Floats) -> tuple[Floats, Floats]:
    """Return a pseudo-Voigt of unit shape on a line, and its derivatives.

    Parameters
    ----------
    values
        Position, full width at half maximum, area, eta, level and slope of the line.
    x
        Places, (points,).

    Returns
    -------
    ndarray
        Intensity, (points,).
    ndarray
        Derivatives by the parameters, (points, 6).
    """
    position, fwhm, area, eta, level, slope = values
    u = (x - position) / fwhm
    gauss = math.sqrt(GAUSS / math.pi) / fwhm * np.exp(-GAUSS * u**2)
    lorentz = 2 / (math.pi * fwhm) / (1 + 4 * u**2)
    shape = (1 - eta) * gauss + eta * lorentz
    by_u = (1 - eta) * gauss * (-2 * GAUSS * u) + eta * lorentz * (-8 * u / (1 + 4 * u**2))
    columns = [
        -area * by_u / fwhm,
        -area * (shape + u * by_u) / fwhm,
        shape,
        area * (lorentz - gauss),
        np.ones_like(x),
        x,
    ]
    return area * shape + level + slope * x, np.stack(columns, axis=1)


def fit_peak(
    radial: Floats, intensity: Floats, sigma: Floats | None, shape: str = SHAPES[0], correlation: Any = None
) -> Peak:
    """Fit one peak on a straight line.

    Parameters
    ----------
    radial, intensity, sigma
        The bins of a region, (bins,). Bins that are not finite do not count. With ``sigma`` the residuals are weighted
        with it, and the errors follow from it; without, from the scatter of the residuals.
    shape
        One of `SHAPES`.
    correlation
        Correlation of the bins, a sparse CSR matrix, (bins, bins); None for independent bins. It changes errors and
        reduced chi square alone: the weights are those of independent bins.
    """
    good = np.isfinite(intensity) if sigma is None else np.isfinite(intensity) & (sigma > 0)
    free = [0, 1, 2, 3, 4, 5] if shape == "pseudo_voigt" else [0, 1, 2, 4, 5]
    if good.sum() <= len(free):
        return Peak(fit=f"{good.sum()} bins, more than {len(free)} needed")
    x, y = radial[good], intensity[good]
    centre, half = (x[-1] + x[0]) / 2, (x[-1] - x[0]) / 2
    size = float(np.ptp(y)) or 1.0
    t, y, noise = (x - centre) / half, y / size, np.ones(y.size) if sigma is None else sigma[good] / size
    narrowest = float(np.diff(t).min()) / 2
    result, found = _solve(t, y, noise, _start(t, y, shape), free, narrowest)
    if reason := _doubt(result.status, found, narrowest):
        return Peak(fit=reason)
    shared = None if correlation is None else correlation[good][:, good]
    errors, chi2 = _errors(result, free, sigma is not None, shared)
    scales = np.array([half, half, half * size, 1.0])
    (position, fwhm, area, eta), wide = found[:4] * scales, errors[:4] * scales
    level = (found[4] + found[5] * found[0]) * size
    if shape == "gaussian":
        eta = math.nan
    return Peak(position + centre, wide[0], fwhm, wide[1], area, wide[2], eta, wide[3], level, chi2)


def _solve(
    t: Floats, y: Floats, noise: Floats, values: Floats, free: list[int], narrowest: float
) -> tuple[Any, Floats]:
    """Return the result of scipy's least squares for the ``free`` parameters, and all parameters of `profile`."""
    from scipy.optimize import least_squares

    low = np.array([-1, narrowest, -np.inf, 0, -np.inf, -np.inf])
    high = np.array([1, 4, np.inf, 1, np.inf, np.inf])
    values = np.clip(values, low + 1e-9, high - 1e-9)

    def full(some: Floats) -> Floats:
        every = values.copy()
        every[free] = some
        return every

    result = least_squares(
        lambda some: (profile(full(some), t)[0] - y) / noise,
        values[free],
        lambda some: profile(full(some), t)[1][:, free] / noise[:, np.newaxis],
        bounds=(low[free], high[free]),
        **SOLVER,
    )
    return result, full(result.x)


def _start(t: Floats, y: Floats, shape: str) -> Floats:
    """Return values to begin with: a line through the ends, and the highest point above it."""
    few = max(1, t.size // 8)
    left, right = float(np.median(y[:few])), float(np.median(y[-few:]))
    slope = (right - left) / (t[-few:].mean() - t[:few].mean())
    level = left - slope * t[:few].mean()
    above = y - level - slope * t
    top = int(np.argmax(above))
    height = float(above[top])
    step = 2.0 / (t.size - 1)
    fwhm = max(float((above > height / 2).sum()) * step, 2 * step)
    eta = 0.5 if shape == "pseudo_voigt" else 0.0
    return np.array([t[top], fwhm, height * fwhm * 1.2, eta, level, slope])


def _doubt(status: int, found: Floats, narrowest: float) -> str:
    """Return why a fit is not of a peak in the region; empty if it is."""
    position, fwhm, area = found[:3]
    if status <= 0:
        return "not converged"
    if not area > 0:
        return "no peak"
    if abs(position) > 1 - 1e-6:
        return "position at the edge of the region"
    if fwhm > 2:
        return "wider than the region"
    return "narrower than a bin" if fwhm < 2 * narrowest else ""


def _errors(result: Any, free: list[int], absolute: bool, correlation: Any) -> tuple[Floats, float]:
    """Return standard errors, NaN for parameters that are fixed or at a limit, and the reduced chi square.

    With the pseudoinverse P of the weighted derivatives and the correlation R of the residuals, the covariance of the
    parameters is P R P', and of n residuals n - tr(U' R U) are free, U being the space of the derivatives. Without
    correlation these are the inverse of the normal matrix, and n minus the number of parameters.
    """
    moved = np.flatnonzero(np.asarray(result.active_mask) == 0)
    space, singular, rows = np.linalg.svd(np.asarray(result.jac)[:, moved], full_matrices=False)
    keep = singular > np.finfo(float).eps * len(space) * singular[0]
    space, inverse = space[:, keep], (rows[keep] / singular[keep, np.newaxis]).T
    together = space.T @ (space if correlation is None else correlation @ space)
    variance = ((inverse @ together) * inverse).sum(axis=1)
    chi2 = 2 * float(result.cost) / max(len(space) - float(np.trace(together)), 1)
    errors = np.full(6, np.nan)
    errors[np.array(free)[moved]] = np.sqrt(variance if absolute else variance * chi2)
    return errors, chi2 if absolute else math.nan


def find_regions(radial: Floats, intensity: Floats, sigma: Floats | None, number: int) -> list[list[float]]:
    """Return the regions of the most prominent peaks, in the order of the axis.

    A peak stands out by 5 standard deviations at least. Its region reaches 2.5 full widths at half maximum to both
    sides, but not beyond the middle between it and the next one.

    Parameters
    ----------
    radial, intensity, sigma
        The pattern, (npt,).
    number
        Largest number of peaks.
    """
    from scipy.signal import find_peaks, peak_widths

    good = np.isfinite(intensity)
    if good.sum() < 3:
        return []
    x, y = radial[good], intensity[good]
    noise = sigma[good] if sigma is not None else np.full(y.size, 1.4826 * np.median(np.abs(np.diff(y))) / math.sqrt(2))
    tops, about = find_peaks(y, prominence=SIGNIFICANT * noise, width=1)
    best = np.sort(tops[np.argsort(-about["prominences"], kind="stable")[:number]])
    left, right = peak_widths(y, best, rel_height=0.5)[2:]
    places = np.arange(x.size)
    widths = np.interp(right, places, x) - np.interp(left, places, x)
    middle = (x[best][1:] + x[best][:-1]) / 2
    first = np.maximum(x[best] - HALF_REGION * widths, np.concatenate([x[:1], middle]))
    last = np.minimum(x[best] + HALF_REGION * widths, np.concatenate([middle, x[-1:]]))
    return [[float(a), float(b)] for a, b in zip(first, last, strict=True)]
