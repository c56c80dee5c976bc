"""Metrics of a pattern: numbers as plain numpy defines them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from xrdpipe.numerics.metrics import REASONS, masked_by, median


@given(arrays(np.float64, st.integers(1, 30), elements=st.floats(-1e300, 1e300)))
def test_the_median_is_that_of_numpy(values: NDArray[np.float64]) -> None:
    assert median(values) == np.median(values)


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_a_pixel_counts_for_the_first_step_that_masked_it(mask: NDArray[np.uint8]) -> None:
    first = np.where(mask, mask & -mask.astype(np.int16), 0)
    expected = {f"masked_{name}": (first == 1 << bit).mean() for bit, name in enumerate(REASONS)}
    assert masked_by(mask) == pytest.approx(expected, rel=1e-15)
