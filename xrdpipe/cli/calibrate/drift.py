"""A series of one calibrant: the geometry of each frame, from the one before, and whether it moved."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from ...calibration.drift import Constancy, constancy, displacement, follow_frame
from ...calibration.parameters import Parameters
from ...calibration.refine import Refined, values_of
from ...execution.progress import Progress
from ...io.paths import expand_user
from ...model.errors import ConfigError, FrameError
from ...report.calibration import UNITS, drift_page, rounded
from ...report.calibration_figures import Floats, drift_figure, drift_unit
from ...report.tables import print_table
from .output import command_line, page_path, write_files
from .task import Counts, Task, check_files


@dataclass(frozen=True)
class _Step:
    """A frame of the series: its number from 1, what it gives, or why it does not decide."""

    number: int
    name: str
    error: str = ""
    parameters: Parameters | None = None
    points: Floats | None = None
    rms: float = 0.0
    shift: float = 0.0  # largest distance of a ring from its place in the first frame, pixels


def follow(task: Task, arguments: Sequence[str]) -> int:
    """Follow the geometry over a series; return the exit status, 1 if a frame does not decide."""
    table = _table_path(task)
    files = [table, *page_path(task, table)]
    check_files(files, task)
    if task.settings.dry_run:
        print(f"would read {len(task.images)} frames, and write {', '.join(map(str, files))}")
        return 0
    steps = _steps(task)
    decided = [step for step in steps if step.parameters is not None]
    verdict = _verdict(task, decided)
    rows = [_row(task, step) for step in steps]
    texts = [(table, _csv(rows))]
    if pages := page_path(task, table):
        figure = _figure(task, decided) if decided else None
        failures = [(step.name, step.error) for step in steps if step.error]
        shown = [_shown(task, step) for step in steps]
        texts.append((pages[0], drift_page(table.stem, verdict, shown, failures, figure, command_line(arguments))))
    write_files(texts)
    if not task.settings.quiet:
        print_table(_offsets(task, steps))
        print("offsets are from the first frame that decides")
        print(verdict)
        print(f"written: {', '.join(map(str, files))}")
    return int(len(decided) < len(steps))


def _table_path(task: Task) -> Path:
    """Return where the table goes: by default into the current folder, named as the PONI file."""
    if task.words.save is None:
        return Path(f"{Path(task.poni.path).stem}_drift.csv")
    path = Path(expand_user(task.words.save))
    if path.suffix.lower() != ".csv":
        raise ConfigError(f"save={task.words.save}: the table of a series expected, as in save=drift.csv")
    return path


def _steps(task: Task) -> list[_Step]:
    """Calibrate each frame, beginning from the one before."""
    steps: list[_Step] = []
    before: Refined | None = None
    first: Parameters | None = None
    with Progress(len(task.images), task.settings.quiet) as progress, threadpool_limits(1, "blas"):  # as in `solve`
        for number, image in enumerate(task.images, 1):
            try:
                before = refined = _refined(task, task.read(image), before)
            except FrameError as error:
                steps.append(_Step(number, image.name, str(error)))
                progress.advance(f"{image.location}: {error}")
                continue
            parameters, points = refined.parameters, refined.points.points
            first = first or parameters
            shift = displacement(first.values, parameters.values, task.detector, points)
            steps.append(_Step(number, image.name, "", parameters, points, refined.rms, shift))
            progress.advance()
    return steps


def _refined(task: Task, counts: Counts, before: Refined | None) -> Refined:
    """Return the geometry of a frame; FrameError if it does not decide."""
    followed = None if before is None else follow_frame(*counts, before, task.calibrant, task.fix)
    if followed is not None:
        return followed
    return task.calibrate(counts, start=None if before is None else before.geometry).refined


def _verdict(task: Task, steps: Sequence[_Step]) -> str:
    """Say whether the geometry moved over the series, and how far it is from that of the PONI file."""
    frames = [step.parameters for step in steps if step.parameters is not None]
    if not frames:
        return "no frame decides"
    points = steps[0].points
    assert points is not None
    away = displacement(values_of(task.start), frames[0].values, task.detector, points)
    start = f"the first frame lies {away:.3f} pixels from poni={task.poni.path}"
    if len(frames) < 2:
        return f"one frame decides, so nothing is said about movement; {start}"
    found: Constancy = constancy(frames)
    far = max(steps, key=lambda step: step.shift)
    chance = f"chi-square {found.chi2:.5g} for {found.dof} degrees of freedom"
    most = f"rings lie up to {far.shift:.3f} pixels from those of the first frame ({far.name})"
    return f"{'moved' if found.moved else 'did not move, within the errors'}: {most}; {chance}; {start}"


def _row(task: Task, step: _Step) -> dict[str, str]:
    """Return the row of the table: every value with its standard deviation (m, rad), residual and shift (pixels)."""
    row = {"number": str(step.number), "frame": step.name}
    parameters = None if step.parameters is None else task.of_poni(step.parameters)
    for name in task.free:
        row[name] = "" if parameters is None else repr(parameters.values[name])
        row[f"{name}_sigma"] = "" if parameters is None else f"{parameters.errors[name]:.3g}"
    row["rms_px"] = "" if parameters is None else f"{step.rms:.4f}"
    row["shift_px"] = "" if parameters is None else f"{step.shift:.4f}"
    return {**row, "error": step.error}


def _offsets(task: Task, steps: Sequence[_Step]) -> list[dict[str, Any]]:
    """Return the rows on the terminal: offsets from the first frame that decides."""
    frames = [None if step.parameters is None else task.of_poni(step.parameters) for step in steps]
    first, rows = next((frame for frame in frames if frame is not None), None), []
    for step, frame in zip(steps, frames, strict=True):
        row = {"frame": step.name}
        for name in task.free:
            factor, unit = drift_unit(name)
            text = ""
            if frame is not None and first is not None:
                offset = factor * (frame.values[name] - first.values[name])
                text = f"{offset:+.{1 if unit == 'µm' else 3}f}"
            row[f"{name} {unit}"] = text
        row["rms px"] = f"{step.rms:.3f}" if frame is not None else ""
        rows.append({**row, "shift px": f"{step.shift:.3f}" if frame is not None else "does not decide"})
    return rows


def _shown(task: Task, step: _Step) -> dict[str, str]:
    """Return the row of the page: values to two digits of their errors."""
    row = {"frame": step.name}
    parameters = None if step.parameters is None else task.of_poni(step.parameters)
    for name in task.free:
        value = "" if parameters is None else rounded(parameters.values[name], parameters.errors[name])
        row[f"{name} ({UNITS.get(name, 'rad')})"] = value
    row["residual (px)"] = "" if parameters is None else f"{step.rms:.3f}"
    return {**row, "shift (px)": "" if parameters is None else f"{step.shift:.3f}"}


def _csv(rows: Sequence[dict[str, str]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _figure(task: Task, steps: Sequence[_Step]) -> bytes:
    frames = [task.of_poni(step.parameters) for step in steps if step.parameters is not None]
    values = {
        name: (np.array([each.values[name] for each in frames]), np.array([each.errors[name] for each in frames]))
        for name in frames[0].free
    }
    return drift_figure([step.number for step in steps], values, np.array([step.shift for step in steps]))
