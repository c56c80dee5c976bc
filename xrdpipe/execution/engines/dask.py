"""The Dask engine: a scheduler of Dask, here or on another computer, assigns frames to its workers.

Workers read and write a file system that they share with this process; only tasks and outcomes travel. If a worker
dies, another one processes its frames.
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
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from ...config.parallel import Parallel
from ...model.cores import available_cores
from ...model.errors import ConfigError
from ...model.record import Outcome, failed_outcome, pending_record
from ...model.reference import Reference
from ...pipeline.process import process_frame
from ...pipeline.recipe import Recipe, prepared
from .. import interruption
from .engine import Engine, Process, until_stopped
from .remote import deciding_versions, portable_recipe, portable_reference, version_difference, with_paths_of
from .threads import together

PER_THREAD = 3  # batches submitted per thread of the workers: one in progress, the others in the queue
BATCH, LARGEST = 0.05, 64  # a batch takes so many seconds, and has so many frames at most
COUNT_INTERVAL = 1.0  # seconds between two counts of the workers
POLL = 0.2  # seconds between two checks for a stop request
ANSWER_TIMEOUT = 10.0  # seconds in which a scheduler answers
SCHEDULER_GONE = "the scheduler of Dask is gone; say resume=true once there is one again"
log = logging.getLogger("xrdpipe")

_preparing = threading.Lock()


class DaskEngine(Engine):
    """Process frames on the workers of Dask."""

    @contextmanager
    def open(self, frames: int | None, folder: Path | None) -> Iterator[Process]:
        """Connect to the scheduler, or start one with its workers."""
        with open_client(self.parallel, frames) as client:
            yield partial(until_stopped, partial(outcomes, client))


@contextmanager
def open_client(parallel: Parallel, frames: int | None) -> Iterator[Any]:
    """Provide the client of the scheduler that ``parallel`` names, or of one that is started for this run.

    Parameters
    ----------
    parallel
        Configuration group ``parallel``.
    frames
        Number of frames; None if it is unknown.

    Raises
    ------
    ConfigError
        No scheduler answers or can be started, or its workers have other versions.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ConfigError(f"parallel=dask: {error}; pip install 'xrdpipe[dask]'") from error
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # the record of a frame reports its failure
    with _cluster(parallel, frames) as cluster:
        try:
            client = Client(cluster, timeout=ANSWER_TIMEOUT, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:  # ValueError, TypeError: TLS without its files
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
        with _batch_cluster(parallel) as cluster:
            cluster.scale(jobs=parallel.n_jobs)
            yield cluster
    else:
        from distributed import LocalCluster

        workers = available_cores() if parallel.n_jobs == -1 else parallel.n_jobs
        # On loopback. No memory limit: it would count shared arrays for each worker.
        with interruption.ignore_signals():
            cluster = LocalCluster(
                n_workers=workers if frames is None else min(workers, frames),
                threads_per_worker=1,
                memory_limit=0,
                dashboard_address="127.0.0.1:0",
                scheduler_kwargs={"dashboard": False},
                silence_logs=logging.CRITICAL + 1,  # hides the traceback of a worker that runs out of memory
            )
        with cluster:
            yield cluster


def _batch_cluster(parallel: Parallel) -> Any:
    try:
        import dask_jobqueue as jobqueue
    except ImportError as error:
        raise ConfigError(f"parallel.cluster={parallel.cluster}: {error}; pip install 'xrdpipe[dask]'") from error
    classes = {"slurm": jobqueue.SLURMCluster, "pbs": jobqueue.PBSCluster, "lsf": jobqueue.LSFCluster}
    try:
        quiet = {"dashboard": False, "dashboard_address": ":0"}
        return classes[parallel.cluster or ""](**parallel.options, scheduler_options=quiet, silence_logs="CRITICAL")
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"parallel.cluster={parallel.cluster}: {reason}") from error


def _check(client: Any, parallel: Parallel) -> None:
    """Raise ConfigError if a worker has other versions; later workers are checked with their first frame."""
    ours = deciding_versions()
    answers = client.run(_worker_versions, on_error="return")
    for worker, theirs in answers.items():
        if isinstance(theirs, BaseException):
            raise ConfigError(f"parallel.address={parallel.address}: the worker {worker} has no xrdpipe ({theirs})")
        if difference := version_difference(ours, theirs):
            raise ConfigError(f"parallel.address={parallel.address}: the worker {worker} has {difference}")
    if not answers:
        where = parallel.address or parallel.cluster
        print(f"xrdpipe: no worker at {where} yet; waiting for the first one", file=sys.stderr, flush=True)


def _worker_versions() -> dict[str, str]:
    return deciding_versions()


