"""Frames for all programs: float32 TIFF files of the simulation of xrdpipe."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Frames:
    """Files on disk: a PONI, a frame without the sample and `images`, float32 TIFF of shape (size, size)."""

    poni: Path
    background: Path
    images: list[Path]

    def first(self, count: int) -> list[Path]:
        """Return `count` images; if there are fewer, add hard links under new names, which need no disk space."""
        images = self.images[:count]
        folder = self.poni.parent / "links"
        folder.mkdir(exist_ok=True)
        for number in range(len(images), count):
            link = folder / f"link_{number:04d}.tiff"
            if not link.exists():
                os.link(self.images[number % len(self.images)], link)
            images.append(link)
        return images


def cache_folder() -> Path:
    """Return the folder of frames and environments in the cache of the user."""
    home = Path.home()
    fallback = {"darwin": home / "Library/Caches", "win32": home / "AppData/Local"}.get(sys.platform, home / ".cache")
    return Path(os.environ.get("XDG_CACHE_HOME") or fallback) / "xrdpipe-benchmarks"


def make(folder: Path, count: int, size: int) -> Frames:
    """Write `count` frames, their background and their PONI into `folder`, unless they exist."""
    import numpy as np
    import tifffile

    from xrdpipe.stages.simulation import Simulation

    folder.mkdir(parents=True, exist_ok=True)
    simulation = Simulation(shape=(size, size), pixel=(0.4096 / size, 0.4096 / size))
    frames = Frames(
        folder / "geometry.poni",
        folder / "background.tiff",
        [folder / f"frame_{number:04d}.tiff" for number in range(count)],
    )
    frames.poni.write_text(simulation.poni_text(), encoding="utf-8")
    for number, path in enumerate([frames.background, *frames.images], -1):
        if not path.exists():
            image = simulation.air_frame() if number < 0 else simulation.frame(number, temperature=300 + number)
            partial = path.with_suffix(".partial")
            tifffile.imwrite(partial, image.astype(np.float32))
            partial.replace(path)
    return frames
