"""Benchmarks of the installed command: start-up, one frame, a series, a sweep, and the memory of a series."""

import subprocess
import sys
import tempfile
from pathlib import Path

from .frames import Frames, cache_folder, make

SIZE, SERIES = 2048, 24
COMMAND = str(Path(sys.executable).with_name("xrdpipe"))


def run(*arguments: str) -> None:
    """Run the command in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([COMMAND, *arguments], cwd=folder, check=True, capture_output=True)


class StartUp:
    """Start-up time."""

    def time_help(self) -> None:
        run("--help")

    def time_import(self) -> None:
        subprocess.run([sys.executable, "-c", "import xrdpipe"], check=True)


class Command:
    """Whole runs with background and mask; only `time_series_figures` draws figures."""

    timeout = 600

    def setup_cache(self) -> Frames:
        frames = make(cache_folder() / f"frames-{SIZE}", SERIES, SIZE)
        run(*self._arguments(frames, 1))  # fills the caches
        return frames

    def _arguments(self, frames: Frames, count: int, *overrides: str) -> list[str]:
        images = [str(image) for image in frames.first(count)]
        settings = [f"poni={frames.poni}", f"background.file={frames.background}", "output_dir=out", "quiet=true"]
        return [*settings, *(overrides or ["plot=none"]), *images]

    def time_frame(self, frames: Frames) -> None:
        run(*self._arguments(frames, 1))

    def time_series(self, frames: Frames) -> None:
        run(*self._arguments(frames, SERIES))

    def time_series_figures(self, frames: Frames) -> None:
        run(*self._arguments(frames, SERIES, "plot=default"))

    def time_sweep(self, frames: Frames) -> None:
        run(*self._arguments(frames, 1, "plot=none", "-m", "mask.alpha=1.5,1.75,2,2.25,2.5,3"))


class InProcess:
    """`xrdpipe.integrate` in this process, so that asv measures its memory."""

    params = ([1, SERIES],)
    param_names = ("frames",)
    timeout = 600

    def setup_cache(self) -> Frames:
        return make(cache_folder() / f"frames-{SIZE}", SERIES, SIZE)

    def peakmem_series(self, frames: Frames, count: int) -> None:
        import xrdpipe

        with tempfile.TemporaryDirectory() as folder:
            background = {"file": str(frames.background)}
            options = {"plot": "none", "background": background, "output_dir": f"{folder}/out"}
            xrdpipe.integrate(frames.poni, *frames.first(count), **options)
