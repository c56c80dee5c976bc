"""Workers: frames through the pipeline, one after another or side by side, in threads or processes."""

from __future__ import annotations

import logging
import os
import time
import traceback
from collections import deque
from collections.abc import Callable, Container, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import stop
from .config import cores
from .folder import Record
from .frame import Cake, FrameError, Pattern, Reference
from .metrics import metrics
from .parallel import Parallel
from .pipeline import Recipe, prepared
from .preview import write_preview
from .provenance import file_hash
from .source import absolute, given

log = logging.getLogger("xrdpipe")

ALONE = 2  # times that a frame may be alone with a process that dies
KILLER = "every process that had it in hand died; out of memory?"

_running: set[tuple[Recipe, str]] = set()  # frames that threads of this process have in hand
_stopped: set[Recipe] = set()  # runs of this process that take no more


@dataclass(frozen=True)
class Outcome:
    """What a worker sends back of a frame: its record, its pattern, and where masks are kept its mask."""

    record: Record
    pattern: Pattern | None = None
    mask: NDArray[np.uint8] | None = None  # bits, packed
    sectors: Mapping[str, Pattern] = field(default_factory=dict)
    cake: Cake | None = None
    trace: str = ""

    @property
    def results(self) -> dict[str, Pattern | Cake]:
        """What was integrated, by the suffix of its files."""
        made = {"": self.pattern, **self.sectors, "cake": self.cake}
        return {suffix: result for suffix, result in made.items() if result is not None}


# See `outcomes`. It ends with KeyboardInterrupt when the user wants no more frames, see `stop`.
Engine = Callable[[Recipe, Sequence[Reference], Container[str], bool], Generator[Outcome]]


def record_of(image: Reference) -> Record:
    """The record of a frame that is still to be done."""
    if image.array is not None:
        return Record(given(image), image.name)
    return Record(given(image), image.name, path=absolute(image), parts=[absolute(part) for part in image.parts])


@contextmanager
def opened(parallel: Parallel, images: Sequence[Reference], more: bool, folder: Path | None) -> Iterator[Engine]:
    """What processes frames, with the workers that it needs while it is open; ConfigError where there are none.

    ``more``: others than these ``images`` will come; ``folder``: where results go. Arrays are in this process and stay
    in it.
    """
    here = not (images or more) or any(image.array is not None for image in images)
    if here or parallel.backend not in ("dask", "slurm"):
        yield partial(until_stopped, partial(outcomes, parallel))
        return
    if parallel.backend == "slurm":
        from . import array

        yield array.opened(parallel, len(images), folder)
        return
    from . import cluster

    with cluster.opened(parallel, None if more else len(images)) as client:
        yield partial(until_stopped, partial(cluster.outcomes, client))


def until_stopped(
    engine: Engine, recipe: Recipe, images: Sequence[Reference], shown: Container[str], keep: bool
) -> Generator[Outcome]:
    """What ``engine`` gives, until the user wants no more."""
    made = engine(recipe, images, shown, keep)
    for outcome in made:
        yield outcome
        if stop.asked():
            made.throw(KeyboardInterrupt)


def outcomes(
    parallel: Parallel, recipe: Recipe, images: Sequence[Reference], shown: Container[str], keep: bool
) -> Generator[Outcome]:
    """Process all images, in whatever order they are done; what is thrown into it ends the workers.

    ``shown``: the names of those of which a small picture stays; ``keep``: patterns and masks come back.
    """
    _stopped.discard(recipe)
    n_jobs = min(cores() if parallel.n_jobs == -1 else parallel.n_jobs, len(images))
    if n_jobs == 1:
        yield from (process(recipe, image, keep, image.name in shown) for image in images if recipe not in _stopped)
        return
    import joblib

    arrays = any(image.array is not None for image in images)
    backend = "threading" if parallel.backend == "auto" or arrays else parallel.backend
    here = os.getcwd()

    def side_by_side(some: Iterable[Reference]) -> Generator[Outcome]:
        with stop.deaf(backend == "loky"):
            return joblib.Parallel(n_jobs=n_jobs, backend=backend, return_as="generator_unordered")(  # type: ignore[no-any-return]
                joblib.delayed(_unless_stopped)(recipe, image, keep, image.name in shown, here) for image in some
            )

    yield from (side_by_side(images) if backend == "threading" else _whoever_dies(side_by_side, images))


def _whoever_dies(
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
                    yield Outcome(replace(record_of(image), status="failed", error=KILLER))


def rest(recipe: Recipe) -> None:
    """Take no more frames of this recipe, and wait for those that threads have in hand."""
    _stopped.add(recipe)
    while any(each == recipe for each, _ in list(_running)):
        time.sleep(0.01)


def go_to(folder: str) -> None:
    """Make relative paths mean in this process what they mean in ``folder``: a worker may be older than the run."""
    try:
        there = os.getcwd() == folder
    except OSError:  # its own is gone
        there = False
    if not there:
        os.chdir(folder)


def _unless_stopped(recipe: Recipe, image: Reference, keep: bool, show: bool, here: str) -> Outcome:
    go_to(here)
    _running.add(key := (recipe, image.name))
    try:
        return Outcome(record_of(image)) if recipe in _stopped else process(recipe, image, keep, show)
    finally:
        _running.discard(key)


def process(recipe: Recipe, image: Reference, keep: bool, show: bool = False) -> Outcome:
    """One frame, in whatever process or thread; a failure is that frame's alone.

    ``keep``: pattern and mask come back; ``show``: a small picture for the report stays in the folder.
    """
    clock = time.monotonic()
    record = record_of(image)
    try:
        pipeline = prepared(recipe)
        frame, steps, (size, mtime_ns) = pipeline(image)
        if show and recipe.folder is not None:
            write_preview(recipe.folder, frame)
        outputs = {} if recipe.folder is None else _hashes(recipe.folder, pipeline.pipeline.outputs(image.name))
    except FrameError as error:
        return Outcome(replace(record, status="failed", error=str(error), seconds=time.monotonic() - clock))
    except Exception as error:  # a full disk, a bug in a stage: it must not cost the other frames
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, OSError) and error.strerror:
            reason = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        if isinstance(error, MemoryError):
            reason = f"not enough memory{f' ({error})' if str(error) else ''}; lower parallel.n_jobs"
        failed = replace(record, status="failed", error=reason, seconds=time.monotonic() - clock)
        return Outcome(failed, trace=traceback.format_exc())
    masked = frame.masked
    done = replace(
        record,
        status="done",
        masked_fraction=round(np.count_nonzero(masked) / masked.size, 6),
        seconds=round(time.monotonic() - clock, 4),
        hash=frame.digest,
        size=size,
        mtime_ns=mtime_ns,
        method=frame.pattern.method if frame.pattern else "",
        outputs=outputs,
        metrics=metrics(frame),
        columns=pipeline.pipeline.source.values(frame.header),
        steps=steps,
        notes=list(frame.notes),
    )
    mask = np.packbits(pipeline.pipeline.source.to_raw(masked)) if keep else None
    return Outcome(done, frame.pattern, mask, frame.sectors, frame.cake)


def _hashes(folder: Path, files: list[str]) -> dict[str, str]:
    return {file: file_hash(folder / file) for file in files if (folder / file).exists()}
