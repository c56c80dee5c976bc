"""Demo: simulated nickel frames, made in the folder of the run."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..model.cores import available_cores
from ..model.errors import ConfigError, require
from .simulation import Simulation
from .source import Source

CERIA = 5.41165  # angstrom, lattice of CeO2, of the same extinctions as nickel (NIST SRM 674b)
CALIBRANT = 1000  # number of its exposure, beyond those of nickel
THREADS = 4  # that simulate frames; each needs some 200 MB


@dataclass(frozen=True)
class Demo(Source):
    """Simulate nickel frames with their PONI and air frame in the folder of the run, see `write_demo`.

    The keys not listed here are those of `Source`.

    Attributes
    ----------
    frames
        Number of frames, 1 to 501.
    seed
        Seed of the random numbers; the same seed gives the same frames.
    calibrant
        Write ``ceo2.tiff`` too, a frame for `xrdpipe calibrate`; it is not reduced.
    """

    frames: int = 6
    seed: int = 0
    calibrant: bool = False

    supplies: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.frames <= 501, "frames", self.frames, "1 to 501 frames expected")
        require(self.seed >= 0, "seed", self.seed, "a whole number >= 0 expected")

    def supply(self, values: dict[str, Any], folder: Path) -> dict[str, Any]:
        """Write the simulated files and return the configuration with their paths."""
        for key in ("poni", "images"):
            if values.get(key):
                raise ConfigError(
                    f"{key}={values[key]}: the demo makes its own; leave it out, or leave out source=demo"
                )
        demo = write_demo(folder / "demo", self.frames, self.seed, self.calibrant)
        background = dict(values.get("background") or {})
        background["file"] = background.get("file") or str(demo.air)
        images = [str(path) for path in demo.images]
        return {**values, "poni": str(demo.poni), "images": images, "background": background}


class DemoFiles(NamedTuple):
    """Paths of the files that `write_demo` writes."""

    poni: Path
    images: list[Path]
    air: Path


def write_demo(
    folder: Path, frames: int = 6, seed: int = 0, calibrant: bool = False, simulation: Simulation | None = None
) -> DemoFiles:
    """Write `ni_300K.tiff` to `ni_800K.tiff` (nickel while it is heated), `air.tiff` and `geometry.poni`.

    Image i is frame i of `Simulation(seed=seed)`; its header holds the temperature in K. Each file appears whole or not
    at all.

    Parameters
    ----------
    folder
        Folder of the files; created if missing.
    frames
        Number of images, 1 to 501, because the names hold whole kelvins.
    seed
        Seed of the random numbers; the same seed gives the same bytes.
    calibrant
        Write `ceo2.tiff` too: a frame with the ring positions of CeO2 and the air's scattering.
    simulation
        What is simulated, but for its seed; by default `Simulation()`.

    Returns
    -------
    DemoFiles
        Paths of the files.

    Raises
    ------
    ValueError
        ``frames`` is not from 1 to 501.
    """
    if not 1 <= frames <= 501:
        raise ValueError(f"frames={frames}: the series has from 1 to 501 frames")
    simulation = replace(simulation or Simulation(), seed=seed)
    kelvins = np.linspace(300, 800, frames).round().astype(int).tolist()
    demo = DemoFiles(
        folder / "geometry.poni", [folder / f"ni_{kelvin}K.tiff" for kelvin in kelvins], folder / "air.tiff"
    )
    folder.mkdir(parents=True, exist_ok=True)
    _write(demo.poni, lambda part: part.write_bytes(simulation.poni_text().encode()))
    _write_tiff(demo.air, simulation.air_frame())  # first: the others share what it prepares

    def make(number: int) -> None:
        _write_tiff(demo.images[number], simulation.frame(number, kelvins[number]), f"temperature: {kelvins[number]}")

    with ThreadPoolExecutor(min(available_cores(), THREADS)) as threads:
        list(threads.map(make, range(frames)))
    if calibrant:
        _write_tiff(folder / "ceo2.tiff", replace(simulation, lattice=CERIA).frame(CALIBRANT))
    return demo


def _write_tiff(path: Path, image: NDArray[np.uint16], header: str | None = None) -> None:
    import tifffile

    _write(path, partial(tifffile.imwrite, data=image, software=False, metadata=None, description=header))


def _write(path: Path, write: Callable[[Path], object]) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
