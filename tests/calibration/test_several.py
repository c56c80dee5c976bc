"""Several frames share one geometry; errors and orientations are followed through."""

from __future__ import annotations

import numpy as np
import pytest
from calibrant_frames import GEOMETRY, PIXEL, SHAPE
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyFAI.calibrant import get_calibrant
from pyFAI.detectors import Detector
from pyFAI.geometry import Geometry
from scipy.spatial.transform import Rotation

from xrdpipe.calibration.control_points import ControlPoints
from xrdpipe.calibration.drift import constancy, displacement
from xrdpipe.calibration.orientations import signs, turned
from xrdpipe.calibration.others import lattice_spacings
from xrdpipe.calibration.parameters import Parameters
from xrdpipe.calibration.several import View, fit_views, values_of_frame

FREE = ("dist", "poni1", "poni2", "rot1", "rot2")
AXIS = {"axis1": 0.004, "axis2": -0.006}
small = st.floats(-0.4, 0.4)


def detector() -> Detector:
    return Detector(PIXEL, PIXEL, max_shape=SHAPE, orientation=3)


def view(shift: float, error: float, rng: np.random.Generator, rings: int = 8) -> View:
    """A frame with control points on its rings, to an error in pixels, and no image."""
    values = values_of_frame({**GEOMETRY, **AXIS}, shift, None)
    geometry = Geometry(detector=detector(), **values)
    lines = np.array(get_calibrant("LaB6", wavelength=GEOMETRY["wavelength"]).get_2th())[:rings]
    points, numbers = [], []
    slow, fast = np.mgrid[: SHAPE[0], : SHAPE[1]]
    angles = geometry.tth(slow.ravel().astype(float), fast.ravel().astype(float))
    for number, line in enumerate(lines):
        near = np.flatnonzero(np.abs(angles - line) < 2e-4)[:60]
        at = np.stack([slow.ravel()[near], fast.ravel()[near]], axis=1).astype(float)
        for _ in range(3):  # onto the ring, along the columns' numbers
            step = (geometry.tth(at[:, 0], at[:, 1] + 0.01) - geometry.tth(at[:, 0], at[:, 1] - 0.01)) / 0.02
            move = (line - geometry.tth(at[:, 0], at[:, 1])) / np.where(np.abs(step) < 1e-5, np.inf, step)
            at[:, 1] += np.clip(move, -1, 1)
        kept = np.abs(geometry.tth(at[:, 0], at[:, 1]) - line) < 1e-9
        points.append(at[kept] + 0.5)
        numbers.append(np.full(kept.sum(), number))
    places = np.concatenate(points) + rng.normal(0, error, (sum(map(len, points)), 2))
    nothing = np.zeros((1, 1))
    found = ControlPoints(places, np.concatenate(numbers), np.full(len(places), error))
    return View(nothing, nothing > 0, found, shift)


