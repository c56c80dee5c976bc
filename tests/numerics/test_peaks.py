"""Peaks of a pattern are those of scipy.signal, number by number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from xrdpipe.numerics.reduction import find_peaks

LEVELS = st.integers(0, 4).map(float)  # few levels: plateaus and equal peaks
NUMBERS = st.one_of(LEVELS, st.floats(-1e12, 1e12), st.sampled_from([1e-300, -1e-300]))


def scipys(values: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy import signal

    top, found = signal.find_peaks(values, prominence=0)
    _, _, left, right = signal.peak_widths(values, top)
    return np.column_stack([top, found["prominences"], left, right])


@settings(max_examples=300, deadline=None)
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
