"""Frames to look at, and a page over them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from look_page import HOSTILE, WORDS, Page, served

from xrdpipe.stages.simulation import Simulation

TINY = Simulation(
    shape=(120, 100), pixel=(1e-3, 1e-3), dist=0.5, poni=(0.504, 0.493), counts=2000.0, dead=1e-3, hot=1e-3
)


@pytest.fixture(scope="package")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data/: a geometry, three frames of nickel powder, one that is broken, air, and a mask."""
    folder = tmp_path_factory.mktemp("look")
    data = folder / "data"
    data.mkdir()
    (data / "tiny.poni").write_text(TINY.poni_text(), encoding="utf-8")
    simulation = replace(TINY, lines=0)
    for number, name in enumerate(("ni_1", "ni_2", HOSTILE), 1):
        tifffile.imwrite(data / f"{name}.tiff", simulation.frame(number))
    tifffile.imwrite(data / "air.tiff", simulation.air_frame())
    (data / "broken.tiff").write_bytes((data / "ni_1.tiff").read_bytes()[:5000])
    mask = np.zeros(TINY.shape, np.uint8)
    mask[40:50, :20] = 1
    np.save(data / "own.npy", mask)
    return folder


@pytest.fixture(scope="package")
def page(measured: Path) -> Iterator[Page]:
    """A page over these frames, with the air subtracted."""
    with served(measured, *WORDS, "background.file=data/air.tiff", "integ.npt=100") as page:
        yield page
