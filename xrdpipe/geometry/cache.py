"""Disk cache of arrays that depend on geometry and settings alone.

Entries are memory-mapped and shared between runs. Each one is checked before use.
"""

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

LIMIT = 4 << 30  # bytes of all entries together; above it, the least recently used are removed
Arrays = Mapping[str, NDArray[Any]]
log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Return the cache folder: XRDPIPE_CACHE if it is set, else the user's cache folder."""
    if folder := os.environ.get("XRDPIPE_CACHE"):
        return Path(folder)
    from platformdirs import user_cache_path

    return user_cache_path("xrdpipe", appauthor=False)


def is_cached(key: str) -> bool:
    """Return whether the cache has an entry ``key``."""
    return (cache_folder() / key).is_dir()


def load(key: str) -> dict[str, NDArray[Any]] | None:
    """Return the arrays of an entry, read-only and shared with other processes.

    An entry that is incomplete, damaged or owned by another user counts as missing.

    Parameters
    ----------
    key
        Key of the entry.

    Returns
    -------
    dict or None
        Name -> array; None if the entry is missing.
    """
    entry = cache_folder() / key
    try:
        if hasattr(os, "getuid") and entry.stat().st_uid != os.getuid():
            return None
        hashes = json.loads((entry / "sums.json").read_text(encoding="utf-8"))
        arrays = {name: np.load(entry / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in hashes}
        if any(content_hash(np.ascontiguousarray(array)) != hashes[name] for name, array in arrays.items()):
            log.warning("%s is damaged: it is computed again", entry)
            return None
        os.utime(entry)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return {name: np.asarray(array) for name, array in arrays.items()}


def store(key: str, arrays: Arrays) -> None:
    """Store arrays as an entry, atomically.

    Nothing is stored, and nothing is raised, if the folder is not writable or its disk is nearly full.

    Parameters
    ----------
    key
        Key of the entry.
    arrays
        Name -> array.
    """
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if shutil.disk_usage(folder).free < 2 * sum(array.nbytes for array in arrays.values()):
            return
        part = Path(tempfile.mkdtemp(prefix=".part-", dir=folder))
    except OSError:
        return
    try:
        for name, array in arrays.items():
            np.save(part / f"{name}.npy", array, allow_pickle=False)
        hashes = {name: content_hash(np.ascontiguousarray(array)) for name, array in arrays.items()}
        (part / "sums.json").write_text(json.dumps(hashes), encoding="utf-8")
        if (folder / key).exists():  # damaged, or just finished by another run
            shutil.rmtree(folder / key, ignore_errors=True)
        part.rename(folder / key)
        _trim(folder, keep=key)
    except OSError as error:
        log.info("not cached: %s", error)
    finally:
        shutil.rmtree(part, ignore_errors=True)


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
