"""Frames on the workers of Dask: its scheduler, wherever it runs, says who takes which.

Workers read and write the file system that they share with this process; what travels is what is to be done, and what
became of it. A frame whose worker died is done again by another one; scheduler and workers are those of Dask.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Container, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from ...config.parallel import Parallel
from ...model.cores import available_cores
from ...model.errors import ConfigError
from ...model.record import Outcome, pending_record
from ...model.reference import Reference
from ...pipeline.process import process_frame
from ...pipeline.recipe import Recipe, prepared
from .. import interruption
from .engine import Engine, Process, until_stopped
from .remote import deciding_versions, portable_recipe, portable_reference, version_difference

PER_THREAD = 3  # frames in the hands of the scheduler for each thread of a worker: one is done, the others wait


LOOK = 1.0  # seconds between two looks at how many workers there are


POLL = 0.2  # seconds after which one who waits looks up whether the user wants to stop


ANSWER = 10.0  # seconds in which a scheduler answers


log = logging.getLogger("xrdpipe")


_preparing = threading.Lock()


class DaskEngine(Engine):
    """Frames on the workers of Dask."""

    @contextmanager
    def open(self, frames: int | None, folder: Path | None) -> Iterator[Process]:
        with open_client(self.parallel, frames) as client:
            yield partial(until_stopped, partial(outcomes, client))


@contextmanager
def open_client(parallel: Parallel, frames: int | None) -> Iterator[Any]:
    """The client of the scheduler that ``parallel`` names, or of one made for this run; ConfigError where it cannot be.

    ``frames``: how many there are to do; None where nobody knows.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ConfigError(f"parallel=dask: {error}; pip install 'xrdpipe[dask]'") from error
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what becomes of a frame is told by its record
    with _cluster(parallel, frames) as where:
        try:
            client = Client(where, timeout=ANSWER, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:  # the last two: of TLS without its files
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise ConfigError(f"parallel.address={parallel.address}: no scheduler answers there ({reason})") from error
        with client:
            _check(client, parallel)
            yield client


@contextmanager
def _cluster(parallel: Parallel, frames: int | None) -> Iterator[Any]:
    if parallel.address is not None:
        yield parallel.address
    elif parallel.cluster is not None:
        with _batch(parallel) as cluster:
            cluster.scale(jobs=parallel.n_jobs)
            yield cluster
    else:
        from distributed import LocalCluster

        workers = available_cores() if parallel.n_jobs == -1 else parallel.n_jobs
        # On loopback. Without a limit on memory, as it would count for each worker the arrays that all of them share.
        with interruption.ignore_signals():
            cluster = LocalCluster(
                n_workers=workers if frames is None else min(workers, frames),
                threads_per_worker=1,
                memory_limit=0,
                dashboard_address="127.0.0.1:0",
                scheduler_kwargs={"dashboard": False},
                silence_logs=logging.CRITICAL + 1,  # a worker without memory says so there, with its traceback
            )
        with cluster:
            yield cluster


def _batch(parallel: Parallel) -> Any:
    try:
        import dask_jobqueue as jobqueue
    except ImportError as error:
        raise ConfigError(f"parallel.cluster={parallel.cluster}: {error}; pip install 'xrdpipe[dask]'") from error
    kinds = {"slurm": jobqueue.SLURMCluster, "pbs": jobqueue.PBSCluster, "lsf": jobqueue.LSFCluster}
    try:
        quiet = {"dashboard": False, "dashboard_address": ":0"}
        return kinds[parallel.cluster or ""](**parallel.options, scheduler_options=quiet, silence_logs="CRITICAL")
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"parallel.cluster={parallel.cluster}: {reason}") from error


def _check(client: Any, parallel: Parallel) -> None:
    """Refuse workers that would give other numbers; those that come later are asked with their first frame."""
    ours = deciding_versions()
    answers = client.run(_versions_there, on_error="return")
    for worker, theirs in answers.items():
        if isinstance(theirs, BaseException):
            raise ConfigError(f"parallel.address={parallel.address}: the worker {worker} has no xrdpipe ({theirs})")
        if differs := version_difference(ours, theirs):
            raise ConfigError(f"parallel.address={parallel.address}: the worker {worker} has {differs}")
    if not answers:
        where = parallel.address or parallel.cluster
        print(f"xrdpipe: no worker at {where} yet; waiting for the first one", file=sys.stderr, flush=True)


