"""Drift: whether the geometry of a series stays the same, to the error of each frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cone import ring_shift
from .decision import SMALL
from .parameters import Parameters
from .refine import Refined, cone_of, geometry_at, refine_geometry
from .ridges import good_pixels, scatter_of
from .several import WORSE

Floats = NDArray[np.float64]

SAME = 0.7  # of the rings of the frame before that have to be measured again
RARE = 1e-3  # probability of so large a chi-square for a detector that does not move, from which on it moved


@dataclass(frozen=True)
class Constancy:
    """Whether parameters are the same in all frames.

    Attributes
    ----------
    mean
        Mean of the frames, weighted with the inverse of their covariances, (m,).
    chi2, dof
        Chi-square of the differences from the mean, and its degrees of freedom.
    probability
        Of so large a chi-square if nothing moves.
    """

    mean: Floats
    chi2: float
    dof: int
    probability: float

    @property
    def moved(self) -> bool:
        """True if the differences are larger than the errors explain."""
        return self.probability < RARE


def constancy(frames: Sequence[Parameters]) -> Constancy:
    """Compare the refined parameters of two or more frames with their weighted mean; errors and correlations count."""
    from scipy.stats import chi2

    free = frames[0].free
    values = np.array([[frame.values[name] for name in free] for frame in frames])
    scale = np.sqrt(np.mean([np.diag(frame.covariance) for frame in frames], axis=0))
    centre = values.mean(axis=0)
    inverses = np.array([np.linalg.pinv(frame.covariance / np.outer(scale, scale)) for frame in frames])
    offsets = (values - centre) / scale
    mean = np.linalg.solve(inverses.sum(axis=0), np.einsum("nij,nj->i", inverses, offsets))
    away = offsets - mean
    total = float(np.einsum("ni,nij,nj->", away, inverses, away))
    dof = (len(frames) - 1) * len(free)
    return Constancy(centre + mean * scale, total, dof, float(chi2.sf(total, dof)))


def follow_frame(
    image: NDArray[np.floating], bad: NDArray[np.bool_], before: Refined, calibrant: Any, fix: Sequence[str]
) -> Refined | None:
    """Refine the geometry of a frame from that of the frame before.

    Parameters
    ----------
    image
        Counts, (slow, fast).
    bad
        True for pixels without a value, (slow, fast).
    before
        What the frame before gave.
    calibrant
        Calibrant of pyFAI with its wavelength.
    fix
        Names of the parameters that stay.

    Returns
    -------
    Refined or None
        None unless the frame shows the same rings as the one before and determines the parameters as well, so that
        the frame has to be looked at without a start.
    """
    counts = np.asarray(image, np.float64)
    good = good_pixels(counts, bad)
    found = refine_geometry(counts, good, before.geometry, calibrant, scatter_of(counts, good), fix)
    if found is None:
        return None
    rings, seen = set(before.points.rings), set(found.points.rings)
    precise = np.diag(found.covariance) < WORSE**2 * np.diag(before.covariance)
    if len(rings & seen) < SAME * len(rings) or not precise.all() or found.rms > max(WORSE * before.rms, SMALL):
        return None
    return found


def displacement(one: Mapping[str, float], other: Mapping[str, float], detector: Any, points: Floats) -> float:
    """Return the largest distance of the rings of two geometries on the detector.

    Parameters
    ----------
    one, other
        Parameters, m and rad.
    detector
        Detector of pyFAI in orientation 3.
    points
        Positions (slow, fast) to look at, pixels, (n, 2).

    Returns
    -------
    float
        Pixels.
    """
    first, second = (cone_of(geometry_at(values, detector)) for values in (one, other))
    return float(ring_shift(first, second, points).max())
