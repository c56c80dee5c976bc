"""The mask command: the static mask of a series, what is bad in every frame, and who says so."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import fabio
import numpy as np
import pyFAI
import pytest
import tifffile
from command import FAST, LIMIT, call, results, start, tree
from scipy.ndimage import binary_dilation
from tiny import TINY

import xrdpipe
from xrdpipe.execution import static_mask_files

WEAK = replace(TINY, lines=0, counts=300.0, dead=5e-3, zingers=1e-4)
PLAIN = ("mask.regions=false", *FAST)  # regions take half a minute to compile


@pytest.fixture
def series(data: Path, poni: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Ten weak frames of the same defects: no single one shows all of them."""
    monkeypatch.chdir(data)
    paths = [data / f"weak_{number}.tiff" for number in range(10)]
    for number, path in enumerate(paths):
        tifffile.imwrite(path, WEAK.frame(number))
    return paths


@pytest.mark.slow
def test_where_the_sample_scatters_little_a_subtracted_background_masks_no_good_pixel(data: Path) -> None:
    scene = replace(TINY, shape=(600, 600), poni=(0.744, 0.744))
    (data / "wide.poni").write_text(scene.poni_text(), encoding="utf-8")
    radius = pyFAI.load(str(data / "wide.poni")).center_array(scene.shape, unit="r_mm")
    air = 1500 * np.exp(-radius / 40) + 150
    sample = 400 / (1 + np.exp((60 - radius) / 4)) + 900 * np.exp(-(((radius - 110) / 5) ** 2))
    rng = np.random.default_rng(3)
    tifffile.imwrite(data / "empty.tiff", rng.poisson(air).astype(np.uint16))
    for number in range(4):
        tifffile.imwrite(data / f"s_{number}.tiff", rng.poisson(air + sample).astype(np.uint16))
    frames = [data / f"s_{number}.tiff" for number in range(4)]
    found = xrdpipe.static_mask(data / "wide.poni", *frames, background={"file": str(data / "empty.tiff")})
    assert found.doubts == ()
    assert (found.mask[radius < 60] != 0).mean() < 1e-2
    assert (found.mask != 0).mean() < 1e-3


@pytest.mark.slow
def test_the_mask_of_a_series_can_be_used_as_it_is_and_says_who_masked_what(series: list[Path], poni: Path) -> None:
    ended = call("mask", f"poni={poni}", *series, "save=bad.npy")
    assert ended.status == 0, ended.err
    assert "10 of 10 frames used" in ended.out
    mask = np.load("bad.npy")
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) == {0, 1}
    record = json.loads(Path("bad.json").read_text())
    assert record["masked"] == mask.sum() == sum(each["pixels"] for each in record["reasons"].values())
    assert record["frames"] == [path.stem for path in series]
    assert Path("bad.png").read_bytes().startswith(b"\x89PNG")
    used = call(
        f"poni={poni}", series[0], "mask=none", "mask.file=bad.npy", "output_dir=out", "output.mask=true", *FAST
    )
    assert used.status == 0, used.err
    assert (np.load("out/masks/weak_0.npy") == mask).all()


@pytest.mark.slow
def test_a_series_shows_bad_pixels_that_no_frame_shows_and_no_cosmic_rays(series: list[Path], poni: Path) -> None:
    truth = WEAK.truth(0)
    bad = truth["dead"] | truth["hot"] | truth["line"] | truth["beamstop"]
    found = xrdpipe.static_mask(poni, *series)
    single = xrdpipe.static_mask(poni, series[0])
    assert (found.mask[bad] != 0).mean() > (single.mask[bad] != 0).mean()
    assert (found.mask[~bad] != 0).mean() < 1e-2  # the border of the beamstop is as fine as few counts allow
    assert (found.mask[~binary_dilation(bad, iterations=5)] != 0).mean() < 1e-3
    assert found.doubts == ()


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".npy", ".edf", ".tif"])
def test_every_format_reads_back_as_the_same_mask(ending: str, series: list[Path], poni: Path) -> None:
    assert call("mask", f"poni={poni}", *series, f"save=bad{ending}", "quiet=true").status == 0
    written = np.load("bad.npy") if ending == ".npy" else fabio.open(f"bad{ending}").data
    assert (written == xrdpipe.static_mask(poni, *series).mask).all()


