"""What the tests of the documentation share: the pages, the reader of their blocks, and a folder with the demo's frames."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest
from command import SCRIPT, xrdpipe

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(scope="session")
def blocks() -> ModuleType:
    """The module with which the site reads and runs blocks."""
    spec = importlib.util.spec_from_file_location("blocks", DOCS / "_ext" / "blocks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["blocks"] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


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
