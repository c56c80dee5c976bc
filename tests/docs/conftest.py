"""What the tests of the documentation share: the modules that make its pages, and a folder with the demo's frames."""

from __future__ import annotations

import shutil
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from command import SCRIPT, xrdpipe

from xrdpipe.stages.simulation import Simulation
from xrdpipe.stages.source_demo import write_demo

EXTENSION = Path(__file__).parents[2] / "docs" / "_ext"


def _module(name: str) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXTENSION))
        return import_module(name)


@pytest.fixture(scope="session")
def blocks() -> ModuleType:
    """The module that reads and runs the blocks of a page."""
    return _module("blocks")


@pytest.fixture(scope="session")
def keys() -> ModuleType:
    """The module that makes the reference of the keys."""
    return _module("keys")


@pytest.fixture(scope="session")
def messages() -> ModuleType:
    """The module that makes the list of messages."""
    return _module("messages")


@pytest.fixture(scope="session")
def small_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same files with 1024 x 1024 pixels, for pages that show no numbers and make no frames."""
    folder = tmp_path_factory.mktemp("small")
    write_demo(folder / "data", frames=2, simulation=Simulation(shape=(1024, 1024), pixel=(4e-4, 4e-4)))
    for name in ("geometry.poni", "air.tiff"):
        (folder / "data" / name).rename(folder / name)
    return folder


@pytest.fixture(scope="session")
def demo_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the guides begin with: geometry.poni, air.tiff and two frames in data/."""
    folder = tmp_path_factory.mktemp("demo")
    words = ("source=demo", "source.frames=2", "plot=none", "report=false", "quiet=true", "output_dir=try")
    made = xrdpipe(*words, cwd=folder, program=SCRIPT)
    assert made.status == 0, made.err
    (folder / "try" / "demo").rename(folder / "data")
    for name in ("geometry.poni", "air.tiff"):
        (folder / "data" / name).rename(folder / name)
    shutil.rmtree(folder / "try")
    return folder