@pytest.mark.slow
def test_the_number_of_jobs_and_the_orientation_change_no_pixel(series: list[Path], poni: Path) -> None:
    for jobs in (1, 2, 5):
        assert call("mask", f"poni={poni}", *series, f"save={jobs}.npy", f"parallel.n_jobs={jobs}").status == 0
    assert len({Path(f"{jobs}.npy").read_bytes() for jobs in (1, 2, 5)}) == 1
    for path in series:
        tifffile.imwrite(f"turned_{path.name}", np.flipud(tifffile.imread(path)))
    call("mask", f"poni={poni}", "turned_*.tiff", "source.transform=[flipud]", "save=turned.npy")
    assert (np.flipud(np.load("turned.npy")) == np.load("1.npy")).all()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "save: say once where the mask goes"),
        (["save="], "save: say once where the mask goes"),
        (["save=bad.jpg"], "save=bad.jpg: unknown format '.jpg'"),
        (["save=there.npy"], "there.npy is already there; say overwrite=true"),
        (["save=picture.npy"], "picture.png is already there"),
        (["save=weak_0.tiff", "overwrite=true"], "is an input"),
        (["save=bad.npy", "output_dir=out"], "output_dir=out: a mask has none"),
        (["save=bad.npy", "mask.alhpa=3"], "mask.alhpa: no such key"),
        (["save=bad.npy", "-m", "mask.alpha=3,4"], "mask: makes one mask, so no sweep"),
        (["save=bad.npy", "stages=[integ]"], "none of them masks"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    words: list[str], told: str, series: list[Path], poni: Path
) -> None:
    Path("there.npy").touch()
    Path("picture.png").touch()
    before = tree(Path("."))
    ended = call("mask", f"poni={poni}", *series, *words)
    assert ended.status == 2
    assert told in ended.err
    assert tree(Path(".")) == before


def test_one_frame_is_no_series(series: list[Path], poni: Path) -> None:
    ended = call("mask", f"poni={poni}", series[0], "save=bad.npy")
    assert ended.status == 2
    assert "one frame is no series" in ended.err


@pytest.mark.slow
def test_a_mask_that_is_not_to_be_trusted_is_not_written(series: list[Path], poni: Path) -> None:
    for path in series[:6]:
        path.write_bytes(b"no frame")
    ended = call("mask", f"poni={poni}", *series, "save=bad.npy")
    assert ended.status == 1
    assert "nothing is written: only 4 of 10 frames can be used" in ended.err
    assert not list(Path(".").glob("bad.*"))
    wide = call("mask", f"poni={poni}", *series[6:], "save=bad.npy", "mask.alpha=0.01")
    assert wide.status == 1
    assert "% of the pixels that no file, detector or edge masks" in wide.err


def test_a_dry_run_writes_nothing_and_overwriting_replaces_all_three_files(series: list[Path], poni: Path) -> None:
    words = ("mask", f"poni={poni}", *series, "save=bad.npy", "mask.regions=false")
    assert "would read" in call(*words, "dry_run=true").out
    assert not list(Path(".").glob("bad.*"))
    for name in ("bad.npy", "bad.json", "bad.png"):
        Path(name).write_text("old")
    assert call(*words).status == 2
    assert call(*words, "overwrite=true", "quiet=true") == (0, "", "")
    assert np.load("bad.npy").any()
    assert json.loads(Path("bad.json").read_text())["masked"]


@pytest.mark.slow
def test_a_run_with_mask_series_uses_the_same_mask_for_all_frames(series: list[Path], poni: Path) -> None:
    call("mask", f"poni={poni}", *series, "save=bad.npy")
    ended = call(f"poni={poni}", *series, "mask=series", "output_dir=one", "output.mask=reasons", *FAST)
    assert ended.status == 0, ended.err
    made = Path("one") / static_mask_files.NAME
    assert made.read_bytes() == Path("bad.npy").read_bytes()
    for path in series:
        assert ((np.load(f"one/masks/{path.stem}_reasons.npy") & 1) == np.load(made)).all()
    inputs = json.loads(Path("one/run.json").read_text())["inputs"]
    assert inputs["mask"]["path"] == str(made.absolute())
    again = call(
        f"poni={poni}", *series, "mask=series", "output_dir=two", "output.mask=reasons", *FAST,
        "parallel.n_jobs=2", "parallel.backend=loky",
    )  # fmt: skip
    assert again.status == 0, again.err
    assert results(Path("two")) == results(Path("one"))