@settings(max_examples=30)
@given(small, small, small, st.floats(-0.1, 0.1), st.floats(-0.1, 0.1), st.floats(0.01, 0.5))
def test_a_translated_detector_is_the_rigid_body_moved(
    rot1: float, rot2: float, rot3: float, axis1: float, axis2: float, shift: float
) -> None:
    values = {**GEOMETRY, "rot1": rot1, "rot2": rot2, "rot3": rot3, "axis1": axis1, "axis2": axis2}
    moved = values_of_frame(values, shift, None)
    rotation = Rotation.from_euler("xyz", [-rot1, -rot2, rot3]).as_matrix()
    line = np.array([axis1, axis2, 1.0]) / np.linalg.norm([axis1, axis2, 1.0])
    for corner in ((0.0, 0.0), (0.08, 0.0), (0.03, 0.084)):
        places = [
            rotation @ [corner[0] - each["poni1"], corner[1] - each["poni2"], each["dist"]] for each in (values, moved)
        ]
        assert places[1] - places[0] == pytest.approx(shift * line, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_two_distances_give_the_wavelength_within_its_uncertainty(seed: int) -> None:
    rng = np.random.default_rng(seed)
    views = [view(0.0, 0.05, rng), view(0.15, 0.05, rng)]
    start = {**GEOMETRY, "dist": 0.152, "wavelength": 3.05e-11, "poni1": 0.0452}
    spacings = lattice_spacings(get_calibrant("LaB6"))
    found = fit_views(views, start, (*FREE, "wavelength", *AXIS), detector(), spacings)
    true = {**GEOMETRY, **AXIS}
    offsets = {
        name: (found.parameters.values[name] - true[name]) / error for name, error in found.parameters.errors.items()
    }
    assert set(offsets) == {*FREE, "wavelength", *AXIS}
    assert max(map(abs, offsets.values())) < 4
    assert found.parameters.errors["wavelength"] < 1e-3 * GEOMETRY["wavelength"]
    far = found.frames[1]
    assert far.values["dist"] == pytest.approx(values_of_frame(true, 0.15, None)["dist"], abs=4 * far.errors["dist"])


def test_a_parameter_at_its_bound_stays_there_and_has_no_error() -> None:
    spacings = lattice_spacings(get_calibrant("LaB6"))
    views = [view(0.0, 0.05, np.random.default_rng(0))]
    found = fit_views(views, GEOMETRY, FREE, detector(), spacings, {"rot2": (-0.025, 0.1), "dist": (0.1, 0.2)})
    assert found.parameters.values["rot2"] == -0.025
    assert set(found.parameters.errors) == {"dist", "poni1", "poni2", "rot1"}


@settings(max_examples=40)
@given(st.sampled_from([1, 2, 3, 4]), small, small, small)
def test_a_geometry_in_another_orientation_has_the_same_angles(
    orientation: int, rot1: float, rot2: float, rot3: float
) -> None:
    values = {**GEOMETRY, "rot1": rot1, "rot2": rot2, "rot3": rot3}
    other = turned(values, orientation, SHAPE, (PIXEL, PIXEL))
    assert turned(other, orientation, SHAPE, (PIXEL, PIXEL)) == pytest.approx(values, abs=1e-15)
    maps = [
        Geometry(detector=Detector(PIXEL, PIXEL, max_shape=SHAPE, orientation=number), **each).center_array(
            SHAPE, unit="2th_rad", scale=False
        )
        for number, each in ((3, values), (orientation, other))
    ]
    assert np.allclose(maps[0], maps[1], atol=1e-9)


@given(st.sampled_from([1, 2, 3, 4]))
def test_correlations_change_their_signs_with_the_orientation(orientation: int) -> None:
    matrix = np.array([[4.0, 1.0], [1.0, 9.0]])
    other = Parameters(GEOMETRY, ("dist", "rot2"), matrix).turned(orientation, SHAPE, (PIXEL, PIXEL))
    assert other.errors == {"dist": 2.0, "rot2": 3.0}
    assert other.correlation[0, 1] == pytest.approx(signs(orientation).get("rot2", 1.0) / 6)


def series(moves: NDArray[np.float64], rng: np.random.Generator) -> list[Parameters]:
    """Return frames whose distance moves, with strongly correlated errors."""
    sigma = np.array([1e-6, 1e-5, 1e-4])
    matrix = np.array([[1, 0.2, 0], [0.2, 1, -0.97], [0, -0.97, 1.0]]) * np.outer(sigma, sigma)
    names = ("dist", "poni1", "rot2")
    noise = rng.multivariate_normal(np.zeros(3), matrix, len(moves))
    return [
        Parameters({**GEOMETRY, **{n: GEOMETRY[n] + x for n, x in zip(names, row, strict=True)}, }, names, matrix)
        for row in noise + np.outer(moves, [1, 0, 0])
    ]  # fmt: skip


def test_a_still_detector_seldom_moves_and_a_moving_one_always() -> None:
    rng = np.random.default_rng(1)
    found = [constancy(series(np.zeros(10), rng)) for _ in range(300)]
    assert np.mean([each.chi2 for each in found]) == pytest.approx(found[0].dof, rel=0.1)
    assert sum(each.moved for each in found) <= 3
    assert all(constancy(series(np.linspace(0, 1e-5, 10), rng)).moved for _ in range(50))


def test_the_mean_of_a_series_is_weighted_with_the_errors() -> None:
    frames = [Parameters({"dist": value}, ("dist",), np.array([[error**2]])) for value, error in ((1, 1), (2, 0.5))]
    found = constancy(frames)
    assert found.mean == pytest.approx([1.8])
    assert (found.chi2, found.dof) == (pytest.approx(0.8), 1)


def test_a_shift_of_the_detector_moves_its_rings_by_as_many_pixels() -> None:
    moved = {**GEOMETRY, "poni1": GEOMETRY["poni1"] + 0.3 * PIXEL}
    points = np.random.default_rng(0).uniform(0, 400, (500, 2))
    assert displacement(GEOMETRY, moved, detector(), points) == pytest.approx(0.3, abs=0.01)
