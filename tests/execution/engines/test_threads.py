"""Threads: every frame comes back once, small ones in batches, and nothing begins after the end."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Never

import pytest

from xrdpipe.execution.engines import threads
from xrdpipe.execution.engines.threads import AHEAD, process_in_threads
from xrdpipe.model.record import Outcome, Record
from xrdpipe.model.reference import Reference

IMAGES = [Reference(f"f_{number}", Path(f"f_{number}.tif")) for number in range(500)]


def done(image: Reference) -> Outcome:
    return Outcome(Record(str(image.path), image.name, "done"))


@pytest.mark.parametrize("n_jobs", [1, 2, 7])
@pytest.mark.parametrize("count", [0, 1, 500])
def test_every_frame_comes_back_once(n_jobs: int, count: int) -> None:
    names = [outcome.record.name for outcome in process_in_threads(n_jobs, done, IMAGES[:count])]
    assert sorted(names) == sorted(image.name for image in IMAGES[:count])


def test_a_frame_that_takes_long_does_not_hold_back_those_of_other_threads() -> None:
    release = threading.Event()

    def process(image: Reference) -> Outcome:
        if image is IMAGES[0]:
            release.wait(60)
        return done(image)

    names = []
    for outcome in process_in_threads(2, process, IMAGES):
        names.append(outcome.record.name)
        if len(names) == len(IMAGES) - 1:
            release.set()
    assert names[-1] == "f_0"


def test_after_the_end_no_frame_begins() -> None:
    begun: list[str] = []

    def process(image: Reference) -> Outcome:
        begun.append(image.name)
        time.sleep(0.001)
        return done(image)

    outcomes = process_in_threads(2, process, IMAGES * 20)
    next(outcomes)
    outcomes.close()
    count = len(begun)
    time.sleep(0.1)
    assert len(begun) == count < len(IMAGES) * 20
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("frames-")]


def test_results_that_nobody_takes_do_not_fill_the_memory() -> None:
    begun: list[str] = []

    def process(image: Reference) -> Outcome:
        begun.append(image.name)
        time.sleep(0.06)  # longer than a batch
        return done(image)

    outcomes = process_in_threads(2, process, IMAGES)
    next(outcomes)
    time.sleep(0.6)
    assert len(begun) <= 2 * AHEAD + 1
    outcomes.close()


def test_what_a_thread_raises_is_raised_here() -> None:
    def process(image: Reference) -> Outcome:
        raise MemoryError(image.name)

    with pytest.raises(MemoryError, match="f_0"):
        list(process_in_threads(1, process, IMAGES))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_without_memory_to_say_so_does_not_stop_the_run_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(SimpleQueue[Any]):
        def put(self, item: Any, block: bool = True, timeout: float | None = None) -> Never:
            raise MemoryError

    monkeypatch.setattr(threads, "SimpleQueue", Full)
    with pytest.raises(MemoryError):
        list(process_in_threads(2, done, IMAGES))


def test_frames_that_come_together_say_so_and_the_last_one_that_no_more_follow() -> None:
    more = [outcome.more for outcome in process_in_threads(2, done, IMAGES)]
    assert len(more) == len(IMAGES)
    assert any(more)
    assert not more[-1]


def test_a_slow_frame_comes_alone() -> None:
    def process(image: Reference) -> Outcome:
        time.sleep(0.1)
        return done(image)

    assert not any(outcome.more for outcome in process_in_threads(2, process, IMAGES[:3]))
