"""Refinement of a geometry with control points, by pyFAI, and what the points say about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cone import Cone, ring_shift
from .control_points import ControlPoints, control_points
from .parameters import Parameters, covariance

Floats = NDArray[np.float64]

ROUNDS = 4  # of measuring control points and refining with them, at most
STILL = 0.025  # pixels: a geometry that moved less is not measured again
FEWEST = 8  # control points
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
        """Root mean square of the residuals, see `weighted_rms`."""
        return weighted_rms(self.residuals, self.points.sigma)

    @property
    def excess(self) -> float:
        """Root mean square of the residuals over their errors."""
        return float(np.sqrt(np.mean((self.residuals / self.points.sigma) ** 2)))

    @property
    def parameters(self) -> Parameters:
        """The parameters of the geometry, in orientation 3 of the detector."""
        return Parameters(values_of(self.geometry), self.free, self.covariance)


def weighted_rms(residuals: Floats, errors: Floats) -> float:
    """Return the root mean square of residuals, of which one with half the error counts four times."""
    return float(np.sqrt(np.average(residuals**2, weights=errors**-2)))


def values_of(geometry: Any) -> dict[str, float]:
    """Return the parameters of a geometry of pyFAI by their names, m and rad."""
    return {name: float(getattr(geometry, name)) for name in NAMES}


def cone_of(geometry: Any) -> Cone:
    """Return the cone of a geometry of pyFAI, without its rotation about the beam."""
    values = geometry.getFit2D()
    tilt, direction = np.deg2rad(values["tilt"]), np.deg2rad(values["tiltPlanRotation"])
    length = 1e-3 * values["directDist"] / geometry.detector.pixel1
    return Cone(values["centerY"], values["centerX"], length, tilt * np.sin(direction), tilt * np.cos(direction))


def geometry_of(cone: Cone, detector: Any, wavelength: float) -> Any:
    """Return the geometry of pyFAI that a cone stands for; the rotation about the beam is zero."""
    turn = np.arctan2(cone.tilt_slow, cone.tilt_fast)
    slow, fast = np.sin(cone.tilt) * np.sin(turn), np.sin(cone.tilt) * np.cos(turn)
    pixel = detector.pixel1
    values = {
        "dist": cone.length * pixel * np.cos(cone.tilt),
        "poni1": (cone.slow - cone.length * slow) * pixel,
        "poni2": (cone.fast - cone.length * fast) * pixel,
        "rot1": -np.arctan2(fast, np.cos(cone.tilt)),  # the arc cosine of pyFAI's setFit2D rounds to 1e-8 here
        "rot2": np.arcsin(slow),
        "rot3": 0.0,
        "wavelength": wavelength,
    }
    return geometry_at({name: float(value) for name, value in values.items()}, detector)


def geometry_at(values: Mapping[str, float], detector: Any) -> Any:
    """Return the geometry of pyFAI with these parameters, m and rad."""
    from pyFAI.geometry import Geometry

    geometry = Geometry(detector=detector, **{name: values[name] for name in NAMES})
    geometry.auto_gc = False  # as in `Poni.integrator`
    return geometry


def refine_geometry(
    image: NDArray[np.floating],
    good: NDArray[np.bool_],
    geometry: Any,
    calibrant: Any,
    scatter: float,
    fix: Sequence[str] = ("rot3", "wavelength"),
) -> Refined | None:
    """Measure control points and refine the geometry with them, in turn.

    Parameters
    ----------
    image
        Counts, (slow, fast).
    good
        True for pixels to use.
    geometry
        Geometry of pyFAI, right to a few pixels.
    calibrant
        Calibrant of pyFAI with its wavelength.
    scatter
        Variance per count.
    fix
        Names of the parameters that stay.

    Returns
    -------
    Refined or None
        None if there are too few control points, or the geometry is none.
    """
    if not np.isfinite([getattr(geometry, name) for name in NAMES]).all():
        return None
    refinement = _refinement(geometry, calibrant)
    lines = np.array(calibrant.get_2th())
    for _ in range(ROUNDS):
        before = cone_of(refinement)
        points = control_points(image, good, before, lines, scatter)
        if len(points.points) < FEWEST:
            return None
        points = _refine(points, refinement, calibrant, fix)
        lines = np.array(_calibrant_at(calibrant, refinement.wavelength).get_2th())
        after = cone_of(refinement)
        if ring_shift(after, before, points.points).max() < STILL:
            break
    residuals = _residuals(refinement, points, calibrant)
    free = tuple(name for name in NAMES if name not in fix)
    return Refined(refinement, points, residuals, free, _covariance(refinement, points, calibrant, free))


def _refinement(start: Any, calibrant: Any) -> Any:
    """Return pyFAI's refinement that begins at a geometry."""
    from copy import copy

    from pyFAI.geometryRefinement import GeometryRefinement

    class Refinement(GeometryRefinement):  # type: ignore[misc]
        def collect_garbage(self, collect_garbage: bool | None = None) -> None:
            """Do nothing; pyFAI would search all objects of Python for garbage at every change of a number."""

    values = {name: getattr(start, name) for name in NAMES}
    return Refinement(data=[[0, 0, 0]], calibrant=copy(calibrant), detector=start.detector, **values)


