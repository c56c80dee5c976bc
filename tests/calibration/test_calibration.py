"""A geometry is found from a frame of a calibrant alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyFAI.calibrant import get_calibrant
from pyFAI.detectors import Detector
from pyFAI.geometry import Geometry

from xrdpipe.calibration.cone import Cone
from xrdpipe.calibration.refine import cone_of, geometry_of, refine_geometry
from xrdpipe.calibration.ridges import find_ridges, good_pixels, scatter_of
from xrdpipe.calibration.search import search

SHAPE, PIXEL, WAVELENGTH = (300, 340), 2e-4, 0.4e-10
cones = st.builds(
    Cone,
    st.floats(-300, 600),
    st.floats(-300, 600),
    st.floats(200, 5000),
    st.floats(-0.5, 0.5),
    st.floats(-0.5, 0.5),
)


def frame(cone: Cone, counts: float) -> NDArray[np.float64]:
    """Return a frame of LaB6 with hot pixels and a gap (-1)."""
    rng = np.random.default_rng(3)
    slow, fast = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
    angles = cone.two_theta(np.stack([slow.ravel(), fast.ravel()], axis=1)).reshape(SHAPE)
    lines = np.array(get_calibrant("LaB6", wavelength=WAVELENGTH).get_2th())
    width = 1.5 / cone.length
    expected = np.full(SHAPE, 0.2 * counts)
    for line in lines[lines < angles.max() + 5 * width]:
        expected += counts * np.exp(-(((angles - line) / width) ** 2))
    image = rng.poisson(expected).astype(np.float64)
    image[rng.random(SHAPE) < 1e-3] = 50 * counts
    image[140:148] = -1
    return image


@settings(max_examples=20)
@given(cones)
def test_a_cone_is_the_geometry_of_pyfai(cone: Cone) -> None:
    geometry = geometry_of(cone, Detector(PIXEL, PIXEL, max_shape=SHAPE, orientation=3), WAVELENGTH)
    points = np.random.default_rng(0).uniform(0, 300, (40, 2))
    at = points - 0.5
    assert cone.two_theta(points) == pytest.approx(geometry.tth(at[:, 0], at[:, 1]), abs=1e-9)
    # an arc cosine in pyFAI knows small tilts to the root of its rounding alone
    assert cone_of(geometry).two_theta(points) == pytest.approx(cone.two_theta(points), abs=1e-6)


@settings(max_examples=20)
@given(cones)
def test_the_gradient_is_that_of_differences(cone: Cone) -> None:
    points = np.random.default_rng(1).uniform(0, 300, (40, 2)) + np.array([0.3, 700.0])  # beside the centre
    steps = np.eye(2) * 1e-4
    differences = [(cone.two_theta(points + step) - cone.two_theta(points - step)) / 2e-4 for step in steps]
    assert cone.gradient(points) == pytest.approx(np.stack(differences, axis=1), rel=1e-4, abs=1e-9)


def test_points_lie_on_rings_whatever_the_hot_pixels_and_the_gap() -> None:
    cone = Cone(150, 160, 900)
    image = frame(cone, 40)
    good = good_pixels(image, image < 0)
    ridges = find_ridges(image, good)
    lines = np.array(get_calibrant("LaB6", wavelength=WAVELENGTH).get_2th())
    away = np.abs(cone.two_theta(ridges.points)[:, None] - lines).min(axis=1) * cone.length
    assert (away < 1).mean() > 0.9
    assert np.count_nonzero(~good & (image >= 0)) > 50


@pytest.mark.slow
@pytest.mark.parametrize(
    "cone",
    [Cone(150, 160, 900), Cone(150, 160, 700, 0.3, -0.2), Cone(-80, 400, 1100, 0.02, 0.01)],
    ids=["upright", "tilted", "beam off the detector"],
)
def test_the_geometry_is_found_without_start_values(cone: Cone) -> None:
    image = frame(cone, 40)
    calibrant: Any = get_calibrant("LaB6", wavelength=WAVELENGTH)
    good = good_pixels(image, image < 0)
    best = search(find_ridges(image, good), np.array(calibrant.get_2th()), SHAPE)[0]
    start: Geometry = geometry_of(best.cone, Detector(PIXEL, PIXEL, max_shape=SHAPE, orientation=3), WAVELENGTH)
    refined = refine_geometry(image, good, start, calibrant, scatter_of(image, good))
    assert refined is not None
    points = np.random.default_rng(2).uniform(0, 300, (100, 2))
    error = (cone_of(refined.geometry).two_theta(points) - cone.two_theta(points)) / np.hypot(*cone.gradient(points).T)
    assert np.abs(error).max() < 0.1  # pixels
    assert refined.rms < 0.3
