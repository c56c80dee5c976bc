"""Collectors: results of all frames of a run together, made in the process that started the run."""

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
    """Base class of what a stage makes from all frames together, see `Stage.collect`.

    The constructor touches no file.

    Attributes
    ----------
    files
        Paths of the files that it writes, relative to the folder of the run.
    takes_results
        True if `add` needs the patterns and cakes; the run then calls it before it writes the record of a frame.
    takes_arrivals
        True if `add` takes frames that arrive during the run, which `begin` does not name.
    """

    files: tuple[str, ...] = ()
    takes_results = True
    takes_arrivals = False

    def holds(self, record: Record) -> bool:
        """Return True if the files still hold this frame of an earlier run."""
        return True

    def begin(self, waiting: Iterable[str]) -> None:
        """Prepare for the frames of these names: discard their earlier results."""

    def add(self, record: Record, results: Mapping[str, Pattern | Cake]) -> None:
        """Add one frame; frames come in any order. An added frame survives a crash once it is flushed.

        Parameters
        ----------
        record
            The record of the frame.
        results
            Its patterns and cakes, by the name of the part; "" is the pattern of the whole frame.

        Raises
        ------
        FrameError, OSError
            The frame cannot be added; its record then says that it failed.
        """

    def flush(self, record: Record) -> None:
        """Write what `add` kept back, after the last of several frames that come together; ``record`` is its record.

        Raises
        ------
        OSError
            It cannot be written; the record of the last frame then says that it failed.
        """

    def end(self, records: Mapping[str, Record]) -> list[str]:
        """Finish after the last frame.

        Parameters
        ----------
        records
            The records of all frames in the folder, by name.

        Returns
        -------
        list of str
            Notes for the user.
        """
        return []


class AtEnd(Collector):
    """Collector that writes its files once, when the run ends or is stopped.

    Parameters
    ----------
    files
        Paths of the files, relative to the folder of the run.
    make
        Writes the files from the records of all frames in the folder, and returns notes for the user.
    """

    takes_results = False

    def __init__(self, files: Iterable[str], make: Callable[[Sequence[Record]], list[str]]) -> None:
        self.files = tuple(files)
        self._make = make

    def end(self, records: Mapping[str, Record]) -> list[str]:
        """Write the files from the records of all frames."""
        return self._make(list(records.values()))


def feed_collectors(
    collectors: Sequence[Collector], record: Record, results: Mapping[str, Pattern | Cake], more: bool = False
) -> Record:
    """Add a frame to all collectors, and flush them unless ``more`` frames come together with it.

    Returns
    -------
    Record
        The record of the frame; its status is "failed" if a collector refuses the frame.
    """
    try:
        for collector in collectors:
            collector.add(record, results)
    except (FrameError, OSError) as error:
        record = replace(record, status="failed", error=str(error))
    try:
        for collector in () if more else collectors:
            collector.flush(record)
    except OSError as error:
        record = replace(record, status="failed", error=str(error))
    return record


def finish_collectors(collectors: Iterable[Collector], records: Mapping[str, Record]) -> list[str]:
    """Finish all collectors and return their notes for the user, including failures.

    All frames are done by now, so an error in a collector is logged and noted, never raised.
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
