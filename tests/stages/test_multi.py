"""One pattern of frames at several positions, beside what pyFAI's MultiGeometry makes of the same frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyFAI
import pytest
import tifffile
from command import FAST, P, call, results, run_record, summary_rows
from pyFAI.multi_geometry import MultiGeometry

from xrdpipe import integrate, load
from xrdpipe.io.writing import file_hash

ROTATIONS = (0.0, 0.05, 0.1)
DISTANCES = (0.5, 0.5, 0.6)
MONITORS = (1.0, 2.0, 0.5)
WORDS = ("integ=multi", "geometry.rot1=arm.csv:rot1", "geometry.dist=arm.csv:dist", "integ.radial_range=[1,8]", *FAST)


@pytest.fixture
def arm(data: Path, frames: list[Path], poni: Path, monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Three frames, and a table with a rotation, a distance and a monitor of each."""
    monkeypatch.chdir(data.parent)
    rows = [
        f"{path.name},{rot},{dist},{monitor}"
        for path, rot, dist, monitor in zip(frames, ROTATIONS, DISTANCES, MONITORS, strict=True)
    ]
    Path("arm.csv").write_text("\n".join(["file,rot1,dist,i0", *rows]), encoding="utf-8")
    return [tifffile.imread(path).astype(np.float32) for path in frames]


@pytest.mark.slow
@pytest.mark.parametrize("solid_angle", [False, True])
def test_the_merged_pattern_is_that_of_pyfai_with_masks_monitors_and_sigma(
    solid_angle: bool, arm: list[np.ndarray]
) -> None:
    words = (f"integ.correctSolidAngle={solid_angle}", "integ.monitor=arm.csv:i0", "integ.polarization_factor=0.95")
    told = call(P, "data/ni_*.tiff", "output_dir=out", *WORDS, *words, "output.mask=true", "integ.error_model=poisson")
    assert told.status == 0, told.err
    masks = [np.load(f"out/masks/ni_{number}.npy") for number in (1, 2, 3)]
    integrators = []
    for rot, dist in zip(ROTATIONS, DISTANCES, strict=True):
        integrators.append(pyFAI.load("data/tiny.poni"))
        integrators[-1].rot1, integrators[-1].dist = rot, dist
    expected = MultiGeometry(integrators, unit="q_A^-1", radial_range=(1, 8)).integrate1d(
        arm,
        100,
        correctSolidAngle=solid_angle,
        lst_variance=[np.maximum(image, 1) for image in arm],
        polarization_factor=0.95,
        normalization_factor=list(MONITORS),
        lst_mask=masks,
        method=("full", "csr", "cython"),
    )
    radial, intensity, sigma = np.loadtxt("out/merged/pattern.chi").T
    filled = np.isin(np.round(expected.radial, 4), np.round(radial, 4))
    assert filled.sum() == len(radial) > 50
    np.testing.assert_allclose(intensity, expected.intensity[filled], rtol=1e-6)
    np.testing.assert_allclose(sigma, expected.sigma[filled], rtol=1e-6)