def _refine(points: ControlPoints, refinement: Any, calibrant: Any, fix: Sequence[str]) -> ControlPoints:
    """Refine with the points that are not far off; return these points."""
    for _ in range(3):
        slope = _slope(refinement, points.points)
        weights = 1 / (slope * points.sigma)  # 1 / rad
        weights /= weights.mean()
        refinement.data = np.column_stack([points.points - 0.5, points.rings, weights])
        refinement.set_tolerance(50)
        refinement.refine3(fix=list(fix))
        kept = near_their_rings(points, _residuals(refinement, points, calibrant))
        if kept.all() or kept.sum() < FEWEST:
            break
        points = points.part(kept)
    return points


def near_their_rings(points: ControlPoints, residuals: Floats) -> NDArray[np.bool_]:
    """Return which control points are not far off, by the spread of all of them."""
    scaled = np.abs(residuals) / points.sigma
    return np.asarray(scaled < FAR * max(1.4826 * float(np.median(scaled)), 1.0))


def _slope(geometry: Any, points: Floats) -> Floats:
    return cone_of(geometry).slope(points)


def _residuals(geometry: Any, points: ControlPoints, calibrant: Any) -> Floats:
    lines = np.array(_calibrant_at(calibrant, geometry.wavelength).get_2th())
    at = points.points - 0.5
    return np.asarray((geometry.tth(at[:, 0], at[:, 1]) - lines[points.rings]) / _slope(geometry, points.points))


def _covariance(geometry: Any, points: ControlPoints, calibrant: Any, free: Sequence[str]) -> Floats:
    """Return the covariance of the free parameters, from the derivatives of the residuals and their scatter."""
    columns = []
    for name in free:
        value = getattr(geometry, name)
        step = 1e-6 * max(abs(value), 1e-3) if name != "wavelength" else 1e-6 * value
        ends = []
        for sign in (1, -1):
            values = {each: getattr(geometry, each) for each in NAMES} | {name: value + sign * step}
            other = geometry_at(values, geometry.detector)
            lines = np.array(_calibrant_at(calibrant, other.wavelength).get_2th())
            at = points.points - 0.5
            ends.append(other.tth(at[:, 0], at[:, 1]) - lines[points.rings])
        columns.append((ends[0] - ends[1]) / (2 * step) / _slope(geometry, points.points) / points.sigma)
    return covariance(np.stack(columns, axis=1), _residuals(geometry, points, calibrant) / points.sigma)


def _calibrant_at(calibrant: Any, wavelength: float) -> Any:
    from copy import copy

    if wavelength == calibrant.wavelength:
        return calibrant
    other = copy(calibrant)
    other.setWavelength_change2th(wavelength)
    return other
