"""Collector that writes the NeXus files that the frames of a run share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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

    takes_arrivals = True

    def __init__(self, series: Series) -> None:
        self._series = series
        self._files: dict[str, dict[str, NexusFile]] = {}
        self._files_of: dict[str, dict[str, NexusFile]] = {}
        for stack, names in self._names().items():
            self._files[stack] = self._open(stack, names)
            self._files_of |= dict.fromkeys(names, self._files[stack])

    @property
    def files(self) -> tuple[str, ...]:  # type: ignore[override] # of the stacks that are known
        """Paths of the files that it writes, relative to the folder of the run."""
        return tuple(file.path.name for parts in self._files.values() for file in parts.values())

    def holds(self, record: Record) -> bool:
        """Return True if all files of the frame still hold it."""
        return all(file.holds(record) for file in self._of(record.name).values())

    def begin(self, waiting: Iterable[str]) -> None:
        """Mark the frames of these names as waiting in their files."""
        for name in waiting:
            for file in self._of(name).values():
                file.waiting.add(name)

    def add(self, record: Record, results: Mapping[str, Pattern | Cake]) -> None:
        """Keep each result of the frame for its file."""
        for part, pattern in results.items():
            self._of(record.name)[part].keep(record, pattern)

    def flush(self, record: Record) -> None:
        """Write what is kept into the files."""
        for parts in self._files.values():
            for file in parts.values():
                file.flush(record.name)

    def end(self, records: Mapping[str, Record]) -> list[str]:
        """Finish all files."""
        names = self._names() if self._series.grows else {}
        for stack, parts in self._files.items():
            for file in parts.values():
                file.names = names.get(stack, file.names)
                file.end(records)
        return []

    def _names(self) -> dict[str, list[str]]:
        """Return the names of the frames that are known, by their stack."""
        names: dict[str, list[str]] = {}
        for name, stack in self._series.stacks.items():
            names.setdefault(stack or SINGLE, []).append(name)
        return names

    def _open(self, stack: str, names: Sequence[str]) -> dict[str, NexusFile]:
        titles = {part: f"{stack}_{part}" if part else stack for part in self._series.parts}
        if not self._series.grows:
            return {part: NexusFile(self._series, title, names) for part, title in titles.items()}
        from ..io.live.nexus import LiveNexusFile

        return {part: LiveNexusFile(self._series, title) for part, title in titles.items()}

    def _of(self, name: str) -> dict[str, NexusFile]:
        """Return the files of a frame, also of one that has arrived since."""
        if name not in self._files_of:
            for stack, names in self._names().items():
                if stack not in self._files:
                    self._files[stack] = self._open(stack, names)
                self._files_of |= dict.fromkeys(names, self._files[stack])
        return self._files_of[name]
