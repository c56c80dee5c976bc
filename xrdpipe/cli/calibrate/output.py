"""What a calibration leaves: PONI files, the page, the tables on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...calibration.cone import ring_angles
from ...calibration.control_points import ControlPoints
from ...calibration.others import lattice_spacings
from ...calibration.parameters import Parameters
from ...geometry.geometry import Geometry
from ...geometry.poni import Poni
from ...io.paths import expand_user
from ...io.writing import write_text
from ...model.errors import ConfigError
from ...model.reference import Reference
from ...report.calibration import CalibratedFrame, calibration_page, parameter_rows, ring_rows
from ...report.calibration_figures import Drawn
from ...report.tables import print_table
from ...results.command import repeat_command
from .start import poni_text
from .task import Counts, Task
from .words import USAGE

STRONG = 0.9  # correlation that is printed


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
        """Root mean square of the residuals, pixels."""
        return float(np.sqrt(np.mean(self.residuals**2)))


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


def finish(
    task: Task,
    found: Sequence[Found],
    shared: Parameters,
    save: Path,
    arguments: Sequence[str],
    facts: Mapping[str, str] | None = None,
) -> None:
    """Write the PONI files and the page of all frames, and print the tables.

    Parameters
    ----------
    task
        What was asked for.
    found
        The frames.
    shared
        Parameters with the uncertainties of the fit, as in the PONI files.
    save
        Where ``save=`` says that the PONI file goes.
    arguments
        The command line.
    facts
        What else is said, name -> text.
    """
    frames = [_calibrated_frame(task, each) for each in found]
    residuals = np.concatenate([each.residuals for each in found])
    rms, facts = f"{np.sqrt(np.mean(residuals**2)):.3f} pixels", facts or {}
    files = [(each.path, _poni(task, each)) for each in found]
    if pages := page_path(task, save):
        top = {"calibrant": Path(task.words.calibrant).name, "detector": _detector_name(task), "residual": rms}
        top |= {"control points": str(len(residuals)), **facts}
        page = calibration_page(save.stem, frames, shared, command_line(arguments), top, tuple(task.words.bounds))
        files.append((pages[0], page))
    write_files(files)
    if task.settings.quiet:
        return
    print_table(list[dict[str, Any]](parameter_rows(shared, tuple(task.words.bounds))))
    for each, frame in zip(found, frames, strict=True):
        if len(found) > 1:
            values = each.parameters.values
            print(f"\n{frame.name}: distance {values['dist']:.8g} m, wavelength {values['wavelength']:.8g} m")
        print_table(list[dict[str, Any]](ring_rows(frame)))
    for one, other, value in shared.correlated(STRONG):
        print(f"{one} and {other} are correlated: {value:+.3f}")
    for name, text in facts.items():
        print(f"{name}: {text}")
    print(f"residual {rms}; written: {', '.join(str(path) for path, _ in files)}")
    print(f"next: xrdpipe poni={found[0].path} FRAMES...")


def _detector_name(task: Task) -> str:
    name, size = str(task.detector.name), 1e6 * task.detector.pixel1
    return f"pixels of {size:g} x {size:g} µm" if name == "Detector" else name


def _poni(task: Task, found: Found) -> str:
    comments = [
        f"xrdpipe calibrate: calibrant {Path(task.words.calibrant).name}, frame {found.image.name}",
        f"residual {found.rms:.3f} pixels, {len(found.residuals)} control points",
    ]
    return poni_text(task.poni_values(found.parameters.values), comments)


def _calibrated_frame(task: Task, found: Found) -> CalibratedFrame:
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
