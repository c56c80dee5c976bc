"""The table of the peaks of a series, made from the files of its frames."""

from __future__ import annotations

import csv
import io
import math
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ...io.writing import write_whole
from .fit import Peak

if TYPE_CHECKING:
    from ...model.record import Record

TABLE, FIGURE = "peaks.csv", "figures/peaks.png"
COLUMNS = ("peak", "part", "unit", *Peak._fields)
DRAWN = ("position", "fwhm", "area")
APART = 1.0  # full widths at half maximum that a found peak may move from frame to frame
FORGOTTEN = 10  # frames after which a peak that vanished is another one when it comes again
Row = dict[str, str]


class Track:
    """A peak of the whole pattern over the frames of a series, for the figure.

    Attributes
    ----------
    number
        Number of the peak in the table.
    unit
        Unit of the axis.
    frames
        Indices of the frames.
    values
        For each of `DRAWN` the values and the standard errors.
    """

    def __init__(self, number: int, unit: str) -> None:
        self.number, self.unit = number, unit
        self.frames = array("q")
        self.values = {name: (array("d"), array("d")) for name in DRAWN}

    def add(self, frame: int, row: Row) -> None:
        """Add the peak of a frame."""
        self.frames.append(frame)
        for name, (values, errors) in self.values.items():
            values.append(_number(row[name]))
            errors.append(_number(row[f"{name}_error"]))

    def distance(self, frame: int, position: float) -> float:
        """Return how far a position is from the last one, in widths; infinite if that is too long ago."""
        if frame - self.frames[-1] > FORGOTTEN or frame == self.frames[-1]:
            return math.inf
        return abs(position - self.values["position"][0][-1]) / self.values["fwhm"][0][-1]


def peaks_file(name: str) -> str:
    """Return the path of the peaks of a frame, relative to the folder of the run."""
    return f"peaks/{name}.csv"


def write_table(folder: Path, records: Sequence[Record], linked: bool) -> list[Track]:
    """Write ``peaks.csv``, a row for each frame, part and peak, and return the peaks of the whole patterns.

    Parameters
    ----------
    folder
        Folder of the run, with the files of the frames.
    records
        Records of the frames that are done.
    linked
        Peaks were found in each frame alone: those less than a width apart in successive frames get one number.
    """
    tracks: dict[int, Track] = {}
    columns = list(dict.fromkeys(key for record in records for key in record.columns if key not in COLUMNS))

    def write(file: BinaryIO) -> None:
        text = io.TextIOWrapper(file, "utf-8", newline="")
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["frame", *columns, *COLUMNS])
        for index, record in enumerate(records):
            rows = list(_rows(folder / peaks_file(record.name)))
            numbers = _follow(tracks, index, rows, linked)
            for row in rows:
                labels = [record.columns.get(key, "") for key in columns]
                number = numbers.get(row["peak"], row["peak"])
                table.writerow([record.name, *labels, number, *(row[key] for key in COLUMNS[1:])])
        text.detach()

    write_whole(folder / TABLE, write)
    return [tracks[number] for number in sorted(tracks)]


def _rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a frame's file; none if it is not there, or not as `Peaks` writes it."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file)
            if tuple(table.fieldnames or ()) != COLUMNS:
                return
            yield from ({key: row[key] or "" for key in COLUMNS} for row in table)
    except (OSError, ValueError, csv.Error):
        return


def _follow(tracks: dict[int, Track], frame: int, rows: Sequence[Row], linked: bool) -> dict[str, str]:
    """Add the peaks of a frame's whole pattern to their tracks; return number in the frame -> number in the table."""
    numbers: dict[str, str] = {}
    for row in rows:
        if row["part"] or not row["peak"].isdecimal():
            continue
        number = int(row["peak"])
        if linked:
            if row["fit"] != "ok":
                numbers[row["peak"]] = ""
                continue
            number = _nearest(tracks, frame, _number(row["position"]))
        if row["fit"] == "ok":
            tracks.setdefault(number, Track(number, row["unit"])).add(frame, row)
        numbers[row["peak"]] = str(number)
    return numbers


def _nearest(tracks: dict[int, Track], frame: int, position: float) -> int:
    """Return the number of the track that a position continues, or that of a new one."""
    near = [(track.distance(frame, position), number) for number, track in tracks.items()]
    distance, number = min(near, default=(math.inf, 0))
    return number if distance <= APART else len(tracks) + 1


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
