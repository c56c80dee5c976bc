"""Tables of the peaks of a series and of their harmonics, made from the files of its frames."""

from __future__ import annotations

import csv
import io
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from ...io.writing import write_whole
from .fit import Peak

if TYPE_CHECKING:
    from ...model.record import Record

APART = 1.0  # full widths at half maximum that a found peak may move from frame to frame
FORGOTTEN = 10  # frames after which a peak that vanished is another one when it comes again
Row = dict[str, str]


class Table(NamedTuple):
    """A table of a run, whose rows are in a file for each frame.

    Attributes
    ----------
    name
        Name of the table and of its figure, and folder of the files.
    columns
        Columns that follow those of the frame.
    drawn
        Columns that the figure needs, each with another for its error.
    """

    name: str
    columns: tuple[str, ...]
    drawn: tuple[str, ...]

    @property
    def path(self) -> str:
        """Path of the table, relative to the folder of the run."""
        return f"{self.name}.csv"

    @property
    def figure(self) -> str:
        """Path of the figure, relative to the folder of the run."""
        return f"figures/{self.name}.png"

    def file(self, frame: str) -> str:
        """Return the path of the rows of a frame, relative to the folder of the run."""
        return f"{self.name}/{frame}.csv"

    def text(self, rows: Iterable[Mapping[str, str | float]]) -> str:
        """Return the content of the file of a frame; what is missing or NaN has an empty cell."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(self.columns)
        for row in rows:
            table.writerow([_cell(row.get(column, "")) for column in self.columns])
        return text.getvalue()


PEAKS = Table("peaks", ("peak", "part", "unit", *Peak._fields), ("position", "fwhm", "area"))


class Track:
    """A peak over the frames of a series, for the figure.

    Attributes
    ----------
    number
        Number of the peak in the table.
    unit
        Unit of the axis.
    frames
        Indices of the frames.
    values
        For each of ``names`` the values and the standard errors.
    """

    def __init__(self, number: int, unit: str, names: Sequence[str]) -> None:
        self.number, self.unit = number, unit
        self.frames = array("q")
        self.values = {name: (array("d"), array("d")) for name in names}

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


def write_table(folder: Path, kind: Table, records: Sequence[Record], linked: bool = False) -> list[Track]:
    """Write a table from the files of the frames, and return the peaks of the figure: those of the whole patterns.

    Parameters
    ----------
    folder
        Folder of the run, with the files of the frames.
    kind
        The table.
    records
        Records of the frames that are done.
    linked
        Peaks were found in each frame alone: those less than a width apart in successive frames get one number.
    """
    tracks: dict[int, Track] = {}
    columns = list(dict.fromkeys(key for record in records for key in record.columns if key not in kind.columns))

    def write(file: BinaryIO) -> None:
        text = io.TextIOWrapper(file, "utf-8", newline="")
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["frame", *columns, *kind.columns])
        for index, record in enumerate(records):
            rows = list(_rows(folder / kind.file(record.name), kind.columns))
            numbers = _follow(tracks, kind.drawn, index, rows, linked)
            for row in rows:
                labels = [record.columns.get(key, "") for key in columns]
                number = numbers.get(row["peak"], row["peak"])
                table.writerow([record.name, *labels, *({**row, "peak": number}[key] for key in kind.columns)])
        text.detach()

    write_whole(folder / kind.path, write)
    return [tracks[number] for number in sorted(tracks)]


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[Row]:
    """Yield the rows of a frame's file; none if it is not there, or not as `Peaks` writes it."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file)
            if tuple(table.fieldnames or ()) != columns:
                return
            yield from ({key: row[key] or "" for key in columns} for row in table)
    except (OSError, ValueError, csv.Error):
        return


def _follow(
    tracks: dict[int, Track], drawn: Sequence[str], frame: int, rows: Sequence[Row], linked: bool
) -> dict[str, str]:
    """Add the peaks of a frame's whole pattern to their tracks; return number in the frame -> number in the table."""
    numbers: dict[str, str] = {}
    for row in rows:
        if row.get("part") or not row["peak"].isdecimal():
            continue
        number = int(row["peak"])
        if linked:
            if row["fit"] != "ok":
                numbers[row["peak"]] = ""
                continue
            number = _nearest(tracks, frame, _number(row["position"]))
        if row["fit"] == "ok":
            tracks.setdefault(number, Track(number, row["unit"], drawn)).add(frame, row)
        numbers[row["peak"]] = str(number)
    return numbers


def _nearest(tracks: dict[int, Track], frame: int, position: float) -> int:
    """Return the number of the track that a position continues, or that of a new one."""
    near = [(track.distance(frame, position), number) for number, track in tracks.items()]
    distance, number = min(near, default=(math.inf, 0))
    return number if distance <= APART else len(tracks) + 1


def _cell(value: str | float) -> str:
    return value if isinstance(value, str) else "" if math.isnan(value) else f"{value:.8g}"


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
