"""Is the doctor right? Frames of a generator of its own, each with the right and with all wrong orientations.

Run as `python -m benchmarks.doctor [--seeds odd] [--scenes 60]`; even seeds are to develop with, odd ones to report.
"""

import argparse
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xrdpipe.cli.doctor import diagnosis
from xrdpipe.geometry.orientation import ORIENTATIONS, SAME, Verdict, compare_orientations
from xrdpipe.geometry.poni import Poni
from xrdpipe.stages.source import Source

SHAPES = [(1043, 981), (1024, 1024), (768, 768), (514, 1030), (619, 487), (195, 487), (512, 512), (1440, 720)]


@dataclass
class Scene:
    """A raw frame, the PONI that it belongs to, and the transform that turns it into the PONI's orientation."""

    raw: NDArray[Any]
    poni: Poni
    truth: tuple[str, ...]
    traits: list[str] = field(default_factory=list)


def scene(seed: int) -> Scene:
    """A scene of all that makes orientations hard to tell, drawn by chance."""
    rng = np.random.default_rng([11, seed])
    shape = SHAPES[rng.integers(len(SHAPES))]
    traits: list[str] = []
    poni = _poni(rng, shape, traits)
    integrator = poni.integrator()
    if integrator.detector.max_shape is None:
        integrator.detector.shape = shape
    two_theta = integrator.center_array(shape, unit="2th_rad", scale=False)
    chi = integrator.center_array(shape, unit="chi_rad", scale=False)
    signal = _rings(rng, two_theta, chi, traits) + _background(rng, two_theta, traits)
    signal *= _shadows(rng, two_theta, chi, poni, traits)
    level = 10 ** rng.uniform(-1.3, 3.5)
    traits.append(f"{level:.2g} counts")
    frame = _detected(rng, signal * level / max(signal.mean(), 1e-12), level, traits)
    truth = ORIENTATIONS[rng.integers(8)]
    return Scene(np.ascontiguousarray(Source(transform=list(truth)).to_raw(frame)), poni, truth, traits)


def _poni(rng: np.random.Generator, shape: tuple[int, int], traits: list[str]) -> Poni:
    pixel = rng.choice([75e-6, 100e-6, 172e-6, 200e-6])
    size = np.array(shape) * pixel
    widest = np.deg2rad(rng.uniform(6, 50))
    distance = float(np.hypot(*size) / 2 / np.tan(widest))
    place = rng.choice(["near the middle", "on the detector", "off the detector"], p=[0.35, 0.3, 0.35])
    spread = {"near the middle": 0.03, "on the detector": 0.4, "off the detector": 0.9}[str(place)]
    offset = rng.uniform(-spread, spread, 2)
    if place == "off the detector":
        offset[rng.integers(2)] = rng.choice([-1, 1]) * rng.uniform(0.55, 1.2)
    tilt = np.deg2rad(rng.choice([0.0, rng.uniform(0, 3), rng.uniform(3, 30)]))
    about = rng.uniform(0, 2 * np.pi)
    rot1, rot2, rot3 = tilt * np.cos(about), tilt * np.sin(about), rng.uniform(-np.pi, np.pi)
    foot = (0.5 + offset) * size + distance * np.array([np.tan(rot2), -np.tan(rot1)])
    config: dict[str, Any] = {"pixel1": pixel, "pixel2": pixel, "orientation": int(rng.integers(1, 5))}
    if rng.random() < 0.4:
        config["max_shape"] = list(shape)
        traits.append("fixed shape")
    traits += [f"{shape[0]}x{shape[1]}", f"beam {place}", f"tilt {np.rad2deg(tilt):.0f}"]
    return Poni(
        "scene.poni",
        f"poni_version: 2.1\nDetector: Detector\nDetector_config: {json.dumps(config)}\nDistance: {distance}\n"
        f"Poni1: {foot[0]}\nPoni2: {foot[1]}\nRot1: {rot1}\nRot2: {rot2}\nRot3: {rot3}\nWavelength: 3e-11\n",
    )


