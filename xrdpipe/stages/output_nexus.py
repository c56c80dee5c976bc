"""Collector that writes the NeXus files that the frames of a run share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ..io.nexus import SINGLE, NexusFile
from ..model.cake import Cake
from ..model.pattern import Pattern
from ..model.series import Series
from .collector import Collector

if TYPE_CHECKING:
    from ..model.record import Record


class NexusFiles(Collector):
    """Write one NeXus file for each stack, and one for all frames with a file of their own.

    Sectors and cakes have NeXus files of their own, one for each part.

    Parameters
    ----------
    series
        The frames of the run, their stacks and their parts.
    """

    def __init__(self, series: Series) -> None:
        names: dict[str, list[str]] = {}
        for name, stack in series.stacks.items():
            names.setdefault(stack or SINGLE, []).append(name)
        self._files = {
            stack: {part: NexusFile(series, f"{stack}_{part}" if part else stack, own) for part in series.parts}
            for stack, own in names.items()
        }
        self._files_of = {name: self._files[stack or SINGLE] for name, stack in series.stacks.items()}
        self.files = tuple(file.path.name for parts in self._files.values() for file in parts.values())

    def holds(self, record: Record) -> bool:
        """Return True if all files of the frame still hold it."""
        return all(file.holds(record) for file in self._files_of[record.name].values())

    def begin(self, waiting: Iterable[str]) -> None:
        """Mark the frames of these names as waiting in their files."""
        for name in waiting:
            for file in self._files_of[name].values():
                file.waiting.add(name)

    def add(self, record: Record, results: Mapping[str, Pattern | Cake]) -> None:
        """Keep each result of the frame for its file."""
        for part, pattern in results.items():
            self._files_of[record.name][part].keep(record, pattern)

    def flush(self, record: Record) -> None:
        """Write what is kept into the files."""
        for parts in self._files.values():
            for file in parts.values():
                file.flush(record.name)

    def end(self, records: Mapping[str, Record]) -> list[str]:
        """Finish all files."""
        for parts in self._files.values():
            for file in parts.values():
                file.end(records)
        return []
