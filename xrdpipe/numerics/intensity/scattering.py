"""Polarization and Lorentz factor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def polarization(two_theta: Floats, chi: Floats, factor: float, offset: float = 0.0) -> Floats:
    """Return the polarization factor, as pyFAI's ``polarization(factor=..., axis_offset=...)`` does.

    Parameters
    ----------
    two_theta, chi
        Scattering angle and azimuth, rad.
    factor
        ``(I_h - I_v) / (I_h + I_v)`` of the beam, from -1 (vertical) to 1 (horizontal).
    offset
        Added to the azimuth, rad: the plane of a horizontally polarized beam is at azimuth ``-offset``.

    Returns
    -------
    ndarray
        ``(1 + cos(2theta)**2 - factor * cos(2 (chi + offset)) * sin(2theta)**2) / 2``, after Kahn et al., J. Appl.
        Cryst. 15 (1982), 330.
    """
    cos2 = np.cos(two_theta) ** 2
    return np.asarray((1 + cos2 - factor * np.cos(2 * (chi + offset)) * (1 - cos2)) / 2)


def lorentz(two_theta: Floats) -> Floats:
    """Return the Lorentz factor of a powder, for the mean intensity of the pixels of a ring.

    Parameters
    ----------
    two_theta
        Scattering angle, rad.

    Returns
    -------
    ndarray
        ``1 / (4 sin(theta)**2 cos(theta))``, infinite at 0: equation 6.2.5.3, without polarization and multiplicity, of
        Lipson, Langford & Hu, International Tables for Crystallography C (2006).
    """
    theta = two_theta / 2
    with np.errstate(divide="ignore"):
        return np.asarray(1 / (4 * np.sin(theta) ** 2 * np.cos(theta)))
