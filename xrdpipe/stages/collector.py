"""What the frames of a run leave together, made in the process that started it, as they come back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..model.cake import Cake
from ..model.errors import FrameError
from ..model.pattern import Pattern

if TYPE_CHECKING:
    from ..model.record import Record


class Collector:
    """What a stage makes of all frames together (`Stage.collect`). Making one touches nothing."""

    files: tuple[str, ...] = ()  # that it writes, relative to the run's folder

    def holds(self, record: Record) -> bool:
        """Whether a frame that was done before is still there as it was collected."""
        return True

    def begin(self, waiting: Iterable[str]) -> None:
        """The frames ``waiting`` will be done; what is there of them from before goes."""

    def add(self, record: Record, results: Mapping[str, Pattern | Cake]) -> None:
        """Take in a frame with its results by part, in any order; when this returns, it survives a crash.

        FrameError or OSError fails the frame.
        """

    def end(self, records: Mapping[str, Record]) -> None:
        """All are there that will come; ``records`` are those of every frame in the folder, by name."""


def feed_collectors(collectors: Sequence[Collector], record: Record, results: Mapping[str, Pattern | Cake]) -> Record:
    """Let all take in a frame; its record, failed where one of them could not."""
    try:
        for collector in collectors:
            collector.add(record, results)
    except (FrameError, OSError) as error:
        return replace(record, status="failed", error=str(error))
    return record


def finish_collectors(collectors: Sequence[Collector], records: Mapping[str, Record]) -> list[str]:
    """End all; what went wrong, in words. What they took in is there all the same."""
    troubles = []
    for collector in collectors:
        try:
            collector.end(records)
        except OSError as error:
            troubles.append(f"{', '.join(collector.files)}: could not be finished ({error})")
    return troubles
