"""Runs to report on, and a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import tifffile
from browser import Browser, chromium
from report_pages import SMALL, _run


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the frames of a temperature series, an image that is none, and their geometry."""
    folder = tmp_path_factory.mktemp("measured")
    (folder / "tiny.poni").write_text(SMALL.poni_text(), encoding="utf-8")
    for number, kelvin in enumerate(range(300, 540, 20)):
        tifffile.imwrite(folder / f"ni_{kelvin}K.tiff", SMALL.frame(number, kelvin))
    (folder / "broken.tiff").write_bytes(b"II*\0")
    return folder


@pytest.fixture(scope="module")
def few(measured: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of three frames."""
    images = [measured / f"ni_{kelvin}K.tiff" for kelvin in (300, 400, 500)]
    return _run(measured, images, tmp_path_factory.mktemp("few") / "run")
