"""Frames in the tasks of an array job: this process submits chunks of them, and follows what the tasks say is done.

A task reads and writes the file system that all share. What became of a frame it notes in a journal of its own, in
the folder `ARRAY` of the run: this process reads those, and where it was killed, the next run does (see `folder`).

That folder is the user's alone (mode 0700), as tasks load code from it: submitit hands functions over as pickles.
This process loads from there what its own tasks integrated, and only while it runs; a later run reads the journals,
which are JSON, and no pickle.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import re
import time
from collections.abc import Container, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from typing import Any

from ...config.parallel import Parallel
from ...io.writing import write_json, write_whole
from ...model.cores import available_cores
from ...model.errors import ConfigError
from ...model.record import Outcome, Record, pending_record
from ...model.reference import Reference
from ...model.series import Series
from ...pipeline.pipeline import Pipeline
from ...pipeline.recipe import Recipe
from ...results.journal import ARRAY
from .. import interruption
from .engine import Engine, Process
from .local import drain, process_all
from .queues import Local, Slurm, check_private, log_tail, make_private, needs_submitit
from .remote import deciding_versions, portable_recipe, portable_reference, version_difference

log = logging.getLogger("xrdpipe")


JOBS = "jobs.json"  # in the folder of the array: which jobs there are, for who comes when their run was killed


STOP = "stop"  # a file there that says to all tasks: no more frames


POLL = 0.2  # seconds between two looks at the journals, at least


EACH = 0.01  # seconds between them for each task, at least


ENDING = 60.0  # seconds in which a task ends its frames in hand, before it is cancelled with them


LEAVING = 10.0  # seconds in which one leaves that has nothing more to do


FIELDS = frozenset(each.name for each in fields(Record))


@dataclass(frozen=True)
class Task:
    """What jobs do with their chunks of frames."""

    recipe: Recipe
    shown: frozenset[str]
    keep: bool
    back: bool  # what is integrated is wanted where the run was started
    n_jobs: int
    ours: dict[str, str]  # versions there

    def __call__(self, journal: Path, images: Sequence[Reference], records: Sequence[Record]) -> None:
        """In a job: process the images that are not in the journal yet, as Slurm may start a job anew.

        ``records``: those of the images, with paths as they were given where the run was started.
        """
        interruption.follow_stop_file(journal.parent / STOP)
        lines = journal.read_bytes().split(b"\n")
        done = {row["name"] for row in _rows(lines)}
        given = {record.name: (record, number) for number, record in enumerate(records)}

        def note(outcome: Outcome) -> None:
            ours, number = given[outcome.record.name]
            record = replace(outcome.record, file=ours.file, path=ours.path, parts=ours.parts)
            row = asdict(record) | {"trace": outcome.trace}
            if self.back:
                row["back"] = f"{journal.stem}_{number}.pkl"
                write_whole(journal.parent / row["back"], lambda file: pickle.dump(outcome, file))
            with open(journal, "r+b") as file:  # where it is gone, so is the run
                file.seek(0, os.SEEK_END)
                file.write(json.dumps(row).encode() + b"\n")

        if lines[-1]:  # the line that was being written when this job was killed
            with open(journal, "ab") as file:
                file.write(b"\n")
        images = [image for image in images if image.name not in done]
        if differs := version_difference(self.ours, deciding_versions()):
            for image in images:
                note(_failed(image, f"its node has {differs}"))
            return
        n_jobs = available_cores() if self.n_jobs == -1 else self.n_jobs
        for outcome in process_all(Parallel(n_jobs, "threading"), self.recipe, images, self.shown, self.keep):
            if outcome.record.status != "waiting":
                note(outcome)
            if interruption.stop_requested():
                drain(self.recipe)


@dataclass
class Chunk:
    """A chunk of frames, as the process knows it that submitted it: which of them are away, and in which job."""

    journal: Path
    images: dict[str, Reference]
    again: bool  # the job that had them died
    job: str = ""
    offset: int = 0  # bytes of the journal that were read

    @property
    def content(self) -> tuple[Path, tuple[Reference, ...], tuple[Record, ...]]:
        """What `Task` is called with."""
        return (
            self.journal,
            tuple(map(portable_reference, self.images.values())),
            tuple(map(pending_record, self.images.values())),
        )

    def news(self) -> Iterator[Outcome]:
        """What became of frames since the last look."""
        try:
            with open(self.journal, "rb") as journal:  # opened anew each time: only then a shared file system looks
                journal.seek(self.offset)
                content = journal.read()
        except OSError:
            return
        content = content[: content.rfind(b"\n") + 1]
        self.offset += len(content)
        for row in _rows(content.split(b"\n")):
            if (image := self.images.pop(row["name"], None)) is not None:
                yield self._outcome(row, image)

    def _outcome(self, row: dict[str, Any], image: Reference) -> Outcome:
        record = Record(**{key: value for key, value in row.items() if key in FIELDS})
        if "back" not in row:
            return Outcome(record, trace=str(row["trace"]))
        path = self.journal.parent / row["back"]
        try:
            with open(path, "rb") as file:
                made: Outcome = pickle.load(file)
            path.unlink()
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            return _failed(image, f"its results did not come back ({error})")
        return replace(made, record=record)


class SlurmEngine(Engine):
    """Frames in the tasks of an array job of Slurm."""

    takes_arrivals = False  # its jobs wait in a queue

    @contextmanager
    def open(self, frames: int | None, folder: Path | None) -> Iterator[Process]:
        parallel = self.parallel
        needs_submitit("parallel=slurm")
        if folder is None:
            raise ConfigError("parallel=slurm: its tasks leave results in a folder that all share; say output_dir=...")
        check_private(folder / ARRAY)
        queue: Slurm | Local = Slurm(parallel.options, parallel.n_jobs) if parallel.elsewhere else Local()
        tasks, n_jobs = min(parallel.chunks or 1, frames or 1), parallel.n_jobs
        if not parallel.elsewhere:  # no queue holds the tasks back
            tasks = min(tasks, available_cores())
            n_jobs = max(1, available_cores() // tasks) if n_jobs == -1 else n_jobs
        queue.check(tasks, "parallel=slurm")
        yield partial(follow, queue, tasks, n_jobs)


def check_ended(folder: Path) -> None:
    """Refuse a run into a folder into which the array of a killed one still writes; ConfigError says what to do."""
    try:
        known = json.loads((folder / ARRAY / JOBS).read_text(encoding="utf-8"))
        jobs = [job for job in known["jobs"] if re.fullmatch(r"\d+(_\d+)?", job)]
        queue: Slurm | Local = Slurm({}, -1) if known["queue"] == Slurm.name else Local()
    except (OSError, ValueError, KeyError, TypeError):
        return
    if jobs and (alive := queue.alive(jobs)):
        names = sorted({job.partition("_")[0] for job in alive})
        how = f"{'scancel' if isinstance(queue, Slurm) else 'kill'} {' '.join(names)}"
        going = f"{len(alive)} tasks of a run that was killed still go on there"
        raise ConfigError(f"output_dir={folder}: {going}; wait until they have ended, or end them with {how}")


def follow(
    queue: Slurm | Local,
    tasks: int,
    n_jobs: int,
    recipe: Recipe,
    images: Sequence[Reference],
    shown: Container[str],
    keep: bool,
) -> Generator[Outcome]:
    """As `local_engine.process_all`, in ``tasks`` jobs with ``n_jobs`` threads each.

    The frames of a task that died are submitted once more; those of one that died again fail. Told to stop, it cancels
    what waits, lets tasks end their frames in hand, and still hands those over.
    """
    there = portable_recipe(recipe)
    assert there.folder is not None
    wanted = frozenset(image.name for image in images if image.name in shown)
    array = Array(
        queue, there.folder / ARRAY, Task(there, wanted, keep, keep or _collects(recipe), n_jobs, deciding_versions())
    )
    make_private(array.home)
    cuts = [len(images) * number // tasks for number in range(tasks + 1)]
    try:
        yield from array.submit([images[low:high] for low, high in pairwise(cuts)])
        looked = time.monotonic()
        while array.chunks:
            if interruption.stop_requested():
                raise KeyboardInterrupt
            yield from array.news()
            if time.monotonic() - looked > queue.pause:
                yield from array.buried()
                looked = time.monotonic()
            if array.chunks:
                time.sleep(max(POLL, EACH * len(array.chunks)))
        array.left()
    except KeyboardInterrupt:
        yield from array.stopped()
        raise
    except BaseException:
        array.end(running=True)
        raise


@dataclass
class Array:
    """The chunks that are away, in jobs of ``queue`` that do what ``task`` does."""

    queue: Slurm | Local
    home: Path
    task: Task
    chunks: list[Chunk] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)  # all that there were

    def submit(self, batches: Iterable[Sequence[Reference]], again: bool = False) -> Iterator[Outcome]:
        """Submit a chunk for each batch; where that cannot be, their frames fail."""
        number = count(len(self.jobs))
        new = [
            Chunk(self.home / f"{next(number):05}.jsonl", {each.name: each for each in batch}, again)
            for batch in batches
        ]
        for chunk in new:
            chunk.journal.touch()  # of a new file a shared file system may hear late
        try:
            jobs = self.queue.submit(self.home, [partial(self.task, *chunk.content) for chunk in new])
        except OSError as error:
            yield from (_failed(image, str(error)) for chunk in new for image in chunk.images.values())
            return
        for chunk, chunk.job in zip(new, jobs, strict=True):
            self.chunks.append(chunk)
            self.jobs.append(chunk.job)
            log.info("%d frames: job %s of %s", len(chunk.images), chunk.job, self.queue.name)
        write_json(self.home / JOBS, {"queue": self.queue.name, "jobs": self.jobs})

    def news(self) -> Iterator[Outcome]:
        """What became of frames since the last look; chunks that are done go."""
        for chunk in [*self.chunks]:
            yield from chunk.news()
            if not chunk.images:
                self.chunks.remove(chunk)

    def lost(self) -> Iterator[Outcome | Chunk]:
        """Chunks whose job is gone; before each, what it wrote until then."""
        alive = self.queue.alive(chunk.job for chunk in self.chunks)
        for chunk in [chunk for chunk in self.chunks if chunk.job not in alive]:
            yield from chunk.news()
            self.chunks.remove(chunk)
            if chunk.images:
                yield chunk

    def buried(self) -> Iterator[Outcome]:
        """Submit the frames of lost chunks again; those that were lost before fail."""
        anew = []
        for lost in self.lost():
            if isinstance(lost, Outcome):
                yield lost
                continue
            reason = f"its job {lost.job} ended early ({self.queue.reason(lost.job)})"
            log.warning("%d frames: %s; its last words:\n%s", len(lost.images), reason, log_tail(self.home, lost.job))
            if lost.again:
                yield from (
                    _failed(each, f"{reason}, the second one; see xrdpipe.log") for each in lost.images.values()
                )
            else:
                anew.append([*reversed(lost.images.values())])  # the one that may have killed it comes last
        if anew:
            yield from self.submit(anew, again=True)

    def left(self) -> None:
        """Wait until the jobs have left, or their last steps would fail for want of the folder."""
        until = time.monotonic() + LEAVING
        while time.monotonic() < until and self.queue.alive(self.jobs):
            time.sleep(POLL)

    def end(self, running: bool) -> None:
        """Let tasks take no more frames, and cancel those that wait, or also those that are ``running``."""
        (self.home / STOP).touch()
        if jobs := [chunk.job for chunk in self.chunks]:
            self.queue.end(jobs, running)

    def stopped(self) -> Iterator[Outcome]:
        """End all, and hand over what tasks still had in hand: they must not write when all is tidied."""
        self.end(running=False)
        for running in (False, True):
            if running and self.chunks:
                self.end(running)
            until = time.monotonic() + ENDING
            while self.chunks and time.monotonic() < until:
                yield from self.news()
                yield from (each for each in self.lost() if isinstance(each, Outcome))
                time.sleep(1 if self.chunks else 0)
        if self.chunks:
            log.warning("jobs %s did not end", ", ".join(chunk.job for chunk in self.chunks))


def _collects(recipe: Recipe) -> bool:
    """Whether a stage makes something of all patterns together, which is done in this process."""
    pipeline = Pipeline.of(json.loads(recipe.config), list(recipe.order))
    series = Series(recipe.folder or Path(), {}, {}, "", None, "")
    return any(each.takes_results for each in pipeline.collectors(series))


def _failed(image: Reference, reason: str) -> Outcome:
    return Outcome(replace(pending_record(image), status="failed", error=reason))


def _rows(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:  # nothing, or half a line
            continue
        if isinstance(row, dict) and {"file", "name"} <= set(row):
            yield row
