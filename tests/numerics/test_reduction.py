"""Peaks and means over boxes are those of scipy, what describes a pattern is that of numpy, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from xrdpipe.model.arrays import read_only
from xrdpipe.numerics.reduction import box_mean, describe_pattern, find_peaks, ring_spread

LEVELS = st.integers(0, 4).map(float)  # few levels: plateaus and equal peaks
NUMBERS = st.one_of(LEVELS, st.floats(-1e12, 1e12), st.sampled_from([1e-300, -1e-300]))


def scipys(values: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy import signal

    top, found = signal.find_peaks(values, prominence=0)
    _, _, left, right = signal.peak_widths(values, top)
    return np.column_stack([top, found["prominences"], left, right])


@settings(max_examples=300)
@given(arrays(np.float64, st.integers(3, 60), elements=st.one_of(LEVELS, NUMBERS)))
@pytest.mark.filterwarnings("ignore:some peaks have a")
def test_peaks_are_those_of_scipy(values: NDArray[np.float64]) -> None:
    np.testing.assert_array_equal(find_peaks(values), scipys(values))


@pytest.mark.parametrize("seed", range(3))
def test_peaks_of_a_pattern_are_those_of_scipy(seed: int) -> None:
    rng, axis = np.random.default_rng(seed), np.linspace(0, 30, 1480)
    rings = sum(rng.uniform(10, 1e4) * np.exp(-(((axis - at) / 0.1) ** 2)) for at in rng.uniform(1, 29, 12))
    values = rng.poisson(100 + rings).astype(float)
    np.testing.assert_array_equal(find_peaks(values), scipys(values))


@pytest.mark.parametrize("values", [[0.0, 0, 0], [0.0, 1, 2], [2.0, 1, 0], [1.0, 0, 1]])
def test_a_curve_without_a_peak_has_none(values: list[float]) -> None:
    assert find_peaks(np.array(values)).shape == (0, 4)


@settings(max_examples=200)
@given(
    arrays(np.float64, st.tuples(st.integers(1, 20), st.integers(1, 20)), elements=st.floats(-1e6, 1e6)),
    st.integers(1, 30),
    st.booleans(),
)
def test_means_over_boxes_are_those_of_scipy(image: NDArray[np.float64], window: int, repeat: bool) -> None:
    from scipy.ndimage import uniform_filter

    expected = uniform_filter(image, window, mode="nearest" if repeat else "constant")
    np.testing.assert_array_equal(box_mean(image, window, repeat), expected)


def test_means_over_boxes_are_taken_of_an_image_that_is_turned_and_read_only() -> None:
    from scipy.ndimage import uniform_filter

    image = np.random.default_rng(0).normal(size=(20, 7)).T
    image.flags.writeable = False
    np.testing.assert_array_equal(box_mean(image, 3, True), uniform_filter(image, 3, mode="nearest"))


@settings(max_examples=200)
@given(arrays(np.float64, st.integers(0, 60), elements=st.floats(-1e12, 1e12) | st.just(np.nan), unique=True))
def test_a_pattern_is_described_by_its_bins_and_its_five_strongest_peaks(values: NDArray[np.float64]) -> None:
    radial = np.cumsum(1 + np.arange(values.size) % 3.0)
    negative, empty, ratio, width = describe_pattern(read_only(radial), read_only(values), 5)
    filled = ~np.isnan(values)
    x, y = radial[filled], values[filled]
    assert (negative, empty) == (np.count_nonzero(y < 0), np.count_nonzero(~filled))
    peaks = find_peaks(y) if y.size > 2 else np.empty((0, 4))
    if len(peaks) == 0:
        assert np.isnan([ratio, width]).all()
        return
    top, height, left, right = peaks[np.argsort(-peaks[:, 1], kind="stable")][:5].T
    floor = np.maximum(np.abs(y[top.astype(int)] - height), 1e-3 * height)
    at = np.arange(x.size)
    assert ratio == np.median(height / floor)
    assert width == np.median(np.interp(right, at, x) - np.interp(left, at, x))


def test_the_spread_of_rings_is_that_of_numpy() -> None:
    rng = np.random.default_rng(0)
    sums, scatter = rng.poisson(3, (5, 500)) * rng.random((5, 500)), rng.poisson(1, (3, 500)) * rng.random((3, 500))
    relative, proportion = np.empty(500), np.empty(500)
    count = ring_spread(sums, scatter, 3, relative, proportion)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.sqrt(scatter[1] / scatter[0]) / np.abs(sums[0] / sums[1])
    np.testing.assert_array_equal(relative[:count], expected[np.isfinite(expected)])
    np.testing.assert_array_equal(proportion, 3 * scatter[2] / np.maximum(sums[0], 1) ** 2)
