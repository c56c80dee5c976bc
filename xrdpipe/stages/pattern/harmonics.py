"""Harmonics of a peak over the azimuth: strength of the texture, shape of the ring, and strain by sin² psi.

Azimuths are those of the integration. The load axis is perpendicular to the beam, at the azimuth ``axis``. Psi is the
angle between the scattering vector and the plane perpendicular to this axis. At the azimuth chi of a ring the
scattering vector has the direction (cos theta cos chi, cos theta sin chi, -sin theta), the third component along the
beam, so sin psi = cos theta cos(chi - axis).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .fit import Peak
from .rebin import convert

Floats = NDArray[np.float64]
QUANTITIES = ("area", "position")
SMALLEST = 1e-6  # of the largest singular value: below, the azimuths do not tell the harmonics apart
CHARACTER = ("texture", "texture_azimuth", "ellipticity", "ellipticity_azimuth")
STRAIN = ("d_perpendicular", "strain")


class LinearFit(NamedTuple):
    """Parameters of a linear least-squares fit, (parameters,), their covariance, and the reduced chi square.

    Where the values scatter by more than their errors, the covariance follows from the scatter.
    """

    values: Floats
    covariance: Floats
    reduced_chi2: float


class Sectors(NamedTuple):
    """One peak in several sectors: first and last azimuth in radians, values and standard errors, (sectors,) each."""

    first: Floats
    last: Floats
    area: Floats
    area_error: Floats
    position: Floats
    position_error: Floats

    @classmethod
    def of(cls, ranges: Sequence[tuple[float, float]], peaks: Sequence[Peak]) -> Sectors:
        """Return the sectors in which the peak was fitted; ``ranges`` are in degrees."""
        rows = [
            (*limits, peak.area, peak.area_error, peak.position, peak.position_error)
            for limits, peak in zip(ranges, peaks, strict=True)
            if peak.fit == "ok" and peak.area_error > 0 and peak.position_error > 0
        ]
        columns = np.array(rows, float).reshape(-1, 6).T
        return cls(*np.radians(columns[:2]), *columns[2:])


def columns(order: int, strain: bool) -> tuple[str, ...]:
    """Return the names of the numbers of `describe`, each followed by its error where it has one."""
    terms = ["mean", *(f"{name}{n}" for n in range(1, order + 1) for name in ("cos", "sin"))]
    names = [f"{quantity}_{term}" for quantity in QUANTITIES for term in terms]
    names += [*CHARACTER, *(STRAIN if strain else ())]
    chi2 = [f"{name}_reduced_chi2" for name in (*QUANTITIES, *(["strain"] if strain else []))]
    return ("sectors", *(each for name in names for each in (name, f"{name}_error")), *chi2, "fit")


def describe(
    sectors: Sectors, order: int, axis: float | None = None, unit: str = "", wavelength: float | None = None
) -> dict[str, float | str]:
    """Fit harmonics to area and position of a peak, and derive texture, ellipticity and strain.

    Parameters
    ----------
    sectors
        The peak in the sectors.
    order
        Highest order of the harmonics, 2 or more.
    axis
        Azimuth of the load axis in degrees; None for no strain.
    unit
        Unit of the positions, one of `rebin.UNITS` where there is an axis.
    wavelength
        In m; needed where there is an axis.

    Returns
    -------
    dict
        Numbers by the names of `columns`, those that cannot be had missing. "sectors" is the number of sectors, "fit"
        is "ok" or says why there are no numbers.
    """
    count = len(sectors.first)
    about: dict[str, float | str] = {"sectors": count, "fit": "ok"}
    if count <= (needed := 2 * order + 1):
        return about | {"fit": f"peak in {count} sectors, more than {needed} needed"}
    design = harmonics(sectors.first, sectors.last, order)
    fits = {name: fit_linear(design, getattr(sectors, name), getattr(sectors, f"{name}_error")) for name in QUANTITIES}
    area, position = fits["area"], fits["position"]
    if area is None or position is None:
        return about | {"fit": "the azimuths of the sectors do not tell the harmonics apart"}
    terms = ["mean", *(f"{name}{n}" for n in range(1, order + 1) for name in ("cos", "sin"))]
    for name, fit in (("area", area), ("position", position)):
        errors = np.sqrt(np.diag(fit.covariance))
        for term, value, error in zip(terms, fit.values, errors, strict=True):
            about |= {f"{name}_{term}": float(value), f"{name}_{term}_error": float(error)}
        about[f"{name}_reduced_chi2"] = fit.reduced_chi2
    about.update(amplitude("texture", area) | amplitude("ellipticity", position))
    if axis is not None:
        about.update(strain(sectors, math.radians(axis), unit, wavelength))
    return about


def harmonics(first: Floats, last: Floats, order: int) -> Floats:
    """Return 1, cos(chi), sin(chi), ..., cos(order chi), sin(order chi), averaged over sectors: (sectors, terms).

    Over a sector of width w around c, cos(n chi) has the mean cos(n c) sin(n w / 2) / (n w / 2).
    """
    centre, width = (first + last) / 2, last - first
    terms = [np.ones_like(centre)]
    for n in range(1, order + 1):
        mean = np.sinc(n * width / (2 * math.pi))
        terms += [mean * np.cos(n * centre), mean * np.sin(n * centre)]
    return np.stack(terms, axis=1)


def fit_linear(design: Floats, values: Floats, errors: Floats) -> LinearFit | None:
    """Fit by least squares weighted with 1 / errors²; None where the rows do not determine the parameters.

    Parameters
    ----------
    design
        (rows, parameters).
    values, errors
        Values and their standard errors, (rows,).
    """
    weighted, target = design / errors[:, np.newaxis], values / errors
    left, singular, right = np.linalg.svd(weighted, full_matrices=False)
    if singular[-1] < SMALLEST * singular[0]:
        return None
    found = right.T @ ((left.T @ target) / singular)
    chi2 = float(((weighted @ found - target) ** 2).sum()) / (len(values) - len(found))
    # Grains, and pixels that are coarse against the bins, scatter areas and positions by more than counting does.
    covariance = (right.T / singular**2) @ right * max(chi2, 1.0)
    return LinearFit(found, covariance, chi2)


def amplitude(name: str, fit: LinearFit) -> dict[str, float]:
    """Return the amplitude of the second harmonic over the mean, and the azimuth of its maximum, -90 to 90 degrees.

    Errors follow from the covariance. That of the azimuth is at most 90 degrees.
    """
    mean, cosine, sine = fit.values[[0, 3, 4]]
    covariance = fit.covariance[np.ix_([0, 3, 4], [0, 3, 4])]
    size = math.hypot(cosine, sine)
    if not (size > 0 and mean > 0):
        return {}
    by_ratio = np.array([-size / mean, cosine / size, sine / size]) / mean
    by_angle = np.array([0.0, -sine, cosine]) / (2 * size**2)
    ratio_error, angle_error = (math.sqrt(by @ covariance @ by) for by in (by_ratio, by_angle))
    return {
        name: size / mean,
        f"{name}_error": ratio_error,
        f"{name}_azimuth": math.degrees(math.atan2(sine, cosine) / 2),
        f"{name}_azimuth_error": min(math.degrees(angle_error), 90.0),
    }


def strain(sectors: Sectors, axis: float, unit: str, wavelength: float | None) -> dict[str, float]:
    """Fit d = d_perpendicular (1 + strain sin² psi) + a cos(chi) + b sin(chi) to the lattice spacings of a ring.

    Where the strain is symmetric around the load axis, d is d0 (1 + e) perpendicular to it and d0 (1 + e') along it,
    and ``strain`` is (e' - e) / (1 + e). The terms a and b take up a centre that is off.

    Parameters
    ----------
    sectors
        The peak in the sectors.
    axis
        Azimuth of the load axis, radians.
    unit
        Unit of the positions, one of `rebin.UNITS`.
    wavelength
        In m.

    Returns
    -------
    dict
        Numbers by the names of `columns`; empty where the sectors do not determine them.
    """
    q = convert(sectors.position, unit, "q_A^-1", wavelength)
    theta = convert(sectors.position, unit, "2th_rad", wavelength) / 2
    relative = sectors.position_error / sectors.position
    if unit[0] == "2":
        relative = relative * theta / np.tan(theta)  # of q, that is of sin(theta)
    spacing = 2 * math.pi / q
    first_order = harmonics(sectors.first, sectors.last, 1)
    along = harmonics(sectors.first - axis, sectors.last - axis, 2)[:, 3]
    sin2_psi = np.cos(theta) ** 2 * (1 + along) / 2
    design = np.column_stack([first_order[:, 0], sin2_psi, first_order[:, 1:]])
    fit = fit_linear(design, spacing, spacing * relative)
    if fit is None:
        return {}
    base, slope = fit.values[:2]
    by_ratio = np.array([-slope / base, 1.0]) / base
    return {
        "d_perpendicular": float(base),
        "d_perpendicular_error": math.sqrt(fit.covariance[0, 0]),
        "strain": float(slope / base),
        "strain_error": math.sqrt(by_ratio @ fit.covariance[:2, :2] @ by_ratio),
        "strain_reduced_chi2": fit.reduced_chi2,
    }
