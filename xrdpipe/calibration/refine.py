"""Refinement of a geometry with control points, by pyFAI, and what the points say about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cone import Cone
from .control_points import ControlPoints, control_points

Floats = NDArray[np.float64]

ROUNDS = 4  # of measuring control points and refining with them
FLOOR = 0.03  # pixels: no control point is trusted more
FAR = 4.0  # standard deviations beyond which a control point is left out
NAMES = ("dist", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength")


@dataclass(frozen=True)
class Refined:
    """A refined geometry.

    Attributes
    ----------
    geometry
        pyFAI's GeometryRefinement.
    points
        The control points that were used.
    residuals
        Distance of each from its ring, pixels, (n,).
    free
        Names of the refined parameters.
    covariance
        Of the refined parameters, (m, m), from the scatter of the points.
    """

    geometry: Any
    points: ControlPoints
    residuals: Floats
    free: tuple[str, ...]
    covariance: Floats

    @property
    def rms(self) -> float:
        """Root mean square of the residuals, pixels."""
        return float(np.sqrt(np.mean(self.residuals**2)))


def to_fit2d(cone: Cone, pixel: tuple[float, float]) -> tuple[float, float, float, float, float]:
    """Return a cone as distance (mm), centre (fast, slow; pixels), tilt and direction of the tilt (degrees)."""
    return (
        1e3 * cone.length * pixel[0],
        cone.fast,
        cone.slow,
        float(np.rad2deg(cone.tilt)),
        float(np.rad2deg(np.arctan2(cone.tilt_slow, cone.tilt_fast))),
    )