def _rings(
    rng: np.random.Generator, two_theta: NDArray[Any], chi: NDArray[Any], traits: list[str]
) -> NDArray[np.float64]:
    low, high = float(two_theta.min()), float(two_theta.max())
    pixel = (high - low) / np.hypot(*two_theta.shape)
    many = 0 if rng.random() < 0.08 else int(rng.integers(3, 40))
    traits.append(f"{many} rings")
    width = pixel * 10 ** rng.uniform(-0.2, 0.9)
    texture = rng.choice([0.0, 0.3, 0.9])
    signal = np.zeros(two_theta.shape)
    for centre in rng.uniform(low, high, many):
        size = rng.lognormal(0, 1)
        line = size * np.exp(-0.5 * ((two_theta - centre) / width) ** 2)
        if texture:
            line *= 1 + texture * np.cos(2 * (chi - rng.uniform(0, np.pi)))
        signal += line
    if many and rng.random() < 0.25:
        traits.append("spotty")
        grains = rng.lognormal(0, 1.5, two_theta.shape)
        signal *= grains / grains.mean()
    if many and rng.random() < 0.3:
        traits.append("partial")
        middle, half = rng.choice(chi.ravel()), rng.uniform(0.1, 0.6)
        signal *= np.abs(np.angle(np.exp(1j * (chi - middle)))) < half
    return signal


def _background(rng: np.random.Generator, two_theta: NDArray[Any], traits: list[str]) -> NDArray[np.float64]:
    """Halos about the beam, air that is not, glass; in units of a line."""
    strength = 10 ** rng.uniform(-1, 1.7)
    traits.append(f"halo {strength:.2g}")
    low, high = float(two_theta.min()), float(two_theta.max())
    span = high - low
    signal = np.exp(-(two_theta - low) / (span * rng.uniform(0.2, 1)))
    signal += rng.uniform(0, 2) * np.exp(-0.5 * ((two_theta - low - span * 0.3) / (span * 0.12)) ** 2)
    rows, columns = np.mgrid[-1 : 1 : two_theta.shape[0] * 1j, -1 : 1 : two_theta.shape[1] * 1j]
    if rng.random() < 0.6:
        at = rng.uniform(-0.8, 0.8, 2)
        signal += rng.uniform(0, 2) * np.exp(-((rows - at[0]) ** 2 + (columns - at[1]) ** 2) / rng.uniform(0.1, 1))
    signal += rng.uniform(0, 0.5) * (1 + rng.uniform(0, 1) * rows)
    return strength * signal


def _shadows(
    rng: np.random.Generator, two_theta: NDArray[Any], chi: NDArray[Any], poni: Poni, traits: list[str]
) -> NDArray[np.float64]:
    passed = np.ones(two_theta.shape)
    rows, columns = np.indices(two_theta.shape)
    nearest = np.array(np.unravel_index(int(np.argmin(two_theta)), two_theta.shape))
    short = min(two_theta.shape)
    if rng.random() < 0.5:
        traits.append("beamstop")
        at = nearest + rng.normal(0, 0.02 * short, size=2)
        radius = short * rng.uniform(0.02, 0.1)
        through = rng.choice([0.0, 0.1])
        passed[np.hypot(rows - at[0], columns - at[1]) < radius] = through
        if rng.random() < 0.6:
            turn = rng.uniform(0, 2 * np.pi)
            along = (rows - at[0]) * np.cos(turn) + (columns - at[1]) * np.sin(turn)
            across = -(rows - at[0]) * np.sin(turn) + (columns - at[1]) * np.cos(turn)
            passed[(along > 0) & (np.abs(across) < radius / 3)] *= rng.choice([0.0, 0.5, 0.85])
    if rng.random() < 0.15:
        traits.append("aperture")
        middle = np.array(two_theta.shape) / 2 + rng.normal(0, 0.05 * short, size=2)
        passed[np.hypot(rows - middle[0], columns - middle[1]) > 0.52 * short] *= rng.choice([0.0, 0.3])
    if rng.random() < 0.3:
        traits.append("flat")
        passed *= 1 + 0.02 * rng.normal(size=(1, two_theta.shape[1]))
    return passed


