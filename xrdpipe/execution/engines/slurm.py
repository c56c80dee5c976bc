"""The Slurm engine: chunks of frames in the tasks of an array job.

This process submits the chunks and follows the journals of the tasks. All of them share a file system. A task notes
every frame in a journal of its own, in the folder `ARRAY` of the run. This process reads the journals; if it was
killed, the next run does (see `results.folder`).

Only the user can access that folder (mode 0700), because tasks load code from it: submitit passes functions as
pickles. This process loads results from there only while it runs, and only those of its own tasks. A later run reads
the journals, which are JSON, and no pickles.
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
from dataclasses import dataclass, field, fields, replace
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from typing import Any

from ...config.parallel import Parallel
from ...io.writing import write_json, write_whole
from ...model.cores import available_cores
from ...model.errors import ConfigError
from ...model.record import Outcome, Record, failed_outcome, pending_record
from ...model.reference import Reference
from ...pipeline.pipeline import Pipeline
from ...pipeline.recipe import Recipe
from ...results.journal import ARRAY
from .. import interruption
from .engine import Engine, Process
from .local import drain, process_all
from .queues import Local, Slurm, check_private, log_tail, make_private, needs_submitit
from .remote import deciding_versions, portable_recipe, portable_reference, version_difference, with_paths_of

log = logging.getLogger("xrdpipe")

JOBS = "jobs.json"  # lists the jobs, for the next run if this one is killed
STOP = "stop"  # stop file of the tasks, see `follow_stop_file`
POLL = 0.2  # minimum seconds between two reads of the journals
POLL_PER_TASK = 0.01  # minimum seconds between them per task
STOP_TIMEOUT = 60.0  # seconds in which a task finishes the frames in progress before it is cancelled
EXIT_TIMEOUT = 10.0  # seconds in which a task that is done exits
RECORD_FIELDS = frozenset(each.name for each in fields(Record))


@dataclass(frozen=True)
class Task:
    """The function that jobs call with their chunk of frames.

    Attributes
    ----------
    recipe
        Pipeline to prepare.
    shown
        Names of frames that get a preview picture.
    keep
        Return patterns and masks.
    return_results
        Pass the outcomes with their results to the process that started the run.
    n_jobs
        Threads of each job; -1 for all cores.
    versions
        Versions of the packages where the run was started.
    """

    recipe: Recipe
    shown: frozenset[str]
    keep: bool
    return_results: bool
    n_jobs: int
    versions: dict[str, str]

    def __call__(self, journal: Path, images: Sequence[Reference], records: Sequence[Record]) -> None:
        """Process the images that are not in the journal yet; Slurm may start a job again.

        Parameters
        ----------
        journal
            Journal of the chunk.
        images
            Frames of the chunk.
        records
            Pending records of the frames, with the paths that the user wrote.
        """
        interruption.follow_stop_file(journal.parent / STOP)
        lines = journal.read_bytes().split(b"\n")
        done = {row["name"] for row in _rows(lines)}
        pending = {record.name: (record, number) for number, record in enumerate(records)}

        def note(outcome: Outcome) -> None:
            local, number = pending[outcome.record.name]
            record = with_paths_of(outcome.record, local)
            row = vars(record) | {"trace": outcome.trace}
            if self.return_results:
                row["back"] = f"{journal.stem}_{number}.pkl"
                write_whole(journal.parent / row["back"], lambda file: pickle.dump(replace(outcome, more=False), file))
            with open(journal, "r+b") as file:  # fails if the journal was removed, as the run has ended then
                file.seek(0, os.SEEK_END)
                file.write(json.dumps(row).encode() + b"\n")

        if lines[-1]:  # a partial line, left when this job was killed
            with open(journal, "ab") as file:
                file.write(b"\n")
        images = [image for image in images if image.name not in done]
        if difference := version_difference(self.versions, deciding_versions()):
            for image in images:
                note(failed_outcome(image, f"its node has {difference}"))
            return
        n_jobs = available_cores() if self.n_jobs == -1 else self.n_jobs
        for outcome in process_all(Parallel(n_jobs, "threading"), self.recipe, images, self.shown, self.keep):
            if outcome.record.status != "waiting":
                note(outcome)
            if interruption.stop_requested():
                drain(self.recipe)


@dataclass
class Chunk:
    """A submitted chunk of frames.

    Attributes
    ----------
    journal
        Journal that the job writes.
    images
        Frames without an outcome so far, by name.
    retried
        An earlier job with these frames died.
    job
        Name of the job.
    offset
        Number of bytes of the journal that were read.
    """

    journal: Path
    images: dict[str, Reference]
    retried: bool
    job: str = ""
    offset: int = 0

    @property
    def arguments(self) -> tuple[Path, tuple[Reference, ...], tuple[Record, ...]]:
        """Arguments of `Task`."""
        return (
            self.journal,
            tuple(map(portable_reference, self.images.values())),
            tuple(map(pending_record, self.images.values())),
        )

    def new_outcomes(self) -> Iterator[Outcome]:
        """Yield the outcomes that the job wrote since the last call."""
        try:
            with open(self.journal, "rb") as journal:  # a shared file system refreshes a file when it is opened
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
        record = Record(**{key: value for key, value in row.items() if key in RECORD_FIELDS})
        if "back" not in row:
            return Outcome(record, trace=str(row["trace"]))
        path = self.journal.parent / row["back"]
        try:
            with open(path, "rb") as file:
                outcome: Outcome = pickle.load(file)
            path.unlink()
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            return failed_outcome(image, f"its results did not come back ({error})")
        return replace(outcome, record=record)


class SlurmEngine(Engine):
    """Process frames in the tasks of an array job of Slurm."""

    takes_arrivals = False  # jobs wait in a queue

    @contextmanager
    def open(self, frames: int | None, folder: Path | None) -> Iterator[Process]:
        """Check that the queue accepts the tasks; the jobs are submitted with the frames."""
        parallel = self.parallel
        needs_submitit("parallel=slurm")
        if folder is None:
            raise ConfigError("parallel=slurm: its tasks leave results in a folder that all share; say output_dir=...")
        check_private(folder / ARRAY)
        queue: Slurm | Local = Slurm(parallel.options, parallel.n_jobs) if parallel.remote else Local()
        tasks, n_jobs = min(parallel.chunks or 1, frames or 1), parallel.n_jobs
        if not parallel.remote:  # no queue holds the tasks back
            tasks = min(tasks, available_cores())
            n_jobs = max(1, available_cores() // tasks) if n_jobs == -1 else n_jobs
        queue.check(tasks, "parallel=slurm")
        yield partial(follow, queue, tasks, n_jobs)


def check_ended(folder: Path) -> None:
    """Raise ConfigError if tasks of a killed run still write into the folder."""
    try:
        content = json.loads((folder / ARRAY / JOBS).read_text(encoding="utf-8"))
        jobs = [job for job in content["jobs"] if re.fullmatch(r"\d+(_\d+)?", job)]
        queue: Slurm | Local = Slurm({}, -1) if content["queue"] == Slurm.name else Local()
    except (OSError, ValueError, KeyError, TypeError):
        return
    if jobs and (alive := queue.alive(jobs)):
        names = sorted({job.partition("_")[0] for job in alive})
        command = f"{'scancel' if isinstance(queue, Slurm) else 'kill'} {' '.join(names)}"
        reason = f"{len(alive)} tasks of a run that was killed still go on there"
        raise ConfigError(f"output_dir={folder}: {reason}; wait until they have ended, or end them with {command}")


def follow(
    queue: Slurm | Local,
    tasks: int,
    n_jobs: int,
    recipe: Recipe,
    images: Sequence[Reference],
    shown: Container[str],
    keep: bool,
) -> Generator[Outcome]:
    """Process frames in ``tasks`` jobs with ``n_jobs`` threads each, see `engine.Process`.

    The frames of a task that dies are submitted once more; they fail if their new task dies as well. On a stop request,
    waiting tasks are cancelled, running tasks finish the frames in progress, and their outcomes are still yielded.
    """
    remote_recipe = portable_recipe(recipe)
    assert remote_recipe.folder is not None
    pictured = frozenset(image.name for image in images if image.name in shown)
    combines = Pipeline.of(json.loads(recipe.config), list(recipe.order)).combines_results  # in this process
    task = Task(remote_recipe, pictured, keep, keep or combines, n_jobs, deciding_versions())
    array = Array(queue, remote_recipe.folder / ARRAY, task)
    make_private(array.folder)
    cuts = [len(images) * number // tasks for number in range(tasks + 1)]
    try:
        yield from array.submit([images[low:high] for low, high in pairwise(cuts)])
        checked = time.monotonic()
        while array.chunks:
            if interruption.stop_requested():
                raise KeyboardInterrupt
            yield from array.new_outcomes()
            if time.monotonic() - checked > queue.pause:
                yield from array.resubmit_lost()
                checked = time.monotonic()
            if array.chunks:
                time.sleep(max(POLL, POLL_PER_TASK * len(array.chunks)))
        array.wait_for_exit()
    except KeyboardInterrupt:
        yield from array.stop()
        raise
    except BaseException:
        array.end(running=True)
        raise


@dataclass
class Array:
    """The jobs of a run.

    Attributes
    ----------
    queue
        Queue that runs the jobs.
    folder
        Folder of the journals and of the files of submitit.
    task
        Function that each job calls.
    chunks
        Chunks without all of their outcomes.
    jobs
        Names of all jobs so far.
    """

    queue: Slurm | Local
    folder: Path
    task: Task
    chunks: list[Chunk] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)

    def submit(self, batches: Iterable[Sequence[Reference]], retried: bool = False) -> Iterator[Outcome]:
        """Submit a chunk for each batch; yield failed outcomes if the queue refuses them."""
        number = count(len(self.jobs))
        chunks = [
            Chunk(self.folder / f"{next(number):05}.jsonl", {image.name: image for image in batch}, retried)
            for batch in batches
        ]
        for chunk in chunks:
            chunk.journal.touch()  # a shared file system may show a new file late
        try:
            jobs = self.queue.submit(self.folder, [partial(self.task, *chunk.arguments) for chunk in chunks])
        except OSError as error:
            yield from (failed_outcome(image, str(error)) for chunk in chunks for image in chunk.images.values())
            return
        for chunk, chunk.job in zip(chunks, jobs, strict=True):
            self.chunks.append(chunk)
            self.jobs.append(chunk.job)
            log.info("%d frames: job %s of %s", len(chunk.images), chunk.job, self.queue.name)
        write_json(self.folder / JOBS, {"queue": self.queue.name, "jobs": self.jobs})

    def new_outcomes(self) -> Iterator[Outcome]:
        """Yield the outcomes since the last call, and remove chunks that are done."""
        for chunk in [*self.chunks]:
            yield from chunk.new_outcomes()
            if not chunk.images:
                self.chunks.remove(chunk)

    def remove_lost(self) -> Iterator[Outcome | Chunk]:
        """Remove the chunks whose job has ended; yield their last outcomes, then the chunk if frames remain."""
        alive = self.queue.alive(chunk.job for chunk in self.chunks)
        for chunk in [chunk for chunk in self.chunks if chunk.job not in alive]:
            yield from chunk.new_outcomes()
            self.chunks.remove(chunk)
            if chunk.images:
                yield chunk

    def resubmit_lost(self) -> Iterator[Outcome]:
        """Submit the frames of lost chunks again; frames that were lost before fail."""
        batches = []
        for lost in self.remove_lost():
            if isinstance(lost, Outcome):
                yield lost
                continue
            reason = f"its job {lost.job} ended early ({self.queue.reason(lost.job)})"
            tail = log_tail(self.folder, lost.job)
            log.warning("%d frames: %s; the end of its log:\n%s", len(lost.images), reason, tail)
            if lost.retried:
                message = f"{reason}, the second one; see xrdpipe.log"
                yield from (failed_outcome(image, message) for image in lost.images.values())
            else:
                batches.append([*reversed(lost.images.values())])  # the frame that may have killed it comes last
        if batches:
            yield from self.submit(batches, retried=True)

    def wait_for_exit(self) -> None:
        """Wait until the jobs have exited: their last steps need the folder."""
        deadline = time.monotonic() + EXIT_TIMEOUT
        while time.monotonic() < deadline and self.queue.alive(self.jobs):
            time.sleep(POLL)

    def end(self, running: bool) -> None:
        """Tell tasks to begin no more frames; cancel waiting jobs, and with ``running`` also running ones."""
        (self.folder / STOP).touch()
        if jobs := [chunk.job for chunk in self.chunks]:
            self.queue.end(jobs, running)

    def stop(self) -> Iterator[Outcome]:
        """End all jobs and yield the outcomes of frames in progress, so that no task writes after the run."""
        self.end(running=False)
        for running in (False, True):
            if running and self.chunks:
                self.end(running)
            deadline = time.monotonic() + STOP_TIMEOUT
            while self.chunks and time.monotonic() < deadline:
                yield from self.new_outcomes()
                yield from (each for each in self.remove_lost() if isinstance(each, Outcome))
                time.sleep(1 if self.chunks else 0)
        if self.chunks:
            log.warning("jobs %s did not end", ", ".join(chunk.job for chunk in self.chunks))


def _rows(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:  # an empty or partial line
            continue
        if isinstance(row, dict) and {"file", "name"} <= set(row):
            yield row
