"""What a calibration leaves: PONI files, the page, the tables on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...io.paths import expand_user
from ...io.writing import write_text
from ...model.errors import ConfigError
from ...report.calibration import calibration_page, parameter_rows, ring_rows
from ...report.tables import print_table
from ...results.command import repeat_command
from .solve import Solution, calibrated_frame, poni_of
from .task import Task
from .words import USAGE

STRONG = 0.9  # correlation that is printed


def save_path(task: Task) -> Path:
    """Return where ``save=`` says that the PONI file goes; ConfigError without one."""
    if not task.words.save:
        raise ConfigError(f"save: missing, as in {USAGE}")
    path = Path(expand_user(task.words.save))
    if path.suffix.lower() in (".html", ".csv"):
        raise ConfigError(f"save={task.words.save}: a PONI file expected, as in save=geometry.poni")
    return path


def page_path(task: Task, save: Path) -> list[Path]:
    """Return where the page goes; nothing with ``report=false``."""
    return [save.with_suffix(".html")] if task.settings.report else []


def command_line(arguments: Sequence[str]) -> str:
    """Return the command line as a page shows it: without the words that change no number."""
    kept = [word for word in arguments if word.partition("=")[0] not in ("overwrite", "quiet")]
    return repeat_command({"command": ["calibrate", *kept]})


def write_files(files: Sequence[tuple[Path, str]]) -> None:
    """Write texts to files; ConfigError where one cannot be written."""
    for path, text in files:
        try:
            write_text(path, text)
        except OSError as error:
            raise ConfigError(f"save: {path} cannot be written ({error.strerror})") from error


def finish(task: Task, solution: Solution, save: Path, arguments: Sequence[str]) -> None:
    """Write the PONI files and the page of all frames, and print the tables.

    Parameters
    ----------
    task
        What was asked for.
    solution
        The geometry of the frames.
    save
        Where ``save=`` says that the PONI file goes.
    arguments
        The command line.
    """
    found, shared, bounded = solution.found, solution.shared, tuple(task.words.bounds)
    frames = [calibrated_frame(task, each) for each in found]
    rms = f"{solution.rms:.3f} pixels"
    files = [(each.path, poni_of(task, each)) for each in found]
    if pages := page_path(task, save):
        top = {"calibrant": Path(task.words.calibrant).name, "detector": _detector_name(task), "residual": rms}
        top |= {"control points": str(len(solution.residuals)), **solution.facts}
        page = calibration_page(save.stem, frames, shared, command_line(arguments), top, bounded)
        files.append((pages[0], page))
    write_files(files)
    if task.settings.quiet:
        return
    print_table(list[dict[str, Any]](parameter_rows(shared, bounded)))
    for each, frame in zip(found, frames, strict=True):
        if len(found) > 1:
            values = each.parameters.values
            print(f"\n{frame.name}: distance {values['dist']:.8g} m, wavelength {values['wavelength']:.8g} m")
        print_table(list[dict[str, Any]](ring_rows(frame)))
    for one, other, value in shared.correlated(STRONG):
        print(f"{one} and {other} are correlated: {value:+.3f}")
    for name, text in solution.facts.items():
        print(f"{name}: {text}")
    print(f"residual {rms}; written: {', '.join(str(path) for path, _ in files)}")
    print(f"next: xrdpipe poni={found[0].path} FRAMES...")


def _detector_name(task: Task) -> str:
    name, size = str(task.detector.name), 1e6 * task.detector.pixel1
    return f"pixels of {size:g} x {size:g} µm" if name == "Detector" else name
