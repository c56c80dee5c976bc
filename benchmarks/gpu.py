"""Measure `parallel=cuda` beside the threads of the processor: `python -m benchmarks.gpu`; it needs a CUDA GPU.

Frames of 1, 4 and 16 Mpixel, background subtracted, default mask, with error_model=poisson: from memory without output,
and from disk with text files. A figure is the difference between a long and a short run in one process, so that neither
start-up nor compilation counts. The share of the GPU's memory bandwidth takes the bytes that the kernels have to read
and write, and the speed at which the GPU copies an array of its own.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import tifffile

import xrdpipe
from xrdpipe.geometry.geometry import Geometry
from xrdpipe.geometry.poni import Poni
from xrdpipe.model.errors import ConfigError
from xrdpipe.stages.integ.integ import Integ

from . import frames, machine

BACKENDS = {"processor": "default", "GPU": "cuda"}
PER_PIXEL = 12 + 14 + 22 + 4 + 9  # bytes: subtraction, ring order, median and moments, outliers, image to mask of a sum
PER_ENTRY = 8  # bytes: index and weight of a pixel in a bin


def bandwidth(megabytes: int = 256, repeats: int = 20) -> float:
    """Return the bytes per second that the GPU reads and writes when it copies an array, the best of `repeats`."""
    from numba import cuda

    source, target = (cuda.device_array(megabytes * 250_000, np.float32) for _ in range(2))
    best = float("inf")
    for _ in range(repeats):
        cuda.synchronize()
        clock = time.perf_counter()
        target.copy_to_device(source)
        cuda.synchronize()
        best = min(best, time.perf_counter() - clock)
    return 2e6 * megabytes / best


def bytes_per_pixel(made: frames.Frames, side: int) -> float:
    """Return the bytes that the kernels have to read and write for each pixel of a frame."""
    geometry = Geometry(Poni(str(made.poni), made.poni.read_text()), (side, side))
    entries = Integ()._make_arrays(geometry)["bins"].size
    return PER_PIXEL + PER_ENTRY * entries / side**2


def seconds(made: frames.Frames, images: Any, parallel: str, n_jobs: int, folder: Path | None) -> float:
    """Return the duration of a run."""
    clock = time.perf_counter()
    run = xrdpipe.integrate(
        made.poni,
        images,
        output_dir=folder,
        background={"file": str(made.background)},
        integ={"error_model": "poisson"},
        parallel=(parallel, {"n_jobs": n_jobs}),
        plot="none",
        report=False,
    )
    if run.failed:
        raise SystemExit(f"{run.failed[0].file}: {run.failed[0].error}")
    if folder is not None:
        shutil.rmtree(folder)
    return time.perf_counter() - clock


def measure(made: frames.Frames, options: argparse.Namespace, scratch: Path) -> dict[tuple[str, str], float]:
    """Return frames per second by source and backend, medians of pairs of runs in turn."""
    many = made.first(options.frames)
    arrays = {path.stem: tifffile.imread(path) for path in made.images}
    kept = list(arrays.values())
    found: dict[tuple[str, str], list[float]] = {}
    for number in range(-1, options.rounds):  # the first round compiles and fills caches
        for where in ("memory", "disk"):
            for name, parallel in BACKENDS.items():
                pair = []
                for count in (options.few, options.frames):
                    images: Any = "@" + str(scratch / "list.txt")
                    (scratch / "list.txt").write_text("\n".join(map(str, many[:count])))
                    if where == "memory":
                        images = {f"frame_{i}": kept[i % len(kept)] for i in range(count)}
                    folder = None if where == "memory" else scratch / "out"
                    pair.append(seconds(made, images, parallel, options.jobs, folder))
                if number >= 0:
                    found.setdefault((where, name), []).append((options.frames - options.few) / (pair[1] - pair[0]))
    return {key: median(values) for key, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=[1024, 2048, 4096], help="pixels along a frame")
    parser.add_argument("--frames", type=int, default=220, help="frames of the long run (220)")
    parser.add_argument("--few", type=int, default=20, help="frames of the short run (20)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=-1, help="frames at once (-1: all cores)")
    options = parser.parse_args()
    try:
        from xrdpipe.numerics.cuda.device import require_gpu

        require_gpu()
    except ConfigError as error:
        print(f"Nothing was measured: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    from numba import cuda

    from xrdpipe.numerics.cuda.kernels import SIMULATED

    name, copied = "simulated" if SIMULATED else str(cuda.get_current_device().name), bandwidth()
    print(", ".join(f"{key} {value}" for key, value in machine.describe().items()))
    print(f"GPU: {name}, copies at {copied / 1e9:.0f} GB/s\n")
    print("| side | frames from | processor, frames/s | GPU, frames/s | GPU / processor | of the GPU's bandwidth |")
    print("|---|---|---|---|---|---|")
    for side in options.sides:
        made = frames.make(frames.cache_folder() / f"gpu-{side}", 4, side)
        traffic = bytes_per_pixel(made, side) * side**2
        with tempfile.TemporaryDirectory() as scratch:
            rates = measure(made, options, Path(scratch))
        for where in ("memory", "disk"):
            ours, theirs = rates[where, "GPU"], rates[where, "processor"]
            share = 100 * ours * traffic / copied
            print(f"| {side} | {where} | {theirs:.1f} | {ours:.1f} | {ours / theirs:.2f} | {share:.1f} % |", flush=True)


if __name__ == "__main__":
    main()