def _versions_there() -> dict[str, str]:
    return deciding_versions()


def outcomes(
    client: Any, recipe: Recipe, images: Sequence[Reference], shown: Container[str], keep: bool
) -> Generator[Outcome]:
    """As `workers.outcomes`, on the workers of ``client``.

    No more than `PER_THREAD` frames for each of their threads are on their way, however many there are to do. A frame
    whose workers died again and again is done once more in the end, alone, as another one may have killed them.
    """
    there, ours = portable_recipe(recipe), deciding_versions()
    waiting, suspects, alone = iter(images), list[Reference](), False
    away: dict[str, tuple[Any, Reference]] = {}
    back: SimpleQueue[Any] = SimpleQueue()
    threads, looked = 0, -LOOK
    try:
        while True:
            if time.monotonic() - looked > LOOK and client.status == "running":
                before, threads, looked = threads, sum(client.nthreads().values()), time.monotonic()
                if before and not threads:
                    log.warning("no worker is left; waiting for a new one")
            while len(away) < (1 if alone else PER_THREAD * max(1, threads)) and client.status == "running":
                if (image := next(waiting, None)) is None:
                    break
                future = client.submit(
                    _frame, there, portable_reference(image), keep, image.name in shown, ours, pure=False
                )
                away[future.key] = future, image
                future.add_done_callback(back.put)
            if not away:
                if not suspects:
                    break
                waiting, suspects, alone = iter(suspects), [], True
                continue
            try:
                future, image = away.pop(back.get(timeout=POLL).key)
            except Empty:
                if interruption.stop_requested():  # also where no worker ever comes
                    raise KeyboardInterrupt from None
                continue
            if not alone and _killed(future):
                suspects.append(image)
            else:
                yield _outcome(future, image)
        for image in waiting:  # the scheduler is gone
            yield _failed(image, GONE)
    except (KeyboardInterrupt, GeneratorExit):
        _rest(client, [future for future, _ in away.values()])
        raise


GONE = "the scheduler of Dask is gone; say resume=true once there is one again"


def _killed(future: Any) -> bool:
    from distributed import KilledWorker

    return future.status == "error" and isinstance(future.exception(), KilledWorker)


def _outcome(future: Any, image: Reference) -> Outcome:
    from distributed import KilledWorker
    from distributed.client import FutureCancelledError

    try:
        made: Outcome = future.result()
    except KilledWorker as error:
        last = error.last_worker.address
        return _failed(image, f"every worker that had it in hand died, the last was {last}; out of memory?")
    except FutureCancelledError:
        return _failed(image, GONE)
    except Exception as error:  # what `process` could not catch: it never came so far
        return _failed(image, f"{type(error).__name__}: {error}")
    ours = pending_record(image)  # with the paths as they were given here
    return replace(made, record=replace(made.record, file=ours.file, path=ours.path, parts=ours.parts))


def _failed(image: Reference, reason: str) -> Outcome:
    return Outcome(replace(pending_record(image), status="failed", error=reason))


def _rest(client: Any, futures: list[Any]) -> None:
    """Take back what has not begun, and wait for what workers have in hand: it must not write when all is tidied."""
    from distributed import wait

    running = {key for keys in client.processing().values() for key in keys} if client.status == "running" else set()
    client.cancel([future for future in futures if future.key not in running])
    if left := [future for future in futures if future.key in running]:
        try:
            with client.as_current():
                wait(left, timeout=60)
        except TimeoutError:
            log.warning("%d frames were still in hand of workers after a minute", len(left))
        client.cancel(left)


def _frame(recipe: Recipe, image: Reference, keep: bool, show: bool, ours: dict[str, str]) -> Outcome:
    """One frame, in a worker; its threads prepare the pipeline once, together."""
    if differs := version_difference(ours, deciding_versions()):
        raise ConfigError(f"its worker has {differs}")
    with _preparing:
        try:
            prepared(recipe)
        except Exception:  # `process` says it, of this frame
            log.debug("cannot be prepared", exc_info=True)
    return process_frame(recipe, image, keep, show)
