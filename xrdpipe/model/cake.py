"""Pattern of one frame over radial and azimuthal angle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .pattern import axis_text, picture, sigma_text


@dataclass(frozen=True)
class Cake:
    """Intensity of one frame over radial and azimuthal angle.

    Attributes
    ----------
    radial
        Centres of the radial bins in ``unit``, float64, shape (npt,).
    azimuthal
        Centres of the azimuthal bins in degrees, float64, shape (npt_azim,).
    intensity
        Counts per pixel, float64, shape (npt_azim, npt). Cells without a pixel are NaN.
    sigma
        Standard error of ``intensity``, same shape, or None without an error model.
    unit
        Radial unit, as pyFAI names it (``q_A^-1``).
    label
        Axis label in words.
    method
        pyFAI method that computed the cake.
    """

    radial: NDArray[np.float64]
    azimuthal: NDArray[np.float64]
    intensity: NDArray[np.float64]
    sigma: NDArray[np.float64] | None
    unit: str
    label: str = ""
    method: str = ""

    def __repr__(self) -> str:
        return f"<Cake: {len(self.azimuthal)} azimuths of {axis_text(self)}, {sigma_text(self)}>"

    def _repr_png_(self) -> bytes | None:
        return picture(self)
