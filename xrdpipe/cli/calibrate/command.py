"""Calibrate: the geometry of a detector from frames of a calibrant, without a click."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ...calibration.calibrate import Calibrated
from ...calibration.others import lattice_spacings
from ...calibration.several import Together, View, calibrate_within
from ...model.errors import FrameError
from .drift import follow
from .output import Found, finish, page_path, save_path
from .several import calibrate_several
from .task import Counts, Task, check_files, make_task
from .words import split_words


def main(arguments: Sequence[str]) -> int:
    """``xrdpipe calibrate calibrant=... FRAME... save=geometry.poni [keys of a run]``.

    Returns
    -------
    int
        The exit status: 0 written; 1 a frame does not decide; 130 stopped.
    """
    words, others = split_words(arguments)
    task = make_task(words, others)
    if len(task.images) == 1:
        return _calibrate_one(task, arguments)
    if words.distances or words.wavelengths:
        return calibrate_several(task, arguments)
    return follow(task, arguments)


def _calibrate_one(task: Task, arguments: Sequence[str]) -> int:
    """Calibrate one frame."""
    image, save = task.images[0], save_path(task)
    files = [save, *page_path(task, save)]
    check_files(files, task)
    if task.settings.dry_run:
        print(f"would read {image.location}, and write {', '.join(map(str, files))}")
        return 0
    try:
        counts = task.read(image)
        result = _within_bounds(task, counts, task.calibrate(counts))
    except FrameError as error:
        print(f"xrdpipe: {image.location}: not calibrated, nothing is written: {error}", file=sys.stderr)
        return 1
    parameters = task.of_poni(result.parameters)
    found = Found(image, counts, save, parameters, result.views[0].points, result.residuals[0])
    finish(task, [found], parameters, save, arguments)
    return 0


def _within_bounds(task: Task, counts: Counts, alone: Calibrated) -> Together:
    """Return the geometry of a frame, refined within the user's bounds where it lies outside."""
    refined, bounds = alone.refined, task.bounds
    view = View(*counts, refined.points)
    if all(low <= alone.values[name] <= high for name, (low, high) in bounds.items()):
        parameters = refined.parameters
        return Together(parameters, (parameters,), (view,), (refined.residuals,))
    return calibrate_within(view, alone, bounds, task.detector, lattice_spacings(task.calibrant))
