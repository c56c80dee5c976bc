"""The calibrate command with several frames: together, or one after another."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from calibrant_frames import GEOMETRY, PIXEL, SHAPE, write_frame
from command import call

from xrdpipe.calibration.several import values_of_frame
from xrdpipe.geometry.poni import Poni

WORDS = ("calibrant=LaB6", f"pixel=[{PIXEL},{PIXEL}]", "save=g.poni")
RAIL = {**GEOMETRY, "axis1": 0.004, "axis2": -0.006}
SHIFT = 0.15  # m


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with near.tif and far.tif, on a rail."""
    folder = tmp_path_factory.mktemp("frames")
    write_frame(folder / "near.tif", GEOMETRY)
    write_frame(folder / "far.tif", values_of_frame(RAIL, SHIFT, None), seed=1)
    return folder


@pytest.fixture
def here(frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with near.tif and far.tif."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(frames, tmp_path, dirs_exist_ok=True)
    return tmp_path


def error(out: str, name: str) -> float:
    """Return the printed uncertainty of a parameter."""
    found = re.search(rf"^{name} +\S+ +(\S+)", out, re.MULTILINE)
    assert found is not None
    return float(found[1])


def write_start() -> None:
    """Write start.poni, with the true geometry."""
    keys = {"dist": "Distance"}
    lines = [f"{keys.get(name, name.capitalize())}: {value}" for name, value in GEOMETRY.items()]
    detector = f'{{"pixel1": {PIXEL}, "pixel2": {PIXEL}, "max_shape": [{SHAPE[0]}, {SHAPE[1]}], "orientation": 3}}'
    head = ["poni_version: 2.1", "Detector: Detector", f"Detector_config: {detector}"]
    Path("start.poni").write_text("\n".join([*head, *lines, ""]), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("about", [["wavelength=3.02e-11"], []], ids=["about known", "not known"])
def test_two_distances_determine_the_wavelength_within_its_stated_uncertainty(here: Path, about: list[str]) -> None:
    words = ("near.tif", "far.tif", "distances=[0.15,0.30]", "fit=[wavelength]", *about)
    ended = call("calibrate", *WORDS, *words)
    assert ended.status == 0, ended.err
    near, far = (Poni.read(f"g_{name}.poni").values for name in ("near", "far"))
    assert near["wavelength"] == far["wavelength"]
    assert abs(float(near["wavelength"]) - 3e-11) < 4 * error(ended.out, "wavelength") < 1e-14
    true = values_of_frame(RAIL, SHIFT, None)
    assert abs(float(near["distance"]) - GEOMETRY["dist"]) < 4 * error(ended.out, "dist")
    assert abs(float(far["distance"]) - true["dist"]) < 8 * error(ended.out, "dist")
    for axis in ("axis1", "axis2"):
        found = re.search(rf"^{axis} +(\S+)", ended.out, re.MULTILINE)
        assert found is not None
        assert abs(float(found[1]) - RAIL[axis]) < 4 * error(ended.out, axis)
    page = Path("g.html").read_text(encoding="utf-8")
    assert page.count("Rings over the frame") == 2


@pytest.mark.slow
def test_frames_at_several_energies_have_one_geometry(here: Path) -> None:
    for energy in (35, 45):
        write_frame(f"e{energy}.tif", {**GEOMETRY, "wavelength": 12.398419843320026e-10 / energy}, seed=energy)
    ended = call("calibrate", *WORDS, "e35.tif", "e45.tif", "energies=[35,45]", "report=false")
    assert ended.status == 0, ended.err
    one, other = (Poni.read(f"g_e{energy}.poni").values for energy in (35, 45))
    assert one["distance"] == other["distance"]
    assert float(other["wavelength"]) == pytest.approx(12.398419843320026e-10 / 45)
    assert abs(float(one["distance"]) - GEOMETRY["dist"]) < 4 * error(ended.out, "dist")


@pytest.mark.slow
def test_frames_that_do_not_fit_together_are_refused(here: Path) -> None:
    ended = call("calibrate", *WORDS, "near.tif", "far.tif", "distances=[0.15,0.28]", "wavelength=3e-11")
    assert ended.status == 1
    assert "the frames do not fit together" in ended.err
    assert not list(here.glob("g*"))


@pytest.mark.slow
def test_a_series_is_followed_and_the_verdict_says_whether_it_moved(here: Path) -> None:
    write_start()
    for number in range(3):
        write_frame(f"still{number}.tif", GEOMETRY, seed=number)
        write_frame(f"moving{number}.tif", {**GEOMETRY, "poni1": GEOMETRY["poni1"] + number * PIXEL / 4}, seed=number)
    words = ("calibrate", "calibrant=LaB6", "poni=start.poni")
    ended = call(*words, *(f"still{number}.tif" for number in range(3)), "report=false")
    assert ended.status == 0, ended.err
    assert "did not move" in ended.out
    with open("start_drift.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["frame"] for row in rows] == ["still0", "still1", "still2"]
    assert abs(float(rows[2]["dist"]) - GEOMETRY["dist"]) < 4 * float(rows[2]["dist_sigma"])
    ended = call(*words, *(f"moving{number}.tif" for number in range(3)), "save=m.csv")
    assert ended.status == 0, ended.err
    found = re.search(r"moved: rings lie up to (\S+) pixels", ended.out)
    assert found is not None
    assert float(found[1]) == pytest.approx(0.5, abs=0.05)
    assert "data:image/png" in Path("m.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_frame_that_does_not_decide_is_listed_and_the_series_goes_on(here: Path) -> None:
    write_start()
    tifffile.imwrite("flat.tif", np.random.default_rng(0).poisson(20, SHAPE).astype(np.int32))
    ended = call("calibrate", "calibrant=LaB6", "poni=start.poni", "near.tif", "flat.tif", "far.tif")
    assert ended.status == 1
    assert "flat.tif: no rings" in ended.err
    assert "moved: rings lie up to 1" in ended.out  # the last frame is found although it is far from the one before
    text = Path("start_drift.html").read_text(encoding="utf-8")
    assert "Frames that do not decide" in text
    with open("start_drift.csv", encoding="utf-8") as file:
        assert [bool(row["error"]) for row in csv.DictReader(file)] == [False, True, False]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["wavelength=3e-11"], "images: 2 frames; say what they are"),
        (["wavelength=3e-11", "distances=[0.1]"], "distances: 1 values for 2 frames"),
        (["wavelength=3e-11", "distances=[0.1,0.1]"], "two are the same"),
        (["wavelength=3e-11", "distances=[near,far]"], "m expected, one for each frame"),
        (["distances=[0.1,0.2]"], "and fit=[wavelength]"),
        (["energies=[35,45]", "wavelength=3e-11"], "choose one"),
        (["energies=[35,45]", "fit=[wavelength]"], "known with energies="),
        (["energies=[35,45]", "distances=[0.1,0.2]"], "choose one"),
        (["poni=start.poni", "wavelength=3e-11"], "the table of a series expected"),
    ],
)
def test_wrong_words_for_several_frames_are_refused(words: list[str], told: str, here: Path) -> None:
    write_start()
    ended = call("calibrate", *WORDS, "near.tif", "far.tif", *words)
    assert ended.status == 2
    assert told in ended.err
    assert not list(here.glob("g*"))


@pytest.mark.slow
def test_a_dry_run_names_the_files_of_all_frames(here: Path) -> None:
    write_start()
    words = ("calibrate", *WORDS, "near.tif", "far.tif", "dry_run=true")
    ended = call(*words, "wavelength=3e-11", "distances=[0.1,0.2]")
    assert ended == (0, "would read 2 frames, and write g_near.poni, g_far.poni, g.html\n", "")
    ended = call(*words[:3], *words[4:], "poni=start.poni")
    assert ended == (0, "would read 2 frames, and write start_drift.csv, start_drift.html\n", "")
