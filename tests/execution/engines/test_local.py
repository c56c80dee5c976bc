"""What processes frames: a process that dies, memory that does not suffice."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from command import FAST, call, results

from xrdpipe.execution.engines import local
from xrdpipe.model.record import Outcome, pending_record
from xrdpipe.model.reference import Reference
from xrdpipe.stages.source import Source

IMAGES = [Reference(f"f_{number}", Path(f"f_{number}.tif")) for number in range(12)]


def crew(dies: Callable[[str], bool], done: list[str]) -> Callable[[Iterable[Reference]], Generator[Outcome]]:
    """Stands for a pool of processes that takes four frames at once; all are lost where one of them ``dies``."""
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    def side_by_side(images: Iterable[Reference]) -> Generator[Outcome]:
        waiting: Iterator[Reference] = iter(images)
        while hand := list(islice(waiting, 4)):
            if any(dies(each.name) for each in hand):
                raise TerminatedWorkerError("one has died")
            for each in hand:
                done.append(each.name)
                yield Outcome(pending_record(each))

    return side_by_side


def test_the_frames_in_hand_of_a_process_that_died_are_done_again_and_the_others_once() -> None:
    deaths, done = iter([False] * 5 + [True] + [False] * 99), list[str]()
    made = list(local._retry_after_worker_death(crew(lambda name: next(deaths), done), IMAGES))
    assert sorted(outcome.record.name for outcome in made) == sorted(each.name for each in IMAGES)
    assert sorted(done) == sorted(each.name for each in IMAGES)
    assert {outcome.record.status for outcome in made} == {"waiting"}  # as the crew gave them


def test_a_frame_whose_processes_die_fails_alone() -> None:
    tries = {"f_5": 0}

    def dies(name: str) -> bool:
        tries["f_5"] += name == "f_5"
        return name == "f_5"

    made = list(local._retry_after_worker_death(crew(dies, []), IMAGES))
    failed = [outcome.record for outcome in made if outcome.record.status == "failed"]
    assert [record.name for record in failed] == ["f_5"]
    assert failed[0].error == "every process that had it in hand died; out of memory?"
    assert sorted(outcome.record.name for outcome in made) == sorted(each.name for each in IMAGES)
    assert tries["f_5"] == 1 + local.MAX_DEATHS


def test_memory_that_does_not_suffice_for_a_frame_fails_it_alone_in_words(
    frames: list[Path], poni: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Source.to_frame

    def hungry(self: Source, raw: Any) -> Any:
        return real(self, raw) if raw[0, 0] != 9 else np.zeros(1 << 55)

    image = tifffile.imread(frames[1])
    image[0, 0] = 9
    tifffile.imwrite(frames[1], image)
    monkeypatch.setattr(Source, "to_frame", hungry)
    told = call(f"poni={poni}", *frames, *FAST, f"output_dir={tmp_path / 'out'}", "parallel=serial")
    assert told.status == 1
    assert "ni_2.tiff: not enough memory (Unable to allocate" in told.err
    assert "lower parallel.n_jobs" in told.err
    assert len(results(tmp_path / "out")) == 2
