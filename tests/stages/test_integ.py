"""Integration against what is known beforehand, and against pyFAI."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyFAI.units import RADIAL_UNITS

from xrdpipe.geometry.geometry import Geometry, shared_geometry
from xrdpipe.geometry.poni import Poni
from xrdpipe.model.errors import ConfigError, FrameError
from xrdpipe.model.frame import Frame
from xrdpipe.model.pattern import Pattern
from xrdpipe.stages.integ.integ import Integ
from xrdpipe.stages.source import Source
from xrdpipe.stages.stage import Setup

SHAPE = (120, 100)
ONES = np.ones(SHAPE, np.float32)
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


@pytest.fixture
def integrated(setup: Setup) -> Callable[..., Pattern]:
    def run(image: NDArray[Any], mask: Any = None, variance: Any = None, **keys: Any) -> Pattern:
        frame = Frame("a", np.asarray(image, np.float32), mask=mask, variance=variance)
        pattern = Integ(**{"npt": 60} | keys).prepare(setup)(frame).pattern
        assert pattern is not None
        return pattern

    return run


@pytest.fixture
def image(frames: list[Path]) -> NDArray[np.float32]:
    return Source().read(frames[0])


@pytest.fixture
def mask() -> NDArray[np.uint8]:
    mask = (np.random.default_rng(2).random(SHAPE) < 0.2).astype(np.uint8)
    mask[:5] = mask[:, -7:] = 3  # anything but 0 is masked
    return mask


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


# --- masks and axes


@pytest.mark.slow
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


# --- corrections


@pytest.mark.slow
@pytest.mark.parametrize("method", ["full_csr", "splitpixel"])
def test_solid_angle_and_polarization_are_divided_out(method: str, integrated: Any, setup: Setup) -> None:
    ai = setup.geometry.integrator
    omega, polarization = ai.solidAngleArray(SHAPE), ai.polarization(SHAPE, 0.95)
    assert np.ptp(omega) > 0.005
    keys = {"method": method}
    np.testing.assert_allclose(integrated(omega, correctSolidAngle=True, **keys).intensity, 1, rtol=1e-5)
    np.testing.assert_allclose(integrated(polarization, polarization_factor=0.95, **keys).intensity, 1, rtol=1e-5)
    both = integrated(omega * polarization, correctSolidAngle=True, polarization_factor=0.95, **keys)
    np.testing.assert_allclose(both.intensity, 1, rtol=1e-5)
    assert np.ptp(integrated(omega, **keys).intensity) > 0.004  # off by default


def test_a_polarization_factor_of_zero_is_a_correction_too(integrated: Any, setup: Setup) -> None:
    polarization = setup.geometry.integrator.polarization(SHAPE, 0)
    np.testing.assert_allclose(integrated(polarization, polarization_factor=0.0).intensity, 1, rtol=1e-5)


# --- errors


def scatter(integrated: Any, frames: list[NDArray[Any]], variances: list[NDArray[Any]], **keys: Any) -> NDArray[Any]:
    """How often deviations are too large: standard deviation of (I - mean I) / sigma over repeated measurements."""
    patterns = [
        integrated(image, None, np.float32(v), error_model="poisson", **keys)
        for image, v in zip(frames, variances, strict=True)
    ]
    values = np.array([pattern.intensity for pattern in patterns])
    sigma = np.array([pattern.sigma for pattern in patterns])
    z: NDArray[Any] = (values - values.mean(axis=0)) / sigma
    return z


@pytest.mark.slow
@pytest.mark.parametrize("method", ["nosplit_csr", ["no", "histogram", "cython"]], ids=str)
def test_poisson_sigma_is_the_scatter_of_repeated_frames_after_subtraction(method: Any, integrated: Any) -> None:
    # Raw 1100, background 1000: from the difference alone sigma would be 4.6 times too small.
    rng = np.random.default_rng(3)
    raw, background = rng.poisson(1100, (20, *SHAPE)), rng.poisson(1000, (20, *SHAPE))
    z = scatter(integrated, list(raw - background), list(raw + background), method=method)
    assert np.sqrt((z**2).sum() / (19 * 60)) == pytest.approx(1, abs=0.07)  # 3 sigma of 1140 degrees of freedom


def test_poisson_sigma_of_one_count_of_variance_in_every_pixel_is_that_of_the_mean(integrated: Any) -> None:
    keys = {"method": "nosplit_csr", "error_model": "poisson"}
    pattern = integrated(ONES, None, np.full(SHAPE, 4, np.float32), **keys)
    pixels = integrated(ONES, None, np.full(SHAPE, 1, np.float32), **keys).sigma ** -2
    np.testing.assert_allclose(pattern.sigma, 2 / np.sqrt(pixels), rtol=1e-5)
    assert pixels.sum() == pytest.approx(12000, rel=1e-3)  # every pixel in one bin


@pytest.mark.slow
@pytest.mark.parametrize("method", ["full_csr", "splitpixel"])
def test_poisson_sigma_is_that_of_pyfai_given_the_variance(
    method: str, integrated: Any, setup: Setup, image: NDArray[np.float32], mask: NDArray[np.uint8]
) -> None:
    variance = np.maximum(image, 1) * 2
    ours = integrated(image, mask, variance, error_model="poisson", method=method)
    theirs = setup.geometry.integrator.integrate1d(
        np.where(mask != 0, np.nan, image).astype(np.float32),
        60,
        unit="q_A^-1",
        method=method,
        correctSolidAngle=False,
        variance=variance,
        dummy=np.nan,
    )
    filled = theirs.sum_normalization > 0
    np.testing.assert_allclose(ours.sigma[filled], theirs.sigma[filled], rtol=1e-4)


def test_azimuthal_sigma_is_that_of_pyfai(integrated: Any, setup: Setup, image: NDArray[np.float32]) -> None:
    ours = integrated(image, error_model="azimuthal", method="nosplit_csr")
    theirs = setup.geometry.integrator.integrate1d(
        image,
        60,
        unit="q_A^-1",
        method=("no", "csr", "cython"),
        correctSolidAngle=False,
        error_model="azimuthal",
    )
    np.testing.assert_allclose(ours.sigma, theirs.sigma, rtol=1e-3)


def test_only_poisson_needs_the_variance_of_the_frame() -> None:
    assert Integ(error_model="poisson").needs.variance
    assert not any(Integ(error_model=model).needs.variance for model in (None, "azimuthal", "hybrid"))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["poisson", "azimuthal", "hybrid"])
def test_sigma_is_never_zero(model: str, integrated: Any) -> None:
    sparse = np.ones(SHAPE, np.uint8)
    sparse[60:70, 40:60] = 0
    for image in (np.zeros(SHAPE), ONES):
        pattern = integrated(image, sparse, np.ones(SHAPE, np.float32), error_model=model, npt=200)
        assert pattern.sigma is not None
        assert not np.any(pattern.sigma == 0)


# --- refused


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"npt": 0}, "npt=0"),
        ({"npt": -5}, "npt=-5"),
        ({"radial_range": [5.0, 1.0]}, "radial_range"),
        ({"radial_range": [1.0, 1.0]}, "radial_range"),
        ({"radial_range": [1.0]}, "radial_range"),
        ({"radial_range": [1.0, 2.0, 3.0]}, "radial_range"),
        ({"radial_range": [0.0, float("nan")]}, "radial_range"),
        ({"azimuth_range": [90.0, 0.0]}, "azimuth_range"),
        ({"polarization_factor": 1.5}, "polarization_factor=1.5"),
        ({"polarization_factor": float("nan")}, "polarization_factor=nan"),
        ({"error_model": "poison"}, "error_model=poison.*'poisson'"),
    ],
)
def test_impossible_values_are_refused_at_once(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Integ(**keys)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"npt": 12001}, "npt=12001: more bins than pixels"),
        ({"radial_range": [100.0, 200.0]}, "radial_range.*outside the detector, which sees 0.* to 6"),
        ({"radial_range": [-3.0, -1.0]}, "radial_range.*outside"),
    ],
)
def test_what_does_not_fit_the_detector_is_refused_before_any_frame(
    keys: dict[str, Any], words: str, setup: Setup
) -> None:
    with pytest.raises(ConfigError, match=words):
        Integ(**keys).prepare(setup)


@pytest.mark.slow
def test_a_method_is_checked_also_where_pyfai_was_not_loaded_before(setup: Setup) -> None:
    import subprocess
    import sys

    code = "from xrdpipe.stages.integ.methods import integration_method as f;"
    code = f"{code} print(f('splitpixel'), f(['full', 'csr', 'cython']))"
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.count("IntegrationMethod(") == 2, run.stderr[-300:]


@pytest.mark.slow
def test_two_shapes_of_one_poni_have_matrices_of_their_own(setup: Setup) -> None:
    poni = setup.geometry.poni
    text = poni.text.replace("[120, 100]", "null")
    for shape in ((120, 100), (60, 80), (120, 100)):
        each = replace(setup, geometry=Geometry(replace(poni, text=text), shape))
        pattern = Integ(npt=30).prepare(each)(Frame("a", np.ones(shape, np.float32))).pattern
        assert pattern is not None
        np.testing.assert_allclose(pattern.intensity, 1, rtol=1e-5)
