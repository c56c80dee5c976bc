"""What commands say with ``--json``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..execution.result import Run
    from ..sweeps.sweep import Swept

MOST = 10_000  # frames and failures of a document; run.json has all


def finite(values: Any) -> Any:
    """Return plain values that JSON knows: numbers that are not finite become null, paths and others text."""
    if isinstance(values, Mapping):
        return {str(key): finite(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [finite(value) for value in values]
    if values is None or isinstance(values, (bool, int, str)):
        return values
    value = values.item() if hasattr(values, "item") else values
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int) else str(value)


def run_document(result: Run) -> dict[str, Any]:
    """Return what a run says: paths, counts, frames, failures and verdict."""
    folder = None if result.folder is None else result.folder.absolute()
    if folder is None:  # a dry run
        return {"folder": None}
    frames = [
        {"name": record.name, "file": record.file, "status": record.status, "outputs": list(record.outputs)}
        for record in islice(result.frames, MOST)
    ]
    failures = [{"name": record.name, "file": record.file, "error": record.error} for record in _failed(result)]
    return {
        "folder": folder,
        "record": folder / "run.json",
        "summary": folder / "summary.csv",
        "report": report_of(folder),
        "counts": {
            "frames": len(result.frames),
            **{each: result.count(each) for each in ("done", "failed", "waiting")},
        },
        "stopped": result.stopped,
        "verdict": result.judgement,
        "failures": failures,
        "frames": frames,
        "left_out": len(result.frames) - len(frames),
    }


def _failed(result: Run) -> list[Any]:
    if not result.count("failed"):
        return []
    return list(islice((record for record in result.frames if record.status == "failed"), MOST))


def sweep_document(swept: Swept) -> dict[str, Any]:
    """Return what a sweep says: paths, jobs with their scores, best first, and the verdict."""
    import json

    folder = swept.folder.absolute()
    verdict = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
    return {
        "folder": folder,
        "summary": folder / "sweep.csv",
        "report": report_of(folder),
        "stopped": swept.status == 130,
        "jobs": swept.rows,
        "verdict": {key: value for key, value in verdict.items() if key != "program"},
    }


def report_of(folder: Path) -> Path | None:
    """Return the page of a results folder, if it has one."""
    page = folder / "report.html"
    return page if page.is_file() else None
