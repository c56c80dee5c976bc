"""The result of a run, as returned to Python."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.cake import Cake
from ..model.pattern import Pattern
from ..model.record import Outcome, Record
from ..results.records import RunRecords


@dataclass
class Run:
    """Results of a run, by the name of the frame.

    Attributes
    ----------
    folder
        Results folder; None if nothing was written.
    frames
        Records of all frames; those of a large run are read from a file on access.
    patterns
        Patterns of the frames that are done.
    sectors
        Patterns of sectors by suffix, if the integration makes sectors.
    cakes
        Cakes, if the integration makes them.
    masks
        Masks in the raw orientation: uint8, 1 = masked.
    merged
        Pattern of all frames together, if the integration merges them and all frames are of this run.
    stopped
        The user stopped the run.
    unwritten
        The record could not be written, for example because the disk is full.
    incomplete
        Frames of a source that never came, and messages of it that were refused, a line each.
    judgement
        What is wrong with the numbers, in a line; "" where all is well.
    config
        Configuration, as in ``run.json``.
    """

    folder: Path | None
    frames: Sequence[Record] = ()
    patterns: Mapping[str, Pattern] = field(default_factory=dict)
    sectors: Mapping[str, Mapping[str, Pattern]] = field(default_factory=dict)
    cakes: Mapping[str, Cake] = field(default_factory=dict)
    masks: Mapping[str, NDArray[np.uint8]] = field(default_factory=lambda: Masks((0, 0)))
    merged: Pattern | None = None
    stopped: bool = False
    judgement: str = ""
    unwritten: bool = False
    incomplete: Sequence[str] = ()
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> list[Record]:
        """The frames that failed."""
        return [record for record in self.frames if record.status == "failed"]

    def count(self, status: str) -> int:
        """Return the number of frames with this status."""
        if isinstance(self.frames, RunRecords):
            return self.frames.count_of(status)
        return sum(record.status == status for record in self.frames)

    @property
    def status(self) -> int:
        """Exit status of the command line."""
        return 130 if self.stopped else 1 if self.count("failed") or self.unwritten or self.incomplete else 0

    def take(self, outcome: Outcome) -> None:
        """Add the results of one frame."""
        name, kept = outcome.record.name, self._kept
        results = (outcome.pattern, outcome.sectors or None, outcome.cake, outcome.mask)
        for each, result in zip(kept, results, strict=True):
            if result is not None:
                each[name] = result

    def order(self, records: Sequence[Record]) -> None:
        """Set the records and sort all results in their order."""
        self.frames = records
        if not any(self._kept):
            return
        names = [record.name for record in records]
        for result in self._kept:
            ordered = {name: result[name] for name in names if name in result}
            result.clear()
            result.update(ordered)

    @property
    def _kept(self) -> list[dict[str, Any]]:
        """Results in memory; those of a run that was loaded are read from its folder instead."""
        masks = self.masks.bits if isinstance(self.masks, Masks) else self.masks
        return [each for each in (self.patterns, self.sectors, self.cakes, masks) if isinstance(each, dict)]

    def to_xarray(self) -> Any:
        """Return the results of all frames that are done as an xarray Dataset.

        ``intensity`` and ``sigma`` have the dimensions (frame, radial), those of sectors (frame, sector, radial) and
        those of cakes (frame, azimuthal, radial). Metrics and header columns are coordinates of the frames.

        Raises
        ------
        ImportError
            xarray is not installed.
        """
        from ..results.tables import dataset

        return dataset(self.frames, self.patterns, self.sectors, self.cakes)

    def to_dataframe(self) -> Any:
        """Return the patterns of all frames that are done as a pandas DataFrame, a row for each frame and bin.

        The columns are ``frame``, ``radial``, ``intensity``, ``sigma``; with sectors also ``sector``, "" for the whole.

        Raises
        ------
        ImportError
            pandas is not installed.
        """
        from ..results.tables import dataframe

        return dataframe(self.frames, self.patterns, self.sectors)

    def summary(self) -> Any:
        """Return the records as a pandas DataFrame, a row for each frame, with the columns of ``summary.csv``.

        Raises
        ------
        ImportError
            pandas is not installed.
        """
        from ..results.tables import summary

        return summary(self.frames)

    def __repr__(self) -> str:
        return f"<Run: {self.describe()}>"

    def describe(self) -> str:
        """Return in a line how many frames are done, where they are, and what is wrong."""
        total, failed, waiting = len(self.frames), self.count("failed"), self.count("waiting")
        parts = [f"{self.count('done')} of {total} frames done"]
        parts += [f"{failed} failed"] if failed else []
        parts += [f"{waiting} waiting"] if waiting else []
        parts += ["stopped"] if self.stopped else []
        parts.append("nothing written" if self.folder is None else f"in {self.folder}")
        return ", ".join(parts) + (f"; {self.judgement}" if self.judgement else "")

    def _repr_html_(self) -> str:
        from ..results.display import run_html

        return run_html(self.describe(), self.frames, self.patterns, self.cakes)


class Masks(Mapping[str, NDArray[np.uint8]]):
    """Masks by the name of their frame, stored as bits.

    Parameters
    ----------
    shape
        Shape of every mask, in the raw orientation.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.bits: dict[str, NDArray[np.uint8]] = {}

    def __getitem__(self, name: str) -> NDArray[np.uint8]:
        return np.unpackbits(self.bits[name], count=int(np.prod(self.shape))).reshape(self.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.bits)

    def __len__(self) -> int:
        return len(self.bits)

    def __repr__(self) -> str:
        slow, fast = (*self.shape, 0, 0)[:2]
        return f"<Masks of {len(self)} frames, {slow} x {fast} pixels>"

    def _repr_html_(self) -> str:
        from ..results.display import masks_html

        return masks_html(self)
