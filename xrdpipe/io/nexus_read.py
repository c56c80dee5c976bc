"""Reading and comparison of the patterns in NeXus files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..model.pattern import Pattern
from .nexus import Stored, _utf8


def read(folder: Path, name: str) -> Pattern | None:
    """Return the pattern of a frame from a NeXus file in this folder, without the empty bins, or None."""
    for path in sorted(folder.glob("*.nxs")):
        state = path.stat()
        stored = _stored(path, state.st_mtime_ns, state.st_size)
        if stored is not None and stored.data.azimuthal is None and stored.is_complete(name):
            place, data = stored.places[_utf8(name)], stored.data
            intensity = stored.row("I", place)
            filled = ~np.isnan(intensity)
            sigma = stored.row("I_errors", place)[filled] if "I_errors" in stored.offsets else None
            return Pattern(data.radial[filled], intensity[filled], sigma, data.unit, method=data.method)
    return None


@lru_cache(maxsize=8)
def _stored(path: Path, mtime_ns: int, size: int) -> Stored | None:
    return Stored.of(path)


def differences(old: Path, new: Path, names: Iterable[str]) -> str:
    """Describe the difference between two NeXus files; return an empty text if there is none.

    Parameters
    ----------
    old, new
        The files.
    names
        Frames to compare. Their provenance is compared as well, except the date.
    """
    before, after = Stored.of(old), Stored.of(new)
    if before is None or after is None:
        return "cannot be read as it was written"
    if not before.data.fits(after.data):
        return "other axes"
    common = [name for name in names if _utf8(name) in before.places]
    hashes = [
        {name: each.pattern_hash[each.places[_utf8(name)]] if each.is_complete(name) else b"" for name in common}
        for each in (before, after)
    ]
    changed = [name for name in hashes[0] if hashes[0][name] != hashes[1][name] or not hashes[0][name]]
    if changed:
        return f"{len(changed)} frames differ ({', '.join(changed[:3])} ...)"
    provenance = [dict(_provenance(path)) for path in (old, new)]
    changed_keys = [key for key in provenance[0] if provenance[0][key] != provenance[1].get(key)]
    return (
        f"the same numbers under another {changed_keys[0]}"
        if changed_keys or provenance[0].keys() != provenance[1].keys()
        else ""
    )


def _provenance(path: Path) -> Iterator[tuple[str, Any]]:
    import h5py

    with suppress(OSError), h5py.File(path, "r", locking=False) as file:
        for name, value in file["entry/reduction/input"].items():
            yield name, value[()]
