"""The result of a run, as returned to Python."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
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
    stopped
        The user stopped the run.
    unwritten
        The record could not be written, for example because the disk is full.
    judgement
        What is wrong with the numbers, in a line; "" where all is well.
    """

    folder: Path | None
    frames: Sequence[Record] = ()
    patterns: dict[str, Pattern] = field(default_factory=dict)
    sectors: dict[str, Mapping[str, Pattern]] = field(default_factory=dict)
    cakes: dict[str, Cake] = field(default_factory=dict)
    masks: Masks = field(default_factory=lambda: Masks((0, 0)))
    stopped: bool = False
    judgement: str = ""
    unwritten: bool = False

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
        return 130 if self.stopped else 1 if self.count("failed") or self.unwritten else 0

    def take(self, outcome: Outcome) -> None:
        """Add the results of one frame."""
        name = outcome.record.name
        if outcome.pattern is not None:
            self.patterns[name] = outcome.pattern
        if outcome.sectors:
            self.sectors[name] = outcome.sectors
        if outcome.cake is not None:
            self.cakes[name] = outcome.cake
        if outcome.mask is not None:
            self.masks.bits[name] = outcome.mask

    def order(self, records: Sequence[Record]) -> None:
        """Set the records and sort all results in their order."""
        self.frames = records
        results: list[dict[str, Any]] = [self.patterns, self.sectors, self.cakes, self.masks.bits]
        if not any(results):
            return
        names = [record.name for record in records]
        for result in results:
            ordered = {name: result[name] for name in names if name in result}
            result.clear()
            result.update(ordered)

    def _repr_html_(self) -> str:
        from html import escape

        names = [name for name in asdict(self.frames[0]) if name not in ("hash", "path")] if self.frames else []
        rows = [[getattr(record, name) for name in names] for record in self.frames]
        lines = ["".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in [names, *rows]]
        return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


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
