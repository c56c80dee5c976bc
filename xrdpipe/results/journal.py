"""The journal of a run: one line per frame while it goes on."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

JOURNAL = "run.jsonl"  # a line a frame while a run goes on; what a killed run leaves instead of a finished run.json


ARRAY = ".array"  # a folder while an array job goes on, see `array`: a journal of the same kind for each of its tasks


def journal(folder: Path) -> list[dict[str, Any]]:
    """The records that a run has written which goes on, or was killed, those of the tasks of an array first."""
    lines = []
    for path in [*sorted((folder / ARRAY).glob("*.jsonl")), folder / JOURNAL]:
        with suppress(OSError):
            lines += path.read_text(encoding="utf-8", errors="replace").splitlines()
    rows = []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:  # the line that was being written when the run was killed
            continue
        if isinstance(row, dict) and {"file", "name"} <= set(row):
            rows.append(row)
    return rows
