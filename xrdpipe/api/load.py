"""The results of an earlier run, from its folder."""

from __future__ import annotations

import json
import warnings
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..model.errors import ConfigError

if TYPE_CHECKING:
    from ..execution.result import Run
    from ..results.folder import Folder


def load(folder: str | Path) -> Run:
    """Return the run whose results are in a folder: ``load("outputs/2026-01-31/12-00-00").patterns["frame_1"]``.

    Patterns, sectors, cakes and masks are read on access, from ``nxs`` where the run wrote it, else from the text
    format with the most columns and digits. A file that changed since the run wrote it is refused.

    Parameters
    ----------
    folder
        Results folder of a run, ``output_dir``; or that of one job of a sweep.

    Returns
    -------
    Run
        As `integrate` returned it. Text patterns have the digits of their format, and lack bins without a pixel;
        masks are there only if the run saved them (``output.mask=true``).

    Raises
    ------
    ConfigError
        The folder holds no run.

    Warns
    -----
    UserWarning
        The run has not ended; what is done is there.
    """
    from ..execution.result import Run
    from ..io.paths import expand_user
    from ..results.stored import StoredRun

    path = Path(expand_user(str(folder)))
    found = _folder(path)
    stopped = _arrange(path, found)
    stored, config = StoredRun(path, found.run, found.records), found.run.get("config")
    return Run(
        path,
        found.records.arranged,
        stored.patterns,
        stored.sectors,
        stored.cakes,
        stored.masks,
        stored.merged,
        stopped=stopped,
        incomplete=[str(line) for line in lines] if isinstance(lines := found.run.get("incomplete"), list) else [],
        judgement=str(found.run.get("judgement", "")),
        config=config if isinstance(config, dict) else {},
    )


def _folder(path: Path) -> Folder:
    """Return a folder that holds a run; ConfigError where there is none."""
    from ..results.folder import FOREIGN, Folder

    if not path.is_dir():
        raise ConfigError(f"{path}: {'a file, not the folder of a run' if path.exists() else 'no such folder'}")
    found = Folder(path)
    if found.run == FOREIGN:
        raise ConfigError(f"{path}: its run.json is of no run of xrdpipe, or damaged")
    if not found.run:
        raise ConfigError(_reason(path))
    return found


def _arrange(path: Path, found: Folder) -> bool:
    """Put the records in order, those of waiting frames last; return whether the run has not ended, and warn if so."""
    from ..model.limits import LONGEST_STACK
    from ..model.naming import expand_names
    from ..model.record import Record

    records, status = found.records, found.run.get("status")
    if status == "running":
        waiting = islice(expand_names(found.run.get("waiting")), LONGEST_STACK)
        records.add(*(Record("", name) for name in waiting if name not in records))
    records.arrange(list(records))
    if status not in ("running", "stopped"):
        return False
    done, why = f"{records.count('done')} of {len(records)} frames are done", "was stopped"
    if status == "running":
        why = "has not ended: it is still running, or was killed"
    again = f"the same call or command with output_dir={path} and resume=true does the others"
    warnings.warn(f"{path}: the run {why}; {done}; {again}", stacklevel=3)
    return True


def _reason(path: Path) -> str:
    """Say why a folder without a run is none, and what would be one."""
    if not (path / "sweep.csv").is_file():
        example = "outputs/2026-01-31/12-00-00"
        return f"{path}: holds no run, it has no run.json; give the output_dir of a run, as in {example}"
    jobs = sum(1 for _ in path.glob("[0-9]*/run.json"))
    best: Any = None
    with suppress(OSError, ValueError, KeyError, TypeError):
        best = json.loads((path / "sweep.json").read_text(encoding="utf-8"))["best"]
    job, which = (path / str(best), ", the best") if isinstance(best, int) else (path / "0", "")
    return f"{path}: a sweep of {jobs} jobs; load one of them, as in load({str(job)!r}){which}"
