"""Drawn shapes mask the pixels whose centres are inside; pictures average what they shrink."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.path import Path as Outline
from numpy.typing import NDArray

from xrdpipe.look.canvas.picture import average, cover, dot_edges
from xrdpipe.look.canvas.shapes import draw
from xrdpipe.look.view import Shape

SHAPE = (30, 40)
slow_of, fast_of = np.meshgrid(np.arange(SHAPE[0]) + 0.5, np.arange(SHAPE[1]) + 0.5, indexing="ij")
IMAGE = np.arange(SHAPE[0] * SHAPE[1], dtype=np.float32).reshape(SHAPE)
TWO_THETA = np.hypot(slow_of - 10, fast_of - 20).astype(np.float32)
number = st.floats(-20, 60).map(lambda value: round(value, 3) + 1e-4)  # off the centres
point = st.tuples(number, number)
radius = st.floats(0.1, 30)


def drawn(*shapes: Shape) -> NDArray[np.bool_]:
    return draw(shapes, IMAGE, lambda: TWO_THETA)


@given(st.lists(point, min_size=3, max_size=12))
def test_a_polygon_masks_what_is_inside_by_the_even_odd_rule(points: list[tuple[float, float]]) -> None:
    inside = np.zeros(SHAPE, np.bool_)
    for (y0, x0), (y1, x1) in zip(points, [*points[1:], points[0]], strict=True):
        if y0 != y1:
            crosses = (slow_of > min(y0, y1)) & (slow_of <= max(y0, y1))
            inside ^= crosses & (x0 + (slow_of - y0) * (x1 - x0) / (y1 - y0) <= fast_of)
    np.testing.assert_array_equal(drawn(Shape("polygon", tuple(points))), inside)


def test_a_triangle_is_that_of_matplotlib() -> None:
    points = ((3.2, 4.1), (25.7, 12.3), (9.4, 35.6))
    expected = Outline(points).contains_points(np.column_stack([slow_of.ravel(), fast_of.ravel()])).reshape(SHAPE)
    np.testing.assert_array_equal(drawn(Shape("polygon", points)), expected)


@given(point, point)
def test_a_rectangle_masks_what_is_between_its_corners(one: tuple[float, float], other: tuple[float, float]) -> None:
    low, high = np.minimum(one, other), np.maximum(one, other)
    expected = (slow_of >= low[0]) & (slow_of <= high[0]) & (fast_of >= low[1]) & (fast_of <= high[1])
    np.testing.assert_array_equal(drawn(Shape("rectangle", (one, other))), expected)


@settings(max_examples=200)
@given(st.lists(point, min_size=1, max_size=6), radius)
def test_a_brush_masks_what_is_near_its_path_and_a_circle_what_is_near_a_point(
    points: list[tuple[float, float]], radius: float
) -> None:
    away = np.full(SHAPE, np.inf)
    for start, end in zip(points, points[1:] or points, strict=False):
        direction = np.subtract(end, start)
        length = direction @ direction
        share = np.zeros(SHAPE)
        if length:
            share = np.clip(((slow_of - start[0]) * direction[0] + (fast_of - start[1]) * direction[1]) / length, 0, 1)
        away = np.minimum(
            away, np.hypot(slow_of - start[0] - share * direction[0], fast_of - start[1] - share * direction[1])
        )
    kind = "circle" if len(points) == 1 else "brush"
    found = drawn(Shape(kind, tuple(points), radius))
    unsure = np.abs(away - radius) < 1e-9
    np.testing.assert_array_equal(found[~unsure], (away <= radius)[~unsure])


def test_a_ring_a_threshold_and_the_way_back() -> None:
    ring = Shape("ring", ((10.0, 25.5), (10.0, 29.5)))
    low, high = TWO_THETA[10, 25], TWO_THETA[10, 29]
    np.testing.assert_array_equal(drawn(ring), (low <= TWO_THETA) & (high >= TWO_THETA))
    threshold = Shape("threshold", (), low=100, high=900)
    np.testing.assert_array_equal(drawn(threshold), (IMAGE < 100) | (IMAGE > 900))
    corner = Shape("threshold", ((0.0, 0.0), (0.0, 40.0), (5.0, 0.0)), low=10)
    assert drawn(corner).sum() == 10
    back = Shape("rectangle", ((0.0, 0.0), (1.0, 5.0)), unmask=True)
    np.testing.assert_array_equal(np.flatnonzero(drawn(corner, back)), np.arange(5, 10))
    assert not drawn(back).any()


@given(
    hnp.arrays(np.float32, SHAPE, elements=st.sampled_from([0, 1, 5, np.nan, np.inf])),
    hnp.arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 0, 0, 4, 32, 36])),
    st.floats(-20, 50),
    st.floats(0.5, 60),
    st.integers(1, 25),
)
def test_a_dot_is_the_mean_of_its_pixels_and_has_the_first_reason_of_any(
    values: NDArray[np.float32], mask: NDArray[np.uint8], first: float, length: float, count: int
) -> None:
    rows, columns = dot_edges(first, first + length, count, SHAPE[0]), dot_edges(0, SHAPE[1], 7, SHAPE[1])
    shown, indices = np.empty((count, 7), np.float32), np.full((count, 7), 255, np.uint8)
    average(values, *rows, *columns, shown)
    cover(mask, *rows, *columns, 0, 4, indices)
    for dot in range(count):
        for column in range(7):
            part = slice(rows[0][dot], rows[1][dot]), slice(columns[0][column], columns[1][column])
            good = values[part][np.isfinite(values[part])].astype(float)
            expected = np.float32(good.mean()) if good.size else np.float32(np.nan)
            np.testing.assert_allclose(shown[dot, column], expected, rtol=1e-6)
            bits = int(np.bitwise_or.reduce(mask[part], axis=None)) if mask[part].size else 0
            step = np.ceil(4 * (mask[part] != 0).mean()) - 1 if bits else 0
            assert indices[dot, column] == (4 * (bits & -bits).bit_length() - 4 + step if bits else 255)
    assert (rows[1] >= rows[0]).all()
