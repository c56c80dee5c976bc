"""docs/from_scratch.md: from a frame of a calibrant and frames of a sample to patterns, without a PONI."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command import call


@pytest.mark.slow
def test_the_demo_without_its_poni_gives_the_patterns_that_it_gives_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = call("source=demo", "source.frames=1", "source.calibrant=true", "plot=none", "output_dir=try", "quiet=true")
    assert made.status == 0, made.err
    words = ("data/ceo2.tiff", "background.file=data/air.tiff", "save=geometry.poni", "report=false", "quiet=true")
    Path("try/demo").rename("data")
    Path("data/geometry.poni").unlink()
    found = call("calibrate", "calibrant=CeO2", "wavelength=1.665e-11", "pixel=[2e-4,2e-4]", *words)
    assert found.status == 0, found.err
    frames = ("data/ni_300K.tiff", "background.file=data/air.tiff", "plot=none", "quiet=true")
    assert call("poni=geometry.poni", *frames, "output_dir=mine").status == 0
    ours, truth = (np.loadtxt(f"{folder}/ni_300K.chi") for folder in ("mine", "try"))
    at = truth[:, 0][(truth[:, 0] > 2.5) & (truth[:, 0] < 12)]
    there, here = (np.interp(at, *pattern.T) for pattern in (truth, ours))
    assert np.abs(here - there).max() < 0.02 * there.max()  # a shift of a fiftieth of a peak's width
