"""One frame over radial and azimuthal angle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Cake:
    """One frame over radial and azimuthal angle.

    ``radial`` is in ``unit``, shape (npt,), ``azimuthal`` in degrees, shape (npt_azim,): the centres of the bins;
    ``intensity`` and ``sigma`` (None without an error model) have shape (npt_azim, npt) and mean what those of a
    `Pattern` do; all float64. Cells without a pixel are NaN.
    """

    radial: NDArray[np.float64]
    azimuthal: NDArray[np.float64]
    intensity: NDArray[np.float64]
    sigma: NDArray[np.float64] | None
    unit: str
    label: str = ""
    method: str = ""
