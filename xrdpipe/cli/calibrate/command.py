"""Calibrate: the geometry of a detector from frames of a calibrant, without a click."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ...model.errors import FrameError
from .drift import follow
from .output import finish, page_path, save_path
from .solve import poni_paths, solve
from .task import Task, check_files, make_task
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
    if len(task.images) == 1 or words.distances or words.wavelengths:
        return _calibrate(task, arguments)
    return follow(task, arguments)


def _calibrate(task: Task, arguments: Sequence[str]) -> int:
    """Calibrate one frame, or several together."""
    save = save_path(task)
    files = [*poni_paths(task, save), *page_path(task, save)]
    check_files(files, task)
    if task.settings.dry_run:
        frames = task.images[0].location if len(task.images) == 1 else f"{len(task.images)} frames"
        print(f"would read {frames}, and write {', '.join(map(str, files))}")
        return 0
    try:
        solution = solve(task, save)
    except FrameError as error:
        print(f"xrdpipe: not calibrated, nothing is written: {error}", file=sys.stderr)
        return 1
    finish(task, solution, save, arguments)
    return 0
