"""The calibrate command: a PONI from one frame of a calibrant, or the reason why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from command import FAST, call
from pyFAI.calibrant import get_calibrant
from pyFAI.integrator.azimuthal import AzimuthalIntegrator

from xrdpipe.geometry.geometry import Geometry
from xrdpipe.geometry.poni import Poni

SHAPE = (400, 420)
WAVELENGTH = 3e-11
WORDS = ("calibrant=CeO2", "wavelength=3e-11", "pixel=[2e-4,2e-4]", "save=g.poni")


@pytest.fixture
def truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Write frame.tif, and return the scattering angle of its pixels (rad)."""
    monkeypatch.chdir(tmp_path)
    geometry = AzimuthalIntegrator(0.1, 0.045, 0.038, 0.1, -0.05, 0, 2e-4, 2e-4, wavelength=WAVELENGTH)
    angles = geometry.center_array(SHAPE, unit="2th_rad", scale=False)
    lines = get_calibrant("CeO2", wavelength=WAVELENGTH).get_2th()
    counts = 20 + sum(300 * np.exp(-(((angles - line) / 0.003) ** 2) / 2) for line in lines)
    image = np.random.default_rng(0).poisson(counts).astype(np.int32)
    image[190:200] = -1  # a gap
    tifffile.imwrite("frame.tif", image)
    return np.asarray(angles)


def worst(path: str, angles: np.ndarray) -> float:
    """Return the largest error of an angle, in pixels of 2 mrad."""
    made = Geometry(Poni.read(path), SHAPE).integrator.center_array(SHAPE, unit="2th_rad", scale=False)
    return float(np.abs(made - angles).max() / 2e-3)


def test_a_poni_is_found_without_start_values_and_a_run_takes_it(truth: np.ndarray) -> None:
    ended = call("calibrate", *WORDS, "frame.tif")
    assert ended.status == 0, ended.err
    assert "next: xrdpipe poni=g.poni" in ended.out
    assert worst("g.poni", truth) < 0.1
    first = Path("g.poni").read_bytes()
    assert call("calibrate", *WORDS, "frame.tif").status == 2  # it is there
    assert call("calibrate", *WORDS, "frame.tif", "overwrite=true", "quiet=true") == (0, "", "")
    assert Path("g.poni").read_bytes() == first
    assert call("poni=g.poni", "frame.tif", "output_dir=out", *FAST).status == 0


@pytest.mark.slow
@pytest.mark.parametrize("orientation", [1, 2, 4])
def test_the_poni_has_the_orientation_of_the_detector_that_a_run_would_have(
    orientation: int, truth: np.ndarray
) -> None:
    ended = call("calibrate", *WORDS, "frame.tif", f"geometry.orientation={orientation}")
    assert ended.status == 0, ended.err
    assert worst("g.poni", truth) < 0.1


@pytest.mark.slow
def test_transform_and_start_are_those_of_a_run(truth: np.ndarray) -> None:
    tifffile.imwrite("turned.tif", np.flipud(tifffile.imread("frame.tif")))
    assert call("calibrate", *WORDS, "turned.tif", "source.transform=[flipud]").status == 0
    assert worst("g.poni", truth) < 0.1
    ended = call("calibrate", "calibrant=CeO2", "poni=g.poni", "frame.tif", "save=again.poni")
    assert ended.status == 0, ended.err
    assert worst("again.poni", truth) < 0.1


def test_a_frame_without_rings_is_refused_and_nothing_is_written(truth: np.ndarray) -> None:
    tifffile.imwrite("flat.tif", np.random.default_rng(0).poisson(20, SHAPE).astype(np.int32))
    ended = call("calibrate", *WORDS, "flat.tif")
    assert ended.status == 1
    assert "nothing is written" in ended.err
    assert not Path("g.poni").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["calibrant=CeO2", "frame.tif"], "save: missing"),
        (["frame.tif", "save=g.poni"], "calibrant: missing"),
        (["calibrant=CeO3", *WORDS[1:], "frame.tif"], "calibrant=CeO3: neither a file nor known"),
        ([WORDS[0], *WORDS[2:], "frame.tif"], "wavelength: missing"),
        ([WORDS[0], "wavelength=0.3", *WORDS[2:], "frame.tif"], "m expected"),
        ([*WORDS[:2], "save=g.poni", "frame.tif"], "detector: missing"),
        ([*WORDS[:2], "pixel=[1e-4,2e-4]", "save=g.poni", "frame.tif"], "only square pixels"),
        ([*WORDS[:2], "detector=Pilatus1M", "save=g.poni", "frame.tif"], "Pilatus 1M has 1043 x 981"),
        ([*WORDS, "frame.tif", "fit=[rot3]"], "rot3 turns about the beam"),
        ([*WORDS, "frame.tif", "fix=[dist]"], "needs a value to keep"),
        ([*WORDS, "frame.tif", "distances=[0.1,0.2]"], "several frames are not calibrated together"),
        ([*WORDS], "images: missing"),
        ([*WORDS, "frame.tif", "mask=robust"], "automatic masks need the geometry"),
    ],
)
def test_wrong_words_are_refused(words: list[str], told: str, truth: np.ndarray) -> None:
    ended = call("calibrate", *words)
    assert ended.status == 2
    assert told in ended.err
    assert not Path("g.poni").exists()
