"""Compare a stack of small frames with a plain pyFAI loop that writes text files: `python -m benchmarks.small_frames`.

The stack is that of `stacks`: uint32, sparse counts, bitshuffle/LZ4. Runs alternate. A figure is the difference
between a long and a short run, so that start-up does not count.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from .stacks import make

HERE = Path(__file__).parent


class Cost(NamedTuple):
    wall: float  # s, of all frames
    processor: float  # s


def run(words: list[object], folder: Path) -> Cost:
    """Run a command to its end."""
    clock = time.perf_counter()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(list(map(str, words)), cwd=folder, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit((folder / "log").read_text())
    return Cost(time.perf_counter() - clock, usage.ru_utime + usage.ru_stime)


def commands(count: int, jobs: list[int]) -> dict[str, list[object]]:
    """Return the command of each subject for so many frames."""
    peer = [sys.executable, HERE / "peer_pyfai_stack.py", "geometry.poni", "scan_master.h5", count, "peer"]
    ours = [sys.executable, "-m", "xrdpipe", "poni=geometry.poni", f"images=scan_master.h5::[:{count}]", "plot=none"]
    ours += ["quiet=true", "output_dir=ours"]
    return {"pyFAI loop": peer} | {f"xrdpipe, {n} jobs": [*ours, f"parallel.n_jobs={n}"] for n in jobs}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.small_frames", description=__doc__)
    parser.add_argument("--side", type=int, default=256, help="width and height of a frame in pixels (256)")
    parser.add_argument("--frames", type=int, default=2000, help="frames of the long run (2000)")
    parser.add_argument("--few", type=int, default=100, help="frames of the short run (100)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make(folder, options.frames, options.side, tiff=False)
        costs: dict[str, list[Cost]] = {}
        for number in range(-1, options.rounds):  # the first round compiles and fills caches
            for name in commands(0, options.jobs):
                pair = []
                for count in (options.few, options.frames):
                    for output in ("ours", "peer"):
                        shutil.rmtree(folder / output, ignore_errors=True)
                    pair.append(run(commands(count, options.jobs)[name], folder))
                cost = Cost(*((b - a) / (options.frames - options.few) for a, b in zip(*pair, strict=True)))
                if number >= 0:
                    costs.setdefault(name, []).append(cost)
                    print(f"{name}: {1e3 * cost.wall:.2f} ms, {1e3 * cost.processor:.2f} ms of processor", flush=True)
    print("| | ms a frame | processor, ms a frame | pyFAI loop / this | the same of processor time |")
    print("|---|---|---|---|---|")
    for name, rows in costs.items():
        wall, processor = (median(column) for column in zip(*rows, strict=True))
        pairs = list(zip(costs["pyFAI loop"], rows, strict=True))
        ratios = [median(getattr(peer, key) / getattr(own, key) for peer, own in pairs) for key in Cost._fields]
        print(f"| {name} | {1e3 * wall:.2f} | {1e3 * processor:.2f} | {ratios[0]:.2f} | {ratios[1]:.2f} |")


if __name__ == "__main__":
    main()