@pytest.fixture
def own(arm: list[np.ndarray], air: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """A mask and a background of each frame, which arm.csv names; its folder is that of their paths."""
    rows = Path("arm.csv").read_text().splitlines()
    first = tifffile.imread(air)
    made = []
    for number in (1, 2, 3):
        mask = np.zeros(first.shape, np.uint8)
        mask[20 * number : 20 * number + 30, :70] = 1
        background = (number * first).astype(np.uint16)
        np.save(f"data/mask_{number}.npy", mask)
        tifffile.imwrite(f"data/air_{number}.tiff", background)
        rows[number] += f",data/mask_{number}.npy,data/air_{number}.tiff"
        made.append((mask, background.astype(np.float32)))
    rows[0] += ",mask,air"
    Path("arm.csv").write_text("\n".join(rows), encoding="utf-8")
    air.unlink()
    return made


OWN = ("mask=none", "mask.file=arm.csv:mask", "background.file=arm.csv:air")


@pytest.mark.slow
def test_each_frame_has_its_own_mask_and_background_and_all_have_one_sigma(
    arm: list[np.ndarray], own: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    words = ("integ.correctSolidAngle=true", "integ.monitor=arm.csv:i0", "integ.error_model=poisson")
    told = call(P, "data/*.tiff", "output_dir=out", *WORDS, *words, *OWN)
    assert told.status == 0, told.err
    assert "data/air_1.tiff is a background, dark or mask file: left out" in told.err
    integrators = []
    for rot, dist in zip(ROTATIONS, DISTANCES, strict=True):
        integrators.append(pyFAI.load("data/tiny.poni"))
        integrators[-1].rot1, integrators[-1].dist = rot, dist
    method = ("full", "csr", "cython")
    expected = MultiGeometry(integrators, unit="q_A^-1", radial_range=(1, 8)).integrate1d(
        [image - air for image, (_, air) in zip(arm, own, strict=True)],
        100,
        correctSolidAngle=True,
        normalization_factor=list(MONITORS),
        lst_mask=[mask for mask, _ in own],
        method=method,
    )
    radial, intensity, sigma = np.loadtxt("out/merged/pattern.chi").T
    filled = np.isin(np.round(expected.radial, 4), np.round(radial, 4))
    assert filled.sum() == len(radial) > 50
    np.testing.assert_allclose(intensity, expected.intensity[filled], rtol=1e-6, atol=1e-6 * intensity.max())
    summed, total = np.zeros(100), np.zeros(100)
    for integrator, image, (mask, background), monitor in zip(integrators, arm, own, MONITORS, strict=True):
        solid_angle = integrator.detector.pixel1 * integrator.detector.pixel2 / integrator.dist**2
        variance = np.maximum(image, 1) + np.maximum(background, 1)
        keys = {"unit": "q_A^-1", "radial_range": (1, 8), "mask": mask, "method": method}
        alone = integrator.integrate1d(image, 100, variance=variance, **keys)
        summed += alone.sum_variance
        total += alone.sum_normalization * monitor * solid_angle
    np.testing.assert_allclose(sigma, np.sqrt(summed[filled]) / total[filled], rtol=1e-6)


def test_a_pattern_is_that_of_a_run_with_its_mask_and_background_alone(
    own: list[tuple[np.ndarray, np.ndarray]],
) -> None:
    told = call(P, "data/ni_*.tiff", "output_dir=out", *FAST, *OWN, "parallel.n_jobs=2")
    assert told.status == 0, told.err
    files = ("mask.file=data/mask_2.npy", "background.file=data/air_2.tiff")
    call(P, "data/ni_2.tiff", "output_dir=alone", *FAST, "mask=none", *files)
    assert results(Path("out"), "ni_2.chi") == results(Path("alone"), "*.chi") != {}


@pytest.mark.slow
def test_a_mask_for_all_frames_stands_beside_that_of_each(own: list[tuple[np.ndarray, np.ndarray]]) -> None:
    common = np.zeros_like(own[0][0])
    common[:10] = 1
    np.save("data/common.npy", common)
    both = ("mask=none", "mask.file=[data/common.npy,arm.csv:mask]")
    told = call(P, "data/ni_*.tiff", "output_dir=out", *FAST, *both, "output.mask=true")
    assert told.status == 0, told.err
    for number, (mask, _) in enumerate(own, 1):
        np.testing.assert_array_equal(np.load(f"out/masks/ni_{number}.npy"), mask | common)


def test_a_changed_mask_makes_its_frame_run_again_and_no_other(own: list[tuple[np.ndarray, np.ndarray]]) -> None:
    words = (P, "data/ni_*.tiff", "output_dir=out", *FAST, *OWN, "output.mask=true")
    call(*words)
    before = {path.name: path.stat().st_mtime_ns for path in Path("out").glob("*.chi")}
    np.save("data/mask_2.npy", 1 - own[1][0])
    told = call(*words, "resume=true")
    assert "2 of 3 images were done before" in told.err
    changed = [name for name, time in before.items() if Path("out", name).stat().st_mtime_ns != time]
    assert changed == ["ni_2.chi"]
    np.testing.assert_array_equal(np.load("out/masks/ni_2.npy"), 1 - own[1][0])
    entry = run_record(Path("out"))["images"][1]["inputs"]["mask.file"]
    assert entry == {"path": str(Path("data/mask_2.npy").absolute()), "hash": file_hash("data/mask_2.npy")}


@pytest.mark.slow
def test_a_changed_background_changes_what_the_merged_pattern_says_of_itself(
    own: list[tuple[np.ndarray, np.ndarray]],
) -> None:
    heads = []
    for folder in ("out", "again"):
        call(P, "data/ni_*.tiff", f"output_dir={folder}", *WORDS, *OWN)
        lines = Path(folder, "merged/pattern.chi").read_text().splitlines()
        heads += [line for line in lines if line.startswith("# merged")]
        tifffile.imwrite("data/air_2.tiff", np.zeros_like(own[0][0], np.uint16))
    assert heads[0] != heads[1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("data/mask_2.npy", "data/none.npy"), "mask.file=arm.csv:mask: data/none.npy: no such file"),
        ((",data/air_2.tiff", ","), "background.file=arm.csv:air: the row of ni_2.tiff in arm.csv names no file"),
        (("ni_2.tiff,", "other.tiff,"), "mask.file=arm.csv:mask: arm.csv has no row for ni_2.tiff"),
    ],
)
def test_a_frame_without_a_usable_file_of_its_own_fails_alone(
    change: tuple[str, str], reason: str, own: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    Path("arm.csv").write_text(Path("arm.csv").read_text().replace(*change), encoding="utf-8")
    words = [word for word in OWN if reason.split("=")[0] in word or word == "mask=none"]
    told = call(P, "data/ni_*.tiff", "output_dir=out", *FAST, *words)
    assert told.status == 1
    rows = {row["name"]: row["error"] for row in summary_rows(Path("out"))}
    assert reason in rows["ni_2"]
    assert rows["ni_1"] == rows["ni_3"] == ""


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["mask.file=arm.csv:musk"], "mask.file=arm.csv:musk: arm.csv has no such column; did you mean 'mask'"),
        (["background.file=none.csv:air"], "none.csv: no such file"),
        (["mask.file=arm.csv:mask", "mask=series"], "mask.file: a static mask needs one file for all frames"),
        (["background.dark_file=arm.csv:air", "mask=series"], "background.dark_file: a static mask needs one file"),
        (["mask.file=arm.csv:i0"], "mask.file=arm.csv:i0: 1.0: no such file"),
    ],
)
def test_files_of_each_frame_that_cannot_be_are_refused_before_any_frame(
    words: list[str], reason: str, own: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    told = call(P, "data/ni_*.tiff", "output_dir=out", *FAST, *words)
    assert told.status == 2
    assert reason in told.err
    assert not Path("out").exists()


@pytest.mark.slow
def test_the_merged_pattern_is_the_same_for_any_order_and_number_of_jobs(arm: list[np.ndarray]) -> None:
    call(P, "data/ni_*.tiff", "output_dir=out", *WORDS, "parallel=serial")
    turned = [f"data/ni_{number}.tiff" for number in (3, 1, 2)]
    told = call(P, *turned, "output_dir=turned", *WORDS, "parallel.n_jobs=2")
    assert told.status == 0, told.err
    assert results(Path("out"), "merged/*") == results(Path("turned"), "merged/*") != {}
    replayed = call("replay", "out")
    assert "identical: 4 of 4 files" in replayed.out, replayed.out  # three patterns and the merged one


@pytest.mark.slow
def test_python_has_the_merged_pattern_with_and_without_a_folder(arm: list[np.ndarray]) -> None:
    keys = {"geometry": {"rot1": "arm.csv:rot1", "dist": "arm.csv:dist"}, "plot": "none", "report": False}
    keys["integ"] = ("multi", {"radial_range": (1, 8), "npt": 100, "error_model": "poisson"})
    run = integrate("data/tiny.poni", "data/ni_*.tiff", output_dir=None, **keys)
    written = integrate("data/tiny.poni", "data/ni_*.tiff", output_dir="out", **keys)
    assert run.merged is not None
    np.testing.assert_array_equal(run.merged.intensity, written.merged.intensity)
    radial, intensity, sigma = np.loadtxt("out/merged/pattern.chi").T
    filled = np.isfinite(run.merged.intensity)
    np.testing.assert_allclose(run.merged.radial[filled], radial, rtol=1e-6)
    np.testing.assert_allclose(run.merged.intensity[filled], intensity, rtol=1e-6)
    np.testing.assert_allclose(run.merged.sigma[filled], sigma, rtol=1e-6)
    np.testing.assert_array_equal(load("out").merged.intensity, intensity)
    Path("out/merged/pattern.chi").write_text("damaged")
    assert load("out").merged is None
    others = integrate("data/tiny.poni", "data/ni_1.tiff", output_dir=None, plot="none")
    assert others.merged is None


@pytest.mark.slow
def test_the_merged_pattern_has_a_figure_that_goes_where_the_pattern_goes(arm: list[np.ndarray]) -> None:
    words = [word for word in WORDS if not word.startswith("plot")]
    told = call(P, "data/ni_1.tiff", "data/ni_2.tiff", "output_dir=out", "plot=pattern", *words)
    assert told.status == 0, told.err
    assert Path("out/merged/pattern.png").read_bytes().startswith(b"\x89PNG")
    call(P, "data/ni_3.tiff", "output_dir=out", "plot=pattern", *words, "resume=true")
    assert not list(Path("out/merged").glob("*"))


@pytest.mark.slow
def test_frames_that_come_later_are_merged_with_all_others_or_not_at_all(arm: list[np.ndarray]) -> None:
    call(P, "data/ni_1.tiff", "data/ni_2.tiff", "output_dir=out", *WORDS)
    told = call(P, "data/ni_3.tiff", "output_dir=out", *WORDS, "resume=true")
    assert "needs all frames in one run" in told.err
    assert not list(Path("out/merged").glob("*"))
    assert call(P, "data/ni_*.tiff", "output_dir=out", *WORDS, "resume=true").status == 0
    call(P, "data/ni_*.tiff", "output_dir=whole", *WORDS)
    assert results(Path("out"), "merged/*") == results(Path("whole"), "merged/*") != {}


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("integ.radial_range=null", "integ.radial_range: missing; all frames need one axis"),
        ("integ.error_model=azimuthal", "integ.error_model=azimuthal: poisson or null"),
        ("integ.method=[full,histogram,cython]", "a sparse one"),
    ],
)
def test_what_cannot_be_merged_is_refused(word: str, reason: str, arm: list[np.ndarray]) -> None:
    told = call(P, "data/ni_*.tiff", "output_dir=out", *WORDS, word)
    assert told.status == 2
    assert reason in told.err
