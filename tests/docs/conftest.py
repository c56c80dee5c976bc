"""What the tests of the documentation share: the modules that make its pages, and a folder with the demo's frames."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

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
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """A folder with an `xrdpipe` that starts at once; None where processes do not fork safely."""
    if sys.platform != "linux":
        yield None
        return
    folder, script = tmp_path_factory.mktemp("bin"), Path(__file__).with_name("started.py")
    address, program = folder / "socket", folder / "xrdpipe"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -S {script} ask {address} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    with subprocess.Popen([sys.executable, script, "serve", address], stdin=subprocess.DEVNULL) as server:
        while not address.exists():
            assert server.poll() is None
            time.sleep(0.01)
        yield folder
        server.kill()


@pytest.fixture(scope="session")
def small_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those of `demo_files` with 1024 x 1024 pixels, for pages that show no numbers and make no frames."""
    return _files(tmp_path_factory.mktemp("small"), Simulation(shape=(1024, 1024), pixel=(4e-4, 4e-4)))


@pytest.fixture(scope="session")
def demo_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the guides begin with: geometry.poni, air.tiff and two frames in data/."""
    return _files(tmp_path_factory.mktemp("demo"), Simulation())


def _files(folder: Path, simulation: Simulation) -> Path:
    write_demo(folder / "data", frames=2, simulation=simulation)
    for name in ("geometry.poni", "air.tiff"):
        (folder / "data" / name).rename(folder / name)
    return folder
