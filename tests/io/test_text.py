"""Tables of text: digit for digit what Python writes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from xrdpipe.io.text.decimals import POWERS, write_decimals
from xrdpipe.io.text.table import read_rows, rows_text

FORMS = [(14, 6), (15, 7)]
TIES = st.integers(-(10**10), 10**10).map(lambda number: number / 16)  # many are in the middle between two texts
POWERS_OF_TEN = st.builds(lambda power, step: float(np.nextafter(10.0**power, step)), st.integers(-45, 45), st.floats())
NUMBERS = st.one_of(st.floats(), TIES, POWERS_OF_TEN, st.decimals(places=4, allow_nan=False).map(float))


def text(radial: NDArray[np.float64], intensity: NDArray[np.float64], width: int, precision: int) -> str:
    """The definition, in plain Python."""
    rows = sorted((float(x), float(y)) for x, y in zip(radial, intensity, strict=True) if y == y)
    return "".join(f"{x:{width}.{precision}e} {y:{width}.{precision}e}\n" for x, y in rows)


@pytest.mark.parametrize(("width", "precision"), FORMS)
@given(values=arrays(np.float64, st.integers(0, 40), elements=NUMBERS))
def test_numbers_are_written_digit_for_digit_as_python_writes_them(
    values: NDArray[np.float64], width: int, precision: int
) -> None:
    radial = np.arange(values.size, dtype=float)
    assert rows_text(radial, [values], width, precision) == text(radial, values, width, precision)
    assert rows_text(radial[::-1], [values], width, precision) == text(radial[::-1], values, width, precision)


def test_usual_numbers_are_not_left_to_python() -> None:
    text = np.empty((10_000, 15), np.uint8)[:, :14]  # with room for what ends a number
    assert write_decimals(np.random.default_rng(0).normal(0, 1e3, 10_000), 6, POWERS, text) == 0
    counts = np.arange(10_000) / 8  # means of counts may be exactly in the middle
    assert write_decimals(counts, 6, POWERS, text) == 0


def test_patterns_on_different_axes_do_not_mix() -> None:
    values = np.array([1.0, np.nan, 3.0])
    for axis in (np.array([1.0, 2, 3]), np.array([3.0, 2, 1]), np.array([1.0, 2, 4])):
        for width, precision in FORMS:
            assert rows_text(axis, [values], width, precision) == text(axis, values, width, precision)


@given(values=arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e20, 1e20) | TIES))
def test_a_table_is_read_as_numpy_reads_it(values: NDArray[np.float64]) -> None:
    for width, precision in FORMS:
        text = rows_text(np.arange(values.size, dtype=float), [values], width, precision)
        expected = np.loadtxt(text.splitlines(), ndmin=2)
        found = read_rows(text)
        assert found is None or np.array_equal(found, expected)
        small = (np.abs(values) > 1e-9) | (values == 0)
        assert found is not None or not small.all()


OTHER = [
    *("", "\n", "1.0e+00", "1.0e+00 2.0e+00\n1.0e+00\n", "nan 1.0e+00\n", "# 1.0e+00\n", "1,5e+00\n", "1.0e+00\n\n"),
    *("1e\n", "1.0e+0\n", "1.0.0e+00\n", "-\n", "e+00\n", "1.0e+000\n", "1.0e+99\n", "1234567890123456.0e+00\n", "é\n"),
]


@pytest.mark.parametrize("text", OTHER)
def test_other_text_is_left_to_numpy(text: str) -> None:
    assert read_rows(text) is None
