"""Frames a second against the number of workers, and what limits them: `python -m benchmarks.scaling`.

The frames are those of `stacks`: uint32, sparse counts, bitshuffle/LZ4, default mask, text files. A figure is the
difference between a long and a short run, so that start-up does not count. Engines alternate.

The serial part of a frame is what one core alone can do, however many there are. With threads it is the time for which
Python's lock (GIL) is held, measured with one thread by gilknocker, which has to be installed. With processes and Dask
it is the processor time of the process that hands out frames and records them, with two workers. Amdahl's law gives the
speed of N cores over that of one: 1 / (s + (1 - s) / N), where s is the serial part over the processor time of a frame
with one thread.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import NamedTuple

from .machine import describe
from .stacks import make

ENGINES = {  # name -> arguments
    "threads": ["parallel.backend=threading"],
    "processes": ["parallel.backend=loky"],
    "Dask": ["parallel=dask"],
}
FRAMES = {256: 3000, 1024: 1200, 2048: 150}  # of the long run, by the side of a frame
CORES = (16, 64)


class Cost(NamedTuple):
    """Seconds of a run, or of a frame."""

    wall: float
    processor: float  # of the process that was started
    locked: float  # time for which the GIL is held, where it is measured


def run(words: Iterable[str], count: int, knock: bool, folder: Path) -> Cost:
    """Run the program on so many frames."""
    shutil.rmtree(folder / "ours", ignore_errors=True)
    words = [*words, "poni=geometry.poni", f"images=scan_master.h5::[:{count}]", "plot=none", "quiet=true"]
    words += ["report=false", "output_dir=ours"]
    command = [sys.executable, "-m", "benchmarks.scaling_probe", "report.json", *(["--knock"] if knock else []), *words]
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(result.stderr)
    return Cost(**json.loads((folder / "report.json").read_text()))


def a_frame(engine: str, workers: int, frames: tuple[int, int], folder: Path, knock: bool = False) -> Cost:
    """Return the cost of one frame, without start-up."""
    words = [*ENGINES[engine], f"parallel.n_jobs={workers}"]
    short, long = (run(words, count, knock, folder) for count in frames)
    return Cost(*((b - a) / (frames[1] - frames[0]) for a, b in zip(short, long, strict=True)))


def measure(side: int, engines: list[str], numbers: list[int], rounds: int) -> dict[tuple[str, int], Cost]:
    """Return the median cost of a frame by engine and number of workers; 0 stands for one thread with the knocker."""
    many = FRAMES.get(side, max(40, 300 * 1024**2 // side**2))
    frames = max(8, many // 10), many
    subjects = [("threads", 0), ("threads", 1)]
    subjects += [(engine, n) for engine in engines for n in sorted({*numbers, 2}) if (engine, n) not in subjects]
    costs: dict[tuple[str, int], list[Cost]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make(folder, many, side, tiff=False)
        a_frame("threads", 1, frames, folder)  # compiles and fills caches
        for _ in range(rounds):
            for engine, workers in subjects:
                cost = a_frame(engine, workers or 1, frames, folder, knock=not workers)
                costs.setdefault((engine, workers), []).append(cost)
                values = ", ".join(f"{name} {1e3 * value:.2f}" for name, value in cost._asdict().items())
                print(f"{side} {engine} {workers or '1 with knocker'}: {values} ms", file=sys.stderr, flush=True)
    return {subject: Cost(*map(median, zip(*each, strict=True))) for subject, each in costs.items()}


def limit(serial: float, count: int) -> float:
    """Return how many times faster than one core so many cores are at most, after Amdahl."""
    return 1 / (serial + (1 - serial) / count)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=list(FRAMES), help="width and height of a frame")
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=list(ENGINES))
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    speeds, limits = [], []
    for side in options.sides:
        costs = measure(side, options.engines, options.workers, options.rounds)
        one = costs["threads", 1].processor
        for engine in options.engines:
            rates = " | ".join(f"{1 / costs[engine, n].wall:.0f}" for n in options.workers)
            speeds.append(f"| {side} | {engine} | {rates} |")
            serial = costs["threads", 0].locked if engine == "threads" else costs[engine, 2].processor
            bounds = " | ".join(f"{limit(serial / one, n):.1f}" for n in CORES)
            shares = f"{1e3 * one:.2f} | {1e3 * serial:.2f} | {100 * serial / one:.1f} %"
            limits.append(f"| {side} | {engine} | {shares} | {bounds} |")
    print(", ".join(f"{key} {value}" for key, value in describe().items()))
    print(f"\n| side | frames a second with | {' | '.join(map(str, options.workers))} workers |")
    print("|---" * (2 + len(options.workers)) + "|", *speeds, sep="\n")
    print("\n| side | engine | a frame, ms | serial, ms | share", *(f"limit of {n} cores" for n in CORES), sep=" | ")
    print("|---" * (5 + len(CORES)) + "|", *limits, sep="\n")


if __name__ == "__main__":
    main()
