"""Absorption by plane layers: the sensor of a detector, and a sample that is a plate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LEAST = 1e-9  # below this factor nothing arrives


def tilted(tilt: float, rotation: float) -> Floats:
    """Return the beam direction turned by ``tilt`` (rad) towards the azimuth ``rotation`` (rad), (3,)."""
    return np.array([np.cos(tilt), np.sin(tilt) * np.cos(rotation), np.sin(tilt) * np.sin(rotation)])


def sensor_absorption(cos_incidence: Floats, mu_t: float) -> Floats:
    """Return the share of the photons that a layer absorbs over that of a ray along its normal.

    Parameters
    ----------
    cos_incidence
        Cosine of the angle between ray and normal.
    mu_t
        Linear absorption coefficient times thickness.

    Returns
    -------
    ndarray
        ``(1 - exp(-mu_t / cos)) / (1 - exp(-mu_t))``, at least 1; Zaleski, Wu & Coppens, J. Appl. Cryst. 31 (1998),
        302-304, and Wu et al., J. Appl. Cryst. 35 (2002), 356-359, as in pyFAI's ``calc_transmission``.
    """
    return np.asarray(np.expm1(-mu_t / cos_incidence) / np.expm1(-mu_t))


def plate_transmission(direction: Floats, mu_t: float, normal: Floats) -> Floats:
    """Return the mean transmission of the paths through a plate that the beam does not overfill.

    Parameters
    ----------
    direction
        Unit vectors of the rays, (3, ...).
    mu_t
        Linear absorption coefficient times thickness.
    normal
        Unit normal of the plate, (3,), on the side to which the beam leaves.

    Returns
    -------
    ndarray
        With ``a = mu_t / cos(incident)`` and ``b = mu_t / abs(cos(scattered))`` the mean over the depth:
        ``(exp(-a) - exp(-b)) / (b - a)`` for rays that leave on the far side (transmission),
        ``(1 - exp(-(a + b))) / (a + b)`` on the near side (reflection); 0 along the plate. Maslen, International Tables
        for Crystallography C (2006), section 6.3.3, whose table 6.3.3.1 has these times ``t / cos(incident)``, the path
        of the beam in the plate.
    """
    cosine = np.tensordot(normal, direction, axes=1)
    a = mu_t / normal[0]
    with np.errstate(divide="ignore"):
        b = mu_t / np.abs(cosine)
    through = np.exp(-np.minimum(a, b)) * _mean_decay(np.abs(b - a))
    return np.asarray(np.where(cosine > 0, through, _mean_decay(a + b)))


def _mean_decay(x: Floats) -> Floats:
    """Return the mean of exp(-t) for t from 0 to x."""
    positive = np.maximum(x, 1e-300)  # the limit at 0 is 1
    return np.asarray(-np.expm1(-positive) / positive)


def arriving(factor: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a factor, NaN where no ray arrives."""
    return np.where(np.isfinite(factor) & (factor > LEAST), factor, np.float32(np.nan))
