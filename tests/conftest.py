"""What many tests stand on: a tiny detector that saw nickel powder three times, and air once."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import settings
from numpy.typing import NDArray
from tiny import TINY

from xrdpipe.geometry.geometry import Geometry
from xrdpipe.geometry.poni import Poni
from xrdpipe.stages.source import Source
from xrdpipe.stages.stage import Setup

settings.register_profile("any machine", deadline=None)  # speed is no matter of tests
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """Let libraries start no threads of their own where processes of pytest-xdist, which are new, share the cores."""
    if config.getoption("numprocesses", None):
        os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with tests that compile nothing, and with long ones.

    The first process of pytest-xdist begins with the first test, the second one with that in the middle. They do not
    compile the same loops at the same time if the first one reads configurations for a while.
    """
    items.sort(key=lambda item: item.path.parent.name not in ("config", "docs"))


def pytest_collection_finish() -> None:
    """Let Python search what is imported and collected for garbage no more, as the program itself does."""
    gc.freeze()
    gc.set_threshold(10_000, *gc.get_threshold()[1:])


@cache
def _exposure(kind: str, number: int) -> NDArray[np.uint16]:
    simulation = replace(TINY, lines=0)
    return simulation.air_frame() if kind == "air" else simulation.frame(number)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what is made once for a geometry away from the user's cache, in programs started by tests too.

    The processes of pytest-xdist share the folder, as runs of a user do.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "xrdpipe_cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XRDPIPE_CACHE", str(folder))
        yield


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An empty folder for inputs, apart from where a test writes."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def poni(data: Path) -> Path:
    """A PONI file (version 2, plain Detector, with wavelength) that fits `frames`."""
    path = data / "tiny.poni"
    path.write_text(TINY.poni_text(), encoding="utf-8")
    return path


@pytest.fixture
def frames(data: Path) -> list[Path]:
    """Three TIFF frames of nickel powder with noise: uint16, shape (120, 100)."""
    paths = [data / f"ni_{number}.tiff" for number in (1, 2, 3)]
    for number, path in enumerate(paths):
        tifffile.imwrite(path, _exposure("frame", number))
    return paths


@pytest.fixture
def air(data: Path) -> Path:
    """The same measurement without the sample."""
    path = data / "air.tiff"
    tifffile.imwrite(path, _exposure("air", 0))
    return path


@pytest.fixture
def reference() -> Path:
    """The folder of real frames with known results, `ceo2`, `series`, `hdf5`, that XRDPIPE_REFERENCE names."""
    folder = os.environ.get("XRDPIPE_REFERENCE")
    if not folder:
        pytest.skip("XRDPIPE_REFERENCE does not name the folder of the reference data")
    return Path(folder)


@pytest.fixture(scope="session")
def _geometry() -> Geometry:
    return Geometry(Poni("tiny.poni", TINY.poni_text()), TINY.shape)


@pytest.fixture
def setup(_geometry: Geometry, tmp_path: Path) -> Setup:
    """What a stage gets to prepare itself for `frames`: files as they are, results into `tmp_path`/out."""
    source = Source()
    return Setup(_geometry, source.read, source.to_raw, tmp_path / "out")
