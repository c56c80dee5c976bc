"""What every room of the pipeline has in common, and how one is built from its configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..geometry.geometry import Geometry
    from ..geometry.poni import Poni
    from ..model.arrays import Image
    from ..model.frame import Frame
    from ..model.series import Series
    from .collector import Collector


Step = Callable[["Frame"], "Frame"]  # in quotes: importing Frame imports numpy, which --help does not need


def poisson(counts: Image) -> Image:
    """The variance of counts: themselves, at least 1."""
    return counts.clip(1)


def _header(path: str) -> Mapping[str, Any]:
    from ..io.header import of_file

    return of_file(path)


@dataclass(frozen=True)
class Setup:
    """What a stage may need of the run when it prepares.

    ``read`` gives a file's image as float32 in the orientation of the frames; ``to_raw`` turns an array back into the
    orientation of the files. ``folder`` is None where nothing is to be written. ``variance`` says whether a stage
    wants the frame's variance. ``provenance`` is what every result says about its making: name -> JSON value.
    ``columns`` are the names of what the source reads of every header. ``images`` gives all frames of a file, as
    ``read`` the only one; ``noise`` the variance of raw counts, float32; ``header`` the header of a file, as a frame
    has it.
    """

    geometry: Geometry
    read: Callable[[str], Image]
    to_raw: Callable[[NDArray[Any]], NDArray[Any]]
    folder: Path | None = None
    variance: bool = False
    provenance: Mapping[str, Any] = field(default_factory=dict)
    columns: Sequence[str] = ()
    images: Callable[[str], Iterable[Image]] | None = None
    noise: Callable[[Image], Image] = poisson
    header: Callable[[str], Mapping[str, Any]] = _header


@dataclass(frozen=True)
class Needs:
    """What a stage reads besides the frames.

    Attributes
    ----------
    files
        Paths of files, by what they are called in the record of a run.
    variance
        Whether the frame must carry its variance.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    variance: bool = False


@dataclass(frozen=True)
class Makes:
    """What a stage, or a line of stages, adds to a frame.

    Attributes
    ----------
    columns
        Columns of the pattern: unit of the axis, ``intensity`` and perhaps ``sigma``; () where it makes none.
    parts
        What it makes besides the pattern, "sectors" or "cake", with the suffixes of the files of each.
    """

    columns: tuple[str, ...] = ()
    parts: Mapping[str, Sequence[str]] = field(default_factory=dict)


NOTHING = Makes()


@dataclass(frozen=True)
class Stage:
    """A step of the pipeline: a dataclass whose fields are its configuration and its schema, and `prepare`.

    Everything else has a default. `needs` and `makes` are data; `writes`, `check` and `collect` are for stages that
    write files, depend on the geometry, or make something of all frames together.
    """

    def prepare(self, setup: Setup) -> Callable[..., Frame]:
        """Do once what can be done once, and return the function that takes a frame and returns the next one.

        Parameters
        ----------
        setup
            What the stage may need of the run: the geometry, the reader of files, the folder of results.

        Returns
        -------
        Callable
            The step; it raises FrameError for a frame that fails alone.

        Raises
        ------
        ConfigError
            The configuration does not fit the geometry, the shape or the other inputs.
        """
        raise NotImplementedError

    @property
    def needs(self) -> Needs:
        """What the stage reads besides the frames."""
        return Needs()

    @property
    def makes(self) -> Makes:
        """What the stage adds to a frame."""
        return Makes()

    def writes(self, name: str, line: Makes = NOTHING) -> list[str]:
        """Return the files that the stage writes for a frame, relative to the folder of the run.

        Parameters
        ----------
        name
            The name of the frame.
        line
            What all stages of the pipeline make.
        """
        return []

    def check(self, poni: Poni, line: Makes = NOTHING) -> None:
        """Raise ConfigError, before any frame is read, for what cannot be with this geometry or this line."""

    def collect(self, series: Series) -> Sequence[Collector]:
        """Return what makes something of all frames of a run together; see `collector.Collector`."""
        return ()
