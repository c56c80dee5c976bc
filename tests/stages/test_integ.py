"""Integration against what is known beforehand, and against pyFAI."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyFAI.units import RADIAL_UNITS

from xrdpipe.geometry.geometry import shared_geometry
from xrdpipe.geometry.poni import Poni
from xrdpipe.model.errors import ConfigError, FrameError
from xrdpipe.model.frame import Frame
from xrdpipe.stages.integ.integ import Integ
from xrdpipe.stages.stage import Setup

METHODS: list[Any] = [
    "splitpixel",
    "numpy",
    "csr",
    "lut",
    "cython",
    "bbox",
    "full",
    "nosplit_csr",
    "full_csr",
    "full_lut",
    ["full", "csr", "cython"],
    ["bbox", "csr", "cython"],
    ["no", "csr", "cython"],
    ["bbox", "lut", "cython"],
    ["full", "csc", "cython"],
    ["bbox", "csr", "python"],
    ["full", "histogram", "cython"],
    ["no", "histogram", "python"],
]

SHAPE = (120, 100)
ONES = np.ones(SHAPE, np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_an_image_of_ones_integrates_to_one(method: Any, integrated: Any, mask: NDArray[np.uint8]) -> None:
    for pattern in (integrated(ONES, method=method), integrated(ONES, mask, method=method)):
        assert pattern.radial.shape == pattern.intensity.shape == (60,)
        assert pattern.sigma is None
        filled = ~np.isnan(pattern.intensity)
        assert filled.sum() > 55
        np.testing.assert_allclose(pattern.intensity[filled], 1, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_every_method_agrees_with_pyfai_given_the_mask(
    method: Any, integrated: Any, setup: Setup, image: NDArray[np.float32], mask: NDArray[np.uint8]
) -> None:
    ours = integrated(image, mask, method=method)
    range_ = setup.geometry.integrator.integrate1d(ONES, 60, unit="q_A^-1", method=pyfai_method(method)).radial
    half = (range_[1] - range_[0]) / 2
    theirs = setup.geometry.integrator.integrate1d(
        image,
        60,
        unit="q_A^-1",
        method=pyfai_method(method),
        correctSolidAngle=False,
        mask=mask,
        radial_range=(float(range_[0] - half), float(range_[-1] + half)),
    )
    np.testing.assert_allclose(ours.radial, theirs.radial, rtol=1e-6)
    filled = ~np.isnan(ours.intensity) & (theirs.sum_normalization > 0)
    inner = np.flatnonzero(filled)[1:-1]  # an axis named by its ends may lose the outermost pixels to rounding
    np.testing.assert_allclose(ours.intensity[inner], theirs.intensity[inner], rtol=1e-4)


def pyfai_method(method: Any) -> Any:
    return tuple(method) if isinstance(method, list) else method


@pytest.mark.slow
def test_the_method_that_was_used_is_told(integrated: Any) -> None:
    assert integrated(ONES, method="splitpixel").method == "IntegrationMethod(1d int, full split, histogram, cython)"
    assert "CSR" in integrated(ONES).method


@pytest.mark.parametrize(
    "method",
    [
        "nope",
        "splitpixl",
        "",
        "csr_ocl",
        "full_csc",
        "csr_gpu",
        ["full", "csr", "opencl"],
        ["full", "lut", "python"],
        ["full", "csr", "cython", "gpu"],
        ["pseudo", "csr", "cython"],
        ["half", "csr", "cython"],
        ["full", "scr", "cython"],
        ["full", "numpy", "python"],
        ["full", "csr"],
        [],
        [["full"], "csr", "cython"],
        {"split": "full"},
        5,
        None,
    ],
    ids=str,
)
def test_a_method_that_pyfai_lacks_or_would_quietly_replace_is_refused_before_any_frame(
    method: Any, setup: Setup
) -> None:
    from pyFAI.method_registry import IntegrationMethod

    if IntegrationMethod.select_one_available(("full", "csr", "opencl"), dim=1, degradable=False):
        pytest.skip("OpenCL is available here")  # pragma: no cover
    with pytest.raises(ConfigError, match="method=") as error:
        Integ(method=method).check(setup.geometry.poni)
    assert len(str(error.value)) < 400


@pytest.mark.slow
@pytest.mark.parametrize("unit", sorted(RADIAL_UNITS))
def test_every_radial_unit_of_pyfai_is_taken(unit: str, setup: Setup, image: NDArray[np.float32]) -> None:
    pattern = Integ(npt=40, unit=unit).prepare(setup)(Frame("a", image)).pattern
    assert pattern is not None
    assert pattern.unit == unit
    theirs = setup.geometry.integrator.integrate1d(
        image, 40, unit=unit, method=("full", "csr", "cython"), correctSolidAngle=False
    )
    np.testing.assert_allclose(pattern.radial, theirs.radial, rtol=1e-6)
    filled = theirs.sum_normalization > 0
    np.testing.assert_allclose(pattern.intensity[filled], theirs.intensity[filled], rtol=1e-4, atol=1e-3)
    assert np.isnan(pattern.intensity[~filled]).all()


@pytest.mark.parametrize("unit", ["q_A", "Q_A^-1", "2theta", "chi_deg", ""])
def test_a_unit_that_pyfai_lacks_is_refused_before_any_frame(unit: str, setup: Setup) -> None:
    with pytest.raises(ConfigError, match=r"integ\.unit="):
        Integ(unit=unit).check(setup.geometry.poni)


@pytest.mark.slow
def test_units_say_whether_they_need_the_wavelength(poni: Path, setup: Setup, image: NDArray[np.float32]) -> None:
    text = "".join(line for line in poni.read_text().splitlines(True) if not line.startswith("Wavelength"))
    poni.write_text(text)
    without = replace(setup, geometry=shared_geometry(Poni.read(str(poni)), SHAPE))
    for unit in sorted(RADIAL_UNITS):
        stage = Integ(npt=50, unit=unit)
        stage.check(setup.geometry.poni)
        if unit.startswith(("2th", "r_", "scattering_angle", "exit_angle")):
            stage.check(without.geometry.poni)
            with_, pattern = (stage.prepare(each)(Frame("a", image)).pattern for each in (setup, without))
            assert with_ is not None
            assert pattern is not None
            np.testing.assert_allclose(with_.intensity, pattern.intensity, rtol=1e-4)
        else:
            with pytest.raises(ConfigError, match=r"needs a wavelength, which .*tiny\.poni does not have"):
                stage.check(without.geometry.poni)


@pytest.mark.slow
def test_units_are_the_same_axis_in_other_words(integrated: Any, image: NDArray[np.float32]) -> None:
    angstrom, nm = (integrated(image, unit=unit) for unit in ("q_A^-1", "q_nm^-1"))
    np.testing.assert_allclose(angstrom.radial * 10, nm.radial, rtol=1e-6)
    np.testing.assert_allclose(angstrom.intensity, nm.intensity, rtol=1e-4)


@pytest.mark.slow
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 1), st.floats(0, 0.99), st.sampled_from(["full_csr", "splitpixel"]))
def test_one_radial_axis_whatever_is_masked(integrated: Any, seed: int, share: float, method: str) -> None:
    mask = (np.random.default_rng(seed).random(SHAPE) < share).astype(np.uint8)
    axis = integrated(ONES, method=method).radial
    np.testing.assert_array_equal(integrated(ONES, mask, method=method).radial, axis)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["full_csr", "splitpixel", ["bbox", "csr", "python"]], ids=str)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite_count_as_masked(
    bad: float, method: Any, integrated: Any, image: NDArray[np.float32], mask: NDArray[np.uint8]
) -> None:
    spoilt = np.where(mask != 0, np.float32(bad), image)
    np.testing.assert_array_equal(
        integrated(spoilt, method=method).intensity, integrated(image, mask, method=method).intensity
    )


@pytest.mark.parametrize("method", ["full_csr", "splitpixel"])
def test_pixels_that_are_not_finite_do_not_count_where_the_mask_forgot_them(
    method: str, integrated: Any, image: NDArray[np.float32], mask: NDArray[np.uint8]
) -> None:
    spoilt, both = image.copy(), mask.copy()
    spoilt[40:45], both[40:45] = np.nan, 1
    np.testing.assert_array_equal(
        integrated(spoilt, mask, method=method).intensity, integrated(image, both, method=method).intensity
    )


def test_what_is_under_the_mask_does_not_matter(
    integrated: Any, image: NDArray[np.float32], mask: NDArray[np.uint8]
) -> None:
    spoilt = np.where(mask != 0, np.float32(1e9), image)
    np.testing.assert_array_equal(integrated(spoilt, mask).intensity, integrated(image, mask).intensity)


def test_bins_without_a_pixel_are_nan_and_only_those(integrated: Any, setup: Setup) -> None:
    r = setup.geometry.integrator.rArray(SHAPE) * 1000
    ring = ((r > 20) & (r < 30)).astype(np.uint8)
    variance = np.ones(SHAPE, np.float32)
    pattern = integrated(np.zeros(SHAPE), ring, variance, unit="r_mm", error_model="poisson", npt=80)
    empty = np.isnan(pattern.intensity)
    assert empty[(pattern.radial > 22) & (pattern.radial < 28)].all()
    assert not empty[(pattern.radial < 19) | (pattern.radial > 31)].any()  # zero counts are no gap
    assert pattern.sigma is not None
    np.testing.assert_array_equal(np.isnan(pattern.sigma), empty)


@pytest.mark.slow
def test_a_frame_without_a_good_pixel_in_range_fails(integrated: Any, setup: Setup) -> None:
    with pytest.raises(FrameError, match="no good pixel"):
        integrated(ONES, np.ones(SHAPE, np.uint8))
    r = setup.geometry.integrator.rArray(SHAPE) * 1000
    with pytest.raises(FrameError, match="no good pixel"):
        integrated(ONES, (r < 40).astype(np.uint8), unit="r_mm", radial_range=[10.0, 20.0])


def test_frames_do_not_know_of_each_other(integrated: Any, image: NDArray[np.float32], mask: Any, setup: Setup) -> None:
    step = Integ(npt=60).prepare(setup)
    alone = integrated(image, mask)
    step(Frame("b", image * 100))
    again = step(Frame("a", image, mask=mask)).pattern
    assert again is not None
    np.testing.assert_array_equal(again.intensity, alone.intensity)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["full_csr", "splitpixel"])
def test_the_radial_range_is_the_range_of_the_axis(method: str, integrated: Any) -> None:
    pattern = integrated(ONES, unit="r_mm", radial_range=[10.0, 30.0], npt=20, method=method)
    np.testing.assert_allclose(pattern.radial, np.arange(10.5, 30), rtol=1e-5)
    np.testing.assert_allclose(pattern.intensity, 1, rtol=1e-5)


@pytest.mark.slow
def test_the_azimuth_range_is_a_sector_in_degrees(integrated: Any, setup: Setup) -> None:
    chi = np.rad2deg(setup.geometry.integrator.chiArray(SHAPE))
    image = np.where((chi > 0) & (chi < 90), 5, 1)
    inner = {"unit": "r_mm", "radial_range": [15.0, 30.0], "npt": 10, "method": ["no", "csr", "cython"]}
    np.testing.assert_allclose(integrated(image, azimuth_range=[5.0, 85.0], **inner).intensity, 5, rtol=1e-5)
    np.testing.assert_allclose(integrated(image, azimuth_range=[-85.0, -5.0], **inner).intensity, 1, rtol=1e-5)
