"""What every room of the pipeline has in common, and how one is built from its configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..geometry.geometry import Geometry
    from ..geometry.poni import Poni
    from ..model.arrays import Image
    from ..model.frame import Frame
    from ..model.record import Record
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
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    columns: Sequence[str] = ()
    images: Callable[[str], Iterable[Image]] | None = None
    noise: Callable[[Image], Image] = poisson
    header: Callable[[str], Mapping[str, Any]] = _header


@dataclass(frozen=True)
class Stage:
    """A room of the pipeline. Its fields are its configuration and its schema; `prepare` does once what can be done
    once and returns what runs for every frame."""

    def prepare(self, setup: Setup) -> Callable[..., Frame]:
        """Return the step that takes a frame and returns the next one; raise ConfigError for what cannot be."""
        raise NotImplementedError

    def check(self, poni: Poni) -> None:
        """Raise ConfigError for what cannot be, before any frame is read."""

    def check_columns(self, columns: tuple[str, ...]) -> None:
        """Raise ConfigError for what cannot be with patterns of these columns; called where they are known."""

    def inputs(self) -> dict[str, str]:
        """Files this stage reads besides the frames: what it is called -> path."""
        return {}

    def outputs(self, name: str) -> list[str]:
        """Files this stage writes for the frame ``name``, relative to the run's folder."""
        return []

    def finish(self, folder: Path, records: Sequence[Record]) -> list[str]:
        """Called once when a run ends, also a stopped one, with the records of all frames that its folder holds.

        Returns what the user should know.
        """
        return []

    def finishes(self) -> list[str]:
        """Files that `finish` writes, relative to the run's folder."""
        return []

    def collect(self, series: Series) -> Collector | None:
        """What makes something of all frames of a run together; None where each frame is for itself."""
        return None

    @property
    def pattern_columns(self) -> tuple[str, ...]:
        """Of the patterns that this stage makes: unit of the axis, intensity[, sigma]; () where it makes none."""
        return ()

    @property
    def extras(self) -> dict[str, list[str]]:
        """What it adds to a frame besides image, mask and pattern: "sectors" or "cake" -> the suffixes of its files."""
        return {}

    def extra_outputs(self, name: str, extras: Mapping[str, list[str]]) -> list[str]:
        """Files this stage writes for the frame ``name`` where the stages of its pipeline make ``extras``."""
        return []

    @property
    def wants_variance(self) -> bool:
        """Whether the frame's variance must travel with it."""
        return False
