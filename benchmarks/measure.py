"""Measurement of whole processes: duration and peak memory."""

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
    peak: int  # bytes of the largest process, or of all processes together with `watch`


class Session(Protocol):
    rounds: int
    failed: dict[str, str]


class FailedError(Exception):
    """Error for a program that fails or writes too few results, with the reason."""


def run(command: list[str], environment: Mapping[str, str], log: Path, watch: bool = False) -> Usage:
    """Run a command to its end and write its output to `log`.

    With `watch`, the memory of all its processes is sampled every 50 ms (Linux only).
    """
    with log.open("wb") as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **environment})
        watcher = _Watcher(process.pid) if watch else None
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    # ru_maxrss includes the memory of this process at the fork, so samples are preferred.
    peak = (watcher and watcher.stop()) or usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    if process.returncode:
        lines = log.read_text(errors="replace").strip().splitlines() or ["no output"]
        raise FailedError(f"exit status {process.returncode}: {lines[-1]}")
    return Usage(seconds, peak)


def interleaved(subjects: Mapping[str, Callable[[], float]], session: Session) -> dict[str, list[float]]:
    """Measure all subjects in turn (A B C A B C ...), so that drifts of the machine affect all of them.

    A subject that fails is added to `session.failed` and left out of the results.
    """
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
    """Peak memory of a process and its descendants together (PSS counts shared pages once), or of one of them."""

    def __init__(self, pid: int) -> None:
        self.pid, self.peak, self.done = pid, 0, threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def stop(self) -> int:
        self.done.set()
        self.thread.join()
        return self.peak

    def _watch(self) -> None:
        while not self.done.wait(0.05):
            family = _family(self.pid)
            together = sum(_kilobytes(pid, "smaps_rollup", "Pss:") for pid in family)
            alone = max(_kilobytes(pid, "status", "VmHWM:") for pid in family)  # includes peaks between two samples
            self.peak = max(self.peak, 1024 * together, 1024 * alone)


def _family(pid: int) -> list[int]:
    children = [int(child) for tasks in Path(f"/proc/{pid}/task").glob("*/children") for child in _words(tasks)]
    return [pid, *(member for child in children for member in _family(child))]


def _kilobytes(pid: int, file: str, field: str) -> int:
    words = _words(Path(f"/proc/{pid}/{file}"))
    return int(words[words.index(field) + 1]) if field in words else 0


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:  # the process has ended
        return []
