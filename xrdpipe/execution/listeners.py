"""What listens to a run: each listener does one thing with every frame that comes back.

The run calls them in order: `begin` before the first frame, `frame` for each outcome, `end` when no more come.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..geometry.orientation import COARSE, judge, override_text
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

log = logging.getLogger("xrdpipe")


class Listener:
    """Does something with the frames of a run, in the process that started it."""

    def begin(self) -> None:
        """Begin, before the first frame."""

    def frame(self, outcome: Outcome, image: Reference) -> Outcome:
        """Take in a frame that came back, done or failed; return what the listeners after this one see of it."""
        return outcome

    def end(self, records: Mapping[str, Record]) -> None:
        """Finish, before the record of the run is written; ``records`` are those of all frames, by name."""


class Collecting(Listener):
    """Hands every result to the collectors of the stages; a frame fails where one cannot take it in."""

    def __init__(self, collectors: Sequence[Collector], waiting: Sequence[Reference], progress: Progress) -> None:
        self._collectors, self._waiting, self._progress = collectors, waiting, progress

    def begin(self) -> None:
        for collector in self._collectors:
            collector.begin(image.name for image in self._waiting)

    def frame(self, outcome: Outcome, image: Reference) -> Outcome:
        return replace(outcome, record=feed_collectors(self._collectors, outcome.record, outcome.results))

    def end(self, records: Mapping[str, Record]) -> None:
        for note in finish_collectors([each for each in self._collectors if each.takes_results], records):
            self._progress.say(note)


class Journal(Listener):
    """Notes every frame in the folder at once, so that a run that is killed can be resumed."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def frame(self, outcome: Outcome, image: Reference) -> Outcome:
        self._folder.note(outcome.record)
        return outcome


class Telling(Listener):
    """Counts frames on the terminal, and tells failures and notes there and in the log."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._told: set[str] = set()

    def frame(self, outcome: Outcome, image: Reference) -> Outcome:
        record = outcome.record
        failure = f"{record.file}: {record.error}" if record.status == "failed" else ""
        self._progress.advance(failure)
        if failure:
            log.error("%s%s", failure, f"\n{outcome.trace}" if outcome.trace else "")
        for note in record.notes:
            words = re.sub(r"[\d.]+", "", note)
            if words not in self._told:  # the terminal has the same words once, of the first frame; the log has all
                self._progress.say(f"{record.file}: {note}")
                self._told.add(words)
            log.warning("%s: %s", record.file, note)
        return outcome


class MissingColumns(Listener):
    """Says of each column of the header the first frame without a value, and in the end how many have none."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._missing: dict[str, int] = {}

    def frame(self, outcome: Outcome, image: Reference) -> Outcome:
        for name, value in outcome.record.columns.items():
            if value is None:
                self._missing[name] = self._missing.get(name, 0) + 1
                if self._missing[name] == 1:
                    reason = header(image).missing(name)
                    self._progress.say(f"source.columns={name}: {outcome.record.file}: {reason}")
        return outcome

    def end(self, records: Mapping[str, Record]) -> None:
        done = self._progress.done
        for column, count in self._missing.items():
            some = f"{count} of {done}" if count < done else "all"
            self._progress.say(f"source.columns={column}: empty for {some} frames")


class OrientationCheck(Listener):
    """Warns, by the first frame that is done, where its rings are those of another orientation."""

    def __init__(self, plan: Plan, progress: Progress) -> None:
        self._plan, self._progress = plan, progress
        self._done = False

    def frame(self, outcome: Outcome, image: Reference) -> Outcome:
        if not self._done and outcome.record.status == "done":
            self._done = True
            if warning := _orientation_warning(self._plan, image):
                self._progress.say(warning)
                log.warning(warning)
        return outcome


class Keeping(Listener):
    """Keeps patterns and masks for Python."""

    def __init__(self, result: Run) -> None:
        self._result = result

    def frame(self, outcome: Outcome, image: Reference) -> Outcome:
        self._result.take(outcome)
        return outcome


def _orientation_warning(plan: Plan, image: Reference) -> str:
    first = image.parts[0] if image.parts else image
    try:
        raw = memory.read(first)[0] if first.array is None else image_file.as_image(first.array)
    except FrameError:
        return ""
    transform, cache = plan.pipeline.source.transform, plan.settings.cache
    verdict = judge(raw, plan.poni, transform, cache, COARSE)
    if not verdict.right:
        verdict = judge(raw, plan.poni, transform, cache)
    if not verdict.wrong:
        return ""
    against = f"{verdict.against[verdict.given]:.0f} sigma against yours"
    best = f"{override_text(verdict.best)} (by the rings in {image.name}, {against})"
    return f"is this the orientation of the PONI? {best} may be; xrdpipe doctor says more"
