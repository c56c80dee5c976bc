"""Statistics of a series, pixel by pixel, in constant memory."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from xrdpipe.geometry.rings import Arcs
from xrdpipe.model.arrays import read_only
from xrdpipe.numerics.series_statistics import SeriesStatistics, Summed, spread_outliers

PIXELS, FRAMES, MEAN = 4000, 20, 50.0
ZERO, ONE = np.zeros(PIXELS, np.float32), np.ones(PIXELS, np.float32)
MADE = Arcs.of(np.repeat(np.arange(PIXELS // 100), 100), np.tile(np.linspace(0.0, 1.0, 100), PIXELS // 100))
ARCS = Arcs(*map(read_only, vars(MADE).values()))  # as a run has them


def counted(frames: NDArray[np.float64], masks: NDArray[np.uint8] | None = None) -> SeriesStatistics:
    statistics = SeriesStatistics(PIXELS)
    for number, frame in enumerate(frames.astype(np.float32)):
        mask = np.zeros(PIXELS, np.uint8) if masks is None else masks[number]
        statistics.add(frame, np.maximum(frame, 1), frame, mask)
    return statistics


def summed(frames: NDArray[np.float64], masks: NDArray[np.uint8] | None = None) -> Summed:
    return counted(frames, masks).summed(ZERO, ONE, 1.0, 0.0)


@pytest.fixture
def frames() -> NDArray[np.float64]:
    return np.random.default_rng(1).poisson(MEAN, (FRAMES, PIXELS)).astype(float)


def test_the_sum_has_the_variance_of_counts(frames: NDArray[np.float64]) -> None:
    found = summed(frames)
    assert np.allclose(found.variance, found.image)
    assert found.image.std() == pytest.approx(np.sqrt(FRAMES * MEAN), rel=0.05)


def test_few_counts_have_the_variance_of_the_sum_and_not_of_one_count_a_frame() -> None:
    frames = np.random.default_rng(2).poisson(0.2, (FRAMES, PIXELS)).astype(float)
    found = summed(frames)
    assert found.variance.mean() == pytest.approx(0.2 * FRAMES, rel=0.05)
    assert found.image.sum() == pytest.approx(frames.sum(), rel=0.01)  # extremes are none of a spot


def test_a_spot_or_a_cosmic_ray_in_one_frame_does_not_count(frames: NDArray[np.float64]) -> None:
    without = summed(frames).image.copy()
    frames[3, :10] += 2000
    assert np.abs(summed(frames).image[:10] - without[:10]).max() < 4 * np.sqrt(MEAN)


def test_frames_in_which_a_pixel_is_masked_do_not_count(frames: NDArray[np.float64]) -> None:
    masks = np.zeros((FRAMES, PIXELS), np.uint8)
    masks[:6, 7] = 32
    frames[:6, 7] = 1e6
    statistics = counted(frames, masks)
    found = statistics.summed(ZERO, ONE, 1.0, 0.0)
    assert found.image[7] == pytest.approx(FRAMES * MEAN, rel=0.1)
    assert (statistics.always[7], statistics.ever[7], statistics.good[7]) == (0, 32, FRAMES - 6)


def test_stuck_and_flickering_pixels_are_told_from_counting_noise(frames: NDArray[np.float64]) -> None:
    frames[:, :40:8] = MEAN  # never varies, at the value of its neighbours
    frames[:, 100:140:8] += np.where(np.arange(FRAMES) % 2, 20, -20)[:, np.newaxis]
    stuck, flickering = spread_outliers(summed(frames), ARCS, 4.5, np.zeros(PIXELS, np.uint8))
    assert set(np.flatnonzero(stuck)) == set(range(0, 40, 8))
    assert set(np.flatnonzero(flickering)) >= set(range(100, 140, 8))
    assert flickering.sum() <= 6


def test_rings_that_change_over_the_series_do_not_flicker(frames: NDArray[np.float64]) -> None:
    rising = np.random.default_rng(3).poisson(MEAN * np.linspace(0.5, 1.5, FRAMES)[:, np.newaxis], frames.shape)
    stuck, flickering = spread_outliers(summed(rising.astype(float)), ARCS, 4.5, np.zeros(PIXELS, np.uint8))
    assert stuck.sum() + flickering.sum() <= 1


def test_few_frames_and_few_counts_are_not_judged_by_their_variance(frames: NDArray[np.float64]) -> None:
    assert np.isnan(summed(frames[:5]).spread).all()
    assert np.isnan(summed(np.minimum(frames, 1)).spread).all()


def test_noise_of_a_background_does_not_average_out(frames: NDArray[np.float64]) -> None:
    background = np.random.default_rng(4).poisson(MEAN, PIXELS).astype(np.float32)
    statistics = SeriesStatistics(PIXELS)
    for frame in frames.astype(np.float32):
        statistics.add(frame - background, frame + background, frame, np.zeros(PIXELS, np.uint8))
    found = statistics.summed(background, ONE, 1.0, 0.0)
    z = found.image / np.sqrt(found.variance)
    assert z.std() == pytest.approx(1, rel=0.1)
    statistics.shift(background, -background)
    whole, alone = statistics.summed(ZERO, ONE, 1.0, 0.0), summed(frames)
    assert np.allclose(whole.image, alone.image, rtol=1e-5)
    assert np.allclose(whole.variance, alone.variance, rtol=1e-5)