def _detected(rng: np.random.Generator, expected: NDArray[Any], level: float, traits: list[str]) -> NDArray[Any]:
    indices: NDArray[Any] = np.indices(expected.shape)
    rows, columns = indices
    if rng.random() < 0.4:
        traits.append("spots")
        for _ in range(int(rng.integers(3, 60))):
            at = rng.uniform(0, 1, size=2) * np.array(expected.shape)
            size, peak = rng.uniform(0.8, 5), level * 10 ** rng.uniform(0.5, 3)
            near = (slice(max(0, int(at[0]) - 20), int(at[0]) + 20), slice(max(0, int(at[1]) - 20), int(at[1]) + 20))
            distance = (rows[near] - at[0]) ** 2 + (columns[near] - at[1]) ** 2
            expected[near] += peak * np.exp(-distance / 2 / size**2)
    kind = rng.choice(["int32", "uint16", "float32"])
    traits.append(kind)
    frame = rng.poisson(expected).astype(float)
    frame[rng.random(frame.shape) < 10 ** rng.uniform(-5, -2.5)] = 1e5  # hot
    bad = rng.random(frame.shape) < 10 ** rng.uniform(-5, -2.5)
    if rng.random() < 0.5:
        traits.append("gaps")
        pitch, gap = (int(rng.integers(150, 300)) for _ in range(2)), int(rng.integers(3, 18))
        high, wide = pitch
        bad |= (rows % high < gap) & (rows > gap) | (columns % wide < gap // 2) & (columns > gap)
    sentinel = {"int32": -1, "uint16": rng.choice([0, 65535]), "float32": rng.choice([0, np.nan])}[str(kind)]
    if kind == "float32":
        frame = frame * rng.uniform(0.3, 5) + rng.normal(0, rng.uniform(0, 1 + 0.1 * level), frame.shape) + 10
    frame[bad] = sentinel
    seen: NDArray[Any] = np.clip(frame, None, 65535 if kind == "uint16" else None).astype(str(kind))
    return seen


def outcome(verdict: Verdict, truth: tuple[str, ...]) -> str:
    """Right, undecided or wrong: of what the doctor says of the given orientation, and what it names instead."""
    named = [words for words in verdict.likely if abs(verdict.apart[words] - verdict.apart[truth]) >= SAME]
    true = verdict.current == truth or (verdict.current in verdict.likely and verdict.current not in named)
    if truth not in verdict.likely or (verdict.wrong and true) or (verdict.right and not true):
        return "wrong"
    return "right" if not named and (verdict.right or not true) else "undecided"


def main() -> None:
    """Print a line a scene, and how often the doctor is right."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", choices=("even", "odd"), default="even")
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--start", type=int, default=0, help="scenes that are left out before")
    options = parser.parse_args()
    found: dict[str, Counter[str]] = {"right": Counter(), "wrong": Counter(), "right, no rings": Counter()}
    worst = 0.0
    for number in range(options.start, options.start + options.scenes):
        made = scene(2 * number + (options.seeds == "odd"))
        told: Counter[str] = Counter()
        for words in ORIENTATIONS:
            start = time.perf_counter()
            verdict = compare_orientations(made.raw, made.poni, words, cache=False)
            seconds = time.perf_counter() - start
            told[result := outcome(verdict, made.truth)] += 1
            found["right" if words == made.truth else "wrong"][result] += 1
            if words == made.truth:
                said, against = diagnosis(verdict)[1], verdict.against[words]
                if "0 rings" in made.traits:
                    found["right, no rings"][result] += 1
        worst = max(worst, against)
        print(f"{number:3d} {dict(told)} {seconds:.2f} s; {said}; {', '.join(made.traits)}", flush=True)
    for name, counted in found.items():
        print(f"given the {name} orientation: {dict(counted)}")
    print(f"most evidence against a true orientation: {worst:.1f} sigma")


if __name__ == "__main__":
    main()
