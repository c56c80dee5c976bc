"""Reading the patterns of a NeXus file, and comparing two of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..model.pattern import Pattern

if TYPE_CHECKING:
    pass
from .nexus import Stored, _utf8


def read(folder: Path, name: str) -> Pattern | None:
    """The pattern of a frame from a NeXus file of ours in this folder, without the empty bins; None if none has it."""
    for path in sorted(folder.glob("*.nxs")):
        state = path.stat()
        stored = _stored(path, state.st_mtime_ns, state.st_size)
        if stored is not None and stored.data.azimuthal is None and stored.whole(name):
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
    """In what the frames ``names`` and all that is said of their making differ, in words; "" where in nothing.

    The date may differ.
    """
    before, after = Stored.of(old), Stored.of(new)
    if before is None or after is None:
        return "cannot be read as it was written"
    if not before.data.fits(after.data):
        return "other axes"
    of_it = [name for name in names if _utf8(name) in before.places]
    hashes = [
        {name: each.pattern_hash[each.places[_utf8(name)]] if each.whole(name) else b"" for name in of_it}
        for each in (before, after)
    ]
    off = [name for name in hashes[0] if hashes[0][name] != hashes[1][name] or not hashes[0][name]]
    if off:
        return f"{len(off)} frames differ ({', '.join(off[:3])} ...)"
    said = [dict(_said(path)) for path in (old, new)]
    other = [key for key in said[0] if said[0][key] != said[1].get(key)]
    return f"the same numbers under another {other[0]}" if other or said[0].keys() != said[1].keys() else ""


def _said(path: Path) -> Iterator[tuple[str, Any]]:
    import h5py

    with suppress(OSError), h5py.File(path, "r", locking=False) as file:
        for name, value in file["entry/reduction/input"].items():
            yield name, value[()]
