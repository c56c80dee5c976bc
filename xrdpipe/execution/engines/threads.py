"""Frames in threads of this process, handed over in batches."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from itertools import count
from queue import Empty, SimpleQueue

from ...model.record import Outcome
from ...model.reference import Reference

BATCH = 0.05  # seconds after which a thread hands over what it has processed
WAIT = 1.0  # seconds after which the threads are looked at
AHEAD = 2  # batches per thread that may wait to be recorded


def process_in_threads(
    n_jobs: int, process: Callable[[Reference], Outcome], images: Sequence[Reference]
) -> Generator[Outcome]:
    """Process frames in threads and yield their outcomes as they finish.

    Many small frames cost one hand-over together. A frame that takes longer than `BATCH` is handed over at once.
    MemoryError is raised if all threads end because they have no memory to hand over what they did.

    Parameters
    ----------
    n_jobs
        Number of threads.
    process
        Function that processes one frame.
    images
        Frames to process. The threads begin them in this order.
    """
    numbers, stop = count(), threading.Event()
    finished: SimpleQueue[list[Outcome] | BaseException] = SimpleQueue()
    room = threading.Semaphore(AHEAD * n_jobs)  # so that the memory for results is limited

    def work() -> None:
        try:
            outcomes: list[Outcome] | None = None
            while outcomes is None or (outcomes and not stop.is_set()):
                room.acquire()
                finished.put(outcomes := _next_batch(images, numbers, process, stop))
        except BaseException as error:  # the thread that waits for outcomes raises it
            finished.put(error)

    threads = [threading.Thread(target=work, name=f"frames-{number}", daemon=True) for number in range(n_jobs)]
    left = len(images)
    try:
        for thread in threads:
            thread.start()
        while left:
            outcomes = _receive(finished, threads)
            if isinstance(outcomes, BaseException):
                raise outcomes
            room.release()
            left -= len(outcomes)
            yield from together(outcomes)
    finally:
        stop.set()
        room.release(n_jobs)
        for thread in threads:
            if thread.ident is not None:
                thread.join()


def _receive(
    finished: SimpleQueue[list[Outcome] | BaseException], threads: Sequence[threading.Thread]
) -> list[Outcome] | BaseException:
    while True:
        try:
            return finished.get(timeout=WAIT)
        except Empty:
            if not any(thread.is_alive() for thread in threads) and finished.empty():
                raise MemoryError from None


def _next_batch(
    images: Sequence[Reference],
    numbers: Iterator[int],
    process: Callable[[Reference], Outcome],
    stop: threading.Event,
) -> list[Outcome]:
    outcomes, clock = list[Outcome](), time.monotonic()
    while not stop.is_set() and (not outcomes or time.monotonic() - clock < BATCH):
        if (number := next(numbers)) >= len(images):  # each thread gets other numbers
            break
        outcomes.append(process(images[number]))
    return outcomes


def together(outcomes: Sequence[Outcome]) -> Generator[Outcome]:
    """Yield outcomes that are written together, see `Outcome.more`."""
    for outcome in outcomes[:-1]:
        yield replace(outcome, more=True)
    yield from outcomes[-1:]
