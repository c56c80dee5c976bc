"""The base class of all stages, and what a stage declares and receives."""

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
    from ..numerics.cuda.device import Device
    from .collector import Collector


Step = Callable[["Frame"], "Frame"]  # quoted: an import of Frame imports numpy, which --help does not need


def poisson(counts: Image) -> Image:
    """Return the variance of counts: the counts, at least 1."""
    return counts.clip(1)


def _header(path: str) -> Mapping[str, Any]:
    from ..io.header import file_header

    return file_header(path)


@dataclass(frozen=True)
class Setup:
    """The parts of a run that a stage may use in `Stage.prepare`.

    Attributes
    ----------
    geometry
        The calibrated geometry of the detector.
    read
        Returns the only image of a file, float32, (slow, fast), in the orientation of the frames.
    to_raw
        Turns an array from the orientation of the frames into that of the files.
    folder
        Folder of the results; None if nothing is written.
    variance
        True if frames carry their variance.
    provenance
        What every result records about its making: JSON values by name.
    columns
        Names of the columns that the source reads from every header.
    images
        Yields all images of a file, each as ``read`` returns it; None if a file holds only one.
    noise
        Returns the variance of raw counts, counts**2, float32.
    header
        Returns the header of a file.
    device
        GPU that subtracts, masks and integrates; None for the processor.
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
    device: Device | None = None


@dataclass(frozen=True)
class Needs:
    """The inputs of a stage besides the frames.

    Attributes
    ----------
    files
        Paths of files, by their name in the record of a run.
    variance
        True if the stage needs frames that carry their variance.
    per_frame
        Keys of the stage with files of each frame, which a table names. `Stage.prepare` gets their paths.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    variance: bool = False
    per_frame: Sequence[str] = ()


@dataclass(frozen=True)
class Makes:
    """The results that a stage, or all stages of a pipeline, add to a frame.

    Attributes
    ----------
    columns
        Columns of the pattern: unit of the axis, ``intensity`` and perhaps ``sigma``; empty without a pattern.
    parts
        Results besides the pattern, "sectors", "units" or "cake", with the suffixes of the files of each.
    unit
        Unit of the axis if the stage changes it; empty if it does not.
    merged
        The patterns carry the sums from which those of all frames are merged into one.
    """

    columns: tuple[str, ...] = ()
    parts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    unit: str = ""
    merged: bool = False


NOTHING = Makes()


@dataclass(frozen=True)
class Stage:
    """Base class of the steps of the pipeline.

    A stage is a frozen dataclass; its fields are its configuration and its schema. The metadata of a field may say
    more to a page of controls: ``choices`` (names, or a function that returns them), ``low``, ``high``, ``kind``. Only
    `prepare` has to be overridden. `needs` and `makes` declare inputs and results. `writes`, `check` and `collect` are
    for stages that write files, depend on the geometry, or make something from all frames together.
    """

    def prepare(self, setup: Setup) -> Callable[..., Frame]:
        """Do the work that all frames share, and return the function that processes one frame.

        Parameters
        ----------
        setup
            The parts of the run that a stage may use: geometry, reader of files, folder of the results.

        Returns
        -------
        Callable
            The step: it takes a frame and returns the next one. It raises FrameError if only this frame fails.

        Raises
        ------
        ConfigError
            The configuration does not fit the geometry, the shape or the other inputs.
        """
        raise NotImplementedError

    @property
    def active(self) -> bool:
        """False if the stage changes nothing as it is configured; the pipeline then goes without it."""
        return True

    @property
    def needs(self) -> Needs:
        """The inputs of the stage besides the frames."""
        return Needs()

    @property
    def makes(self) -> Makes:
        """The results that the stage adds to a frame."""
        return Makes()

    def writes(self, name: str, line: Makes = NOTHING) -> list[str]:
        """Return the files that the stage writes for one frame.

        Parameters
        ----------
        name
            Name of the frame.
        line
            Results of all stages of the pipeline.

        Returns
        -------
        list of str
            Paths relative to the folder of the run.
        """
        return []

    def check(self, poni: Poni, line: Makes = NOTHING) -> None:
        """Raise ConfigError if the configuration does not fit the geometry or the other stages.

        The run calls this before it reads any frame.

        Parameters
        ----------
        poni
            The geometry as it is in the PONI file.
        line
            Results of all stages of the pipeline.
        """

    def collect(self, series: Series) -> Sequence[Collector]:
        """Return the collectors of the stage, which make something from all frames together.

        Parameters
        ----------
        series
            The frames of the run, and its folder.
        """
        return ()
