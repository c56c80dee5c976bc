"""Several frames together: known distances or energies, one geometry."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ...calibration.calibrate import Calibrated
from ...calibration.others import lattice_spacings
from ...calibration.refine import geometry_at, values_of
from ...calibration.several import AXIS, View, calibrate_together, values_of_frame
from ...execution.progress import Progress
from ...model.errors import FrameError
from .output import Found, finish, page_path, save_path
from .start import calibrant_at
from .task import Task, check_files


def calibrate_several(task: Task, arguments: Sequence[str]) -> int:
    """Calibrate frames together; return the exit status."""
    save = save_path(task)
    paths = [save.with_name(f"{save.stem}_{image.name}{save.suffix}") for image in task.images]
    files = [*paths, *page_path(task, save)]
    check_files(files, task)
    if task.settings.dry_run:
        print(f"would read {len(task.images)} frames, and write {', '.join(map(str, files))}")
        return 0
    frame = ""
    views, alone = [], []
    try:
        with Progress(len(task.images), task.settings.quiet) as progress:
            for number, image in enumerate(task.images):
                frame = f"{image.location}: "
                view, found = _alone(task, number)
                views.append(view)
                alone.append(found)
                progress.advance()
        frame = ""
        free = task.free + (AXIS if task.words.distances else ())
        spacings = lattice_spacings(task.calibrant)
        result = calibrate_together(views, alone, free, task.detector, spacings, task.bounds)
    except FrameError as error:
        print(f"xrdpipe: {frame}not calibrated, nothing is written: {error}", file=sys.stderr)
        return 1
    rows = zip(task.images, paths, result.views, result.frames, result.residuals, strict=True)
    each = [
        Found(image, (view.image, view.bad), path, task.of_poni(parameters), view.points, residuals)
        for image, path, view, parameters, residuals in rows
    ]
    finish(task, each, task.of_poni(result.parameters), save, arguments, _facts(task, result.parameters.values["dist"]))
    return 0


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
