"""What a run returns to Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.cake import Cake
from ..model.pattern import Pattern
from ..model.record import Outcome, Record


@dataclass
class Run:
    """The results of a run, by the name of the frame. ``masks`` are uint8, 1 = masked, in the raw orientation.

    ``sectors`` (by suffix) and ``cakes`` are there where integ makes them. ``judgement`` says in a line what is wrong
    with the numbers, "" where all is well.
    """

    folder: Path | None
    frames: list[Record] = field(default_factory=list)
    patterns: dict[str, Pattern] = field(default_factory=dict)
    sectors: dict[str, Mapping[str, Pattern]] = field(default_factory=dict)
    cakes: dict[str, Cake] = field(default_factory=dict)
    masks: Masks = field(default_factory=lambda: Masks((0, 0)))
    stopped: bool = False
    judgement: str = ""
    unwritten: bool = False  # the record could not be, as on a full disk

    @property
    def failed(self) -> list[Record]:
        """The frames that failed."""
        return [record for record in self.frames if record.status == "failed"]

    @property
    def status(self) -> int:
        """The exit status that the command line gives."""
        return 130 if self.stopped else 1 if self.failed or self.unwritten else 0

    def take(self, outcome: Outcome) -> None:
        """Keep what was made of a frame."""
        name = outcome.record.name
        if outcome.pattern is not None:
            self.patterns[name] = outcome.pattern
        if outcome.sectors:
            self.sectors[name] = outcome.sectors
        if outcome.cake is not None:
            self.cakes[name] = outcome.cake
        if outcome.mask is not None:
            self.masks.bits[name] = outcome.mask

    def order(self, records: Iterable[Record]) -> None:
        """Bring all in the order of these records, however the frames came."""
        self.frames = list(records)
        kept: list[dict[str, Any]] = [self.patterns, self.sectors, self.cakes, self.masks.bits]
        for found in kept:
            ordered = {record.name: found[record.name] for record in self.frames if record.name in found}
            found.clear()
            found.update(ordered)

    def _repr_html_(self) -> str:
        from html import escape

        names = [name for name in asdict(self.frames[0]) if name not in ("hash", "path")] if self.frames else []
        rows = [[getattr(record, name) for name in names] for record in self.frames]
        lines = ["".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in [names, *rows]]
        return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


class Masks(Mapping[str, NDArray[np.uint8]]):
    """Masks by the name of their frame, kept as bits."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.bits: dict[str, NDArray[np.uint8]] = {}

    def __getitem__(self, name: str) -> NDArray[np.uint8]:
        return np.unpackbits(self.bits[name], count=int(np.prod(self.shape))).reshape(self.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.bits)

    def __len__(self) -> int:
        return len(self.bits)
