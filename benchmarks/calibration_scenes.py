"""Random frames of calibrants whose geometry is known, and frames that decide none, for `calibration`.

Even seeds are for development; odd ones are for the figures that are reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CALIBRANTS = ("CeO2", "LaB6", "Si", "alpha_Al2O3")
RINGS = (3, 30)  # fewest and most rings on the detector
SHORTEST = 60  # pixels of a ring on the detector that count as a ring
SIDES = (400, 1100)  # pixels, of the frames
FACTORS = (0.8, 0.95, 0.99, 1.01, 1.05, 1.2)  # of the wavelength that is right, given instead of it


@dataclass(frozen=True)
class CalibrationScene:
    """A frame (slow, fast) of counts, int32 with -1 in gaps, their mean without gaps, and the geometry that made it."""

    seed: int
    image: NDArray[np.int32]
    expected: Floats
    calibrant: str
    geometry: Any  # AzimuthalIntegrator of pyFAI
    rings: int
    about: dict[str, Any]


@dataclass(frozen=True)
class HostileScene:
    """A scene, and what is said of it that is not true; a calibration of it is wrong."""

    scene: CalibrationScene
    kind: str
    calibrant: str
    wavelength: float


def hostile(seed: int) -> HostileScene:
    """Draw a scene with another calibrant's name, another wavelength, or too few rings, in turn."""
    rng = np.random.default_rng([seed, 29])
    kind = ("calibrant", "wavelength", "rings")[seed // 2 % 3]
    drawn = scene(seed, only=int(rng.integers(3)) if kind == "rings" else None)
    calibrant, wavelength = drawn.calibrant, drawn.geometry.wavelength
    if kind == "calibrant":
        calibrant = str(rng.choice([name for name in CALIBRANTS if name != calibrant]))
        return HostileScene(drawn, f"{drawn.calibrant} said to be {calibrant}", calibrant, wavelength)
    if kind == "wavelength":
        factor = float(rng.choice(FACTORS))
        return HostileScene(drawn, f"wavelength times {factor}", calibrant, wavelength * factor)
    return HostileScene(drawn, f"{drawn.rings} rings", calibrant, wavelength)


def scene(seed: int, sides: tuple[int, int] = SIDES, only: int | None = None) -> CalibrationScene:
    """Draw the scene of a seed, with sides within limits (pixels), and with the first rings only."""
    rng = np.random.default_rng([seed, 23])
    geometry, calibrant, rings = _geometry(rng, sides)
    two_theta = geometry.center_array(unit="2th_rad").astype(np.float64)
    chi = geometry.center_array(unit="chi_rad").astype(np.float64)
    lines = _lines(calibrant, geometry.wavelength)
    scale = np.abs(np.gradient(two_theta, axis=0)) + np.abs(np.gradient(two_theta, axis=1))
    step = float(np.median(scale))  # rad a pixel, about
    fwhm = rng.uniform(1.5, 5) * step
    strength = np.exp(rng.normal(0, 0.7, len(lines))) * np.exp(-1.5 * lines / two_theta.max())
    seen = [number for number, line in enumerate(lines) if _length(two_theta, line, step) > SHORTEST]
    strength /= strength[seen].max()
    if only is not None:
        strength[: seen[0]] = strength[seen[0] + only :] = 0
        rings = only
    texture = rng.uniform(0.1, 0.7) if rng.random() < 0.4 else 0.0
    grains = int(np.exp(rng.uniform(np.log(100), np.log(3000)))) if rng.random() < 0.25 else 0
    counts = float(np.exp(rng.uniform(0, np.log(1000))))
    expected = np.zeros(two_theta.shape)
    for line, height in zip(lines, strength, strict=True):
        near = np.abs(two_theta - line) < 6 * fwhm
        if not near.any():
            continue
        along = 1 + texture * np.cos(2 * chi[near] + rng.uniform(0, 2 * np.pi))
        if grains:
            bins = np.floor((chi[near] + np.pi) / (2 * np.pi) * 2 * grains).astype(int)
            along = along * rng.gamma(0.5, 2.0, 2 * grains + 1)[bins]
        expected[near] += height * along * np.exp(-4 * np.log(2) * ((two_theta[near] - line) / fwhm) ** 2)
    level = float(np.exp(rng.uniform(np.log(0.02), np.log(1))))
    expected += level * np.exp(-two_theta / two_theta.max() * rng.uniform(0, 3))
    expected *= counts
    image = rng.poisson(expected).astype(np.int32)
    _spoil(image, geometry, rng, counts)
    about = {"counts": counts, "fwhm": fwhm / step, "texture": texture, "grains": grains, "level": level}
    return CalibrationScene(seed, image, expected, calibrant, geometry, rings, about)


def _lines(calibrant: str, wavelength: float) -> Floats:
    from pyFAI.calibrant import get_calibrant

    return np.array(get_calibrant(calibrant, wavelength=wavelength).get_2th())


def _length(two_theta: Floats, line: float, step: float) -> float:
    return float((np.abs(two_theta - line) < step / 2).sum())


def _geometry(rng: np.random.Generator, sides: tuple[int, int]) -> tuple[Any, str, int]:
    from pyFAI.detectors import Detector
    from pyFAI.integrator.azimuthal import AzimuthalIntegrator

    while True:
        calibrant = str(rng.choice(CALIBRANTS))
        shape = tuple(int(side) for side in rng.integers(*sides, 2))
        pixel = float(rng.choice([75e-6, 100e-6, 172e-6, 200e-6]))
        wavelength = float(np.exp(rng.uniform(np.log(0.15e-10), np.log(1.5e-10))))
        largest = rng.choice([2, 10, 40], p=[0.5, 0.25, 0.25])
        tilt, direction = np.deg2rad(rng.uniform(0, largest)), rng.uniform(0, 2 * np.pi)
        on = rng.random() < 0.6
        centre = rng.uniform(0.1, 0.9, 2) if on else rng.uniform(-0.8, 1.8, 2)
        if not on and (centre > 0).all() and (centre < 1).all():
            continue
        distance = float(np.exp(rng.uniform(np.log(0.03), np.log(2.0))))
        detector = Detector(pixel, pixel, max_shape=shape, orientation=3)
        geometry = AzimuthalIntegrator(distance, 0, 0, detector=detector, wavelength=wavelength)
        geometry.setFit2D(
            1e3 * distance, centre[1] * shape[1], centre[0] * shape[0], np.rad2deg(tilt), np.rad2deg(direction)
        )
        two_theta = geometry.center_array(unit="2th_rad")
        if two_theta.max() > 2.6 or not np.isfinite(two_theta).all():
            continue
        step = float(np.median(np.abs(np.gradient(two_theta, axis=0)) + np.abs(np.gradient(two_theta, axis=1))))
        lines = _lines(calibrant, wavelength)
        seen = [line for line in lines if _length(two_theta, line, step) > SHORTEST]
        apart = np.diff(seen).min() / step if len(seen) > 1 else 0
        if RINGS[0] <= len(seen) <= RINGS[1] and apart > 4:
            return geometry, calibrant, len(seen)


def _spoil(image: NDArray[np.int32], geometry: Any, rng: np.random.Generator, counts: float) -> None:
    if rng.random() < 0.6:
        stop = rng.uniform(8, 40)
        fit = geometry.getFit2D()
        slow, fast = np.mgrid[: image.shape[0], : image.shape[1]]
        shadow = np.hypot(slow - fit["centerY"], fast - fit["centerX"]) < stop
        if rng.random() < 0.5:
            shadow |= (np.abs(fast - fit["centerX"]) < stop / 4) & (slow < fit["centerY"])
        image[shadow] = rng.poisson(0.02 * counts, int(shadow.sum()))
    hot = rng.random(image.shape) < rng.choice([0, 1e-4, 1e-3])
    image[hot] += rng.integers(int(counts) + 5, 100 * int(counts) + 50, int(hot.sum())).astype(np.int32)
    image[rng.random(image.shape) < 3e-4] = 0
    if rng.random() < 0.5:
        step = int(rng.integers(150, 260))
        for start in range(step, image.shape[0], step):
            image[start : start + 12] = -1
        for start in range(2 * step, image.shape[1], 2 * step):
            image[:, start : start + 6] = -1
