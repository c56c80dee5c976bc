"""Sigma is the scatter of repeated measurements, whatever was done to the counts on the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from xrdpipe.model.arrays import Image
from xrdpipe.model.errors import ConfigError
from xrdpipe.model.frame import Frame
from xrdpipe.model.pattern import Pattern
from xrdpipe.stages.background import Background
from xrdpipe.stages.correction import Correction
from xrdpipe.stages.integ.integ import Integ
from xrdpipe.stages.mask import Mask
from xrdpipe.stages.source import Source
from xrdpipe.stages.stage import Setup

SHAPE = (120, 100)
REPEATED = 60
TOLERANCE = 0.05  # of scatter / sigma: 60 patterns of 60 bins tell it to 1.2 %, bins that share pixels to less


@pytest.fixture
def flat() -> NDArray[np.float32]:
    """A response that differs by 10 % from pixel to pixel."""
    return np.random.default_rng(3).normal(1, 0.1, SHAPE).clip(0.6, 1.4).astype(np.float32)


def repeated(
    folder: Path,
    setup: Setup,
    *,
    scale: float = 1.0,
    dark: float = 0.0,
    flat: NDArray[np.float32] | None = None,
    monitor: bool = False,
    averaged: int = 1,
    masked: float = 0.0,
    source: Source | None = None,
    **keys: Any,
) -> list[Pattern]:
    """Patterns of 1,100 counts over 1,000, each with a background and dark of its own, subtracted, without a mask.

    The background saw 1 / ``scale`` times the beam, which with ``monitor`` differs from frame to frame.
    """
    rng = np.random.default_rng(1)
    source = source or Source()
    integ = Integ(**{"npt": 60, "error_model": "poisson", "monitor": "i0" if monitor else None, **keys})
    setup = replace(setup, variance=integ.needs.variance, noise=source.noise)

    def saved(name: str, array: NDArray[Any]) -> str:
        np.save(folder / name, array)
        return str(folder / name)

    def exposure(rate: float) -> Image:
        photons = rng.poisson((rate * (1 if flat is None else flat) + dark) / source.gain, SHAPE)
        return (source.gain * photons + source.readout_noise * rng.standard_normal(SHAPE)).astype(np.float32)

    bad = saved("mask.npy", (rng.random(SHAPE) < masked).astype(np.uint8))
    after = [
        Correction(None if flat is None else saved("flat.npy", flat)).prepare(setup),
        Mask(edge=0, lower_thresh=None, alpha=None, file=bad).prepare(setup),
        integ.prepare(setup),
    ]
    patterns = []
    for _ in range(REPEATED):
        beam = float(rng.uniform(0.5, 2)) if monitor else 1.0
        files = [saved(f"air_{number}.npy", exposure(1000 / scale)) for number in range(averaged)]
        beam_key: dict[str, Any] = {"monitor": "i0", "monitor_value": 1.0} if monitor else {}
        dark_file = saved("dark.npy", exposure(0)) if dark else None
        steps = [Background(files, scale, dark_file, **beam_key).prepare(setup), *after]
        raw = exposure(1100 * beam)
        frame = Frame("a", raw, variance=source.noise(raw) if setup.variance else None, header={"i0": beam})
        for step in steps:
            frame = step(frame)
        assert frame.pattern is not None
        patterns.append(frame.pattern)
    return patterns


def scatter_over_sigma(patterns: list[Pattern]) -> float:
    intensity = np.array([pattern.intensity for pattern in patterns])
    sigma = np.array([pattern.sigma for pattern in patterns])
    assert np.nanmedian(intensity) == pytest.approx(100, abs=2)  # solid angle: + 1 %
    return float(np.nanmedian(intensity.std(axis=0, ddof=1) / sigma.mean(axis=0)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"averaged": 4},
        {"scale": 0.5, "dark": 100.0},
        {"monitor": True, "scale": 0.5},
        {"source": Source(gain=3.0, readout_noise=20.0), "dark": 100.0},
        {"correctSolidAngle": True, "method": "numpy"},
    ],
    ids=lambda keys: ", ".join(keys) or "subtracted",
)
def test_sigma_is_the_scatter_after_subtraction(keys: dict[str, Any], data: Path, setup: Setup) -> None:
    assert scatter_over_sigma(repeated(data, setup, **keys)) == pytest.approx(1, abs=TOLERANCE)


@pytest.mark.parametrize("model", ["poisson", "azimuthal"])
def test_sigma_is_the_scatter_with_dark_flat_monitor_scale_and_mask_together(
    model: str, flat: NDArray[np.float32], data: Path, setup: Setup
) -> None:
    everything: dict[str, Any] = {"scale": 0.5, "dark": 100.0, "flat": flat, "monitor": True, "masked": 0.01}
    patterns = repeated(data, setup, **everything, error_model=model)
    assert scatter_over_sigma(patterns) == pytest.approx(1, abs=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["poisson", "azimuthal", "hybrid"])
def test_a_monitor_divides_intensity_and_sigma_alike(model: str, frames: list[Path], setup: Setup) -> None:
    def pattern(**keys: Any) -> Pattern:
        integ = Integ(npt=60, error_model=model, **keys)
        image = Source().read(frames[0])
        step = integ.prepare(replace(setup, variance=integ.needs.variance))
        found = step(Frame("a", image, variance=np.maximum(image, 1), header={"i0": "4.0"})).pattern
        assert found is not None
        return found

    as_counts, divided = pattern(), pattern(monitor="i0", exposure=0.5)
    np.testing.assert_allclose(divided.intensity, as_counts.intensity / 2, rtol=1e-12)
    assert as_counts.sigma is not None
    assert divided.sigma is not None
    np.testing.assert_allclose(divided.sigma, as_counts.sigma / 2, rtol=1e-12)
    assert (divided.sigma[~np.isnan(divided.sigma)] > 0).all()


def test_a_photon_that_makes_several_counts_has_gain_times_their_variance() -> None:
    counts = np.array([[0, 1, 100, 1000]], np.float32)
    np.testing.assert_allclose(Source().noise(counts), [[1, 1, 100, 1000]])
    np.testing.assert_allclose(Source(gain=10.0).noise(counts), [[100, 100, 1000, 10000]])
    np.testing.assert_allclose(Source(readout_noise=3.0).noise(counts), [[10, 10, 109, 1009]])
    assert Source(gain=2.0, readout_noise=1.0).noise(counts).dtype == np.float32


@pytest.mark.parametrize(
    "wrong", [{"gain": 0.0}, {"gain": -1.0}, {"gain": np.nan}, {"readout_noise": -1.0}, {"readout_noise": np.inf}]
)
def test_a_detector_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Source(**wrong)  # type: ignore[arg-type]


def test_a_frame_without_light_has_a_sigma(setup: Setup, data: Path) -> None:
    np.save(data / "nothing.npy", np.zeros(SHAPE))
    setup = replace(setup, variance=True)
    frame = Frame("a", np.zeros(SHAPE, np.float32), variance=np.ones(SHAPE, np.float32))
    for stage in (Background(str(data / "nothing.npy")), Integ(npt=60, error_model="poisson")):
        frame = stage.prepare(setup)(frame)
    assert frame.pattern is not None
    assert frame.pattern.sigma is not None
    assert (frame.pattern.sigma[~np.isnan(frame.pattern.intensity)] > 0).all()
