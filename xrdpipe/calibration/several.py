"""Several frames together: one geometry, known translations or wavelengths, one least-squares fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.errors import FrameError
from .calibrate import Calibrated
from .cone import ring_angles
from .control_points import ControlPoints, control_points
from .decision import LOOSE, SMALL
from .others import lattice_spacings
from .parameters import Parameters, covariance
from .refine import NAMES, cone_of, geometry_at, near_their_rings, weighted_rms
from .ridges import find_ridges, good_pixels, scatter_of
from .search import CERTAIN, search

Floats = NDArray[np.float64]
Bounds = Mapping[str, tuple[float, float]]

AXIS = ("axis1", "axis2")  # of the translation: its slopes against the beam, along pyFAI's axes 1 and 2, rad
GEOMETRY = NAMES[:6]
ROUNDS = 3  # of measuring control points with the geometry of all frames
WORSE = 2.0  # times the residual of the frames alone, beyond which they do not agree
WAVELENGTHS = (2e-11, 4e-11, 7e-11, 1.2e-10, 2e-10)  # m, that are tried where none is known
NEAR = 0.03  # relative error of a distance at which a wavelength is right
STEEP = 0.3  # rad, of the translation against the beam, at most


@dataclass(frozen=True)
class View:
    """One of several frames.

    Attributes
    ----------
    image
        Counts, (slow, fast).
    bad
        True for pixels without a value, (slow, fast).
    points
        Control points.
    shift
        Translation of the detector from its place in the first frame, m; positive away from the sample.
    wavelength
        Known wavelength of this frame, m; None for the common one.
    """

    image: NDArray[np.floating]
    bad: NDArray[np.bool_]
    points: ControlPoints
    shift: float = 0.0
    wavelength: float | None = None


@dataclass(frozen=True)
class Together:
    """What several frames say together.

    Attributes
    ----------
    parameters
        Those of the first frame, and the slopes of the translation.
    frames
        Parameters of each frame, with the covariance that follows for them.
    views
        The frames, with the control points that were used.
    residuals
        Of each frame, distances of the control points from their rings, pixels.
    """

    parameters: Parameters
    frames: tuple[Parameters, ...]
    views: tuple[View, ...]
    residuals: tuple[Floats, ...]

    @property
    def rms(self) -> float:
        """Root mean square of all residuals, see `weighted_rms`."""
        return weighted_rms(np.concatenate(self.residuals), np.concatenate([each.points.sigma for each in self.views]))


def values_of_frame(values: Mapping[str, float], shift: float, wavelength: float | None) -> dict[str, float]:
    """Return the parameters of a frame.

    The detector moves as a rigid body by ``shift`` along a straight line that leans against the beam by ``axis1`` and
    ``axis2``; in the coordinates of the detector, that changes distance and PONI.
    """
    from pyFAI.geometry import Geometry

    line = np.array([values.get("axis1", 0.0), values.get("axis2", 0.0), 1.0])
    rotation = Geometry().rotation_matrix([values[name] for name in GEOMETRY])
    along = shift * (rotation.T @ line) / np.linalg.norm(line)
    moved = {
        "dist": values["dist"] + along[2],
        "poni1": values["poni1"] - along[0],
        "poni2": values["poni2"] - along[1],
        "wavelength": values["wavelength"] if wavelength is None else wavelength,
    }
    return {**{name: values[name] for name in NAMES}, **{name: float(value) for name, value in moved.items()}}


def wavelength_at(
    image: NDArray[np.floating], bad: NDArray[np.bool_], detector: Any, calibrant: Any, distance: float
) -> float:
    """Return the wavelength (m) at which the rings of a frame give a distance that is about known.

    At small angles the rings tell the product of both: a search with any wavelength finds a distance, and their product
    over the known distance is nearer to the wavelength.

    Parameters
    ----------
    image
        Counts, (slow, fast).
    bad
        True for pixels without a value.
    detector, calibrant
        Of pyFAI; any wavelength.
    distance
        From the sample, m.

    Raises
    ------
    FrameError
        No wavelength gives it.
    """
    good = good_pixels(image, bad)
    ridges, spacings = find_ridges(image, good), lattice_spacings(calibrant)
    found: list[tuple[float, float]] = []
    for wavelength in WAVELENGTHS:
        for _ in range(ROUNDS):
            lines = ring_angles(spacings, wavelength)
            best = next(iter(search(ridges, lines, (len(image), image.shape[1])) if len(lines) > 2 else []), None)
            if best is None:
                break
            factor = best.cone.length * np.cos(best.cone.tilt) * detector.pixel1 / distance
            if abs(factor - 1) < NEAR:
                found.append((best.score, wavelength * factor))
                break
            wavelength *= float(factor)
        if found and max(found)[0] > CERTAIN:
            break
    if not found:
        raise FrameError(
            f"no wavelength puts the rings of this calibrant at a distance of {distance:g} m; check calibrant and "
            "distances, or say wavelength="
        )
    return max(found)[1]


def fit_views(
    views: Sequence[View],
    start: Mapping[str, float],
    free: Sequence[str],
    detector: Any,
    spacings: Floats,
    bounds: Bounds | None = None,
) -> Together:
    """Fit the geometry to the control points of all frames, by least squares.

    Parameters
    ----------
    views
        The frames.
    start
        Parameters of the first frame to begin with, m and rad.
    free
        Names of the parameters to refine; ``axis1`` and ``axis2`` among them.
    detector
        Detector of pyFAI in orientation 3.
    spacings
        d-spacings of the calibrant, angstrom, decreasing, (rings,).
    bounds
        Lowest and highest value of parameters.
    """
    from scipy.optimize import least_squares

    start = {**dict.fromkeys(AXIS, 0.0), **start}
    limits = [(bounds or {}).get(name, (-STEEP, STEEP) if name in AXIS else (-np.inf, np.inf)) for name in free]
    low, high = (np.array(each) for each in zip(*limits, strict=True))
    scale = np.array([1e-3 * start[name] if name in ("dist", "wavelength") else 1e-3 for name in free])
    inside = np.clip([start[name] for name in free], low + 1e-9 * scale, high - 1e-9 * scale)
    model = _Model(tuple(views), start, tuple(free), detector, spacings)
    slopes, errors = model.slopes(inside), np.concatenate([view.points.sigma for view in views])

    def weighted(x: Floats) -> Floats:
        return np.asarray(model.angles(x * scale) / (slopes * errors))

    result = least_squares(weighted, inside / scale, bounds=(low / scale, high / scale), x_scale="jac", jac="3-point")
    inner = np.flatnonzero(result.active_mask == 0)  # a parameter at its bound has no error
    jacobian = result.jac[:, inner] / scale[inner]
    at_bound = [low, result.x * scale, high]
    values = {**start, **model.named(np.choose(result.active_mask.astype(np.intp) + 1, at_bound))}
    parameters = Parameters(values, tuple(free[int(number)] for number in inner), covariance(jacobian, result.fun))
    residuals = np.split(result.fun * errors, np.cumsum([len(view.points.points) for view in views])[:-1])
    frames = tuple(_parameters_of(parameters, view) for view in views)
    return Together(parameters, frames, tuple(views), tuple(residuals))


@dataclass(frozen=True)
class _Model:
    """Angles of control points against those of their rings, as a function of the free parameters."""

    views: tuple[View, ...]
    start: Mapping[str, float]
    free: tuple[str, ...]
    detector: Any
    spacings: Floats

    def named(self, x: Floats) -> dict[str, float]:
        return dict(zip(self.free, map(float, x), strict=True))

    def _frames(self, x: Floats) -> list[dict[str, float]]:
        values = {**self.start, **self.named(x)}
        return [values_of_frame(values, view.shift, view.wavelength) for view in self.views]

    def slopes(self, x: Floats) -> Floats:
        """Return the change of the angle per pixel across the ring, rad, (points of all frames,)."""
        pairs = zip(self.views, self._frames(x), strict=True)
        return np.concatenate(
            [cone_of(geometry_at(values, self.detector)).slope(view.points.points) for view, values in pairs]
        )

    def angles(self, x: Floats) -> Floats:
        """Return the differences, rad, (points of all frames,)."""
        differences = []
        for view, values in zip(self.views, self._frames(x), strict=True):
            at = view.points.points - 0.5
            angles = geometry_at(values, self.detector).tth(at[:, 0], at[:, 1])
            sines = 1e10 * values["wavelength"] / (2 * self.spacings[view.points.rings])
            differences.append(angles - 2 * np.arcsin(np.minimum(sines, 1.0)))
        return np.concatenate(differences)


def _parameters_of(together: Parameters, view: View) -> Parameters:
    """Return the parameters of one frame, and how the errors of the common ones appear in them."""

    def frame(values: Mapping[str, float]) -> dict[str, float]:
        return values_of_frame(values, view.shift, view.wavelength)

    values, errors = frame(together.values), together.errors
    free = tuple(name for name in NAMES if name in together.free)
    columns = []
    for name in together.free:
        step = max(errors[name], 1e-15)
        ends = [frame({**together.values, name: together.values[name] + sign * step}) for sign in (1, -1)]
        columns.append([(ends[0][each] - ends[1][each]) / (2 * step) for each in free])
    jacobian = np.array(columns).T
    return Parameters(values, free, jacobian @ together.covariance @ jacobian.T)


def calibrate_together(
    views: Sequence[View],
    alone: Sequence[Calibrated],
    free: Sequence[str],
    detector: Any,
    spacings: Floats,
    bounds: Bounds | None = None,
) -> Together:
    """Find the geometry of several frames.

    Parameters
    ----------
    views
        The frames, with the control points that each of them gave alone.
    alone
        What each frame gave alone, at the wavelength to begin with.
    free
        Names of the parameters to refine.
    detector
        Detector of pyFAI in orientation 3.
    spacings
        d-spacings of the calibrant, angstrom, decreasing, (rings,).
    bounds
        Lowest and highest value of parameters of the first frame.

    Raises
    ------
    FrameError
        The frames do not agree, or do not determine a parameter.
    """
    found = _robust(views, alone[0].values, free, detector, spacings, bounds)
    for _ in range(ROUNDS - 1):
        found = _robust(_measured(found, detector, spacings), found.parameters.values, free, detector, spacings, bounds)
    single = float(np.sqrt(np.mean([each.refined.rms**2 for each in alone])))
    if found.rms > max(WORSE * single, SMALL):
        raise FrameError(
            f"the frames do not fit together: residual {found.rms:.2f} pixels, {single:.2f} for each frame alone; "
            "check distances= or energies=, and that the detector was not turned between the frames"
        )
    for name in ("dist", "wavelength"):
        if found.parameters.errors.get(name, 0.0) > LOOSE * found.parameters.values[name]:
            what = "distance" if name == "dist" else name
            raise FrameError(f"the {what} is not determined: take frames at distances that differ more")
    return found


def calibrate_within(view: View, alone: Calibrated, bounds: Bounds, detector: Any, spacings: Floats) -> Together:
    """Refine one frame within bounds; raise FrameError if its rings lie elsewhere.

    Parameters
    ----------
    view
        The frame, with the control points that it gave without bounds.
    alone
        What it gave without bounds.
    bounds
        Lowest and highest value of parameters.
    detector
        Detector of pyFAI in orientation 3.
    spacings
        d-spacings of the calibrant, angstrom, decreasing, (rings,).
    """
    free = alone.refined.free
    found = fit_views([view], alone.values, free, detector, spacings, bounds)
    if found.rms > max(WORSE * alone.refined.rms, SMALL):
        outside = [name for name, (low, high) in bounds.items() if not low <= alone.values[name] <= high]
        raise FrameError(
            f"within the bounds of {', '.join(outside)} the rings fit to {found.rms:.2f} pixels only, without them to "
            f"{alone.refined.rms:.2f}; correct the bounds, or leave them out"
        )
    return found


def _robust(
    views: Sequence[View],
    start: Mapping[str, float],
    free: Sequence[str],
    detector: Any,
    spacings: Floats,
    bounds: Bounds | None,
) -> Together:
    """Fit, leave out the control points that are far off, and fit again."""
    found = fit_views(views, start, free, detector, spacings, bounds)
    kept = []
    for view, residuals in zip(found.views, found.residuals, strict=True):
        kept.append(replace(view, points=view.points.part(near_their_rings(view.points, residuals))))
    return fit_views(kept, found.parameters.values, free, detector, spacings, bounds)


def _measured(found: Together, detector: Any, spacings: Floats) -> list[View]:
    """Return the frames with control points that are measured anew, with the geometry found."""
    result = []
    for view, parameters in zip(found.views, found.frames, strict=True):
        image, lines = np.asarray(view.image, np.float64), ring_angles(spacings, parameters.values["wavelength"])
        good = good_pixels(image, view.bad)
        cone = cone_of(geometry_at(parameters.values, detector))
        points = control_points(image, good, cone, lines, scatter_of(image, good))
        if len(points.points) == 0:
            raise FrameError("no ring can be measured with the geometry of all frames; check distances= or energies=")
        result.append(replace(view, points=points))
    return result
