"""The faults that are injected into runs: each a function that starts a run, does its harm and waits for the end."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from command import CommandResult, call, results
from fault_world import BACKENDS, PROCESSES, Case, ImpossibleError, MissedError


@dataclass(frozen=True)
class Fault:
    """What is injected, in which backends, and what the run may say."""

    what: str
    inject: Callable[[Case], CommandResult]
    statuses: tuple[int, ...]
    reason: str = ""  # a pattern: what it says where the exit status is not 0
    backends: tuple[str, ...] = tuple(BACKENDS)
    either: bool = False  # results may be those of the other frames
    large: bool = False


def worker_killed(case: Case) -> CommandResult:
    case.start()
    case.wait()
    case.chance.choice(case.workers()).kill()
    return case.end()


@contextmanager
def small_disk(place: Path, size: str = "4m") -> Iterator[None]:
    """A file system of its own at ``place``."""
    place.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "faults", place]).returncode:
        raise ImpossibleError("only root may mount a small disk")
    try:
        yield
        kept = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    finally:
        subprocess.run(["umount", "-l", place], check=True)
    for path, content in kept.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def disk_full(case: Case) -> CommandResult:
    with small_disk(case.out):
        case.start()
        case.wait()
        filler = case.out / "filler"
        with suppress(OSError), open(filler, "wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 4096)
        told = case.end()
        filler.unlink()
    if told.status == 0:  # the last frame was written before the disk was full
        raise MissedError
    return told


def read_only(case: Case) -> CommandResult:
    case.start()
    case.wait()
    places = [path for path in (case.out, case.out / "masks") if path.exists()]
    try:
        for path in places:
            if os.geteuid():
                path.chmod(0o555)
            elif subprocess.run(["chattr", "+i", path]).returncode:
                raise ImpossibleError("this file system has no read-only folders for root")
        return case.end()
    finally:
        for path in places:
            if os.geteuid():
                path.chmod(0o755)
            else:
                subprocess.run(["chattr", "-i", path], check=True)


def removed(case: Case) -> CommandResult:
    case.start()
    case.wait(share=0.4)
    late = case.chance.randrange(case.world.frames * 3 // 4, case.world.frames)
    path = case.data / f"f_{late:03}.tif"
    path.rename(path.with_suffix(".away"))
    told = case.end()
    path.with_suffix(".away").rename(path)
    return told


def replaced(case: Case) -> CommandResult:
    """Some frames become others and the first again all the time, by a rename or in place."""
    ended = threading.Event()
    numbers = case.chance.sample(range(1, case.world.frames), case.world.frames // 2)
    pairs = [
        [(case.world.folder / kind / f"f_{number:03}.tif").read_bytes() for kind in ("others", "data")]
        for number in numbers
    ]

    def write(number: int, content: bytes, whole: bool) -> None:
        path = case.data / f"f_{number:03}.tif"
        if whole:
            path.with_suffix(".new").write_bytes(content)
            path.with_suffix(".new").replace(path)
        else:
            path.write_bytes(content)

    def harm() -> None:
        turn = 0
        while not ended.is_set():
            for number, pair in zip(numbers, pairs, strict=True):
                write(number, pair[turn % 2], case.chance.random() < 0.5)
            turn += 1

    case.start()
    case.until(0)
    thread = threading.Thread(target=harm)
    thread.start()
    try:
        told = case.end()
    finally:
        ended.set()
        thread.join()
    for number, pair in zip(numbers, pairs, strict=True):
        write(number, pair[1], True)
    return told


def shim(case: Case, **settings: object) -> tuple[dict[str, str], Path]:
    """The environment in which `shim.c` is between the program and the system, and the file that lets it begin."""
    library = case.world.folder / "shim.so"
    if not library.exists():
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None or not sys.platform.startswith("linux"):
            raise ImpossibleError("no compiler, or no LD_PRELOAD")
        source = Path(__file__).with_name("shim.c")
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    flag = case.place / "now"
    return {"LD_PRELOAD": str(library), "FAULT_NOW": str(flag), **{key: str(settings[key]) for key in settings}}, flag


def _stale(case: Case, times: int) -> CommandResult:
    late = case.chance.randrange(case.world.frames * 3 // 4, case.world.frames)
    env, flag = shim(case, FAULT_STALE=f"f_{late:03}.tif", FAULT_TIMES=times)
    case.start(env)
    case.wait(share=0.4)
    flag.touch()
    return case.end()


def stale_once(case: Case) -> CommandResult:
    return _stale(case, 1)


def stale(case: Case) -> CommandResult:
    return _stale(case, 1000)


def clock_jump(case: Case) -> CommandResult:
    """The clock goes forth or back by up to ten years; half of the runs are killed after that."""
    env, flag = shim(case, FAULT_CLOCK=case.chance.choice((-1, 1)) * case.chance.randint(60, 3650 * 86400))
    process = case.start(env)
    case.wait(share=0.3)
    flag.touch()
    if case.chance.random() < 0.5:
        case.wait(case.world.frames // 2)
        process.kill()
    return case.end()


def memory_limit(case: Case) -> CommandResult:
    """No more memory than a process has already, for one that does frames."""
    case.start({"MALLOC_MMAP_THRESHOLD_": "65536"})  # so that it hands back at once what it does not need
    case.wait(least=1)  # all threads have begun then, see docs/reliability.md
    one = case.chance.choice(case.workers())
    resource.prlimit(one.pid, resource.RLIMIT_AS, (one.memory_info().vms // 2, resource.RLIM_INFINITY))
    return case.end()


def terminated(case: Case) -> CommandResult:
    process = case.start()
    case.wait()
    process.send_signal(signal.SIGTERM)
    return case.end()


def killed(case: Case) -> CommandResult:
    """The run alone, or with it all its processes."""
    process = case.start()
    case.wait()
    if case.chance.random() < 0.5:
        process.kill()
    else:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return case.end()


def two_at_once(case: Case) -> CommandResult:
    process = case.start()
    case.wait(share=0.4)
    process.send_signal(signal.SIGSTOP)  # or it may be done first
    try:
        if not (case.out / "run.jsonl").exists():
            raise MissedError
        before = set(results(case.out))
        second = call(*case.words, case.chance.choice(("resume=true", "overwrite=true")), "parallel=serial")
        assert second.status == 2, second
        assert re.search(rf"another run writes into it \(process {process.pid} on .*, since \d{{4}}-", second.err), (
            second
        )
        assert before <= set(results(case.out))
    finally:
        process.send_signal(signal.SIGCONT)
    return case.end()


FAULTS = {
    fault.inject.__name__: fault
    for fault in (
        Fault(
            "a worker is killed (SIGKILL), as by the system when memory runs out",
            worker_killed,
            (0,),
            backends=PROCESSES,
        ),
        Fault("the disk is full", disk_full, (1, 2), "No space left on device"),
        Fault("the folder becomes read-only", read_only, (1, 2), "not permitted|Permission denied"),
        Fault("a frame is removed after it was listed", removed, (0, 1), "no such file"),
        Fault(
            "frames are replaced again and again, by others and back",
            replaced,
            (0, 1),
            "changed while it was read|empty|truncated",
            either=True,
        ),
        Fault("a network file system says once: stale file handle", stale_once, (0,)),
        Fault("a network file system says always: stale file handle", stale, (1,), "Stale file handle"),
        Fault(
            "a limit on memory is hit",
            memory_limit,
            (0, 1, -signal.SIGSEGV, -signal.SIGABRT),  # a library may crash where it gets no memory
            "not enough memory|process that had it in hand died",
            large=True,
        ),
        Fault("SIGTERM", terminated, (130, -signal.SIGTERM), "stopped after|^$"),
        Fault("SIGKILL", killed, (-signal.SIGKILL,)),
        Fault("the clock jumps", clock_jump, (0, -signal.SIGKILL)),
        Fault("a second run into the same folder", two_at_once, (0,)),
    )
}
