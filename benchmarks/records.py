"""Measure what the number of frames costs the process that follows a run: `python -m benchmarks.records`.

`records`: memory and time of runs over a stack, in which only the first frames are processed; the record of the last of
them stands for all others, and goes its whole way from the engine to `run.json`, `summary.csv` and the report.
`start`: seconds until the first pattern stands, for stacks and for separate files. Linux only.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

SIDE = 8  # pixels of a frame
REAL = 50  # frames that are processed
FIXED = ["mask.edge=0", "integ.npt=20", "plot=none", "quiet=true"]


class Cost(NamedTuple):
    memory: float  # MB, the most
    wall: float  # s
    processor: float  # s


def make_geometry(folder: Path, side: int) -> Path:
    """Write a PONI for frames of (side, side)."""
    from xrdpipe.stages.simulation import Simulation

    path = folder / f"{side}.poni"
    path.write_text(Simulation(shape=(side, side), pixel=(0.4 / side, 0.4 / side)).poni_text(), encoding="utf-8")
    return path


def make_stack(path: Path, count: int, side: int) -> Path:
    """Write a stack of `count` frames of counts."""
    import h5py

    counts = np.random.default_rng(0).poisson(50, (1000, side, side)).astype(np.uint8)
    with h5py.File(path, "w") as file:
        stack = file.create_dataset(
            "/entry/data/data", (count, side, side), "u1", chunks=(min(count, 1000), side, side)
        )
        for start in range(0, count, 1000):
            stack[start : start + 1000] = counts[: min(1000, count - start)]
    return path


def make_files(folder: Path, count: int, side: int) -> str:
    """Write files of one frame, most of them hard links, and return a pattern of them."""
    import tifffile

    folder.mkdir()
    for number in range(count):
        path = folder / f"frame_{number:07d}.tif"
        if number % 30_000 == 0:  # systems limit the links to a file
            first = path
            tifffile.imwrite(path, np.random.default_rng(0).poisson(50, (side, side)).astype(np.uint8))
        else:
            os.link(first, path)
    return f"{folder}/*.tif"


def simulate(words: list[str]) -> None:
    """Run xrdpipe in this process, with made-up outcomes after the first `REAL` frames."""
    from xrdpipe.cli.main import main
    from xrdpipe.execution.engines import local
    from xrdpipe.model.record import Outcome, pending_record
    from xrdpipe.model.reference import Reference
    from xrdpipe.pipeline.recipe import Recipe

    process, done = local.process_frame, list[Outcome]()

    def made_up(recipe: Recipe, image: Reference, keep: bool, show: bool = False) -> Outcome:
        if len(done) < REAL:
            done.append(process(recipe, image, keep, show))
            return done[-1]
        own, last = pending_record(image), done[-1].record
        outputs = {file.replace(last.name, own.name): digest for file, digest in last.outputs.items()}
        return Outcome(replace(last, file=own.file, name=own.name, path=own.path, outputs=outputs))

    local.process_frame = made_up  # type: ignore[assignment]
    sys.exit(main([*words, "parallel.n_jobs=1"]))


def cost(words: list[str]) -> Cost:
    """Run a command to its end."""
    clock = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.records", "simulate", *words])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"exit status {process.returncode}: {' '.join(words)}")
    return Cost(usage.ru_maxrss / 1024, time.monotonic() - clock, usage.ru_utime + usage.ru_stime)


def seconds_to_first(words: list[str], folder: Path) -> Cost:
    """Start a command, wait for the first pattern in its folder, and end it."""
    shutil.rmtree(folder, ignore_errors=True)
    clock = time.monotonic()
    with subprocess.Popen([sys.executable, "-m", "xrdpipe", *words, f"output_dir={folder}"]) as process:
        while process.poll() is None and not any(folder.glob("*.chi")):
            time.sleep(0.01)
        wall = time.monotonic() - clock
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        memory = next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))
        times = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        process.send_signal(signal.SIGKILL)
    return Cost(memory, wall, (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK"))


def main() -> None:
    if sys.argv[1:2] == ["simulate"]:
        simulate(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="python -m benchmarks.records", description=__doc__)
    parser.add_argument("what", choices=["records", "start"])
    parser.add_argument("--frames", type=int, nargs="+", default=[1000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("words", nargs="*", help="more of the command line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="xrdpipe-records-") as scratch:
        folder = Path(scratch)
        fixed = [f"poni={make_geometry(folder, SIDE)}", *FIXED, *options.words]
        print("| frames | what | memory, MB | wall, s | processor, s |\n|---|---|---|---|---|")
        for count in options.frames:
            images = {"stack": str(make_stack(folder / f"{count}.h5", count, SIDE))}
            if options.what == "start":
                images["files"] = make_files(folder / str(count), count, SIDE)
            for what, path in images.items():
                words = [*fixed, f"images={path}"]
                for _ in range(options.rounds if options.what == "start" else 1):
                    out = folder / "out"
                    shutil.rmtree(out, ignore_errors=True)
                    start = options.what == "start"
                    found = seconds_to_first(words, out) if start else cost([*words, f"output_dir={out}"])
                    memory, wall, processor = found
                    print(f"| {count} | {what} | {memory:.0f} | {wall:.2f} | {processor:.2f} |", flush=True)


if __name__ == "__main__":
    main()
