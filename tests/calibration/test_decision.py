"""A geometry is presented where the frame decides it, and refused with a reason where it does not."""

from __future__ import annotations

from pathlib import Path

import fabio
import numpy as np
import pyFAI
import pytest
from numpy.typing import NDArray
from pyFAI.calibrant import get_calibrant
from pyFAI.detectors import Detector

from xrdpipe.calibration.calibrate import Calibrated, calibrate
from xrdpipe.calibration.cone import Cone
from xrdpipe.calibration.control_points import control_points
from xrdpipe.calibration.refine import cone_of
from xrdpipe.calibration.ridges import good_pixels, scatter_of
from xrdpipe.model.errors import FrameError

SHAPE, PIXEL, WAVELENGTH = (300, 340), 2e-4, 0.4e-10
CONE = Cone(140, 165, 500, 0.03, -0.02)
Floats = NDArray[np.float64]


def frame(calibrant: str = "CeO2", rings: int | None = None, counts: float = 60) -> Floats:
    """Return a frame with the first rings of a calibrant, and a gap (-1)."""
    rng = np.random.default_rng(4)
    slow, fast = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
    angles = CONE.two_theta(np.stack([slow.ravel(), fast.ravel()], axis=1)).reshape(SHAPE)
    lines = np.array(get_calibrant(calibrant, wavelength=WAVELENGTH).get_2th())
    width = 1.5 / CONE.length
    expected = np.full(SHAPE, 0.2 * counts)
    for line in lines[lines < angles.max() + 5 * width][:rings]:
        expected += counts * np.exp(-(((angles - line) / width) ** 2))
    image = rng.poisson(expected).astype(np.float64)
    image[140:148] = -1
    return image


def calibrated(image: Floats, calibrant: str = "CeO2", wavelength: float = WAVELENGTH) -> Calibrated:
    """Calibrate a frame without start values."""
    detector = Detector(PIXEL, PIXEL, max_shape=SHAPE, orientation=3)
    return calibrate(image, image < 0, detector, get_calibrant(calibrant, wavelength=wavelength))


def test_a_frame_without_rings_is_refused() -> None:
    with pytest.raises(FrameError, match=r"no rings|rings can be measured|agree"):
        calibrated(frame(rings=0))


@pytest.mark.slow
@pytest.mark.parametrize("rings", [1, 2])
def test_one_or_two_rings_alone_are_refused(rings: int) -> None:
    with pytest.raises(FrameError, match="3 are needed"):
        calibrated(frame(rings=rings))


@pytest.mark.slow
@pytest.mark.parametrize("other", ["LaB6", "alpha_Al2O3"])
def test_the_name_of_another_calibrant_is_refused(other: str) -> None:
    with pytest.raises(FrameError, match=r"calibrant|3 are needed"):
        calibrated(frame(), other)


@pytest.mark.slow
def test_a_ceria_frame_is_no_silicon_although_it_has_all_its_rings() -> None:
    with pytest.raises(FrameError, match=r"another calibrant|does not have"):
        calibrated(frame(), "Si")


@pytest.mark.slow
def test_a_silicon_frame_is_no_ceria_although_all_its_rings_are() -> None:
    with pytest.raises(FrameError, match=r"another calibrant|missing|agree|fit"):
        calibrated(frame("Si"))


@pytest.mark.slow
def test_the_same_frame_in_other_units_gives_the_same_geometry() -> None:
    image = frame()
    one, other = calibrated(image), calibrated(np.where(image < 0, image, 12.5 * image))
    assert other.values == pytest.approx(one.values, rel=1e-4, abs=1e-5)
    points = np.random.default_rng(2).uniform(0, 300, (100, 2))
    error = (cone_of(one.refined.geometry).two_theta(points) - CONE.two_theta(points)) / CONE.slope(points)
    assert np.abs(error).max() < 0.1  # pixels


@pytest.mark.slow
def test_the_rings_of_a_real_frame_fit_no_worse_than_with_the_geometry_made_by_hand(reference: Path) -> None:
    image = np.flipud(fabio.open(reference / "ceo2" / "CeO2_Pilatus1M.tif").data).astype(np.float64)
    hand = pyFAI.load(str(reference / "ceo2" / "CeO2_Pilatus1M.poni"))
    calibrant = get_calibrant("CeO2", wavelength=hand.wavelength)
    found = calibrate(image, image < 0, hand.detector, calibrant)
    lines = np.array(calibrant.get_2th())
    good = good_pixels(image, image < 0)
    points = control_points(image, good, cone_of(hand), lines, scatter_of(image, good))  # those of the other side
    rms = []
    for cone in (cone_of(found.refined.geometry), cone_of(hand)):
        misfit = (cone.two_theta(points.points) - lines[points.rings]) / cone.slope(points.points)
        rms.append(float(np.sqrt(np.mean(misfit**2))))
    assert rms[0] <= rms[1]
    assert found.refined.geometry.dist == pytest.approx(hand.dist, rel=1e-3)
    assert len(found.rings) >= 12
