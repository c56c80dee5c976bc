"""Compare the speed of xrdpipe with other programs: `python -m benchmarks.peers`.

The program creates frames, installs the other programs from PyPI into separate environments, runs all of them in turn
on this machine, checks that the numbers agree, and prints (with `--output` also writes) tables of ratios. It runs on
Linux and macOS. The first run needs a network, 4 GB of disk space and half an hour. Programs that cannot be installed
are listed with the reason.
"""

import argparse
import json
import shutil
import sys
from functools import partial
from pathlib import Path

from . import machine, report
from .environments import PACKAGES, python_of, versions
from .frames import cache_folder, make
from .measure import FailedError, interleaved
from .peer_pdfstream import RANGE
from .programs import HERE, NOT_ON_PYPI, PROGRAMS, SIGMA_CLIP, Bench, script, xrdpipe

ALPHAS = [1.5 + 0.1 * step for step in range(12)]
ONE_WITH_PYFAI = """
import sys, fabio, numpy, pyFAI
poni, image, output = sys.argv[1:]
options = dict(unit="q_A^-1", method=("full", "csr", "cython"), correctSolidAngle=False)
result = pyFAI.load(poni).integrate1d(fabio.open(image).data, 1480, **options)
numpy.savetxt(output, numpy.transpose(result[:2]), fmt="%14.6e")
"""
Figures = dict[str, list[float]]  # name of a figure -> value of each round


def series(bench: Bench) -> Figures:
    """Measure the seconds per frame of every program: the difference between runs over many and over few frames.

    `<name>:start` is the start-up time of the program.
    """

    def seconds(name: str, count: int) -> float:
        program = PROGRAMS[name]
        command = program.command(bench, name, bench.pythons[name], count)
        return bench.run(name, command, program.variables).seconds

    starts: Figures = {}

    def seconds_per_frame(name: str) -> float:
        few, many = seconds(name, bench.few), seconds(name, bench.many)
        per_frame = (many - few) / (bench.many - bench.few)
        starts.setdefault(f"{name}:start", []).append(few - bench.few * per_frame)
        return per_frame

    return interleaved({name: partial(seconds_per_frame, name) for name in bench.pythons}, bench) | starts


def single(bench: Bench) -> Figures:
    """Measure the command on one frame with filled caches, the same with pyFAI, and a sweep, in seconds."""
    (image,) = bench.frames.first(1)
    background = f"background.file={bench.frames.background}"
    pyfai = [sys.executable, "-c", ONE_WITH_PYFAI, bench.frames.poni, image, bench.work / "one.chi"]
    alphas = "mask.alpha=" + ",".join(f"{alpha:.1f}" for alpha in ALPHAS)

    def command(*overrides: str) -> float:
        return bench.run("one-frame", xrdpipe(bench, "one-frame", [image], background, "plot=none", *overrides)).seconds

    command()
    subjects = {
        "one-frame": command,
        "one-frame:pyfai": lambda: bench.run("one-frame-pyfai", pyfai).seconds,
        "sweep": lambda: command("-m", alphas),
    }
    return interleaved(subjects, bench)


def memory(bench: Bench) -> Figures:
    """Measure the peak memory (bytes) of runs over 50 and 500 frames without figures."""

    def peak(count: int) -> float:
        background = f"background.file={bench.frames.background}"
        command = xrdpipe(bench, "memory", bench.frames.first(count), background, "plot=none")
        return bench.run("memory", command, watch=True).peak

    return interleaved({f"memory:{count}": partial(peak, count) for count in (50, 500)}, bench)


def kernel(bench: Bench) -> Figures:
    """Measure background and mask of one frame, and sigma clipping of pyFAI, in one process, in seconds."""
    frames = bench.frames
    inputs = [json.dumps(SIGMA_CLIP), frames.poni, frames.background, frames.images[0]]
    bench.run("kernel", [sys.executable, HERE / "peer_kernel.py", *inputs])
    last = (bench.work / "logs/kernel.log").read_text().splitlines()[-1]
    return {f"kernel:{name}": [seconds] for name, seconds in json.loads(last).items()}


