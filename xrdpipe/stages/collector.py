"""What the frames of a run leave together, made in the process that started it, as they come back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..model.cake import Cake
from ..model.errors import FrameError
from ..model.pattern import Pattern

if TYPE_CHECKING:
    from ..model.record import Record

log = logging.getLogger("xrdpipe")


class Collector:
    """What a stage makes of all frames together (`Stage.collect`). Making one touches no file."""

    files: tuple[str, ...] = ()  # that it writes, relative to the run's folder
    takes_results = True  # whether it needs the patterns and cakes themselves, before the record of the run is written

    def holds(self, record: Record) -> bool:
        """Whether a frame that was done before is still there as it was collected."""
        return True

    def begin(self, waiting: Iterable[str]) -> None:
        """The frames ``waiting`` will be done; what is there of them from before goes."""

    def add(self, record: Record, results: Mapping[str, Pattern | Cake]) -> None:
        """Take in a frame with its results by part, in any order; when this returns, it survives a crash.

        FrameError or OSError fails the frame.
        """

    def end(self, records: Mapping[str, Record]) -> list[str]:
        """Finish, when no more frames come; return what the user should know.

        Parameters
        ----------
        records
            The records of every frame in the folder, by name.
        """
        return []


class AtEnd(Collector):
    """Files that are made when a run ends, also one that is stopped, of what its folder then holds.

    Parameters
    ----------
    files
        The files, relative to the folder of the run.
    make
        What makes them of the records of all frames in the folder, and returns what the user should know.
    """

    takes_results = False

    def __init__(self, files: Iterable[str], make: Callable[[Sequence[Record]], list[str]]) -> None:
        self.files = tuple(files)
        self._make = make

    def end(self, records: Mapping[str, Record]) -> list[str]:
        return self._make(list(records.values()))


def feed_collectors(collectors: Sequence[Collector], record: Record, results: Mapping[str, Pattern | Cake]) -> Record:
    """Let all take in a frame; its record, failed where one of them could not."""
    try:
        for collector in collectors:
            collector.add(record, results)
    except (FrameError, OSError) as error:
        return replace(record, status="failed", error=str(error))
    return record


def finish_collectors(collectors: Iterable[Collector], records: Mapping[str, Record]) -> list[str]:
    """Finish all collectors; return what the user should know, failures among it.

    The frames are done: neither a full disk nor a defect of a collector may cost them.
    """
    notes = []
    for collector in collectors:
        try:
            notes += collector.end(records)
        except Exception as error:
            reason = str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
            notes.append(f"{', '.join(collector.files)}: could not be finished ({reason})")
            log.exception("%s could not be finished", ", ".join(collector.files))
    return notes
