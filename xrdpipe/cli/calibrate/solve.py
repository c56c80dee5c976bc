"""The geometry of one frame, or of several together, and what the PONI file of each says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ...calibration.calibrate import Calibrated
from ...calibration.cone import ring_angles
from ...calibration.control_points import ControlPoints
from ...calibration.others import lattice_spacings
from ...calibration.parameters import Parameters
from ...calibration.refine import geometry_at, values_of, weighted_rms
from ...calibration.several import AXIS, Together, View, calibrate_together, calibrate_within, values_of_frame
from ...execution.progress import Progress
from ...geometry.geometry import Geometry
from ...geometry.poni import Poni
from ...model.errors import FrameError
from ...model.reference import Reference
from ...report.calibration import CalibratedFrame
from ...report.calibration_figures import Drawn
from .start import calibrant_at, poni_text
from .task import Counts, Task, known_wavelength


@dataclass(frozen=True)
class Found:
    """The geometry of a frame.

    Attributes
    ----------
    image
        The frame.
    counts
        Counts and pixels without a value.
    path
        Where its PONI file goes.
    parameters
        As in that file.
    points
        Control points.
    residuals
        Their distances from their rings, pixels.
    """

    image: Reference
    counts: Counts
    path: Path
    parameters: Parameters
    points: ControlPoints
    residuals: NDArray[np.float64]

    @property
    def rms(self) -> float:
        """Root mean square of the residuals, see `weighted_rms`."""
        return weighted_rms(self.residuals, self.points.sigma)


@dataclass(frozen=True)
class Solution:
    """What the frames say.

    Attributes
    ----------
    found
        The frames.
    shared
        Parameters with the uncertainties of the fit, as in the PONI files.
    facts
        What else is said, name -> text.
    """

    found: tuple[Found, ...]
    shared: Parameters
    facts: Mapping[str, str]

    @property
    def residuals(self) -> NDArray[np.float64]:
        """Of all frames, pixels."""
        return np.concatenate([each.residuals for each in self.found])

    @property
    def rms(self) -> float:
        """Root mean square of all residuals, see `weighted_rms`."""
        return weighted_rms(self.residuals, np.concatenate([each.points.sigma for each in self.found]))


def poni_paths(task: Task, save: Path) -> list[Path]:
    """Return the PONI file of each frame: ``save`` itself for one, with their names for several."""
    if len(task.images) == 1:
        return [save]
    return [save.with_name(f"{save.stem}_{image.name}{save.suffix}") for image in task.images]


def solve(task: Task, save: Path) -> Solution:
    """Find the geometry of the frames of a task.

    Parameters
    ----------
    task
        What is asked for.
    save
        Where ``save=`` says that the PONI file goes.

    Raises
    ------
    FrameError
        The frames do not decide; the message names the frame.
    """
    paths = poni_paths(task, save)
    with threadpool_limits(1, "blas"):  # or the last digits depend on the number of cores
        return _solve_one(task, paths[0]) if len(paths) == 1 else _solve_together(task, paths)


def _solve_one(task: Task, path: Path) -> Solution:
    image = task.images[0]
    try:
        counts = task.read(image)
        result = _within_bounds(task, counts, task.calibrate(counts))
    except FrameError as error:
        raise FrameError(f"{image.location}: {error}") from error
    parameters = task.of_poni(result.parameters)
    found = Found(image, counts, path, parameters, result.views[0].points, result.residuals[0])
    return Solution((found,), parameters, {})


def _within_bounds(task: Task, counts: Counts, alone: Calibrated) -> Together:
    """Return the geometry of a frame, refined within the user's bounds where it lies outside."""
    refined, bounds = alone.refined, task.bounds
    view = View(*counts, refined.points)
    if all(low <= alone.values[name] <= high for name, (low, high) in bounds.items()):
        parameters = refined.parameters
        return Together(parameters, (parameters,), (view,), (refined.residuals,))
    return calibrate_within(view, alone, bounds, task.detector, lattice_spacings(task.calibrant))


def _solve_together(task: Task, paths: Sequence[Path]) -> Solution:
    try:
        task = known_wavelength(task)
    except FrameError as error:
        raise FrameError(f"{task.images[0].location}: {error}") from error
    views, alone = [], []
    with Progress(len(task.images), task.settings.quiet) as progress:
        for number, image in enumerate(task.images):
            try:
                view, single = _alone(task, number)
            except FrameError as error:
                raise FrameError(f"{image.location}: {error}") from error
            views.append(view)
            alone.append(single)
            progress.advance()
    free = task.free + (AXIS if task.words.distances else ())
    result = calibrate_together(views, alone, free, task.detector, lattice_spacings(task.calibrant), task.bounds)
    rows = zip(task.images, paths, result.views, result.frames, result.residuals, strict=True)
    found = tuple(
        Found(image, (view.image, view.bad), path, task.of_poni(parameters), view.points, residuals)
        for image, path, view, parameters, residuals in rows
    )
    return Solution(found, task.of_poni(result.parameters), _facts(task, result.parameters.values["dist"]))


def _alone(task: Task, number: int) -> tuple[View, Calibrated]:
    """Return a frame, and what it gives alone: with the wavelength as it is said, or else refined."""
    words, counts = task.words, task.read(task.images[number])
    shift = words.distances[number] - words.distances[0] if words.distances else 0.0
    wavelength = words.wavelengths[number] if words.wavelengths else None
    calibrant = task.calibrant if wavelength is None else calibrant_at(words.calibrant, wavelength)
    start = None
    if task.started:
        start = geometry_at(values_of_frame(values_of(task.start), shift, wavelength), task.detector)
    try:
        found = task.calibrate(counts, calibrant, start, tuple({**dict.fromkeys(task.fix), "wavelength": None}))
    except FrameError:
        if "wavelength" in task.fix:
            raise
        found = task.calibrate(counts, calibrant, start, task.fix)
    return View(*counts, found.refined.points, shift, wavelength), found


def _facts(task: Task, distance: float) -> dict[str, str]:
    """Return how far the distances that the user says are off, by the same for all frames."""
    if not task.words.distances:
        return {}
    offset = 1e3 * (distance - task.words.distances[0])
    return {"distances": f"{offset:+.3f} mm from those of distances= (their differences are taken as exact)"}


def poni_of(task: Task, found: Found) -> str:
    """Return the text of the PONI file of a frame."""
    comments = [
        f"xrdpipe calibrate: calibrant {Path(task.words.calibrant).name}, frame {found.image.name}",
        f"residual {found.rms:.3f} pixels, {len(found.residuals)} control points",
    ]
    return poni_text(task.poni_values(found.parameters.values), comments)


def calibrated_frame(task: Task, found: Found) -> CalibratedFrame:
    """Return a frame as the page shows it."""
    poni = Poni(str(found.path), poni_text(task.poni_values(found.parameters.values)))
    integrator = Geometry(poni, task.shape).integrator
    two_theta, azimuth = (
        integrator.center_array(task.shape, unit=unit, scale=False) for unit in ("2th_rad", "chi_rad")
    )
    spacings = lattice_spacings(task.calibrant)
    drawn = Drawn(
        *found.counts,
        np.rad2deg(two_theta),
        np.rad2deg(azimuth),
        np.rad2deg(ring_angles(spacings, found.parameters.values["wavelength"])),
        found.points.points,
        found.points.rings,
        found.residuals,
    )
    return CalibratedFrame(found.image.name, found.path.name, found.parameters, drawn, spacings)
