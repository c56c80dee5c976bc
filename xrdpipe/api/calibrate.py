"""The geometry of a detector from frames of a calibrant, from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..model.errors import ConfigError
from . import without_log_output

NOTHING: Mapping[str, Any] = MappingProxyType({})

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..cli.calibrate.solve import Found, Solution
    from ..cli.calibrate.task import Task


@without_log_output()
def calibrate(
    *images: str | Path | Mapping[str, NDArray[Any]],
    calibrant: str | Path, poni: str | Path | None = None,
    wavelength: float | None = None, energy: float | None = None,
    detector: str | None = None, pixel: tuple[float, float] | None = None,
    fix: Sequence[str] = (), fit: Sequence[str] = (), bounds: Mapping[str, tuple[float, float]] = NOTHING,
    distances: Sequence[float] = (), energies: Sequence[float] = (),
    overrides: Sequence[str] = (), config_dir: str | Path | None = None, quiet: bool = True, **groups: Any,
) -> Calibration:  # fmt: skip
    """Find the geometry of a detector, as ``xrdpipe calibrate`` does.

    ``calibrate("frame.tif", calibrant="CeO2", wavelength=1.665e-11, detector="Pilatus1M").save("geometry.poni")``

    Parameters
    ----------
    *images
        Paths, globs, or mappings of names to arrays of counts, shape (slow, fast).
    calibrant, poni
        Name in pyFAI, or a file of d-spacings in angstrom; a geometry to begin with.
    wavelength, energy, detector, pixel
        In m; or keV. Name in pyFAI; or the size of a pixel (slow, fast) in m. By default those of ``poni``.
    fix, fit, bounds
        Names of parameters that keep their values, or are refined; lowest and highest values by name, m and rad.
    distances, energies
        Of each of several frames together: m, of which the differences are exact; or keV.
    overrides, config_dir, quiet, **groups
        As `integrate` takes them.

    Raises
    ------
    ConfigError
        The command line would refuse this too. It is a ValueError.
    FrameError
        The frames do not decide the geometry; the message says what is missing. It is a ValueError.
    """
    from ..cli.calibrate.solve import solve

    given = {
        "calibrant": calibrant, "wavelength": wavelength, "energy": energy, "detector": detector, "pixel": pixel,
        "fix": fix, "fit": fit, "distances": distances, "energies": energies,
        **{f"bounds.{name}": ends for name, ends in bounds.items()},
    }  # fmt: skip
    task = _task(given, poni, images, groups, overrides, config_dir, quiet)
    return Calibration(task, solve(task, Path("geometry.poni")))


def _task(
    given: Mapping[str, Any],
    poni: str | Path | None,
    images: Sequence[str | Path | Mapping[str, NDArray[Any]]],
    groups: dict[str, Any],
    overrides: Sequence[str],
    config_dir: str | Path | None,
    quiet: bool,
) -> Task:
    """Return what is asked for; ``given`` are the keys of the command that a run does not have."""
    from ..cli.calibrate.task import task_of
    from ..cli.calibrate.words import split_words
    from .integrate import configuration

    words = split_words([f"{key}={_word(value)}" for key, value in given.items() if _is_given(value)])[0]
    mask = groups.get("mask", {})
    groups = groups | {"mask": ("none", {"detector": True, **mask}) if isinstance(mask, Mapping) else mask}
    values, _, arrays = configuration(poni, images, groups, overrides, config_dir)
    task = task_of(words, {**values, "quiet": quiet}, arrays)
    if len(task.images) > 1 and not words.distances and not words.wavelengths:
        raise ConfigError(
            f"images: {len(task.images)} frames; say distances or energies for one calibration of all; a series is "
            "followed by the command, xrdpipe calibrate poni=geometry.poni ..."
        )
    return task


def _is_given(value: Any) -> bool:
    return value is not None and (isinstance(value, (str, Path, int, float)) or len(value) > 0)


def _word(value: Any) -> str:
    """Return a value as the command line has it; numbers keep all their digits."""
    if isinstance(value, (str, Path)):
        return str(value)
    if hasattr(value, "__len__"):
        return f"[{','.join(map(_word, value))}]"
    return repr(float(value))


@dataclass(frozen=True, repr=False)
class Calibration:
    """The geometry of a detector, from frames of a calibrant.

    Parameters have pyFAI's names: ``dist``, ``poni1``, ``poni2`` and ``wavelength`` in m, ``rot1``, ``rot2`` and
    ``rot3`` in rad. Those of several frames together are those of the first.
    """

    _task: Task
    _solution: Solution

    @property
    def values(self) -> dict[str, float]:
        """Parameters, m and rad."""
        return dict(self._solution.shared.values)

    @property
    def uncertainties(self) -> dict[str, float]:
        """Standard deviations of the refined parameters, m and rad."""
        return self._solution.shared.errors

    @property
    def correlation(self) -> NDArray[np.float64]:
        """Correlation of the refined parameters, in the order of `uncertainties`, (parameters, parameters)."""
        return self._solution.shared.correlation

    @property
    def residuals(self) -> dict[str, NDArray[np.float64]]:
        """Distances of the control points from their rings, pixels, by the name of the frame."""
        return {each.image.name: each.residuals for each in self._solution.found}

    @property
    def rms(self) -> float:
        """Root mean square of all residuals, pixels."""
        return self._solution.rms

    @property
    def ponis(self) -> dict[str, str]:
        """Text of the PONI file of each frame, by its name."""
        from ..cli.calibrate.solve import poni_of

        return {each.image.name: poni_of(self._task, each) for each in self._solution.found}

    @cached_property
    def geometry(self) -> Any:
        """``AzimuthalIntegrator`` of pyFAI for the first frame."""
        from ..geometry.geometry import Geometry
        from ..geometry.poni import Poni

        return Geometry(Poni("geometry.poni", next(iter(self.ponis.values()))), self._task.shape).integrator

    def save(self, path: str | Path, overwrite: bool = False) -> list[Path]:
        """Write the PONI file; of several frames, ``geometry_<frame>.poni`` for each.

        Returns
        -------
        list of Path
            The files.

        Raises
        ------
        ConfigError
            A file is there already, is an input, or cannot be written.
        """
        from ..cli.calibrate.output import write_files
        from ..cli.calibrate.solve import poni_paths
        from ..cli.calibrate.task import check_files
        from ..io.paths import expand_user

        paths = poni_paths(self._task, Path(expand_user(str(path))))
        settings = replace(self._task.settings, overwrite=overwrite)
        check_files(paths, replace(self._task, settings=settings))
        write_files(list(zip(paths, self.ponis.values(), strict=True)))
        return paths

    def __repr__(self) -> str:
        points = sum(map(len, self.residuals.values()))
        frames = ", ".join(self.residuals)
        return f"<Calibration from {frames}: residual {self.rms:.3f} pixels of {points} control points>"

    def _repr_html_(self) -> str:
        from ..report.calibration import parameter_rows
        from ..results.display import table, text

        rows = parameter_rows(self._solution.shared, tuple(self._task.words.bounds))
        facts = "".join(f"<p>{text(name)}: {text(fact)}</p>" for name, fact in self._solution.facts.items())
        shown = "".join(self._frame_html(each) for each in self._solution.found)
        return f"<div><p>{text(repr(self)[1:-1])}</p>{facts}{table(rows[0], map(dict.values, rows))}{shown}</div>"

    def _frame_html(self, found: Found) -> str:
        from ..cli.calibrate.solve import calibrated_frame
        from ..report.calibration import ring_rows
        from ..report.calibration_figures import frame_figure
        from ..results.display import image, table

        frame = calibrated_frame(self._task, found)
        rows = ring_rows(frame)
        return f"{image(frame_figure(frame.drawn), frame.name)}{table(rows[0], map(dict.values, rows))}"
