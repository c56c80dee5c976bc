"""`xrdpipe.calibrate` finds the geometry that the command finds, and says as much about it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from calibrant_frames import GEOMETRY, PIXEL, write_frame
from command import call

from xrdpipe import Calibration, ConfigError, FrameError, calibrate

pytestmark = pytest.mark.slow

KEYS: dict[str, Any] = {"calibrant": "LaB6", "wavelength": 3e-11, "pixel": (PIXEL, PIXEL)}
WORDS = ("calibrate", "calibrant=LaB6", "wavelength=3e-11", f"pixel=[{PIXEL},{PIXEL}]", "report=false")


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("frame") / "frame.tif"
    write_frame(path, GEOMETRY)
    return path


@pytest.fixture(scope="module")
def found(frame: Path) -> Calibration:
    return calibrate(frame, **KEYS)


@pytest.fixture
def here(frame: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(frame, tmp_path)
    return tmp_path


def test_the_poni_is_that_of_the_command(found: Calibration, here: Path) -> None:
    assert call(*WORDS, "frame.tif", "save=command.poni").status == 0
    assert found.save("python.poni") == [Path("python.poni")]
    assert Path("python.poni").read_bytes() == Path("command.poni").read_bytes()
    with pytest.raises(ConfigError, match="already there"):
        found.save("python.poni")
    found.save("python.poni", overwrite=True)


def test_values_uncertainties_and_residuals_are_there(found: Calibration) -> None:
    for name, uncertainty in found.uncertainties.items():
        assert abs(found.values[name] - GEOMETRY[name]) < 4 * uncertainty
    assert found.correlation.shape == (5, 5)
    assert found.geometry.dist == found.values["dist"]
    errors = found._solution.found[0].points.sigma
    assert found.rms == pytest.approx(np.sqrt(np.average(found.residuals["frame"] ** 2, weights=errors**-2)))
    assert repr(found).startswith("<Calibration from frame: residual 0.0")


def test_a_calibration_shows_its_parameters_and_rings(found: Calibration) -> None:
    html = found._repr_html_()
    assert html.count("<table>") == 2
    assert html.count("data:image/png;base64,") == 1
    assert "<td>dist</td>" in html


def test_arrays_starts_masks_and_fixed_parameters_are_taken(found: Calibration, here: Path) -> None:
    image = tifffile.imread("frame.tif")
    assert calibrate({"frame": image}, **KEYS).ponis == found.ponis
    found.save("start.poni")
    np.save("mask.npy", np.zeros(image.shape, np.uint8))
    again = calibrate("frame.tif", calibrant="LaB6", poni="start.poni", fix=["rot1"], mask={"file": "mask.npy"})
    assert again.values["rot1"] == found.values["rot1"]
    assert set(again.uncertainties) == {"dist", "poni1", "poni2", "rot2"}


def test_several_frames_together_are_those_of_the_command(here: Path) -> None:
    write_frame("near.tif", GEOMETRY)
    write_frame("far.tif", {**GEOMETRY, "dist": 0.2}, seed=1)
    words = ("near.tif", "far.tif", "distances=[0.15,0.2]", "fit=[wavelength]", "save=c.poni")
    assert call(*WORDS, *words).status == 0
    together = calibrate("near.tif", "far.tif", distances=[0.15, 0.2], fit=["wavelength"], **KEYS)
    assert together.save("p.poni") == [Path("p_near.poni"), Path("p_far.poni")]
    for name in ("near", "far"):
        assert Path(f"p_{name}.poni").read_bytes() == Path(f"c_{name}.poni").read_bytes()


def test_what_the_command_refuses_is_refused(here: Path) -> None:
    with pytest.raises(ConfigError, match="nope: neither a file nor known"):
        calibrate("frame.tif", **{**KEYS, "calibrant": "nope"})
    with pytest.raises(ConfigError, match="images: 2 frames; say what they are"):
        calibrate("frame.tif", {"other": np.ones((400, 420))}, **KEYS)
    with pytest.raises(FrameError, match="empty: no rings stand out"):
        calibrate({"empty": np.random.default_rng(0).poisson(9, (400, 420))}, **KEYS)
