"""Watch a long run: memory, file handles, threads and temporary files.

    python -m benchmarks.soak FRAMES SIZE [WORDS of the command line ...]

The run processes 24 different frames of SIZE x SIZE pixels (float32) under FRAMES names (hard links). Figures are off
unless WORDS enable them. Linux only.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from . import frames, machine

TENTHS = 10


@dataclass(frozen=True)
class Sample:
    """State of the tree of processes at one moment."""

    done: int  # frames
    megabytes: float  # proportional set size, so that shared pages count once
    handles: int
    threads: int
    temporary: int  # files in the folder for temporary files, and unfinished ones beside the results


def sample(process: psutil.Process, folder: Path, temporary: Path, done: int) -> Sample:
    """Sample the resources of a run."""
    memory = handles = threads = 0
    for each in [process, *process.children(recursive=True)]:
        try:
            memory += each.memory_full_info().pss
            handles, threads = handles + each.num_fds(), threads + each.num_threads()
        except psutil.Error:  # the process has ended
            continue
    files = sum(len(names) for _, _, names in os.walk(temporary)) + len(list(folder.glob(".*.part")))
    return Sample(done, memory / 1e6, handles, threads, files)


def soak(command: list[str], folder: Path, temporary: Path, count: int) -> tuple[list[Sample], float, float]:
    """Run a command; return a sample per second, its duration and its processor time (seconds)."""
    samples, began, journal = [], time.monotonic(), folder / "run.jsonl"
    before = os.times()
    with subprocess.Popen(command, env={**os.environ, "TMPDIR": str(temporary)}, stdout=subprocess.DEVNULL) as process:
        watched, done, read = psutil.Process(process.pid), 0, 0
        while process.poll() is None:
            if journal.exists():
                with journal.open("rb") as lines:
                    lines.seek(read)
                    new = lines.read()
                done, read = done + new.count(b"\n"), read + len(new)
            samples.append(sample(watched, folder, temporary, done))
            time.sleep(1)
    after = os.times()
    if process.returncode:
        raise SystemExit(f"exit status {process.returncode}: {' '.join(command)}")
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return samples, time.monotonic() - began, spent


def main() -> None:
    """Run, and print a table in Markdown."""
    count, size, *words = sys.argv[1:]
    made = frames.make(frames.cache_folder() / f"{size}", 24, int(size))
    images = made.first(int(count))
    with tempfile.TemporaryDirectory(prefix="xrdpipe-soak-") as work:
        folder, temporary, listing = Path(work, "out"), Path(work, "tmp"), Path(work, "images.txt")
        temporary.mkdir()
        listing.write_text("".join(f"{path}\n" for path in images), encoding="utf-8")
        fixed = [
            f"poni={made.poni}",
            f"background.file={made.background}",
            f"images=@{listing}",
            f"output_dir={folder}",
        ]
        command = [sys.executable, "-m", "xrdpipe", *fixed, "plot=none", "quiet=true", *words]
        samples, seconds, spent = soak(command, folder, temporary, len(images))
        bytes_each = {
            kind: sum(path.stat().st_size for path in folder.glob(pattern)) / len(images)
            for kind, pattern in {".chi": "*.chi", "records": "run.json*", "summary.csv": "summary.csv"}.items()
        }
        report = sum(path.stat().st_size for path in folder.glob("report.html"))
    print(", ".join(f"{name} {value}" for name, value in machine.describe().items()))
    what = f"{count} frames of {size} x {size} pixels {' '.join(words)}"
    print(f"\n{what}: {seconds:.0f} s, {len(images) / seconds:.1f} a second;")
    print(
        f"{spent:.0f} s of processor time. A frame leaves",
        ", ".join(f"{v:.0f} bytes {k}" for k, v in bytes_each.items()),
    )
    print(f"report.html {report / 1e6:.1f} MB\n")
    print("| frames done | memory, MB | file handles | threads | temporary files |\n|---|---|---|---|---|")
    parts = {f"to {len(images) * tenth // TENTHS}": (tenth - 1, tenth) for tenth in range(1, TENTHS + 1)}
    for name, (low, high) in {"before the first": (-1, 0), **parts}.items():
        if inside := [each for each in samples if low < each.done * TENTHS / len(images) <= high]:
            most = [
                max(getattr(each, key) for each in inside) for key in ("megabytes", "handles", "threads", "temporary")
            ]
            print(f"| {name} | " + " | ".join(f"{value:.0f}" for value in most) + " |")


if __name__ == "__main__":
    main()
