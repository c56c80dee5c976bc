"""Reading and comparison of the patterns in NeXus files, see `nexus`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.identity import content_hash
from ..model.pattern import Pattern

STATUS = "S8"  # type of a status: waiting, done, failed or `EMPTY`
EMPTY = "empty"  # done, but without this part, which a stage may leave out
HASH = "S71"  # type of a hash, algorithm:hex; sha256 is the longest
Floats = NDArray[np.float64]
PerFrame = NDArray[np.bytes_]


@dataclass(frozen=True)
class Data:
    """Arrays of a pattern or a cake, as a NeXus file stores them.

    ``intensity`` and ``errors`` (None without an error model) have shape (npt,) or (npt_azim, npt). ``azimuthal`` is in
    degrees, and None for a pattern. See `model.pattern.Pattern` and `model.cake.Cake`.
    """

    intensity: Floats
    errors: Floats | None
    radial: Floats
    azimuthal: Floats | None
    unit: str
    method: str = ""

    @classmethod
    def of(cls, pattern: Any) -> Data:
        """Take the arrays of a pattern or a cake."""
        azimuthal = getattr(pattern, "azimuthal", None)
        return cls(pattern.intensity, pattern.sigma, pattern.radial, azimuthal, pattern.unit, pattern.method)

    def fits(self, other: Data) -> bool:
        """Return whether both have the same axes, and both or neither have errors."""
        return (
            self.intensity.shape == other.intensity.shape
            and (self.errors is None) == (other.errors is None)
            and np.array_equal(self.radial, other.radial)
            and (self.azimuthal is None) == (other.azimuthal is None)
            and (self.azimuthal is None or np.array_equal(self.azimuthal, other.azimuthal))  # type: ignore[arg-type]
        )


@dataclass(frozen=True)
class Stored:
    """Index of a NeXus file of ours. Rows are read from disk on access.

    Attributes
    ----------
    path
        The file.
    places
        Name of each frame -> its row.
    data
        Axes, and the first row.
    status, image_hash, pattern_hash
        Columns with a value per frame.
    offsets
        Column -> offset in the file, in bytes; -1 in a file that grows, where HDF5 finds the rows.
    ended
        The file has everything that is known at the end of a run.
    """

    path: Path
    places: Mapping[str, int]
    data: Data
    status: PerFrame
    image_hash: PerFrame
    pattern_hash: PerFrame
    offsets: Mapping[str, int]
    ended: bool

    @classmethod
    def of(cls, path: Path) -> Stored | None:
        """Read the index of a file; return None if it is missing or not as we write it."""
        try:
            size = path.stat().st_size
            with _opened(path) as file:
                plot, frames, parameters = (file["entry"][name] for name in ("data", "frames", "reduction/input"))
                sets = {name: plot[name] for name in ("I", "I_errors", "radial_axis", "azimuthal_axis") if name in plot}
                sets |= {name: frames[name] for name in ("name", "status", "image_hash", "pattern_hash")}
                offsets = {name: _offset(each) for name, each in sets.items()}
                if any(max(0, offsets[name]) + each.nbytes > size for name, each in sets.items()):
                    return None
                places = {name.decode(): place for place, name in enumerate(sets["name"][()])}
                columns = {name: sets[name][()] for name in ("status", "image_hash", "pattern_hash")}
                signal = {
                    name: each[0] if len(each) else np.full(each.shape[1:], np.nan)
                    for name, each in sets.items()
                    if name in ("I", "I_errors")
                }
                axes = {name: each[()] for name, each in sets.items() if name.endswith("_axis")}
                unit, method = (parameters[name].asstr()[()] for name in ("unit", "method"))
                ended = "masked_fraction" in frames
            azimuthal = axes.get("azimuthal_axis")
            data = Data(signal["I"], signal.get("I_errors"), axes["radial_axis"], azimuthal, unit, method)
            return cls(path, places, data, **columns, offsets=offsets, ended=ended)
        except (OSError, KeyError, ValueError, TypeError, AttributeError, IndexError):
            return None

    def rows(self, column: str, places: Sequence[int]) -> Floats:
        """Return ``I`` or ``I_errors`` of the frames in some rows, (rows, ...); fewer where the file ends too early."""
        if self.offsets[column] < 0:
            with _opened(self.path) as grown:
                chosen, order = np.unique(np.asarray(places, np.intp), return_inverse=True)
                chunked: Floats = grown["entry/data"][column][chosen][order]
            return chunked
        shape, parts = self.data.intensity.shape, []
        size = 8 * int(np.prod(shape))
        with open(self.path, "rb") as file:
            for run in adjacent(places):
                file.seek(self.offsets[column] + run[0] * size)
                parts.append(file.read(len(run) * size))
        content = b"".join(parts)
        return np.frombuffer(content, "<f8", len(content) // size * size // 8).reshape(-1, *shape)

    def row(self, column: str, place: int) -> Floats:
        """Return ``I`` or ``I_errors`` of the frame in a row."""
        row: Floats = self.rows(column, [place])[0]
        return row

    def complete(self, names: Iterable[str]) -> dict[str, list[Floats]]:
        """Return those of some frames of which the file has all bytes, with their rows of ``I`` and ``I_errors``."""
        places = ((name, self.places.get(_utf8(name))) for name in names)
        present = [(name, place) for name, place in places if place is not None and self.status[place] == b"done"]
        rows = [self.rows(each, [at for _, at in present]) for each in ("I", "I_errors") if each in self.offsets]
        found = {}
        for (name, place), *values in zip(present, *rows, strict=False):
            if content_hash(b"".join(values)) == self.pattern_hash[place].decode():
                found[name] = values
        return found

    def is_complete(self, name: str) -> bool:
        """Return whether the file has all bytes of a frame."""
        return bool(self.complete([name]))

    def hash_of(self, name: str) -> str:
        """Return the content hash of the image of a frame."""
        return str(self.image_hash[self.places[_utf8(name)]].decode())

    def status_of(self, name: str) -> str:
        """Return the status of a frame, empty if the file has no row for it."""
        place = self.places.get(_utf8(name))
        return "" if place is None else str(self.status[place].decode())


def _opened(path: Path) -> Any:
    """Open a file of ours, also one to which a run appends, or was appending when it was killed."""
    import h5py

    try:
        return h5py.File(path, "r", locking=False)
    except OSError:
        return h5py.File(path, "r", locking=False, swmr=True)


def _offset(dataset: Any) -> int:
    """Return the offset of a dataset, -1 for one in chunks; TypeError if it is not as we write it."""
    if dataset.chunks is None:
        return int(dataset.id.get_offset())
    if dataset.id.get_create_plist().get_nfilters():
        raise TypeError("compressed")
    return -1


def adjacent(places: Iterable[int]) -> Iterator[list[int]]:
    """Yield the places in runs of adjacent ones."""
    for _, run in groupby(enumerate(places), lambda each: each[1] - each[0]):
        yield [place for _, place in run]


def _utf8(name: str) -> str:
    """Return a name as it can be stored; a file name may hold bytes that are not UTF-8."""
    return name.encode(errors="backslashreplace").decode()


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


def read_frame(path: Path, name: str) -> Data | None:
    """Return all bins of a frame in a NeXus file of ours; None where it lacks the frame, or has it in part only."""
    state = path.stat()
    stored = _stored(path, state.st_mtime_ns, state.st_size)
    rows = {} if stored is None else stored.complete([name])
    if stored is None or name not in rows:
        return None
    intensity, *errors = rows[name]
    return replace(stored.data, intensity=intensity, errors=errors[0] if errors else None)


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
