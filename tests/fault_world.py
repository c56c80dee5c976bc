"""Frames for runs that are disturbed, and what an undisturbed run makes of them."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
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
        with self.process:
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
