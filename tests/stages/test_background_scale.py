"""The fitted scale of a background: right where the truth is known, and never more than the frame holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command import FAST, call
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from xrdpipe.model.arrays import Image
from xrdpipe.model.errors import ConfigError, FrameError
from xrdpipe.model.frame import Frame
from xrdpipe.stages.background import Background
from xrdpipe.stages.background_scale import Scale, fit_scale
from xrdpipe.stages.stage import Setup

SHAPE = (120, 100)
RINGS = 200


def measured(truth: float, rng: np.random.Generator, signal: float = 0.0, dark: float = 0.0) -> Scale:
    """Ring totals of a background with a bump, and of a sample that adds peaks to every fourth ring."""
    shape = 2e4 * (1 + np.exp(-((np.linspace(-2, 2, RINGS)) ** 2)))
    peaks = signal * shape * (np.arange(RINGS) % 4 == 0)
    offset = np.full(RINGS, dark)
    sample, air = rng.poisson(truth * shape + peaks + offset), rng.poisson(shape + offset)
    own = rng.poisson(offset)
    noise = (np.maximum(sample, 1.0), np.maximum(air, 1.0), own.astype(float))
    return fit_scale(sample - own.astype(float), air - own.astype(float), noise)


@pytest.mark.parametrize("truth", [0.02, 0.5, 1.0, 2.0])
@pytest.mark.parametrize(("signal", "dark"), [(0.0, 0.0), (0.3, 0.0), (0.3, 1e4)])
def test_the_scale_is_right_and_its_sigma_says_how_far_it_is_off(truth: float, signal: float, dark: float) -> None:
    rng = np.random.default_rng(7)
    found = [measured(truth, rng, signal, dark) for _ in range(300)]
    pull = np.array([(scale.value - truth) / scale.sigma for scale in found])
    assert abs(pull.mean()) < 0.3  # of a standard deviation
    assert pull.std() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize(("strength", "off"), [(1, 1.5), (2, 1.5), (4, 2.0), (10, 0.3)])
def test_signal_as_weak_as_the_noise_moves_it_by_no_more_than_the_noise_of_a_ring(strength: float, off: float) -> None:
    # Three rings of four hold a little of the sample, told in standard deviations of a ring.
    rng, ring = np.random.default_rng(1), np.sqrt(2 / 2e4)
    shape = np.full(RINGS, 2e4)
    weak = strength * ring * shape * (np.arange(RINGS) % 4 > 0)
    found = []
    for _ in range(50):
        sample, air = rng.poisson(shape + weak).astype(float), rng.poisson(shape).astype(float)
        found.append(fit_scale(sample, air, (sample, air, np.zeros(RINGS))).value)
    assert -0.3 * ring < np.mean(found) - 1 < off * ring


totals = arrays(float, st.integers(1, 250), elements=st.floats(0, 1e6))


@given(totals, st.data())
def test_it_is_never_negative_and_leaves_hardly_a_ring_far_below_zero(
    sample: np.ndarray[tuple[int], np.dtype[np.float64]], draw: st.DataObject
) -> None:
    air = draw.draw(arrays(float, sample.shape, elements=st.floats(10, 1e6)))
    noise = (np.maximum(sample, 1), air, np.zeros(sample.shape))
    scale = fit_scale(sample, air, noise)
    assert scale.value >= 0
    assert np.isfinite(scale.sigma)
    sigma = np.sqrt(noise[0] + scale.value**2 * air)
    below = sample - scale.value * air < -3 * (1 + 1e-9) * sigma
    assert np.count_nonzero(below) <= np.ceil(0.02 * (sample.size - 1))


def exposures(truth: float, rng: np.random.Generator, signal: float) -> tuple[Image, Image]:
    """A frame with a peak over a third of the detector, and its background; both with bad pixels."""
    rows = np.arange(SHAPE[0])[:, None] * np.ones(SHAPE)
    shape = 200 + 2 * rows
    sample = rng.poisson(truth * shape + signal * (np.hypot(rows - 60, np.arange(100) - 50) > 45)).astype(np.float32)
    air = rng.poisson(shape).astype(np.float32)
    sample[rng.random(SHAPE) < 2e-3] = 65535
    sample[rng.random(SHAPE) < 2e-3] = 0
    air[rng.random(SHAPE) < 2e-3] = 65535
    for image in (sample, air):
        image[40:43] = 2**32 - 1  # between two modules
        image[80:83] = -1
    return sample, air


@pytest.mark.parametrize("truth", [0.5, 1.1])
def test_bad_pixels_and_peaks_do_not_move_the_scale_of_a_frame(truth: float, data: Path, setup: Setup) -> None:
    rng = np.random.default_rng(5)
    pull = []
    for _ in range(12):
        sample, air = exposures(truth, rng, 100)
        np.save(data / "air.npy", air)
        step = Background(str(data / "air.npy"), "auto").prepare(setup)
        factors = step(Frame("a", sample)).info.factors
        pull.append((factors["background_scale"] - truth) / factors["background_scale_sigma"])
    assert abs(np.mean(pull)) < 1
    assert np.std(pull) < 1.7


@pytest.mark.slow
def test_signal_everywhere_is_left_out_by_the_range(data: Path, setup: Setup) -> None:
    rng = np.random.default_rng(2)
    q = setup.geometry.integrator.qArray(SHAPE) / 10
    air = rng.poisson(1000, SHAPE).astype(np.float32)
    sample = rng.poisson(700 + 300 * (q < 4)).astype(np.float32)
    np.save(data / "air.npy", air)

    def scale(**keys: list[float]) -> float:
        step = Background(str(data / "air.npy"), "auto", **keys).prepare(setup)  # type: ignore[arg-type]
        return step(Frame("a", sample)).info.factors["background_scale"]

    assert scale(fit_range=[4.1, 20.0]) == pytest.approx(0.7, abs=0.005)
    assert scale() == pytest.approx(0.7, abs=0.005)
    assert scale(fit_range=[0.0, 3.9]) == pytest.approx(1.0, abs=0.005)
    with pytest.raises(ConfigError, match=r"fit_range=\[50, 60\]: outside the detector, which sees .* 1/angstrom"):
        scale(fit_range=[50, 60])


def test_a_background_without_counts_is_refused_and_a_frame_without_pixels_fails(data: Path, setup: Setup) -> None:
    np.save(data / "air.npy", np.zeros(SHAPE, np.float32))
    with pytest.raises(ConfigError, match="no ring of the background has counts"):
        Background(str(data / "air.npy"), "auto").prepare(setup)
    np.save(data / "air.npy", np.full(SHAPE, 100, np.float32))
    step = Background(str(data / "air.npy"), "auto").prepare(setup)
    with pytest.raises(FrameError, match="no ring has enough good pixels"):
        step(Frame("a", np.full(SHAPE, np.nan, np.float32)))


def test_the_variance_is_that_of_the_scale_that_was_used(data: Path, setup: Setup) -> None:
    rng = np.random.default_rng(3)
    np.save(data / "air.npy", rng.poisson(1000, SHAPE).astype(np.float32))
    np.save(data / "dark.npy", rng.poisson(100, SHAPE).astype(np.float32))
    sample = rng.poisson(640, SHAPE).astype(np.float32)
    frame = Frame("a", sample, variance=sample)
    stage = Background(str(data / "air.npy"), "auto", str(data / "dark.npy"))
    auto = stage.prepare(replace(setup, variance=True))(frame)
    scale = auto.info.factors["background_scale"]
    assert scale == pytest.approx(540 / 900, abs=0.003)
    fixed = replace(stage, scale=scale).prepare(replace(setup, variance=True))(frame)
    assert auto.variance is not None
    assert fixed.variance is not None
    np.testing.assert_array_equal(auto.variance, fixed.variance)
    np.testing.assert_array_equal(auto.image, fixed.image)


def test_the_scale_stands_in_header_and_summary(frames: list[Path], air: Path, poni: Path, tmp_path: Path) -> None:
    words = (f"poni={poni}", *frames, f"background.file={air}", "background.scale=auto", *FAST)
    assert call(*words, f"output_dir={tmp_path / 'out'}").status == 0
    header = (tmp_path / "out" / "ni_1.chi").read_text()
    assert "# background_scale: " in header
    assert "# background_scale_sigma: " in header
    assert '"scale": "auto"' in header
    assert "background_scale,background_scale_sigma" in (tmp_path / "out" / "summary.csv").read_text()
    assert call("replay", tmp_path / "out").status == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["background.scale=auto", "background.file=null"], "background.scale=auto: there is no background.file"),
        (["background.scale=atuo"], "background.scale=atuo: a number >= 0, or auto, expected"),
        (["background.fit_range=[1,2]"], "background.fit_range=[1.0, 2.0]: only with scale=auto"),
        (["background.scale=auto", "background.monitor=i0"], "together with scale=auto; choose one"),
        (["background.scale=auto", "background.fit_range=[2,1]"], "two numbers expected, the smaller one first"),
    ],
)
def test_what_cannot_be_fitted_is_refused(
    words: list[str], said: str, frames: list[Path], air: Path, poni: Path, tmp_path: Path
) -> None:
    told = call(f"poni={poni}", *frames, f"background.file={air}", *words, f"output_dir={tmp_path / 'out'}")
    assert told.status == 2
    assert said in told.err
    assert not (tmp_path / "out").exists()
