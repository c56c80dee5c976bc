"""The command line that repeats a run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]


OF_THE_SWEEP = ("output_dir", "overwrite", "resume", "quiet", "sweep", "sweep.rank")  # nothing to a job alone


def repeat_command(run: Row) -> str:
    """The command line that repeats a run or one job of a sweep, for a shell; the folder is left to the user."""
    words = [str(word) for word in run.get("command", [])]
    if run.get("job") is not None:
        words = [word for word in words if word.partition("=")[0] not in OF_THE_SWEEP]
    return " ".join(map(_quoted, ["xrdpipe", *words]))


def _quoted(word: str) -> str:
    """A word as one types it into a shell; Hydra's own quotes stay readable."""
    return f'"{word}"' if "'" in word and not set('"$`\\!') & set(word) else shlex.quote(word)
