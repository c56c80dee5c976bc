"""The parameters of a geometry, with what is known about their errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .orientations import signs, turned

Floats = NDArray[np.float64]


def covariance(jacobian: Floats, residuals: Floats) -> Floats:
    """Return the covariance of parameters whose residuals are in units of their errors.

    Parameters
    ----------
    jacobian
        Derivatives of the residuals, (n, m); columns may have very different sizes.
    residuals
        Residuals, (n,); a scatter that is larger than their errors counts.
    """
    size = np.maximum(np.linalg.norm(jacobian, axis=0), 1e-300)
    scaled = jacobian / size
    inverse = np.linalg.pinv(scaled.T @ scaled) / np.outer(size, size)
    return np.asarray(inverse * max(float(np.mean(residuals**2)), 1.0))


@dataclass(frozen=True)
class Parameters:
    """Values of parameters, and the covariance of those that were refined.

    Attributes
    ----------
    values
        Parameters by their names in pyFAI, m and rad.
    free
        Names of the refined ones.
    covariance
        Of the refined ones, (m, m).
    """

    values: Mapping[str, float]
    free: tuple[str, ...]
    covariance: Floats

    @property
    def errors(self) -> dict[str, float]:
        """Standard deviations of the refined parameters."""
        return dict(zip(self.free, map(float, np.sqrt(np.maximum(np.diag(self.covariance), 0))), strict=True))

    @property
    def correlation(self) -> Floats:
        """Correlation of the refined parameters, (m, m)."""
        sigma = np.sqrt(np.maximum(np.diag(self.covariance), 1e-300))
        return np.asarray(self.covariance / np.outer(sigma, sigma))

    def correlated(self, least: float) -> list[tuple[str, str, float]]:
        """Return the pairs of parameters whose correlation is at least ``least``, up to its sign."""
        matrix = self.correlation
        pairs = zip(*np.triu_indices(len(self.free), 1), strict=True)
        return [
            (self.free[one], self.free[other], float(matrix[one, other]))
            for one, other in pairs
            if abs(matrix[one, other]) >= least
        ]

    def turned(self, orientation: int, shape: tuple[int, int], pixel: tuple[float, float]) -> Parameters:
        """Return the parameters in another orientation of the detector, see `orientations.turned`."""
        sign = signs(orientation)
        factors = np.array([sign.get(name, 1.0) for name in self.free])
        covariance = self.covariance * np.outer(factors, factors)
        return Parameters(turned(self.values, orientation, shape, pixel), self.free, covariance)
