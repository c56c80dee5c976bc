"""One pattern of frames at several positions, beside what pyFAI's MultiGeometry makes of the same frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyFAI
import pytest
import tifffile
from command import FAST, P, call, results
from pyFAI.multi_geometry import MultiGeometry

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


@pytest.mark.parametrize("solid_angle", [pytest.param(False, marks=pytest.mark.slow), True])
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


@pytest.mark.slow
def test_the_merged_pattern_is_the_same_for_any_order_and_number_of_jobs(arm: list[np.ndarray]) -> None:
    call(P, "data/ni_*.tiff", "output_dir=out", *WORDS, "parallel=serial")
    turned = [f"data/ni_{number}.tiff" for number in (3, 1, 2)]
    told = call(P, *turned, "output_dir=turned", *WORDS, "parallel.n_jobs=2")
    assert told.status == 0, told.err
    assert results(Path("out"), "merged/*") == results(Path("turned"), "merged/*") != {}


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
