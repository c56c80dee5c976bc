"""Simulated frames of calibrants, small and quick."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tifffile
from pyFAI.calibrant import get_calibrant
from pyFAI.integrator.azimuthal import AzimuthalIntegrator

SHAPE = (400, 420)
PIXEL = 2e-4  # m
GEOMETRY = {"dist": 0.15, "poni1": 0.045, "poni2": 0.038, "rot1": 0.05, "rot2": -0.03, "rot3": 0.0, "wavelength": 3e-11}


def angles(values: Mapping[str, float]) -> np.ndarray:
    """Return the scattering angle of the pixels (rad)."""
    geometry = AzimuthalIntegrator(pixel1=PIXEL, pixel2=PIXEL, **values)
    return np.asarray(geometry.center_array(SHAPE, unit="2th_rad", scale=False))


def write_frame(path: Path | str, values: Mapping[str, float], calibrant: str = "LaB6", seed: int = 0) -> None:
    """Write a frame with rings about 2.4 pixels wide, Poisson noise and a gap."""
    at = angles(values)
    width = PIXEL / values["dist"] * np.cos(at) ** 2
    counts = np.full(SHAPE, 20.0)
    for line in get_calibrant(calibrant, wavelength=values["wavelength"]).get_2th():
        counts += 300 * np.exp(-(((at - line) / width) ** 2) / 2)
    image = np.random.default_rng(seed).poisson(counts).astype(np.int32)
    image[190:200] = -1
    tifffile.imwrite(path, image)
