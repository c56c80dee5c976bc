"""docs/from_scratch.md: from a frame of a calibrant and frames of a sample to patterns, without a PONI."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyFAI
import pytest
from command import call

from xrdpipe.calibration.refine import cone_of
from xrdpipe.stages.simulation import Simulation

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the demo's patterns in try/, its frames in data/, and the geometry found from that of CeO2."""
    folder = tmp_path_factory.mktemp("scratch")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        made = call("source=demo", "source.frames=1", "source.calibrant=true", "plot=none", "output_dir=try")
        assert made.status == 0, made.err
        words = ("data/ceo2.tiff", "background.file=data/air.tiff", "save=geometry.poni", "report=false", "quiet=true")
        Path("try/demo").rename("data")
        Path("data/geometry.poni").unlink()
        found = call("calibrate", "calibrant=CeO2", "wavelength=1.665e-11", "pixel=[2e-4,2e-4]", *words)
        assert found.status == 0, found.err
    return folder


def test_the_demo_without_its_poni_gives_the_patterns_that_it_gives_with_it(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(here)
    frames = ("data/ni_300K.tiff", "background.file=data/air.tiff", "plot=none", "quiet=true")
    assert call("poni=geometry.poni", *frames, "output_dir=mine").status == 0
    ours, truth = (np.loadtxt(f"{folder}/ni_300K.chi") for folder in ("mine", "try"))
    at = truth[:, 0][(truth[:, 0] > 2.5) & (truth[:, 0] < 12)]
    there, mine = (np.interp(at, *pattern.T) for pattern in (truth, ours))
    assert np.abs(mine - there).max() < 0.02 * there.max()  # a shift of a fiftieth of a peak's width


def test_rings_that_crowd_at_the_edge_do_not_hide_the_others(here: Path) -> None:
    truth, found = cone_of(Simulation().integrator()), cone_of(pyFAI.load(str(here / "geometry.poni")))
    points = np.random.default_rng(3).uniform(0, 2048, (100, 2))
    error = (found.two_theta(points) - truth.two_theta(points)) / truth.slope(points)
    assert np.abs(error).max() < 0.3  # pixels, at the corners, where no ring is measured
