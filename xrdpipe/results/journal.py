"""The journal of a run in progress: one line per frame."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

JOURNAL = "run.jsonl"  # one line per frame; a killed run leaves it beside an unfinished run.json
ARRAY = ".array"  # folder of a running array job, with a journal for each task, see `execution.engines.slurm`


def journal(folder: Path) -> list[dict[str, Any]]:
    """Read the records of a run that is in progress or was killed, those of array tasks first.

    Parameters
    ----------
    folder
        Results folder.

    Returns
    -------
    list of dict
        Fields of `Record`, one mapping per line. Partial lines are skipped.
    """
    lines = []
    for path in [*sorted((folder / ARRAY).glob("*.jsonl")), folder / JOURNAL]:
        with suppress(OSError):
            lines += path.read_text(encoding="utf-8", errors="replace").splitlines()
    rows = []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:  # a partial line of a killed run
            continue
        if isinstance(row, dict) and {"file", "name"} <= set(row):
            rows.append(row)
    return rows
