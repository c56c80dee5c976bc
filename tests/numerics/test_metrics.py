"""Metrics of a pattern: numbers as plain numpy and scipy define them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from xrdpipe.numerics.metrics import REASONS, masked_by, median
from xrdpipe.numerics.patterns.peaks import find_peaks, half_height

SMALL = st.integers(-3, 5).map(float)  # plateaus and equal peaks
LINES = arrays(np.float64, st.integers(3, 60), elements=SMALL | st.floats(-1e6, 1e6))


@pytest.mark.filterwarnings("ignore:some peaks have")
@settings(deadline=None)  # the first call compiles
@given(LINES)
def test_peaks_are_those_of_scipy(x: NDArray[np.float64]) -> None:
    from scipy import signal

    expected, properties = signal.find_peaks(x, prominence=0)
    top, prominence = np.empty(x.size // 2, np.int64), np.empty(x.size // 2)
    count = find_peaks(x, top, prominence)
    np.testing.assert_array_equal(top[:count], expected)
    np.testing.assert_array_equal(prominence[:count], properties["prominences"])
    left, right = np.empty(count), np.empty(count)
    half_height(x, top[:count], left, right)
    _, _, *ends = signal.peak_widths(x, expected)
    np.testing.assert_array_equal([left, right], ends)


@given(arrays(np.float64, st.integers(1, 30), elements=st.floats(-1e300, 1e300)))
def test_the_median_is_that_of_numpy(values: NDArray[np.float64]) -> None:
    assert median(values) == np.median(values)


@settings(deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_a_pixel_counts_for_the_first_step_that_masked_it(mask: NDArray[np.uint8]) -> None:
    first = np.where(mask, mask & -mask.astype(np.int16), 0)
    expected = {f"masked_{name}": (first == 1 << bit).mean() for bit, name in enumerate(REASONS)}
    assert masked_by(mask) == pytest.approx(expected, rel=1e-15)
