"""NeXus files: the patterns of a series in one HDF5 file, after the definition NXazint1d or NXazint2d.

Every frame has a place in the file from the start, and is written there; the structure does not change while the file
grows. So other programs can open it at any time, also after a crash. Frames that are missing are NaN, and "waiting" in
``entry/frames/status``. At the end of the run, the file is rewritten atomically with all that is known then.
`live.nexus` has the files of runs whose frames are not known when they start.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..model.cake import Cake
from ..model.errors import FrameError
from ..model.identity import content_hash, versions
from ..model.pattern import Pattern
from ..model.series import Series
from .nexus_read import EMPTY, HASH, STATUS, Data, Stored, _utf8, adjacent
from .writing import write_whole

if TYPE_CHECKING:
    from ..model.record import Record


SINGLE = "patterns"  # name of the series of all frames that are no part of a stack
OTHER_AXIS = "another axis than that of the frames before"
BLOCK = 1 << 24  # bytes that are copied at a time
CHUNK = 1 << 16  # bytes of a chunk of a file that grows; a row that is larger has a chunk of its own
LONGEST = 1024  # bytes of a name in a file that grows
HC = 12.398419843320026  # keV * angstrom
REFERENCE = "J. Appl. Cryst. 48 (2015) 510-519, doi:10.1107/S1600576715004306 (pyFAI)"

AXES = {  # unit -> name of the axis in NXazint, and unit in NeXus
    "q_A^-1": ("q", "1/angstrom"),
    "q_nm^-1": ("q", "1/nm"),
    "2th_deg": ("2theta", "degree"),
    "2th_rad": ("2theta", "rad"),
}

OTHER_UNITS = {"r_mm": "mm", "r_m": "m", "d_A": "angstrom"}


class NexusFile:
    """File of one series, with a row for each of ``names``. The first pattern creates it and defines the axis."""

    grows: ClassVar[bool] = False  # rows are appended during the run

    def __init__(self, series: Series, title: str, names: Sequence[str]) -> None:
        self.path = series.folder / f"{title}.nxs"
        self.series, self.names = series, names
        self.waiting: set[str] = set()  # frames that this run processes
        self._is_written = False  # by this run
        self._places: dict[str, int] = {}
        self._kept: dict[int, dict[str, bytes]] = {}  # place of a frame -> bytes of its row, by column

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
        """Write the pattern of a frame, see `keep`."""
        self.keep(record, pattern)
        self.flush()

    def keep(self, record: Record, pattern: Pattern | Cake) -> None:
        """Keep the pattern of a frame for `flush`; raise FrameError if its axis differs from that of the file."""
        data = Data.of(pattern)
        if not self._is_written:
            self._write(data, {})
        stored = self._stored
        assert stored is not None
        if not stored.data.fits(data):
            raise FrameError(f"{self.path.name}: {OTHER_AXIS}")
        rows = {"I": data.intensity} if data.errors is None else {"I": data.intensity, "I_errors": data.errors}
        row = {name: np.ascontiguousarray(value, "<f8").tobytes() for name, value in rows.items()}
        digest = content_hash(row["I"] if len(row) == 1 else b"".join(row.values()))
        row["image_hash"], row["pattern_hash"] = (
            np.array(each.encode(), HASH).tobytes() for each in (record.hash, digest)
        )
        self._kept[self._place(_utf8(record.name))] = row | {"status": np.array(b"done", STATUS).tobytes()}

    def _place(self, name: str) -> int:
        return self._places[name]

    def flush(self, last: str = "") -> None:
        """Write what is kept, adjacent rows at once; raise OSError, and keep all but the frame ``last``, if that fails.

        The status comes last, so that it implies all the others.
        """
        stored = self._stored
        if not self._kept or stored is None:
            return
        try:
            with open(self.path, "r+b") as file:
                places = sorted(self._kept)
                for column in self._kept[places[0]]:
                    for run in adjacent(places):
                        rows = [self._kept[place][column] for place in run]
                        file.seek(stored.offsets[column] + run[0] * len(rows[0]))
                        file.write(b"".join(rows))
        except OSError:
            self._kept.pop(self._places.get(_utf8(last), -1), None)
            raise
        self._kept.clear()

    def end(self, records: Mapping[str, Record]) -> None:
        """Rewrite the file with the records of all frames, if anything changed."""
        self.flush()
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
        drop = set() if self._is_written else self.waiting
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
                self.grows,
            ),
        )
        self._is_written = True
        self._places = {name: place for place, name in enumerate(names)}
        self._stored = Stored.of(self.path)


def _fill(
    file: Any,
    names: Sequence[str],
    data: Data,
    series: Series,
    stored: Stored | None,
    drop: set[str],
    records: Mapping[str, Record],
    grows: bool = False,
) -> None:
    """Write a whole file into a file object; the same arguments give the same bytes."""
    import h5py

    stages = series.provenance["config"]
    config = stages.get("integ", {})
    polarized = [stages.get(name, {}).get("polarization_factor") for name in ("integ", "correction")]
    kind = "NXazint1d" if data.azimuthal is None else "NXazint2d"
    axis, unit = AXES.get(data.unit, (data.unit, OTHER_UNITS.get(data.unit, data.unit)))
    with h5py.File(file, "w", libver="latest" if grows else None) as root:
        root.attrs.update({"NX_class": "NXroot", "default": "entry"})
        entry = _group(root, "entry", "NXentry", default="data")
        if data.unit in AXES:  # the definition allows no other axis
            entry["definition"] = kind
        entry["solid_angle_applied"] = bool(config.get("correctSolidAngle"))
        entry["polarization_applied"] = any(factor is not None for factor in polarized)
        entry["normalization_applied"] = True
        entry["monitor_applied"] = any(config.get(key) is not None for key in ("monitor", "exposure"))
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
        signal = plot.create_dataset("I", shape, "<f8", fillvalue=np.nan, **_growth(shape, 8, grows))
        signal.attrs.update({"long_name": "intensity", "units": "arbitrary units"})
        sets = {"I": signal}
        if data.errors is not None:
            layout = _growth(shape, 8, grows)
            sets["I_errors"] = plot.create_dataset("I_errors", shape, "<f8", fillvalue=np.nan, **layout)
            sets["I_errors"].attrs.update({"long_name": "estimated intensity error", "units": "arbitrary units"})
        _frames(_group(entry, "frames", "NXcollection"), sets, names, stored, drop, records, grows)


def _frames(
    frames: Any,
    sets: dict[str, Any],
    names: Sequence[str],
    stored: Stored | None,
    drop: set[str],
    records: Mapping[str, Record],
    grows: bool,
) -> None:
    """Write what is known of each frame, and its row of the datasets ``sets``."""
    for name, kind in (("status", STATUS), ("image_hash", HASH), ("pattern_hash", HASH)):
        layout = _growth((len(names),), np.dtype(kind).itemsize, grows)
        sets[name] = frames.create_dataset(name, (len(names),), kind, **layout)
    _copy(sets, names, stored, drop, records)
    if grows:
        _text(frames, "name", names, LONGEST, **_growth((len(names),), LONGEST, grows))
    else:
        _about(frames, names, records)


def _growth(shape: tuple[int, ...], itemsize: int, grows: bool) -> dict[str, Any]:
    """Return the keywords of a dataset to which rows are appended: without a limit, in chunks of `CHUNK` bytes."""
    row = itemsize * int(np.prod(shape[1:]))
    return {"maxshape": (None, *shape[1:]), "chunks": (max(1, CHUNK // row), *shape[1:])} if grows else {}


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
    most = max(1, BLOCK // (8 * int(np.prod(sets["I"].shape[1:]))))
    for first in range(0, len(names), most):
        part = names[first : first + most]
        found = {} if stored is None else stored.complete(name for name in part if name not in drop)
        blocks = {column: _empty_rows(column, len(part), target) for column, target in sets.items()}
        for row, name in enumerate(part):
            if stored is not None and name in found:
                place = stored.places[name]
                values = [*found[name], stored.status[place], stored.image_hash[place], stored.pattern_hash[place]]
                for block, value in zip(blocks.values(), values, strict=True):
                    block[row] = value
            elif name in records:
                status = records[name].status
                damaged = stored is not None and stored.status_of(name) == "done"
                blocks["status"][row] = (status if status != "done" else "waiting" if damaged else EMPTY).encode()
        for column, target in sets.items():
            target[first : first + most] = blocks[column]


def _empty_rows(column: str, count: int, target: Any) -> NDArray[Any]:
    empty = np.nan if target.dtype.kind == "f" else b"waiting" if column == "status" else b""
    return np.full((count, *target.shape[1:]), empty, target.dtype)


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


def _text(group: Any, name: str, values: Sequence[str], length: int = 1, **layout: Any) -> None:
    import h5py

    encoded = [_utf8(value).encode() for value in values]
    kind = h5py.string_dtype("utf-8", max([length, *map(len, encoded)]))
    group.create_dataset(name, data=np.array(encoded, kind), **layout)


def _group(parent: Any, name: str, kind: str, **attributes: str) -> Any:
    group = parent.create_group(name)
    group.attrs.update({"NX_class": kind, **attributes})
    return group
