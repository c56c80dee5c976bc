"""Workers: frames through the pipeline, one after another or side by side, in threads or processes."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Container, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from ...config.parallel import Parallel
from ...model.cores import available_cores
from ...model.record import Outcome, pending_record
from ...model.reference import Reference
from ...pipeline.process import process_frame
from ...pipeline.recipe import Recipe
from .. import interruption
from .engine import Engine, Process, until_stopped

log = logging.getLogger("xrdpipe")


ALONE = 2  # times that a frame may be alone with a process that dies


KILLER = "every process that had it in hand died; out of memory?"


_running: set[tuple[Recipe, str]] = set()  # frames that threads of this process have in hand


_stopped: set[Recipe] = set()  # runs of this process that take no more


class LocalEngine(Engine):
    """Frames on this computer: one after another, in threads, or in processes of loky."""

    takes_arrays = True

    @contextmanager
    def open(self, frames: int | None, folder: Path | None) -> Iterator[Process]:
        yield partial(until_stopped, partial(process_all, self.parallel))


def process_all(
    parallel: Parallel, recipe: Recipe, images: Sequence[Reference], shown: Container[str], keep: bool
) -> Generator[Outcome]:
    """Process all images, in whatever order they are done; what is thrown into it ends the workers.

    ``shown``: the names of those of which a small picture stays; ``keep``: patterns and masks come back.
    """
    _stopped.discard(recipe)
    n_jobs = min(available_cores() if parallel.n_jobs == -1 else parallel.n_jobs, len(images))
    if n_jobs == 1:
        yield from (
            process_frame(recipe, image, keep, image.name in shown) for image in images if recipe not in _stopped
        )
        return
    import joblib

    arrays = any(image.array is not None for image in images)
    backend = "threading" if parallel.backend == "auto" or arrays else parallel.backend
    here = os.getcwd()

    def side_by_side(some: Iterable[Reference]) -> Generator[Outcome]:
        with interruption.ignore_signals(backend == "loky"):
            return joblib.Parallel(n_jobs=n_jobs, backend=backend, return_as="generator_unordered")(  # type: ignore[no-any-return]
                joblib.delayed(_unless_stopped)(recipe, image, keep, image.name in shown, here) for image in some
            )

    yield from (side_by_side(images) if backend == "threading" else _retry_after_worker_death(side_by_side, images))


def _retry_after_worker_death(
    side_by_side: Callable[[Iterable[Reference]], Generator[Outcome]], images: Sequence[Reference]
) -> Generator[Outcome]:
    """The outcomes of all images, where with one process that dies all others end as well.

    Those that were in hand then are done again alone, one after another, as one of them may be the reason; then the
    others go on. One that is alone with two processes that die fails.
    """
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    waiting = deque((image, 0) for image in images)  # each with how often it was in hand when one died
    while waiting:
        taken: dict[str, tuple[Reference, int]] = {}

        def some(taken: dict[str, tuple[Reference, int]] = taken) -> Iterator[Reference]:
            while waiting and not (waiting[0][1] and taken):
                image, deaths = waiting.popleft()
                taken[image.name] = image, deaths
                yield image
                if deaths:
                    return

        try:
            made = side_by_side(some())
            try:
                for outcome in made:
                    yield outcome
                    del taken[outcome.record.name]
            except KeyboardInterrupt as stopping:  # as it would be without us in between
                made.throw(stopping)
        except TerminatedWorkerError as error:
            log.warning("%s", error)
            for image, deaths in reversed(list(taken.values())):
                if deaths < ALONE:
                    waiting.appendleft((image, deaths + 1))
                else:
                    yield Outcome(replace(pending_record(image), status="failed", error=KILLER))


def drain(recipe: Recipe) -> None:
    """Take no more frames of this recipe, and wait for those that threads have in hand."""
    _stopped.add(recipe)
    while any(each == recipe for each, _ in list(_running)):
        time.sleep(0.01)


def change_folder(folder: str) -> None:
    """Make relative paths mean in this process what they mean in ``folder``: a worker may be older than the run."""
    try:
        there = os.getcwd() == folder
    except OSError:  # its own is gone
        there = False
    if not there:
        os.chdir(folder)


def _unless_stopped(recipe: Recipe, image: Reference, keep: bool, show: bool, here: str) -> Outcome:
    change_folder(here)
    _running.add(key := (recipe, image.name))
    try:
        return Outcome(pending_record(image)) if recipe in _stopped else process_frame(recipe, image, keep, show)
    finally:
        _running.discard(key)
