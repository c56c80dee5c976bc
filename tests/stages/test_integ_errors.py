"""Integration against what is known beforehand, and against pyFAI."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from xrdpipe.geometry.geometry import Geometry
from xrdpipe.model.errors import ConfigError
from xrdpipe.model.frame import Frame
from xrdpipe.stages.integ.integ import Integ
from xrdpipe.stages.stage import Setup

SHAPE = (120, 100)
ONES = np.ones(SHAPE, np.float32)


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
