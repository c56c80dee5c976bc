"""The record of a run in ``run.json``."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ..geometry.calibration import split_poni_path
from ..io import files
from ..io.header import header
from ..io.writing import file_hash
from ..model.identity import versions
from ..model.record import Record
from ..model.reference import Reference
from .plan import Plan


def run_json(
    plan: Plan,
    values: Mapping[str, Any],
    command: Sequence[str],
    started: datetime,
) -> dict[str, Any]:
    """Return the content of ``run.json`` that is known before the first frame."""
    inputs = {
        what: {"path": os.path.abspath(path), "given": path, "hash": files.input_hash(path)}
        for what, path in plan.inputs.items()
    }
    if (poni := plan.settings.poni) is not None:
        path, inside = split_poni_path(poni)
        entry = {"path": os.path.abspath(path), "given": poni, "hash": file_hash(path)}
        inputs = {"poni": entry | ({"inside": f"::{inside}"} if inside else {}), **inputs}
    return {
        "program": "xrdpipe",
        "started": started.isoformat(timespec="seconds"),
        "host": platform.node(),
        "cwd": str(Path.cwd()),
        "command": list(command),
        "config": values,
        "identity": plan.identity,
        "versions": versions(),
        "inputs": inputs,
        "files": plan.output_patterns,
    }


def with_columns(record: Record, image: Reference, plan: Plan) -> Record:
    """Return the record of a finished frame with the header columns of this configuration."""
    if list(record.columns) == plan.pipeline.source.columns:
        return record
    return replace(record, columns=plan.pipeline.source.values(header(image)))
