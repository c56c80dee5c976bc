"""The local engine: frames one after another, in threads or in processes of this computer."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Container, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path

from ...config.parallel import Parallel
from ...model.cores import available_cores
from ...model.record import Outcome, failed_outcome, pending_record
from ...model.reference import Reference, has_arrays
from ...pipeline.process import process_frame
from ...pipeline.recipe import Recipe
from .. import interruption
from .engine import Engine, Process, until_stopped
from .threads import process_in_threads

log = logging.getLogger("xrdpipe")

MAX_DEATHS = 2  # a frame fails if its process dies once more
WORKER_DIED = "every process that had it in hand died; out of memory?"
_running: set[tuple[Recipe, str]] = set()  # frames that threads of this process work on
_stopped: set[Recipe] = set()  # recipes for which no more frames begin


class LocalEngine(Engine):
    """Process frames on this computer: one after another, in threads, or in processes of loky."""

    takes_arrays = True

    @contextmanager
    def open(self, frames: int | None, folder: Path | None) -> Iterator[Process]:
        """Provide the function that processes frames; it starts its workers itself."""
        yield partial(until_stopped, partial(process_all, self.parallel))


def process_all(
    parallel: Parallel, recipe: Recipe, images: Sequence[Reference], shown: Container[str], keep: bool
) -> Generator[Outcome]:
    """Process images and yield their outcomes as they finish; an exception thrown into it ends the workers.

    Parameters
    ----------
    parallel
        Number and kind of the workers.
    recipe
        Pipeline that the workers prepare.
    images
        Frames to process.
    shown
        Names of frames that get a preview picture.
    keep
        Return patterns and masks.
    """
    _stopped.discard(recipe)
    n_jobs = min(available_cores() if parallel.n_jobs == -1 else parallel.n_jobs, len(images))
    if n_jobs == 1:
        yield from (
            process_frame(recipe, image, keep, image.name in shown) for image in images if recipe not in _stopped
        )
        return
    arrays, folder = has_arrays(images), os.getcwd()
    if parallel.backend in ("auto", "threading") or arrays:
        yield from process_in_threads(
            n_jobs, lambda image: _process_unless_stopped(recipe, image, keep, image.name in shown, folder), images
        )
        return
    import joblib

    def process_parallel(batch: Iterable[Reference]) -> Generator[Outcome]:
        with interruption.ignore_signals():
            return joblib.Parallel(n_jobs=n_jobs, backend=parallel.backend, return_as="generator_unordered")(  # type: ignore[no-any-return]
                joblib.delayed(_process_unless_stopped)(recipe, image, keep, image.name in shown, folder)
                for image in batch
            )

    yield from _retry_after_worker_death(process_parallel, images)


def _retry_after_worker_death(
    process_parallel: Callable[[Iterable[Reference]], Generator[Outcome]], images: Sequence[Reference]
) -> Generator[Outcome]:
    """Yield the outcomes of all images; when a worker process dies, all others end with it and start again.

    The frames that were in progress are then processed alone, one after another, because one of them may be the
    cause. A frame fails after the death of `MAX_DEATHS` processes that worked on it alone.
    """
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    new = iter(images)
    waiting = deque[tuple[Reference, int]]()  # with the number of deaths while the frame was in progress

    def some_wait() -> bool:
        if not waiting:
            waiting.extend((image, 0) for image in islice(new, 1))
        return bool(waiting)

    while some_wait():
        running: dict[str, tuple[Reference, int]] = {}

        def next_batch(running: dict[str, tuple[Reference, int]] = running) -> Iterator[Reference]:
            while some_wait() and not (waiting[0][1] and running):
                image, deaths = waiting.popleft()
                running[image.name] = image, deaths
                yield image
                if deaths:
                    return

        try:
            outcomes = process_parallel(next_batch())
            try:
                for outcome in outcomes:
                    yield outcome
                    del running[outcome.record.name]
            except KeyboardInterrupt as interrupt:  # pass it on to joblib
                outcomes.throw(interrupt)
        except TerminatedWorkerError as error:
            log.warning("%s", error)
            for image, deaths in reversed(list(running.values())):
                if deaths < MAX_DEATHS:
                    waiting.appendleft((image, deaths + 1))
                else:
                    yield failed_outcome(image, WORKER_DIED)


def drain(recipe: Recipe) -> None:
    """Begin no more frames of this recipe, and wait for those that threads work on."""
    _stopped.add(recipe)
    while any(running == recipe for running, _ in list(_running)):
        time.sleep(0.01)


def change_folder(folder: str) -> None:
    """Change the working directory of a worker, which may be older than the run, to that of the run."""
    try:
        is_current = os.getcwd() == folder
    except OSError:  # the working directory does not exist any more
        is_current = False
    if not is_current:
        os.chdir(folder)


def _process_unless_stopped(recipe: Recipe, image: Reference, keep: bool, show: bool, folder: str) -> Outcome:
    change_folder(folder)
    _running.add(key := (recipe, image.name))
    try:
        return Outcome(pending_record(image)) if recipe in _stopped else process_frame(recipe, image, keep, show)
    finally:
        _running.discard(key)
