"""What geometry and settings alone decide, kept on disk between runs: plain arrays, memory-mapped, never trusted."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.identity import content_hash

LIMIT = 4 << 30  # bytes of all entries together; beyond it those not used for longest go


Arrays = Mapping[str, NDArray[Any]]


log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """The user's cache folder; the environment variable XRDPIPE_CACHE names another one."""
    if named := os.environ.get("XRDPIPE_CACHE"):
        return Path(named)
    from platformdirs import user_cache_path

    return user_cache_path("xrdpipe", appauthor=False)


def known(key: str) -> bool:
    """Whether something is kept under ``key``."""
    return (cache_folder() / key).is_dir()


def load(key: str) -> dict[str, NDArray[Any]] | None:
    """The arrays kept under ``key``, read-only and shared with other processes; None if not all of them are there.

    What was cut short, changed or written by somebody else counts as not there.
    """
    entry = cache_folder() / key
    try:
        if hasattr(os, "getuid") and entry.stat().st_uid != os.getuid():
            return None
        sums = json.loads((entry / "sums.json").read_text(encoding="utf-8"))
        arrays = {name: np.load(entry / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in sums}
        if any(content_hash(np.ascontiguousarray(array)) != sums[name] for name, array in arrays.items()):
            log.warning("%s is damaged: made anew", entry)
            return None
        os.utime(entry)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return {name: np.asarray(array) for name, array in arrays.items()}


def store(key: str, arrays: Arrays) -> None:
    """Keep arrays under ``key``: they appear whole or not at all; where nothing can be written, nothing is kept."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if shutil.disk_usage(folder).free < 2 * sum(array.nbytes for array in arrays.values()):
            return
        beside = Path(tempfile.mkdtemp(prefix=".part-", dir=folder))
    except OSError:
        return
    try:
        for name, array in arrays.items():
            np.save(beside / f"{name}.npy", array, allow_pickle=False)
        sums = {name: content_hash(np.ascontiguousarray(array)) for name, array in arrays.items()}
        (beside / "sums.json").write_text(json.dumps(sums), encoding="utf-8")
        if (folder / key).exists():  # a damaged one, or one that another run has just finished
            shutil.rmtree(folder / key, ignore_errors=True)
        beside.rename(folder / key)
        _trim(folder, keep=key)
    except OSError as error:
        log.info("not kept: %s", error)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _trim(folder: Path, keep: str) -> None:
    entries = sorted((entry for entry in folder.iterdir() if entry.is_dir()), key=lambda entry: entry.stat().st_mtime)
    sizes = {entry: sum(file.stat().st_size for file in entry.iterdir()) for entry in entries}
    total = sum(sizes.values())
    for entry in entries:
        if total <= LIMIT:
            return
        if entry.name != keep:
            shutil.rmtree(entry, ignore_errors=True)
            total -= sizes[entry]