def agreement(bench: Bench) -> Figures:
    """Compare patterns with PDFstream (with mask) and pyFAI (without).

    Figures are the largest difference as a fraction of the maximum, and the number of pixels in which masks differ.
    """
    differences: Figures = {}
    count = min(3, bench.many)
    images = bench.frames.first(count)
    masked = [
        f"background.file={bench.frames.background}",
        f"integ.radial_range=[{RANGE[0]},{RANGE[1]}]",
        "output.mask=true",
    ]
    for name, runner, overrides in [
        ("pdfstream", script("pdfstream", "--compare"), masked),
        ("pyfai-loop", PROGRAMS["pyfai-loop"].command, ["mask=none"]),
    ]:
        if name in bench.pythons:
            bench.run("agreement", runner(bench, "theirs", bench.pythons[name], count))
            bench.run("agreement", xrdpipe(bench, "ours", images, "plot=none", *overrides))
            differences |= {
                f"agreement:{name}{what}": values for what, values in _differences(bench.work / "output").items()
            }
    return differences


def _differences(folder: Path) -> Figures:
    import numpy as np

    patterns, masks = [], []
    for file in sorted(folder.glob("theirs/*.chi")):
        theirs, ours = (np.loadtxt(path, usecols=(0, 1)).T for path in (file, folder / "ours" / file.name))
        # A bin without a pixel has no row in ours: compare at our radial positions, which must be theirs.
        at = np.searchsorted(theirs[0][:-1], ours[0] * (1 - 1e-6))
        np.testing.assert_allclose(theirs[0][at], ours[0], rtol=2e-6, err_msg="the radial axes differ")
        patterns.append(float(np.abs(theirs[1][at] - ours[1]).max() / np.abs(theirs[1]).max()))
        if (mask := file.with_suffix(".npy")).exists():
            masks.append(float((np.load(mask) != np.load(folder / "ours/masks" / mask.name)).sum()))
    return {":pattern": [max(patterns)], **({":mask": [max(masks)]} if masks else {})}


PARTS = {"series": series, "single": single, "memory": memory, "kernel": kernel, "agreement": agreement}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--frames", type=int, default=48, metavar="N", help="frames of the long runs (48)")
    parser.add_argument("--few", type=int, default=8, metavar="N", help="frames of the short runs (8)")
    parser.add_argument("--size", type=int, default=2048, metavar="PIXELS", help="width and height of a frame (2048)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="how often everything is measured (3)")
    parser.add_argument("--work", type=Path, default=cache_folder(), help="frames, environments, logs (a cache folder)")
    names = [*PROGRAMS, *PARTS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", default=names, help=f"of {' '.join(names)}")
    parser.add_argument("--output", type=Path, help="write everything there too: .json, or .md as printed")
    options = parser.parse_args()
    if not 0 < options.few < options.frames:
        parser.error(f"--few {options.few}: fewer than --frames {options.frames} expected")
    return options


def main() -> None:
    options = arguments()
    work, here = options.work.resolve(), machine.describe()
    frames = make(work / f"frames-{options.size}", options.frames, options.size)
    bench = Bench(work, frames, options.few, options.frames, options.rounds, failed=dict(NOT_ON_PYPI))
    for name in PROGRAMS:
        if name in options.only:
            bench.prepare(name)
    bandwidth = machine.bandwidth()
    measured: Figures = {}
    for name, part in PARTS.items():
        if name in options.only or (name == "series" and bench.pythons):
            try:
                measured |= part(bench)
            except (FailedError, AssertionError, OSError, ValueError) as error:
                bench.failed[name] = str(error).strip()
    shutil.rmtree(work / "output", ignore_errors=True)

    used = [name for name in PACKAGES if any(PROGRAMS[each].environment == name for each in bench.pythons)]
    result = report.Result(
        machine=here,
        versions={
            "xrdpipe": versions(sys.executable),
            **{name: versions(python_of(name, work)) for name in used},
        },
        settings={key: getattr(options, key) for key in ("frames", "few", "size", "rounds")},
        measured=measured,
        failed=bench.failed,
        bandwidth=bandwidth,
    )
    text = report.markdown(result)
    print(text)
    if options.output:
        options.output.write_text(
            report.as_json(result) if options.output.suffix == ".json" else text, encoding="utf-8"
        )


if __name__ == "__main__":
    main()
