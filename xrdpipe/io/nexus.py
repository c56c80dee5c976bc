"""NeXus files: the patterns of a series in one HDF5 file, after the definition NXazint1d or NXazint2d.

Every frame has a place in the file from the start, and is written there; the structure does not change while the file
grows. So other programs can open it at any time, also after a crash. Frames that are missing are NaN, and "waiting" in
``entry/frames/status``. At the end of the run, the file is rewritten atomically with all that is known then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..model.cake import Cake
from ..model.errors import FrameError
from ..model.identity import content_hash, versions
from ..model.pattern import Pattern
from ..model.series import Series
from .writing import write_whole

if TYPE_CHECKING:
    from ..model.record import Record


SINGLE = "patterns"  # name of the series of all frames that are no part of a stack
STATUS = "S8"  # type of a status: waiting, done, failed or `EMPTY`
EMPTY = "empty"  # done, but without this part, which a stage may leave out
HASH = "S71"  # type of a hash, algorithm:hex; sha256 is the longest
OTHER_AXIS = "another axis than that of the frames before"
BLOCK = 1 << 24  # bytes that are copied at a time
HC = 12.398419843320026  # keV * angstrom
REFERENCE = "J. Appl. Cryst. 48 (2015) 510-519, doi:10.1107/S1600576715004306 (pyFAI)"

AXES = {  # unit -> name of the axis in NXazint, and unit in NeXus
    "q_A^-1": ("q", "1/angstrom"),
    "q_nm^-1": ("q", "1/nm"),
    "2th_deg": ("2theta", "degree"),
    "2th_rad": ("2theta", "rad"),
}

OTHER_UNITS = {"r_mm": "mm", "r_m": "m", "d_A": "angstrom"}
Floats = NDArray[np.float64]
PerFrame = NDArray[np.bytes_]


class NexusFile:
    """File of one series, with a row for each of ``names``. The first pattern creates it and defines the axis."""

    def __init__(self, series: Series, title: str, names: Sequence[str]) -> None:
        self.path = series.folder / f"{title}.nxs"
        self.series, self.names = series, names
        self.waiting: set[str] = set()  # frames that this run processes
        self._places: dict[str, int] = {}

    @cached_property
    def _stored(self) -> Stored | None:
        return Stored.of(self.path)  # lazy, because the folder is prepared later

    def holds(self, record: Record) -> bool:
        """Return whether the file has the frame of a record, complete and of the same image."""
        stored = self._stored
        if stored is None:
            return False
        complete = stored.is_complete(record.name) and stored.hash_of(record.name) == record.hash
        return complete or stored.status_of(record.name) == EMPTY

    def add(self, record: Record, pattern: Pattern | Cake) -> None:
        """Write the pattern of a frame; raise FrameError if its axis differs from that of the file."""
        if not self._places:
            self._write(Data.of(pattern), {})
        stored = self._stored
        assert stored is not None
        data = Data.of(pattern)
        if not stored.data.fits(data):
            raise FrameError(f"{self.path.name}: {OTHER_AXIS}")
        place = self._places[_utf8(record.name)]
        row = {"I": data.intensity} if data.errors is None else {"I": data.intensity, "I_errors": data.errors}
        values = {name: np.ascontiguousarray(value, "<f8") for name, value in row.items()}
        digest = content_hash(b"".join(value.tobytes() for value in values.values()))
        with open(self.path, "r+b") as file:
            for name, value in {
                **values,
                "image_hash": np.array(record.hash.encode(), HASH),
                "pattern_hash": np.array(digest.encode(), HASH),
                "status": np.array(b"done", STATUS),  # last, so that it implies all the others
            }.items():
                file.seek(stored.offsets[name] + place * value.nbytes)
                file.write(value.tobytes())

    def end(self, records: Mapping[str, Record]) -> None:
        """Rewrite the file with the records of all frames, if anything changed."""
        stored = self._stored
        if stored is not None and (self.waiting or not stored.ended):
            self._write(stored.data, records)

    def _write(self, data: Data, records: Mapping[str, Record]) -> None:
        """Write the whole file, with the stored frames and space for the others."""
        stored = Stored.of(self.path)
        if stored is not None and not stored.data.fits(data):
            if any(stored.is_complete(name) for name in stored.places if name not in self.waiting):
                raise FrameError(f"{self.path.name}: {OTHER_AXIS}")
            stored = None
        drop = set() if self._places else self.waiting
        own = [_utf8(name) for name in self.names]
        names = [*(name for name in (stored.places if stored else ()) if name not in set(own)), *own]
        write_whole(
            self.path,
            lambda file: _fill(
                file,
                names,
                data,
                self.series,
                stored,
                {_utf8(name) for name in drop},
                {_utf8(name): record for name, record in records.items()},
            ),
        )
        self._places = {name: place for place, name in enumerate(names)}
        self._stored = Stored.of(self.path)


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
        Column -> offset in the file, in bytes.
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
        import h5py

        try:
            size = path.stat().st_size
            with h5py.File(path, "r", locking=False) as file:
                plot, frames, parameters = (file["entry"][name] for name in ("data", "frames", "reduction/input"))
                sets = {name: plot[name] for name in ("I", "I_errors", "radial_axis", "azimuthal_axis") if name in plot}
                sets |= {name: frames[name] for name in ("name", "status", "image_hash", "pattern_hash")}
                offsets = {
                    name: int(each.id.get_offset()) for name, each in sets.items()
                }  # TypeError if it is not as we write it
                if any(offsets[name] + each.nbytes > size for name, each in sets.items()):
                    return None
                places = {name.decode(): place for place, name in enumerate(sets["name"][()])}
                columns = {name: sets[name][()] for name in ("status", "image_hash", "pattern_hash")}
                signal = {name: each[0] for name, each in sets.items() if name in ("I", "I_errors")}
                axes = {name: each[()] for name, each in sets.items() if name.endswith("_axis")}
                unit, method = (parameters[name].asstr()[()] for name in ("unit", "method"))
                ended = "masked_fraction" in frames
            azimuthal = axes.get("azimuthal_axis")
            data = Data(signal["I"], signal.get("I_errors"), axes["radial_axis"], azimuthal, unit, method)
            return cls(path, places, data, **columns, offsets=offsets, ended=ended)
        except (OSError, KeyError, ValueError, TypeError, AttributeError, IndexError):
            return None

    def row(self, column: str, place: int) -> Floats:
        """Return ``I`` or ``I_errors`` of the frame in a row."""
        shape = self.data.intensity.shape
        size = int(np.prod(shape))
        return np.fromfile(self.path, "<f8", size, offset=self.offsets[column] + 8 * place * size).reshape(shape)

    def is_complete(self, name: str) -> bool:
        """Return whether the file has all bytes of a frame."""
        place = self.places.get(_utf8(name))
        if place is None or self.status[place] != b"done":
            return False
        rows = b"".join(self.row(column, place).tobytes() for column in ("I", "I_errors") if column in self.offsets)
        return content_hash(rows) == str(self.pattern_hash[place].decode())

    def hash_of(self, name: str) -> str:
        """Return the content hash of the image of a frame."""
        return str(self.image_hash[self.places[_utf8(name)]].decode())

    def status_of(self, name: str) -> str:
        """Return the status of a frame, empty if the file has no row for it."""
        place = self.places.get(_utf8(name))
        return "" if place is None else str(self.status[place].decode())


def _fill(
    file: Any,
    names: Sequence[str],
    data: Data,
    series: Series,
    stored: Stored | None,
    drop: set[str],
    records: Mapping[str, Record],
) -> None:
    """Write a whole file into a file object; the same arguments give the same bytes."""
    import h5py

    config = series.provenance["config"].get("integ", {})
    kind = "NXazint1d" if data.azimuthal is None else "NXazint2d"
    axis, unit = AXES.get(data.unit, (data.unit, OTHER_UNITS.get(data.unit, data.unit)))
    with h5py.File(file, "w") as root:
        root.attrs.update({"NX_class": "NXroot", "default": "entry"})
        entry = _group(root, "entry", "NXentry", default="data")
        if data.unit in AXES:  # the definition allows no other axis
            entry["definition"] = kind
        entry["solid_angle_applied"] = bool(config.get("correctSolidAngle"))
        entry["polarization_applied"] = config.get("polarization_factor") is not None
        entry["normalization_applied"] = True
        entry["monitor_applied"] = config.get("monitor") is not None
        _instrument(entry, np.nan if series.wavelength is None else series.wavelength * 1e10)
        _process(entry, series, data)

        plot = _group(entry, "data", "NXdata", signal="I", interpretation="spectrum")
        axes = {} if data.azimuthal is None else {"azimuthal_axis": data.azimuthal}
        plot.attrs["axes"] = [".", *axes, "radial_axis"]
        if axes:
            plot.attrs["interpretation"] = "image"
            plot["azimuthal_axis"] = data.azimuthal
            plot["azimuthal_axis"].attrs.update({"long_name": "azimuthal bin center", "units": "degree"})
        plot["radial_axis"] = data.radial
        plot["radial_axis"].attrs.update({"long_name": axis, "units": unit})
        shape = (len(names), *data.intensity.shape)
        signal = plot.create_dataset("I", shape, "<f8", fillvalue=np.nan)
        signal.attrs.update({"long_name": "intensity", "units": "arbitrary units"})
        sets = {"I": signal}
        if data.errors is not None:
            sets["I_errors"] = plot.create_dataset("I_errors", shape, "<f8", fillvalue=np.nan)
            sets["I_errors"].attrs.update({"long_name": "estimated intensity error", "units": "arbitrary units"})
        frames = _group(entry, "frames", "NXcollection")
        for name, kind in (("status", STATUS), ("image_hash", HASH), ("pattern_hash", HASH)):
            sets[name] = frames.create_dataset(name, len(names), kind)
        _copy(sets, names, stored, drop, records)
        _about(frames, names, records)


def _instrument(entry: Any, angstrom: float) -> None:
    instrument = _group(entry, "instrument", "NXinstrument")
    instrument["name"] = "unknown"
    mono = _group(instrument, "monochromator", "NXmonochromator")
    mono["wavelength"], mono["energy"] = angstrom, HC / angstrom
    mono["wavelength"].attrs["units"], mono["energy"].attrs["units"] = "angstrom", "keV"
    source = _group(instrument, "source", "NXsource")
    source["name"], source["type"], source["probe"] = "unknown", "unknown", "x-ray"
    source["type"].attrs["custom"] = True  # not a type that NXsource lists


def _process(entry: Any, series: Series, data: Data) -> None:
    """Write the provenance of the patterns: the header of a text file, and more."""
    process = _group(entry, "reduction", "NXprocess")
    process["program"], process["version"] = "xrdpipe", versions()["xrdpipe"]
    process["date"] = series.started
    process["reference"] = REFERENCE
    process["note"] = "Frames are in the order of frames/name; a bin without a pixel, and a frame not done, is NaN."
    parameters = _group(process, "input", "NXparameters")
    provenance = {**series.provenance, "versions": versions(), "unit": data.unit, "method": data.method}
    for name, value in {**provenance, "poni_text": series.poni}.items():
        parameters[name.replace("/", "_")] = value if isinstance(value, str) else json.dumps(value)


def _copy(
    sets: Mapping[str, Any],
    names: Sequence[str],
    stored: Stored | None,
    drop: set[str],
    records: Mapping[str, Record],
) -> None:
    """Copy the rows of stored frames, and fill the others; block by block, to limit memory."""
    done = {name for name in names if stored is not None and name not in drop and stored.is_complete(name)}
    for column, target in sets.items():
        rows = max(1, BLOCK // (target.dtype.itemsize * int(np.prod(target.shape[1:]))))
        empty = np.nan if target.dtype.kind == "f" else b"waiting" if column == "status" else b""
        for first in range(0, len(names), rows):
            part = names[first : first + rows]
            block = np.full((len(part), *target.shape[1:]), empty, target.dtype)
            for row, name in enumerate(part):
                if name in done and stored is not None:
                    place = stored.places[name]
                    block[row] = stored.row(column, place) if block.ndim > 1 else getattr(stored, column)[place]
                elif column == "status" and name in records:
                    status = records[name].status
                    damaged = stored is not None and stored.status_of(name) == "done"
                    block[row] = (status if status != "done" else "waiting" if damaged else EMPTY).encode()
            target[first : first + rows] = block


def _about(frames: Any, names: Sequence[str], records: Mapping[str, Record]) -> None:
    """Write name and record of every frame: numbers as such, NaN for none; the rest as text."""
    _text(frames, "name", list(names))
    if not records:
        return
    known = [records.get(name) for name in names]
    _text(
        frames, "file", [Path(record.file).name if record else "" for record in known]
    )  # no folder, because it may move
    _text(frames, "error", [record.error if record else "" for record in known])
    _text(frames, "notes", ["; ".join(record.notes) if record else "" for record in known])
    rows = [
        {**record.columns, **record.metrics, "masked_fraction": record.masked_fraction} if record else {}
        for record in known
    ]
    for key in sorted({key for row in rows for key in row}):
        values = [row.get(key) for row in rows]
        dataset = key.replace("/", "_")
        if dataset in ("", ".", *frames):
            continue
        if all(value is None or isinstance(value, (int, float)) for value in values):
            frames[dataset] = np.array([np.nan if value is None else value for value in values], "<f8")
        else:
            _text(frames, dataset, ["" if value is None else str(value) for value in values])


def _text(group: Any, name: str, values: Sequence[str]) -> None:
    import h5py

    encoded = [_utf8(value).encode() for value in values]
    kind = h5py.string_dtype("utf-8", max(1, *map(len, encoded)))
    group.create_dataset(name, data=np.array(encoded, kind))


def _utf8(name: str) -> str:
    """Return a name as it can be stored; a file name may hold bytes that are not UTF-8."""
    return name.encode(errors="backslashreplace").decode()


def _group(parent: Any, name: str, kind: str, **attributes: str) -> Any:
    group = parent.create_group(name)
    group.attrs.update({"NX_class": kind, **attributes})
    return group
