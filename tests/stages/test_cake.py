"""Cakes, sigma clipping and medians against pyFAI and plain numpy."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import call, results, tree
from pyFAI.units import RADIAL_UNITS

from xrdpipe import integrate
from xrdpipe.model.cake import Cake
from xrdpipe.model.errors import ConfigError
from xrdpipe.model.frame import Frame
from xrdpipe.model.pattern import Pattern
from xrdpipe.stages.integ.cake import Regroup
from xrdpipe.stages.integ.integ import Integ
from xrdpipe.stages.integ.sigma_clip import Median, SigmaClip
from xrdpipe.stages.source import Source
from xrdpipe.stages.stage import Setup, Stage

Q = RADIAL_UNITS["q_A^-1"]


@pytest.fixture
def frame(frames: list[Path]) -> Frame:
    image = Source().read(frames[0])
    mask = (np.random.default_rng(2).random(image.shape) < 0.2).astype(np.uint8)
    return Frame("a", image, mask=mask, variance=np.maximum(image, np.float32(1)))


@pytest.fixture
def made(setup: Setup, frame: Frame) -> Callable[[Stage], Frame]:
    return lambda stage: stage.prepare(setup)(frame)


def cake_of(frame: Frame) -> Cake:
    assert frame.results.cake is not None
    return frame.results.cake


def pattern_of(frame: Frame) -> Pattern:
    assert frame.pattern is not None
    return frame.pattern


@pytest.mark.slow
@pytest.mark.parametrize("split", ["full", "bbox", "no"])
def test_a_cake_is_that_of_pyfai_without_the_masked_pixels(split: str, made: Any, setup: Setup, frame: Frame) -> None:
    keys = {"correctSolidAngle": True, "polarization_factor": 0.9}
    method = [split, "csr", "cython"]
    assert frame.mask is not None
    frame.mask[0, 0] = 1  # which pyFAI leaves to chance
    cake = cake_of(made(Regroup(npt=40, npt_azim=24, method=method, error_model="poisson", **keys)))
    image = np.where(frame.mask, np.nan, frame.image).astype(np.float32)
    theirs = setup.geometry.integrator.integrate2d(
        image, 40, 24, unit=Q, method=tuple(method), azimuth_range=(-180, 180), variance=frame.variance,
        dummy=np.nan, **keys,
    )  # fmt: skip
    empty = theirs.sum_normalization < 1e-4  # what full splitting leaves of a pixel is no share of it
    filled = theirs.sum_normalization > 0.05  # a cell with less of a pixel hangs on rounding, in pyFAI too
    assert cake.intensity.shape == (24, 40)
    np.testing.assert_allclose(cake.radial, theirs.radial, rtol=1e-6)
    np.testing.assert_allclose(cake.azimuthal, np.arange(-172.5, 180, 15))
    np.testing.assert_array_equal(np.isnan(cake.intensity), empty)
    np.testing.assert_allclose(cake.intensity[filled], theirs.intensity[filled], rtol=1e-3)
    assert cake.sigma is not None
    np.testing.assert_allclose(cake.sigma[filled], theirs.sigma[filled], rtol=1e-3)
    assert (cake.sigma[filled] > 0).all()


@pytest.mark.slow
def test_the_same_cake_comes_from_every_new_matrix(setup: Setup, frame: Frame) -> None:
    frame = Frame("a", frame.image)
    made = {
        cake_of(Regroup(npt=40, npt_azim=24).prepare(replace(setup, geometry=replace(setup.geometry)))(frame))
        .intensity.tobytes()
        for _ in range(4)
    }  # fmt: skip
    assert len(made) == 1


@pytest.mark.slow
def test_beside_the_cake_stands_the_usual_pattern(made: Any) -> None:
    done, usual = made(Regroup(npt=40, npt_azim=24)), made(Integ(npt=40))
    np.testing.assert_array_equal(pattern_of(done).intensity, pattern_of(usual).intensity)


@pytest.mark.slow
def test_a_cake_may_span_a_part_also_across_180(made: Any) -> None:
    method = ["bbox", "csr", "cython"]
    cake = cake_of(made(Regroup(npt=30, npt_azim=18, azimuth_range=[90, 270], empty=-1.0, method=method)))
    whole = cake_of(made(Regroup(npt=30, npt_azim=36, method=method)))
    np.testing.assert_allclose(cake.azimuthal, np.arange(95, 270, 10))
    assert not np.isnan(cake.intensity).any()
    same = np.isfinite(whole.intensity[28:35]) & (cake.intensity[1:8] != -1)
    close = np.isclose(cake.intensity[1:8][same], whole.intensity[28:35][same], rtol=1e-4)
    assert close.mean() > 0.99  # a pixel on an edge may be in either cell


@pytest.mark.slow
def test_a_cake_is_a_file_and_a_figure_and_repeats(poni: Path, frames: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = [f"poni={poni}", *frames[:2], "integ=cake", "integ.npt=50", "integ.npt_azim=36", "mask.edge=5"]
    assert call(*words, f"output_dir={out}", "integ.error_model=poisson", "parallel.n_jobs=2").status == 0
    with np.load(out / "ni_1_cake.npz", allow_pickle=False) as file:
        assert {name: file[name].shape for name in file} == {
            "radial": (50,), "azimuthal": (36,), "intensity": (36, 50), "sigma": (36, 50), "about": (),
        }  # fmt: skip
        about = json.loads(str(file["about"]))
    assert {"program", "geometry", "poni", "config", "method", "image", "unit", "label"} <= set(about)
    assert (out / "figures/ni_1_cake.png").stat().st_size > 5000
    before = tree(out)
    assert (
        "2 of 2 images were done before"
        in call(*words, f"output_dir={out}", "integ.error_model=poisson", "resume=true").err
    )
    assert results(out, "*.npz") == {name: content for name, content in before.items() if name.endswith(".npz")}
    assert "4 of 4 files" in call("replay", out).out


@pytest.mark.slow
def test_a_cake_reaches_python(poni: Path, frames: list[Path]) -> None:
    run = integrate(poni, frames[0], integ=("cake", {"npt": 30, "npt_azim": 12}), mask="none", output_dir=None)
    assert run.cakes["ni_1"].intensity.shape == (12, 30)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"npt_azim": 0}, "one bin"),
        ({"npt": 100_000, "npt_azim": 10_000}, "at most"),
        ({"azimuth_range": [-90, 270]}, "between -180 and 180"),
        ({"edges": [1, 2]}, "uniform"),
        ({"error_model": "hybrid"}, "poisson or azimuthal"),
    ],
    ids=str,
)
def test_what_is_no_cake_is_refused(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Regroup(**keys)


@pytest.mark.slow
def test_the_median_is_that_of_the_good_pixels(made: Any, setup: Setup, frame: Frame) -> None:
    assert frame.mask is not None
    pattern = pattern_of(made(Median(npt=30)))
    mean = pattern_of(made(Integ(npt=30, method=["no", "csr", "cython"])))
    np.testing.assert_array_equal(pattern.radial, mean.radial)
    q = setup.geometry.integrator.center_array(frame.image.shape, unit=Q)
    step = pattern.radial[1] - pattern.radial[0]
    bins = np.floor((q - pattern.radial[0]) / step + 0.5).astype(int)
    for number in range(5, 25):
        values = np.sort(frame.image[(bins == number) & (frame.mask == 0)])
        middle = len(values) // 2
        low, high = values[max(middle - 2, 0)], values[min(middle + 2, len(values) - 1)]
        assert low <= pattern.intensity[number] <= high  # a pixel on an edge may be in either bin


def test_sigma_clipping_is_that_of_pyfai_given_the_mask(made: Any, setup: Setup, frame: Frame) -> None:
    pattern = pattern_of(made(SigmaClip(npt=30, thresh=3.0, max_iter=4)))
    theirs = setup.geometry.integrator.sigma_clip_ng(
        np.where(frame.mask, np.nan, frame.image).astype(np.float32), 30, unit=Q, method=("no", "csr", "cython"),
        thres=3.0, max_iter=4, error_model="azimuthal", dummy=np.nan, correctSolidAngle=False,
    )  # fmt: skip
    filled = ~np.isnan(pattern.intensity)
    np.testing.assert_array_equal(pattern.intensity[filled], theirs.intensity[filled].astype(float))
    assert pattern.sigma is not None
    assert "sigma_clip_ng" in pattern.method


@pytest.mark.slow
def test_strong_pixels_reach_the_mean_but_neither_the_median_nor_the_clipped_mean(setup: Setup) -> None:
    rng = np.random.default_rng(3)
    image = rng.poisson(100, setup.geometry.shape).astype(np.float32)
    image[rng.random(image.shape) < 0.01] = 1e5
    for stage, near in ((Integ(npt=20), False), (Median(npt=20), True), (SigmaClip(npt=20), True)):
        values = pattern_of(stage.prepare(setup)(Frame("a", image))).intensity[2:-4]
        assert np.allclose(values, 100, rtol=0.1) == near


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("integ=median integ.method=[no,csr,cython]", "counts masked pixels"),
        ("integ=median integ.percentile=120", "0 to 100"),
        ("integ=median integ.percentile=[80,20]", "0 to 100"),
        ("integ=median integ.error_model=azimuthal", "poisson"),
        ("integ=sigma_clip integ.method=[full,csr,cython]", "split pixels"),
        ("integ=sigma_clip integ.method=[no,lut,cython]", "csr alone"),
        ("integ=sigma_clip integ.error_model=null", "error_model"),
        ("integ=sigma_clip integ.thresh=0", "> 0"),
        ("integ=sigma_clip integ.tresh=3", "did you mean 'integ.thresh'"),
        ("integ=cake integ.method=[no,histogram,cython]", "sparse"),
        ("integ=cake integ.azimuth_range=[90,270]", "bbox"),
    ],
)
def test_what_pyfai_cannot_do_right_is_refused(words: str, told: str, poni: Path, frames: list[Path]) -> None:
    answer = call(f"poni={poni}", frames[0], *words.split())
    assert (answer.status, told in answer.err) == (2, True), answer.err
