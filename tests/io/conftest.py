"""A folder to run in, and one run with a NeXus file."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import call
from nexus_files import WORDS

from xrdpipe.io import files


@pytest.fixture(autouse=True)
def _fresh() -> None:
    files.forget_files()


@pytest.fixture
def here(frames: list[Path], poni: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder to run in, with three frames and a geometry in `data`."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(here: Path) -> Path:
    """The file of a run over three frames, and beside it their .chi files."""
    assert call(*WORDS, "output_dir=out").status == 0
    return here / "out" / "patterns.nxs"