@pytest.mark.slow
def test_a_run_with_mask_series_can_be_resumed_and_replayed_even_where_its_folder_moves(
    series: list[Path], poni: Path
) -> None:
    words = (f"poni={poni}", "mask=series", "output_dir=out", *FAST)
    assert call(*words, *series[:8]).status == 0
    mask = (Path("out") / static_mask_files.NAME).read_bytes()
    assert call(*words, *series[8:]).status == 0  # more frames of the same measurement: the mask stays
    assert call(*words, *series, "resume=true").status == 0
    assert (Path("out") / static_mask_files.NAME).read_bytes() == mask
    assert call("replay", "out").status == 0
    Path("out").rename("moved")
    ended = call("replay", "moved")
    assert ended.status == 0, ended.err + ended.out
    assert call(*words, *series, "output_dir=moved", "mask.alpha=6").status == 2
    assert call(*words, *series, "output_dir=moved", "mask.alpha=6", "overwrite=true").status == 0


def test_users_masks_are_part_of_the_static_mask_inverted_or_not(series: list[Path], poni: Path) -> None:
    own = np.zeros(TINY.shape, np.uint8)
    own[:, :20] = 1
    np.save("own.npy", own)
    np.save("good.npy", 1 - own)
    words = (f"poni={poni}", *series, "mask=series", "output.mask=true", *PLAIN)
    assert call(*words, "mask.file=own.npy", "output_dir=one").status == 0
    assert call(*words, "mask.file=good.npy", "mask.invert=true", "output_dir=two").status == 0
    for folder in ("one", "two"):
        assert np.load(f"{folder}/masks/weak_3.npy")[:, :20].all()
    assert results(Path("one"), "masks/*.npy") == results(Path("two"), "masks/*.npy")
    inputs = json.loads(Path("two/run.json").read_text())["inputs"]
    assert inputs["mask_2"]["path"] == str(Path("good.npy").absolute())
    assert call("replay", "two").status == 0


def test_a_static_mask_in_the_folder_does_not_stay_where_the_users_masks_change(series: list[Path], poni: Path) -> None:
    good = np.ones(TINY.shape, np.uint8)
    words = (f"poni={poni}", *series[:3], "mask=series", "output_dir=out", *PLAIN)
    inverted = (*words, "mask.file=good.npy", "mask.invert=true", "resume=true")
    np.save("good.npy", good)
    assert call(*inverted).status == 0
    assert call(*inverted).status == 0
    good[0, 0] = 0
    np.save("good.npy", good)
    for told in (call(*inverted), call(*words, "resume=true")):
        assert told.status == 2
        assert "made with other masks (mask.file)" in told.err


def test_a_users_mask_among_the_frames_is_no_frame_inverted_or_not(series: list[Path], poni: Path) -> None:
    tifffile.imwrite("weak_good.tiff", np.ones(TINY.shape, np.float32))
    words = ("mask.file=weak_good.tiff", "mask.invert=true", "output_dir=out", *PLAIN)
    ended = call(f"poni={poni}", "weak_*.tiff", "mask=series", *words)
    assert ended.status == 0, ended.err
    assert "10 of 10" in ended.err + ended.out


def test_where_nothing_is_written_and_in_a_dry_run_the_folder_stays_empty(series: list[Path], poni: Path) -> None:
    before = tree(Path("."))
    ended = call(f"poni={poni}", *series, "mask=series", "output_dir=out", "dry_run=true", *FAST)
    assert "would first make series_mask.npy, the static mask of all 10 frames" in ended.out
    run = xrdpipe.integrate(poni, *series, mask=("series", {"regions": False}), integ={"npt": 50}, output_dir=None)
    assert run.status == 0
    assert tree(Path(".")) == before


def test_frames_that_arrive_have_no_series_mask(series: list[Path], poni: Path) -> None:
    ended = call(f"poni={poni}", "source=watch", "source.folder=.", "mask=series", "source.frames=1", "output_dir=out")
    assert ended.status == 2
    assert "xrdpipe mask poni=... FRAMES... save=mask.npy" in ended.err


@pytest.mark.slow
@pytest.mark.parametrize("words", [("mask", "save=bad.npy"), ("mask=series", "output_dir=out", *FAST)])
def test_ctrl_c_in_the_first_pass_leaves_nothing(words: tuple[str, ...], series: list[Path], poni: Path) -> None:
    many = 3000
    for number in range(many):
        os.link(series[number % 10], f"many_{number}.tiff")
    before = tree(Path("."))
    words = (*words, f"poni={poni}", "images=many_*.tiff", "parallel.n_jobs=1")
    process = start(*words, cwd=Path("."))
    assert process.stderr is not None
    line = process.stderr.readline()  # the first pass has begun
    assert "first pass" in line or "frames" in line, line
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert tree(Path(".")) == before