def outcomes(
    client: Any, recipe: Recipe, images: Sequence[Reference], shown: Container[str], keep: bool
) -> Generator[Outcome]:
    """Process frames on the workers of ``client``, see `engine.Process`.

    Small frames are submitted in batches, at most `PER_THREAD` per thread of the workers at a time. A frame whose
    workers die repeatedly is processed once more at the end, alone, because another frame may have killed them.
    """
    remote_recipe, ours = portable_recipe(recipe), deciding_versions()
    waiting, suspects, alone, size = iter(images), list[Reference](), False, 1
    submitted: dict[str, tuple[Any, list[Reference]]] = {}
    finished: SimpleQueue[Any] = SimpleQueue()
    threads, last_count = 0, -COUNT_INTERVAL
    try:
        while True:
            if time.monotonic() - last_count > COUNT_INTERVAL and client.status == "running":
                previous, threads, last_count = threads, sum(client.nthreads().values()), time.monotonic()
                if previous and not threads:
                    log.warning("no worker is left; waiting for a new one")
            while len(submitted) < (1 if alone else PER_THREAD * max(1, threads)) and client.status == "running":
                if not (batch := list(islice(waiting, 1 if alone else size))):
                    break
                tasks = [(portable_reference(image), image.name in shown) for image in batch]
                future = client.submit(_process_on_worker, remote_recipe, tasks, keep, ours, pure=False)
                submitted[future.key] = future, batch
                future.add_done_callback(finished.put)
            if not submitted:
                if not suspects:
                    break
                waiting, suspects, alone = iter(suspects), [], True
                continue
            try:
                future, batch = submitted.pop(finished.get(timeout=POLL).key)
            except Empty:
                if interruption.stop_requested():  # even if no worker ever starts
                    raise KeyboardInterrupt from None
                continue
            if not alone and _is_killed(future):
                suspects += batch
                continue
            found = _outcomes(future, batch)
            yield from together(found)
            size = _batch_size(found)
        for image in waiting:  # the scheduler is gone
            yield failed_outcome(image, SCHEDULER_GONE)
    except (KeyboardInterrupt, GeneratorExit):
        _drain(client, [future for future, _ in submitted.values()])
        raise


def _batch_size(outcomes: Sequence[Outcome]) -> int:
    """Return the number of frames like these that take about `BATCH` seconds, from 1 to `LARGEST`."""
    longest = max((outcome.record.seconds or BATCH for outcome in outcomes), default=BATCH)
    return max(1, min(LARGEST, int(BATCH / longest)))


def _is_killed(future: Any) -> bool:
    from distributed import KilledWorker

    return future.status == "error" and isinstance(future.exception(), KilledWorker)


def _outcomes(future: Any, images: Sequence[Reference]) -> list[Outcome]:
    from distributed import KilledWorker
    from distributed.client import FutureCancelledError

    try:
        outcomes: list[Outcome] = future.result()
    except KilledWorker as error:
        last = error.last_worker.address
        reason = f"every worker that had it in hand died, the last was {last}; out of memory?"
    except FutureCancelledError:
        reason = SCHEDULER_GONE
    except Exception as error:  # raised before `process_frame` began
        reason = f"{type(error).__name__}: {error}"
    else:
        return [
            replace(outcome, record=with_paths_of(outcome.record, pending_record(image)))
            for outcome, image in zip(outcomes, images, strict=True)
        ]
    return [failed_outcome(image, reason) for image in images]


def _drain(client: Any, futures: list[Any]) -> None:
    """Cancel frames that have not begun, and wait for the others, so that none writes after the run has ended."""
    from distributed import wait

    running = {key for keys in client.processing().values() for key in keys} if client.status == "running" else set()
    client.cancel([future for future in futures if future.key not in running])
    if remaining := [future for future in futures if future.key in running]:
        try:
            with client.as_current():
                wait(remaining, timeout=60)
        except TimeoutError:
            log.warning("workers still processed %d frames after a minute", len(remaining))
        client.cancel(remaining)


def _process_on_worker(
    recipe: Recipe, tasks: Sequence[tuple[Reference, bool]], keep: bool, ours: dict[str, str]
) -> list[Outcome]:
    """Process a batch of frames in a worker, whose threads prepare the pipeline only once."""
    if difference := version_difference(ours, deciding_versions()):
        raise ConfigError(f"its worker has {difference}")
    with _preparing:
        try:
            prepared(recipe)
        except Exception:  # `process_frame` reports it for this frame
            log.debug("cannot be prepared", exc_info=True)
    return [process_frame(recipe, image, keep, show) for image, show in tasks]
