"""NeXus files that the frames of a run share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ..model.cake import Cake
from ..model.pattern import Pattern
from ..model.series import Series
from .collector import Collector

if TYPE_CHECKING:
    from ..model.record import Record
from ..io.nexus import SINGLE, NexusFile


class NexusFiles(Collector):
    """A file for each stack, and one for all frames that have a file of their own; each also for every other part."""

    def __init__(self, series: Series) -> None:
        names: dict[str, list[str]] = {}
        for name, stack in series.stacks.items():
            names.setdefault(stack or SINGLE, []).append(name)
        self._made = {
            stack: {part: NexusFile(series, f"{stack}_{part}" if part else stack, own) for part in series.parts}
            for stack, own in names.items()
        }
        self._of = {name: self._made[stack or SINGLE] for name, stack in series.stacks.items()}
        self.files = tuple(file.path.name for parts in self._made.values() for file in parts.values())

    def holds(self, record: Record) -> bool:
        return all(file.holds(record) for file in self._of[record.name].values())

    def begin(self, waiting: Iterable[str]) -> None:
        for name in waiting:
            for file in self._of[name].values():
                file.waiting.add(name)

    def add(self, record: Record, results: Mapping[str, Pattern | Cake]) -> None:
        for part, pattern in results.items():
            self._of[record.name][part].add(record, pattern)

    def end(self, records: Mapping[str, Record]) -> list[str]:
        for parts in self._made.values():
            for file in parts.values():
                file.end(records)
        return []
