"""The calibrate command with one frame: a PONI without start values, or the reason why not."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from browser import chromium
from calibrant_frames import GEOMETRY, PIXEL, SHAPE, angles, write_frame
from command import FAST, CommandResult, call
from pyFAI.calibrant import get_calibrant
from threadpoolctl import threadpool_limits

from xrdpipe.calibration.others import lattice_spacings
from xrdpipe.geometry.geometry import Geometry
from xrdpipe.geometry.poni import Poni

WORDS = ("calibrant=LaB6", "wavelength=3e-11", f"pixel=[{PIXEL},{PIXEL}]", "save=g.poni")


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A frame of LaB6."""
    path = tmp_path_factory.mktemp("frame") / "frame.tif"
    write_frame(path, GEOMETRY)
    return path


@pytest.fixture(scope="module")
def made(frame: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CommandResult]:
    """A folder with frame.tif, and what the command made of it."""
    folder = tmp_path_factory.mktemp("calibrated")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        shutil.copy(frame, folder)
        return folder, call("calibrate", *WORDS, "frame.tif")


@pytest.fixture
def here(frame: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with frame.tif."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(frame, tmp_path)
    return tmp_path


def worst(path: Path | str) -> float:
    """Return the largest error of an angle, in pixels."""
    found = Geometry(Poni.read(str(path)), SHAPE).integrator.center_array(SHAPE, unit="2th_rad", scale=False)
    true = angles(GEOMETRY)
    return float(np.abs((found - true) / np.cos(true) ** 2).max() * GEOMETRY["dist"] / PIXEL)


def value(path: Path | str, key: str) -> float:
    return float(Poni.read(str(path)).values[key])


@pytest.mark.slow
def test_a_poni_is_found_without_start_values(made: tuple[Path, CommandResult]) -> None:
    folder, ended = made
    assert ended.status == 0, ended.err
    assert worst(folder / "g.poni") < 0.05
    assert "next: xrdpipe poni=g.poni" in ended.out
    assert "poni1 and rot2 are correlated: -" in ended.out


@pytest.mark.slow
def test_the_true_geometry_lies_within_the_stated_uncertainties(made: tuple[Path, CommandResult]) -> None:
    folder, ended = made
    for name in ("dist", "poni1", "poni2", "rot1", "rot2"):
        found = re.search(rf"^{name} +\S+ +(\S+)", ended.out, re.MULTILINE)
        assert found is not None
        key = "distance" if name == "dist" else name
        assert abs(value(folder / "g.poni", key) - GEOMETRY[name]) < 4 * float(found[1])


@pytest.mark.slow
def test_the_page_shows_rings_residuals_and_cake_and_loads_nothing(made: tuple[Path, CommandResult]) -> None:
    text = (made[0] / "g.html").read_text(encoding="utf-8")
    assert text.count("data:image/png;base64,") == 4
    for word in ("http:", "https:", "<script", "url("):
        assert word not in text
    for word in ("Correlation of the refined parameters", "Rings over the frame", "Residuals", "Cake", "4.1568"):
        assert word in text
    assert f"xrdpipe calibrate calibrant=LaB6 wavelength=3e-11 &#39;pixel=[{PIXEL},{PIXEL}]&#39;" in text


@pytest.mark.slow
def test_the_page_opens_in_a_browser_without_an_error(made: tuple[Path, CommandResult]) -> None:
    with chromium() as browser:
        browser.driver.get((made[0] / "g.html").as_uri())
        widths = browser.run("return [...document.images].map((each) => each.naturalWidth)")
        assert len(widths) == 4
        assert min(widths) > 300
        assert not [entry for entry in browser.driver.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.mark.slow
def test_a_run_takes_the_poni(made: tuple[Path, CommandResult], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made[0])
    assert call("poni=g.poni", "frame.tif", "output_dir=out", *FAST).status == 0


@pytest.mark.slow
def test_the_same_words_give_the_same_bytes(here: Path, made: tuple[Path, CommandResult]) -> None:
    first = [(made[0] / name).read_bytes() for name in ("g.poni", "g.html")]
    Path("g.poni").write_text("old", encoding="utf-8")
    assert call("calibrate", *WORDS, "frame.tif").status == 2  # it is there
    assert call("calibrate", *WORDS, "frame.tif", "overwrite=true", "quiet=true") == (0, "", "")
    assert [Path(name).read_bytes() for name in ("g.poni", "g.html")] == first


@pytest.mark.slow
def test_the_number_of_threads_changes_no_digit(here: Path) -> None:
    for threads in (1, 2):
        with threadpool_limits(threads, "blas"):
            ended = call("calibrate", *WORDS[:-1], "frame.tif", "report=false", f"save={threads}.poni")
        assert ended.status == 0, ended.err
    assert Path("1.poni").read_bytes() == Path("2.poni").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("orientation", [1, 2, 4])
def test_the_poni_has_the_orientation_of_the_detector_that_a_run_would_have(orientation: int, here: Path) -> None:
    ended = call("calibrate", *WORDS, "frame.tif", f"geometry.orientation={orientation}", "report=false")
    assert ended.status == 0, ended.err
    assert worst("g.poni") < 0.05
    assert "poni1 and rot2 are correlated: -" in ended.out  # both change their signs, or none does


@pytest.mark.slow
def test_transform_and_start_are_those_of_a_run(here: Path) -> None:
    tifffile.imwrite("turned.tif", np.flipud(tifffile.imread("frame.tif")))
    assert call("calibrate", *WORDS, "turned.tif", "source.transform=[flipud]", "report=false").status == 0
    assert worst("g.poni") < 0.05
    words = ("poni=g.poni", "frame.tif", "save=again.poni", "fix=[rot1]", "report=false")
    ended = call("calibrate", "calibrant=LaB6", *words)
    assert ended.status == 0, ended.err
    assert worst("again.poni") < 0.05
    assert value("again.poni", "rot1") == value("g.poni", "rot1")


@pytest.mark.slow
def test_dark_mask_averages_energy_and_a_file_of_spacings_are_taken(here: Path) -> None:
    write_frame("second.tif", GEOMETRY, seed=1)
    dark = np.random.default_rng(2).integers(0, 2000, SHAPE).astype(np.int32)
    for name in ("frame.tif", "second.tif"):
        image = tifffile.imread(name)
        tifffile.imwrite(name, np.where(image < 0, -1, image + dark))
    tifffile.imwrite("dark.tif", dark)
    np.save("mask.npy", (tifffile.imread("frame.tif") < 0).astype(np.uint8))
    spacings = lattice_spacings(get_calibrant("LaB6"))
    Path("mine.txt").write_text("# LaB6\n" + "".join(f"{each}  # a line\n" for each in spacings), encoding="utf-8")
    words = ("calibrant=mine.txt", f"energy={12.398419843320026 / 0.3}", *WORDS[2:])
    ended = call(
        "calibrate", *words, "frame.tif", "second.tif", "source.average=2", "background.dark_file=dark.tif",
        "mask.file=mask.npy", "report=false",
    )  # fmt: skip
    assert ended.status == 0, ended.err
    assert worst("g.poni") < 0.1
    assert value("g.poni", "wavelength") == pytest.approx(3e-11, rel=1e-12)


@pytest.mark.slow
def test_bounds_hold_where_the_frame_allows_it_and_are_refused_where_not(here: Path) -> None:
    ended = call("calibrate", *WORDS, "frame.tif", "bounds.rot2=[-0.0297,0.1]", "report=false")
    assert ended.status == 0, ended.err
    assert "at its bound" in ended.out
    assert value("g.poni", "rot2") == -0.0297
    assert worst("g.poni") < 0.2
    ended = call("calibrate", *WORDS[:3], "frame.tif", "bounds.dist=[0.2,0.3]", "save=h.poni")
    assert ended.status == 1
    assert "within the bounds of dist the rings fit to" in ended.err
    assert not Path("h.poni").exists()


@pytest.mark.slow
def test_names_are_text_on_the_page(here: Path) -> None:
    name = "<img src=x onerror=alert(1)>.tif"
    Path("frame.tif").rename(name)
    assert call("calibrate", *WORDS, name).status == 0
    text = Path("g.html").read_text(encoding="utf-8")
    assert "<img src=x" not in text
    assert "&lt;img src=x" in text


@pytest.mark.slow
def test_a_frame_without_rings_is_refused_and_nothing_is_written(here: Path) -> None:
    tifffile.imwrite("flat.tif", np.random.default_rng(0).poisson(20, SHAPE).astype(np.int32))
    ended = call("calibrate", *WORDS, "flat.tif")
    assert ended.status == 1
    assert "nothing is written" in ended.err
    assert not list(here.glob("g.*"))


@pytest.mark.slow
def test_a_dry_run_says_what_would_be_written(here: Path) -> None:
    ended = call("calibrate", *WORDS, "frame.tif", "dry_run=true")
    assert ended == (0, "would read frame.tif, and write g.poni, g.html\n", "")
    ended = call("calibrate", *WORDS, "frame.tif", "dry_run=true", "report=false")
    assert ended == (0, "would read frame.tif, and write g.poni\n", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([*WORDS[:3], "frame.tif"], "save: missing"),
        (["frame.tif", "save=g.poni"], "calibrant: missing"),
        (["calibrant=CeO3", *WORDS[1:], "frame.tif"], "calibrant=CeO3: neither a file nor known"),
        (["calibrant=words.txt", *WORDS[1:], "frame.tif"], "calibrant=words.txt: cannot be read"),
        (["calibrant=empty.txt", *WORDS[1:], "frame.tif"], "calibrant=empty.txt: holds no d-spacings"),
        ([WORDS[0], *WORDS[2:], "frame.tif"], "wavelength: missing"),
        ([WORDS[0], "wavelength=0.3", *WORDS[2:], "frame.tif"], "m expected"),
        ([WORDS[0], "energy=3e-11", *WORDS[2:], "frame.tif"], "keV expected"),
        ([*WORDS, "energy=40", "frame.tif"], "together with wavelength=3e-11; choose one"),
        ([*WORDS[:2], "save=g.poni", "frame.tif"], "detector: missing"),
        ([*WORDS[:2], "pixel=[1e-4,2e-4]", "save=g.poni", "frame.tif"], "only square pixels"),
        ([*WORDS[:2], "pixel=2e-4", "save=g.poni", "frame.tif"], "two lengths in m expected"),
        ([*WORDS[:2], "detector=Pilatus1M", "save=g.poni", "frame.tif"], "Pilatus 1M has 1043 x 981"),
        ([*WORDS[:2], "detector=Pilatos1M", "save=g.poni", "frame.tif"], "did you mean 'pilatus1m'?"),
        ([*WORDS, "frame.tif", "fit=[rot3]"], "rot3 turns about the beam"),
        ([*WORDS, "frame.tif", "fix=[dist]"], "needs a value to keep"),
        ([*WORDS, "frame.tif", "fix=[distance]"], "fix=distance: unknown"),
        ([*WORDS, "frame.tif", "bounds.distance=[0.1,0.3]"], "bounds.distance: no such parameter"),
        ([*WORDS, "frame.tif", "bounds.dist=[0.3,0.1]"], "lowest and the highest value (m) expected"),
        (
            [WORDS[0], "wavelenght=3e-11", *WORDS[2:], "frame.tif"],
            "wavelenght: no such key; did you mean 'wavelength'?",
        ),
        ([*WORDS, "frame.tif", "bounds=[0.1,0.3]"], "bounds: no such key; did you mean 'bounds.dist'?"),
        ([*WORDS, "frame.tif", "bounds.wavelength=[1e-11,4e-11]"], "wavelength is not refined"),
        ([*WORDS, "frame.tif", "distances=[0.1,0.2]"], "distances: 2 values for 1 frame"),
        ([*WORDS[:3], "frame.tif", "save=g.html"], "a PONI file expected"),
        ([*WORDS[:3], "frame.tif", "save=frame.tif"], "frame.tif is an input"),
        ([*WORDS, "no.tif"], "no.tif"),
        ([*WORDS], "images: missing"),
        ([*WORDS, "frame.tif", "mask=robust"], "automatic masks need the geometry"),
        ([*WORDS, "frame.tif", "background.scale=auto"], "say a number"),
        ([*WORDS, "-m", "frame.tif", "mask.edge=1,2"], "so no sweep"),
    ],
)
def test_wrong_words_are_refused(words: list[str], told: str, here: Path) -> None:
    Path("words.txt").write_text("once upon a time\n", encoding="utf-8")
    Path("empty.txt").write_text("# nothing\n", encoding="utf-8")
    ended = call("calibrate", *words)
    assert ended.status == 2
    assert told in ended.err
    assert not list(here.glob("g.*"))
