"""The journal of a run in progress: one line per frame."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

JOURNAL = "run.jsonl"  # one line per frame; a killed run leaves it beside an unfinished run.json
ARRAY = ".array"  # folder of a running array job, with a journal for each task, see `execution.engines.slurm`


def journal(folder: Path) -> list[dict[str, Any]]:
    """Return what `read_journal` yields."""
    return list(read_journal(folder))


def read_journal(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a run that is in progress or was killed, those of array tasks first.

    Parameters
    ----------
    folder
        Results folder.

    Yields
    ------
    dict
        Fields of `Record`, a mapping per line. Partial lines are skipped.
    """
    for path in [*sorted((folder / ARRAY).glob("*.jsonl")), folder / JOURNAL]:
        with suppress(OSError), open(path, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    row = json.loads(line)
                except ValueError:  # a partial line of a killed run
                    continue
                if isinstance(row, dict) and {"file", "name"} <= set(row):
                    yield row
