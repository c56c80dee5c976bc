"""Directions of the scattered rays, and the angles at which they meet the detector."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .geometry import Geometry

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rays:
    """The ray from the sample to the centre of every pixel, for flat and other detectors, tilted or not.

    Attributes
    ----------
    direction
        Unit vectors, float64, (3, slow, fast): along the beam; at azimuth 0 (pyFAI's axis 2, horizontal); at azimuth 90
        degrees (pyFAI's axis 1, vertical). That is ``(cos 2theta, sin 2theta cos chi, sin 2theta sin chi)``.
    cos_incidence
        Cosine of the angle between the ray and the normal of the detector, float64, (slow, fast).
    """

    direction: Floats
    cos_incidence: Floats

    @classmethod
    def of(cls, geometry: Geometry) -> Rays:
        """Return the rays of a geometry."""
        integrator: Any = geometry.integrator
        position = np.moveaxis(np.asarray(integrator.position_array(geometry.shape, dtype=np.float64)), -1, 0)
        direction = position[[0, 2, 1]]
        direction /= np.sqrt((direction * direction).sum(axis=0))
        incidence = integrator.cos_incidence(*np.indices(geometry.shape, np.float64))
        return cls(direction, np.abs(np.asarray(incidence, np.float64)))

    @cached_property
    def two_theta(self) -> Floats:
        """Scattering angle, rad, (slow, fast)."""
        return np.asarray(np.arctan2(np.hypot(self.direction[1], self.direction[2]), self.direction[0]))

    @cached_property
    def chi(self) -> Floats:
        """Azimuth as pyFAI has it, rad, from -pi to pi, (slow, fast)."""
        return np.asarray(np.arctan2(self.direction[2], self.direction[1]))
