"""Folders of runs that never ran, and their pages in a browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from browser import Browser

from xrdpipe import integrate
from xrdpipe.report.report import write_report
from xrdpipe.stages.simulation import Simulation

SMALL = Simulation(shape=(120, 100), pixel=(1e-3, 1e-3), dist=0.5, poni=(0.504, 0.493), counts=2000.0, lines=0)


def _run(measured: Path, images: list[Path], folder: Path, **keys: Any) -> Path:
    settings = {"mask": {"edge": 5}, "integ": {"npt": 300}, "plot": "none", "quiet": True, "report": False, **keys}
    integrate(measured / "tiny.poni", *images, output_dir=folder, **settings)
    return folder


def _fabricated(folder: Path, names: list[str], points: int = 50, **record: Any) -> Path:
    """The folder of a run as it might be, without running it."""
    folder.mkdir()
    bins = np.linspace(0.5, 10, points)
    peaks = [100 + 10 * way + 900 * np.exp(-((bins - 3 - way / 10) ** 2) / 0.01) for way in range(10)]
    rows = ["".join("{:.6e} {:.6e}\n".format(*each) for each in zip(bins, peak, strict=True)) for peak in peaks]
    for number, name in enumerate(names):
        text = f"# image: {' '.join(name.splitlines())}\n# q_A^-1 intensity\n{rows[number % 10]}"
        (folder / f"{name}.chi").write_text(text, encoding="utf-8")
    records = [
        {"file": f"{name}.tiff", "name": name, "status": "done", "masked_fraction": 0.1, "seconds": 0.01, "error": "",
         "hash": f"xxh128:{number:032x}", "notes": [], **record}
        for number, name in enumerate(names)
    ]  # fmt: skip
    run = {"program": "xrdpipe", "status": "done", "command": ["mask=strict"], "config": {}, "images": records}
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    return folder


def _change(folder: Path, **values: Any) -> None:
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    (folder / "run.json").write_text(json.dumps(run | values), encoding="utf-8")
    (folder / "report.html").unlink(missing_ok=True)


def _opened(browser: Browser, folder: Path) -> Path:
    """Make the report, where it is not made yet, and open it; it must neither complain nor ask for more than itself."""
    page = folder / "report.html"
    if not page.exists():
        assert write_report(folder) == page
    browser.open(page)
    assert browser.problems() == []
    assert browser.requests() == [page.resolve().as_uri()]
    return page


def _visible(browser: Browser, plot: str = "overlay") -> list[bool]:
    return [each is not False for each in browser.run(f"return {plot}.data.map(each => each.visible)")]
