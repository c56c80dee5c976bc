"""The command line that repeats a run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]
SWEEP_KEYS = ("output_dir", "overwrite", "resume", "quiet", "sweep", "sweep.rank")  # do not apply to a single job


def repeat_command(run: Row) -> str:
    """Return the shell command that repeats a run or one job of a sweep.

    Parameters
    ----------
    run
        Content of ``run.json``. For a job of a sweep, the command has no ``output_dir``.
    """
    words = [str(word) for word in run.get("command", [])]
    if run.get("job") is not None:
        words = [word for word in words if word.partition("=")[0] not in SWEEP_KEYS]
    return " ".join(map(_quoted, ["xrdpipe", *words]))


def _quoted(word: str) -> str:
    """Quote a word for the shell so that the quotes of Hydra stay readable."""
    return f'"{word}"' if "'" in word and not set('"$`\\!') & set(word) else shlex.quote(word)
