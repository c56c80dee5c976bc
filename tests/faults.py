"""Faults injected into real runs, and what became of them: `python tests/faults.py --times 10` tries all of them.

Each fault is a function that starts a run, does its harm at a random moment, and waits until the run has ended. Then
nothing may stand in the folder but whole files of the right bytes, the run must have said why it did not do all, and
resumed it must end in the same bytes as a serial run that nobody disturbed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil
import tifffile
from command import FAST, LIMIT, CommandResult, call, results, start

from xrdpipe.stages.simulation import Simulation

BACKENDS = {
    "serial": ("parallel=serial",),
    "threads": ("parallel.n_jobs=2",),
    "loky": ("parallel.backend=loky", "parallel.n_jobs=2"),
    "dask": ("parallel=dask", "parallel.n_jobs=2"),
}
PROCESSES = ("loky", "dask")
DETECTOR = Simulation(shape=(120, 100), pixel=(1e-3, 1e-3), dist=0.5, poni=(0.504, 0.493), counts=2000.0)
LARGE = Simulation(shape=(600, 500), pixel=(2e-4, 2e-4), dist=0.5, poni=(0.504, 0.493), counts=2000.0)


class ImpossibleError(Exception):
    """A fault that cannot be injected on this computer; the message says why."""


class MissedError(Exception):
    """The run was over, or all its frames were done, before the fault came."""


@dataclass(frozen=True)
class World:
    """Frames, others of the same names, and what a serial run makes of each of the two."""

    folder: Path
    frames: int
    expected: dict[str, bytes]
    others: dict[str, bytes]

    @classmethod
    def made(cls, folder: Path, frames: int, detector: Simulation = DETECTOR) -> World:
        """Simulate the frames in a new folder, and process them."""
        image = detector.frame(1)
        for data, more in (("data", 0), ("others", 500)):
            (folder / data).mkdir(parents=True)
            (folder / data / "tiny.poni").write_text(detector.poni_text(), encoding="utf-8")
            for number in range(frames):
                tifffile.imwrite(folder / data / f"f_{number:03}.tif", image + image.dtype.type(more + number))
        there = {}
        for data in ("data", "others"):
            told = call(*words(folder / data, folder / f"whole_{data}"), "parallel=serial")
            assert told.status == 0, told.err
            there[data] = results(folder / f"whole_{data}")
        return cls(folder, frames, there["data"], there["others"])


def words(data: Path, out: Path) -> tuple[str, ...]:
    """The command line of all runs, but for the backend."""
    return (
        f"poni={data}/tiny.poni",
        f"images={data}/f_*.tif",
        *FAST,
        "output.mask=true",
        "mask.edge=5",
        f"output_dir={out}",
    )


@dataclass
class Case:
    """One run into which one fault is injected."""

    world: World
    backend: str
    chance: random.Random
    place: Path
    process: subprocess.Popen[str] | None = None

    def __post_init__(self) -> None:
        self.data, self.out = self.place / "data", self.place / "out"
        shutil.copytree(self.world.folder / "data", self.data)

    @property
    def words(self) -> tuple[str, ...]:
        return words(self.data, self.out)

    def start(self, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """Start the run."""
        self.process = start(*self.words, *BACKENDS[self.backend], cwd=self.place, env=env, stdout=subprocess.DEVNULL)
        return self.process

    def wait(self, least: int = 0, share: float = 0.7) -> None:
        """Wait for a random moment: until some frames are done, ``least`` or more, and a little longer."""
        self.until(self.chance.randint(least, int(share * self.world.frames)))
        time.sleep(self.chance.uniform(0, 0.02))
        if self.process is None or self.process.poll() is not None or not (self.out / "run.jsonl").exists():
            raise MissedError

    def until(self, frames: int) -> None:
        assert self.process is not None
        journal, limit = self.out / "run.jsonl", time.monotonic() + LIMIT
        while self.process.poll() is None and time.monotonic() < limit:
            with suppress(OSError):
                if journal.read_bytes().count(b"\n") >= frames:
                    return
            time.sleep(0.002)

    def end(self) -> CommandResult:
        """Wait for the end of the run."""
        assert self.process is not None
        try:
            _, err = self.process.communicate(timeout=LIMIT)
        finally:
            with suppress(ProcessLookupError):  # also those of its processes that outlive it
                os.killpg(self.process.pid, signal.SIGKILL)
        return CommandResult(self.process.returncode, "", err)

    def workers(self) -> list[psutil.Process]:
        """The processes in which frames are done: those of the backend, or the one of the run."""
        assert self.process is not None
        main = psutil.Process(self.process.pid)
        if self.backend not in PROCESSES:
            return [main]
        found = []
        for each in main.children(recursive=True):
            with suppress(psutil.Error):
                line = " ".join(each.cmdline())
                if "popen_loky" in line or "spawn_main" in line:
                    found.append(each)
        return found


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
    case.wait()
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


@dataclass
class Found:
    """What became of one injection."""

    fault: str
    backend: str
    status: int = 0
    said: str = ""
    left: int = 0  # frames that the run did not do, for whatever reason
    half: int = 0  # files that are not whole
    wrong: int = 0  # files of other bytes than they should have
    lost: int = 0  # frames that are not there with the right bytes after resume=true
    troubles: list[str] = field(default_factory=list)


def tried(name: str, backend: str, world: World, seed: object, place: Path) -> Found:
    """Inject one fault into one run; look at what it leaves, resume it, look again."""
    fault, found = FAULTS[name], Found(name, backend)
    for attempt in range(10):
        case = Case(world, backend, random.Random(f"{name} {backend} {seed} {attempt}"), place / str(attempt))
        try:
            told = fault.inject(case)
            break
        except (MissedError, psutil.NoSuchProcess, ProcessLookupError):
            case.end()
    else:
        raise ImpossibleError("runs end before it can be injected")
    found.status = told.status
    lines = [line for line in told.err.splitlines() if fault.reason and re.search(fault.reason, line)]
    found.said = lines[0] if lines else ""
    if told.status not in fault.statuses:
        found.troubles.append(f"exit status {told.status}: {told.err[-2000:]}")
    if told.status > 0 and fault.reason and not lines and "^$" not in fault.reason:
        found.troubles.append(f"does not say why: {told.err[-2000:]}")
    if re.search(r'File ".*xrdpipe[/\\]\w+\.py"', told.err):  # Dask's own workers may print one
        found.troubles.append(told.err[-3000:])
    there = results(case.out)
    for file, content in there.items():
        right = {world.expected[file], world.others[file]} if fault.either else {world.expected[file]}
        if content not in right:
            short = any(whole.startswith(content) for whole in right)
            found.half, found.wrong = found.half + short, found.wrong + (not short)
    found.left = sum(file.endswith(".chi") for file in world.expected) - sum(file.endswith(".chi") for file in there)
    record = json.loads((case.out / "run.json").read_text(encoding="utf-8"))
    if record["status"] != "running" and (parts := [*case.out.rglob("*.part")]) and name != "read_only":
        found.troubles.append(f"left behind: {parts}")
    again = call(*case.words, "resume=true", "parallel=serial")
    if again.status:
        found.troubles.append(f"resume: {again}")
    now = results(case.out)
    found.lost = sum(now.get(file) != content for file, content in world.expected.items())
    statuses = Counter(image["status"] for image in json.loads((case.out / "run.json").read_text())["images"])
    if statuses != {"done": world.frames}:
        found.troubles.append(f"in run.json: {statuses}")
    if left := [
        path.name for path in case.out.rglob("*") if path.suffix in (".part", ".lock", ".jsonl") or path.name == ".lock"
    ]:
        found.troubles.append(f"left after resume: {left}")
    if set(now) != set(world.expected):
        found.troubles.append(f"files after resume: {set(now) ^ set(world.expected)}")
    return found


def table(rows: Sequence[Found]) -> str:
    """In Markdown: a row a fault."""
    heads = ["injected", ", ".join(BACKENDS), "exit status", "said", "left for `resume=true`", "half", "wrong", "lost"]
    lines = [heads, ["---"] * len(heads)]  # of an exit status below 0 the number is that of a signal
    for name, fault in FAULTS.items():
        mine = [row for row in rows if row.fault == name]
        counts = Counter(row.backend for row in mine)
        times = ", ".join(str(counts[backend]) if backend in fault.backends else "-" for backend in BACKENDS)
        statuses = sorted(Counter(row.status for row in mine).items())
        told = (re.sub(r"/\S+/(data|out)/|^xrdpipe: (failed: )?", "", row.said) for row in mine if row.said)
        said = Counter(re.sub(r"f_\d+", "f_007", each) for each in told).most_common(1)
        sums = [sum(getattr(row, key) for row in mine) for key in ("left", "half", "wrong", "lost")]
        exits = ", ".join(f"{status}: {count}" for status, count in statuses)
        lines.append([fault.what, times, exits, said[0][0][:100] if said else "", *map(str, sums)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> int:
    """Inject every fault, or those that are named, and print the table; 1 where something was not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faults", nargs="*", choices=[[], *FAULTS], help="all, where none is named")
    parser.add_argument("--times", type=int, default=10, help="how often, for each backend")
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=list(BACKENDS))
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--seed", default="0")
    parser.add_argument(
        "--keep", type=Path, help="a file that takes a line of JSON for each injection, and adds to the table"
    )
    given = parser.parse_args()
    rows = []
    if given.keep and given.keep.exists():
        rows = [Found(**json.loads(line)) for line in given.keep.read_text(encoding="utf-8").splitlines()]
    with tempfile.TemporaryDirectory(prefix="xrdpipe-faults-") as scratch:
        os.environ.setdefault("XRDPIPE_CACHE", f"{scratch}/cache")
        worlds = {
            False: World.made(Path(scratch, "small"), given.frames),
            True: World.made(Path(scratch, "large"), given.frames // 2, LARGE),
        }
        for turn in range(given.times):
            for name in given.faults or FAULTS:
                for backend in given.backends:
                    if backend not in FAULTS[name].backends:
                        continue
                    place = Path(scratch, f"{name}_{backend}_{turn}")
                    try:
                        found = tried(name, backend, worlds[FAULTS[name].large], f"{given.seed} {turn}", place)
                    except ImpossibleError as error:
                        print(f"{name}, {backend}: {error}", file=sys.stderr)
                        continue
                    shutil.rmtree(place)
                    rows.append(found)
                    good = not (found.troubles or found.half or found.wrong or found.lost)
                    print(
                        f"{name}, {backend}, {turn}: {found.status} {found.said} {'' if good else asdict(found)}",
                        file=sys.stderr,
                        flush=True,
                    )
                    if given.keep:
                        with open(given.keep, "a", encoding="utf-8") as file:
                            file.write(json.dumps(asdict(found)) + "\n")
    print(table(rows))
    return int(any(row.troubles or row.half or row.wrong or row.lost for row in rows))


if __name__ == "__main__":
    sys.exit(main())
