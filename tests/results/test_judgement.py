"""A run with an error model ends with a line that says what is wrong with its numbers, or with none."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from command import call
from tiny import TINY

import xrdpipe
from xrdpipe.model.record import Record
from xrdpipe.results.judgement import judgement

SMOOTH = replace(TINY, shape=(240, 200), pixel=(5e-4, 5e-4), lines=0, dead=0, hot=0, zingers=0, beamstop=0)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judgement")
    (folder / "geometry.poni").write_text(SMOOTH.poni_text())
    return folder


@cache
def angles() -> Any:
    """Scattering angle, 1 at the most, and azimuth of every pixel."""
    geometry = SMOOTH.integrator()
    two_theta, chi = (geometry.center_array(SMOOTH.shape, unit=unit, scale=False) for unit in ("2th_rad", "chi_rad"))
    return two_theta / two_theta.max() / 2, chi


def mean(counts: float) -> Any:
    """What every pixel counts in the mean, without noise: a smooth halo and weak broad rings."""
    distance = angles()[0] * 300
    return counts * (0.1 + np.exp(-distance / 30) + 0.2 * np.exp(-(((distance - 90) / 12) ** 2)))


def run(places: Path, image: Any, mask: Any = "robust", **keys: Any) -> xrdpipe.api.Run:  # type: ignore[name-defined]
    integ = {"npt": 120, "error_model": "poisson"}
    return xrdpipe.integrate(
        places / "geometry.poni",
        {"frame": np.asarray(image, np.float32)},
        mask=mask,
        integ=integ,
        output_dir=None,
        **keys,
    )


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.mark.slow
def test_counting_noise_needs_no_line(places: Path, rng: np.random.Generator) -> None:
    for counts in (30, 1000):
        found = run(places, rng.poisson(mean(counts)))
        assert found.judgement == ""
        assert found.frames[0].metrics["reduced_chi2"] == pytest.approx(1, abs=0.1)
        assert found.frames[0].metrics["local_chi2"] == pytest.approx(1, abs=0.1)


@pytest.mark.slow
def test_a_gain_is_found_with_its_value(places: Path, rng: np.random.Generator) -> None:
    frame = 4 * rng.poisson(mean(300))
    found = run(places, frame)
    assert "sigma is 2.0 times too small" in found.judgement
    assert "source.gain=4" in found.judgement.replace("source.gain=3.9", "source.gain=4").replace("gain=4.1", "gain=4")
    assert run(places, frame, source={"gain": 4.0}).judgement == ""


def test_signal_that_pixels_share_makes_sigma_too_large(places: Path, rng: np.random.Generator) -> None:
    assert "sigma is 2.0 times too large" in run(places, rng.poisson(mean(4000)) / 4).judgement


def test_pixels_of_unlike_response_show_as_a_flat(places: Path, rng: np.random.Generator) -> None:
    found = run(places, rng.poisson(mean(30_000) * rng.normal(1, 0.03, (240, 200)).clip(0.5)))
    assert "the detector's flat shows" in found.judgement
    assert found.frames[0].metrics["flat_scatter"] == pytest.approx(0.03, rel=0.2)


def test_texture_is_told_from_noise(places: Path, rng: np.random.Generator) -> None:
    around = 1 + 0.3 * np.cos(2 * angles()[1])
    found = run(places, rng.poisson(mean(3000) * around))
    assert "smoothly along them" in found.judgement
    assert "flat" not in found.judgement


def test_a_threshold_that_takes_one_side_of_the_noise_is_named(places: Path, rng: np.random.Generator) -> None:
    tifffile.imwrite(places / "most.tiff", rng.poisson(mean(29)).astype(np.uint16))
    background = {"file": str(places / "most.tiff")}
    frame = rng.poisson(mean(30))
    found = run(places, frame, mask=("default", {"edge": 0, "alpha": None}), background=background)
    assert "the mask raises the pattern" in found.judgement


def test_too_much_background_is_named(places: Path, rng: np.random.Generator) -> None:
    tifffile.imwrite(places / "air.tiff", rng.poisson(mean(300)).astype(np.uint16))
    background = {"file": str(places / "air.tiff"), "scale": 1.3}
    found = run(places, rng.poisson(mean(300)), background=background)
    assert "bins are below zero by more than 3 sigma: too much is subtracted" in found.judgement


def test_the_line_stands_on_the_terminal_in_the_record_and_on_the_page(
    places: Path, rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("gain.tiff", (4 * rng.poisson(mean(300))).astype(np.uint16))
    words = (f"poni={places / 'geometry.poni'}", "gain.tiff", "plot=none", "integ.npt=120", "mask=robust")
    ended = call(*words, "integ.error_model=poisson", "output_dir=out")
    assert ended.status == 0
    line = json.loads(Path("out/run.json").read_text())["judgement"]
    assert line.startswith("check the numbers: sigma is 2.0 times too small")
    assert ended.err.endswith(f"xrdpipe: {line}\n")
    assert "sigma is 2.0 times too small" in Path("out/report.html").read_text()
    silent = call(*words, "output_dir=silent")
    assert "check the numbers" not in silent.err
    assert json.loads(Path("silent/run.json").read_text())["judgement"] == ""


def test_failed_frames_and_frames_without_metrics_say_nothing() -> None:
    bad = {"reduced_chi2": 9.0, "local_chi2": 9.0}
    assert judgement([Record("a", "a", "failed", metrics=bad), Record("b", "b", "done")], 1.0) == ""
    assert judgement([Record("b", "b", "done", metrics=bad)], 1.0) != ""
