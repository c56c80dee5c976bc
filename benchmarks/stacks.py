"""Compare a stack like that of an Eiger with the same frames as TIFF files: speed, processor time, memory.

    python benchmarks/stacks.py [FRAMES] [FOLDER] [SIDE] [TYPE]

Frames have SIDE x SIDE pixels (1024) of TYPE (uint32), with sparse counts. The stack is compressed with bitshuffle/LZ4;
its master file links to data files of 100 frames. Runs alternate. The 4-Mpixel stack: 200 /tmp 2048 uint16.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import tifffile

PONI = """\
poni_version: 2
Detector: Detector
Detector_config: {"pixel1": PIXEL, "pixel2": PIXEL, "max_shape": null, "orientation": 3}
Distance: 0.1
Poni1: 0.0381
Poni2: 0.0377
Rot1: 0.004
Rot2: -0.002
Rot3: 0
Wavelength: 1.0e-10
"""


def make(folder: Path, count: int, side: int, kind: str = "uint32", tiff: bool = True) -> None:
    """Write `count` frames of rings with Poisson noise as a stack, and as TIFF files."""
    rng = np.random.default_rng(0)
    slow, fast = 1024 / side * np.mgrid[:side, :side]
    radius = np.hypot(slow - 508, fast - 503)
    mean = 0.3 + sum(8 * np.exp(-(((radius - ring) / 2.5) ** 2)) for ring in (120, 190, 260, 330, 410))
    (folder / "geometry.poni").write_text(PONI.replace("PIXEL", f"{0.0768 / side:g}"))
    with h5py.File(folder / "scan_master.h5", "w") as master:
        group = master.create_group("entry/data")
        for start in range(0, count, 100):
            name = f"data_{start // 100 + 1:06d}"
            group[name] = h5py.ExternalLink(f"scan_{name}.h5", "/entry/data/data")
            with h5py.File(folder / f"scan_{name}.h5", "w") as file:
                shape = (min(100, count - start), side, side)
                data = file.create_dataset(
                    "entry/data/data", shape, kind, chunks=(1, side, side), **hdf5plugin.Bitshuffle(cname="lz4")
                )
                for at in range(shape[0]):
                    image = rng.poisson(mean).astype(kind)
                    data[at] = image
                    if tiff:
                        tifffile.imwrite(folder / f"one_{start + at:04d}.tif", image)


def measure(folder: Path, images: str, name: str) -> tuple[float, float, int]:
    """Measure duration (s), processor time (s) and peak memory (MB) of one run."""
    words = [
        "poni=geometry.poni",
        f"images={images}",
        "plot=none",
        "quiet=true",
        f"output_dir={name}",
        "overwrite=true",
    ]
    clock = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "xrdpipe", *words], cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return time.perf_counter() - clock, usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024


def main() -> None:
    """Print a line for each run, and the ratio of the best ones."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as scratch:
        folder = Path(scratch)
        side, kind = [*sys.argv[3:], *("1024", "uint32")[len(sys.argv[3:]) :]]
        make(folder, count, int(side), kind)
        runs = {"tiff": "one_*.tif", "stack": "scan_master.h5", "half": f"scan_master.h5::[:{count // 2}]"}
        best: dict[str, float] = {}
        for turn in range(3):
            for name, images in runs.items():
                wall, cpu, memory = measure(folder, images, name)
                frames = count // 2 if name == "half" else count
                if turn:  # the first one compiles and fills caches
                    best[name] = min(best.get(name, np.inf), wall)
                print(f"{name:6} {frames} frames  {wall:6.1f} s  {cpu:6.1f} s of processor  {memory} MB", flush=True)
        print(f"the stack reaches {best['tiff'] / best['stack']:.2f} of the frames a second of the TIFF files")


if __name__ == "__main__":
    main()
