"""Listeners of a run: each does one thing with every processed frame.

The run calls the listeners in order: `begin` before the first frame, `frame` for each outcome, `end` after the last.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..geometry.orientation import COARSE, compare_orientations, override_text
from ..geometry.ring_evidence import structure
from ..io import image_file
from ..io.header import header
from ..io.memory import memory
from ..model.errors import FrameError
from ..model.record import Outcome, Record
from ..model.reference import Reference
from ..results.folder import Folder
from ..stages.collector import Collector, feed_collectors, finish_collectors
from .progress import Progress
from .result import Run

if TYPE_CHECKING:
    from .plan import Plan

NO_ROOM = (MemoryError, ImportError, OSError)  # of a library for which memory or a disk has no room

log = logging.getLogger("xrdpipe")


class Listener:
    """Base class of listeners, which run in the process that started the run."""

    def begin(self) -> None:
        """Prepare for the first frame."""

    def frame(self, outcome: Outcome, image: Reference) -> Outcome:
        """Handle one processed frame.

        Parameters
        ----------
        outcome
            Outcome of the frame, done or failed.
        image
            Reference of the frame.

        Returns
        -------
        Outcome
            The outcome that later listeners receive.
        """
        return outcome

    def end(self, records: Mapping[str, Record]) -> None:
        """Finish before the record of the run is written.

        Parameters
        ----------
        records
            Records of all frames, by name.
        """


class CollectorFeed(Listener):
    """Pass every result to the collectors of the stages; a frame fails if one rejects it."""

    def __init__(self, collectors: Sequence[Collector], waiting: Sequence[Reference], progress: Progress) -> None:
        self._collectors, self._waiting, self._progress = collectors, waiting, progress

    def begin(self) -> None:
        """Announce the waiting frames to the collectors."""
        for collector in self._collectors:
            collector.begin(image.name for image in self._waiting)

    def frame(self, outcome: Outcome, image: Reference) -> Outcome:
        """Pass the results to the collectors and return the outcome with the updated record."""
        if not self._collectors:
            return outcome
        record = feed_collectors(self._collectors, outcome.record, outcome.results, outcome.more)
        return outcome if record is outcome.record else replace(outcome, record=record)

    def end(self, records: Mapping[str, Record]) -> None:
        """Finish the collectors that take results, and show their notes."""
        for note in finish_collectors([each for each in self._collectors if each.takes_results], records):
            self._progress.say(note)


class Journal(Listener):
    """Write the records of frames to the journal as they come, so that a killed run can be resumed."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._records: list[Record] = []

    def frame(self, outcome: Outcome, image: Reference) -> Outcome:
        """Append the record to the journal, with those of the frames that came together with it."""
        self._records.append(outcome.record)
        if not outcome.more:
            self._note()
        return outcome

    def end(self, records: Mapping[str, Record]) -> None:
        """Append records that an interruption has left."""
        self._note()

    def _note(self) -> None:
        records, self._records = self._records, []
        if records:
            self._folder.note(*records)


class ProgressReport(Listener):
    """Count frames on the terminal; report failures and notes there and in the log."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._shown: set[str] = set()

    def frame(self, outcome: Outcome, image: Reference) -> Outcome:
        """Advance the progress and report what went wrong."""
        record = outcome.record
        failure = f"{record.file}: {record.error}" if record.status == "failed" else ""
        self._progress.advance(failure)
        if failure:
            log.error("%s%s", failure, f"\n{outcome.trace}" if outcome.trace else "")
        for note in record.notes:
            text = re.sub(r"[\d.]+", "", note)
            if text not in self._shown:  # notes that differ only in numbers appear once; the log has all of them
                self._progress.say(f"{record.file}: {note}")
                self._shown.add(text)
            log.warning("%s: %s", record.file, note)
        return outcome


class MissingColumns(Listener):
    """Report the first frame without a value for a header column, and finally the number of such frames."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._missing: dict[str, int] = {}

    def frame(self, outcome: Outcome, image: Reference) -> Outcome:
        """Count the columns without a value and report the first frame of each."""
        for name, value in outcome.record.columns.items():
            if value is None:
                self._missing[name] = self._missing.get(name, 0) + 1
                if self._missing[name] == 1:
                    reason = header(image).missing(name)
                    self._progress.say(f"source.columns={name}: {outcome.record.file}: {reason}")
        return outcome

    def end(self, records: Mapping[str, Record]) -> None:
        """Report how many frames lack each column."""
        done = self._progress.done
        for column, count in self._missing.items():
            affected = f"{count} of {done}" if count < done else "all"
            self._progress.say(f"source.columns={column}: empty for {affected} frames")


class OrientationCheck(Listener):
    """Warn if the rings of the first processed frame are those of another orientation.

    The check runs in a thread, so that the frames that follow are recorded meanwhile.
    """

    def __init__(self, plan: Plan, progress: Progress) -> None:
        self._plan, self._progress = plan, progress
        self._thread = ThreadPoolExecutor(1)
        self._check: Future[None] | None = None

    def begin(self) -> None:
        """Load compiled functions and start the thread: without memory the one ends Python, the other blocks it."""
        if not self._plan.waiting and self._plan.arrivals is None:
            return
        with suppress(*NO_ROOM):
            structure(np.zeros((8, 8)), 1)
        self._thread.submit(int)

    def frame(self, outcome: Outcome, image: Reference) -> Outcome:
        """Start the check with the first frame that is done."""
        if self._check is None and outcome.record.status == "done":
            self._check = self._thread.submit(self._warn, image)
        return outcome

    def end(self, records: Mapping[str, Record]) -> None:
        """Wait for the check."""
        self._thread.shutdown()
        if self._check is not None:
            self._check.result()

    def _warn(self, image: Reference) -> None:
        try:
            warning = _orientation_warning(self._plan, image)
        except NO_ROOM:  # the run goes on
            log.warning("the orientation of %s is not checked", image.name, exc_info=True)
            return
        if warning:
            self._progress.say(warning)
            log.warning(warning)


class ResultKeeper(Listener):
    """Keep patterns and masks in memory for the Python interface."""

    def __init__(self, result: Run) -> None:
        self._result = result

    def frame(self, outcome: Outcome, image: Reference) -> Outcome:
        """Add the results of the frame to the result of the run."""
        self._result.take(outcome)
        return outcome

    def end(self, records: Mapping[str, Record]) -> None:
        """Merge the patterns, if the integration merges those of all frames."""
        patterns = self._result.patterns
        if not any(pattern.sums is not None for pattern in patterns.values()):
            return
        from ..stages.integ.multi import MergedSums

        sums, done = MergedSums(), {name for name, record in records.items() if record.status == "done"}
        if done == {name for name in done & set(patterns) if sums.add(patterns[name])}:
            self._result.merged = sums.pattern


def _orientation_warning(plan: Plan, image: Reference) -> str:
    first = image.parts[0] if image.parts else image
    try:
        raw = memory.read(first)[0] if first.array is None else image_file.as_image(first.array)
    except FrameError:
        return ""
    transform, cache = plan.pipeline.source.transform, plan.settings.cache
    verdict = compare_orientations(raw, plan.poni, transform, cache, COARSE)
    if not verdict.right:
        verdict = compare_orientations(raw, plan.poni, transform, cache)
    if not verdict.wrong:
        return ""
    against = f"{verdict.against[verdict.current]:.0f} sigma against yours"
    best = f"{override_text(verdict.best)} (by the rings in {image.name}, {against})"
    return f"is this the orientation of the PONI? {best} may be; xrdpipe doctor says more"
