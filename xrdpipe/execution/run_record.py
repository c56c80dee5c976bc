"""What `run.json` and `.hydra/` say about a run."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ..geometry.calibration import split_poni_path as poni_place
from ..io import files
from ..io.writing import file_hash
from ..model.identity import versions
from .plan import Plan


def _run_json(
    plan: Plan,
    values: Mapping[str, Any],
    command: Sequence[str],
    started: datetime,
) -> dict[str, Any]:
    inputs = {
        what: {"path": os.path.abspath(path), "given": path, "hash": files.content_of(path)}
        for what, path in plan.pipeline.inputs().items()
    }
    if (poni := plan.settings.poni) is not None:
        path, inside = poni_place(poni)
        place = {"path": os.path.abspath(path), "given": poni, "hash": file_hash(path)}
        inputs = {"poni": place | ({"inside": f"::{inside}"} if inside else {}), **inputs}
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
        "outputs": plan.outputs(),
    }
