"""Whole processes, measured in turn: seconds and peak memory."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol


class Usage(NamedTuple):
    seconds: float
    peak: int  # bytes; of the largest process, or of all together where the run was watched


class Session(Protocol):
    rounds: int
    failed: dict[str, str]


class FailedError(Exception):
    """A program did not end well, or left fewer results than it should; the text says why."""


def run(command: list[str], environment: Mapping[str, str], log: Path, watch: bool = False) -> Usage:
    """Run to the end, output into `log`. `watch` sums the memory of all its processes every 20 ms (Linux only)."""
    with log.open("wb") as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **environment})
        watcher = _Watcher(process.pid) if watch else None
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    if watcher:
        peak = max(peak, watcher.stop())
    if process.returncode:
        lines = log.read_text(errors="replace").strip().splitlines() or ["no output"]
        raise FailedError(f"exit status {process.returncode}: {lines[-1]}")
    return Usage(seconds, peak)


def interleaved(subjects: Mapping[str, Callable[[], float]], session: Session) -> dict[str, list[float]]:
    """A B C A B C ...: drifts of the machine hit all alike. A subject that fails is named in `failed` and left out."""
    results: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(session.rounds):
        for name in list(results):
            try:
                results[name].append(subjects[name]())
                print(f"{number + 1}/{session.rounds} {name}: {results[name][-1]:.4g}", file=sys.stderr, flush=True)
            except FailedError as error:
                session.failed[name] = str(error)
                del results[name]
    return results


class _Watcher:
    """The most memory a process and its descendants held together; shared pages count once (PSS)."""

    def __init__(self, pid: int) -> None:
        self.pid, self.peak, self.done = pid, 0, threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def stop(self) -> int:
        self.done.set()
        self.thread.join()
        return self.peak

    def _watch(self) -> None:
        while not self.done.wait(0.02):
            self.peak = max(self.peak, sum(_pss(pid) for pid in _family(self.pid)))


def _family(pid: int) -> list[int]:
    try:
        children = [int(child) for tasks in Path(f"/proc/{pid}/task").glob("*/children") for child in _words(tasks)]
    except OSError:
        children = []
    return [pid, *(member for child in children for member in _family(child))]


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _pss(pid: int) -> int:
    words = _words(Path(f"/proc/{pid}/smaps_rollup"))
    return int(words[words.index("Pss:") + 1]) * 1024 if "Pss:" in words else 0
