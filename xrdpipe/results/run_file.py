"""``run.json`` and ``summary.csv``, written and read record by record, as a series may be larger than memory."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from json import JSONDecodeError, JSONDecoder
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from ..io.writing import encoded, encoder, indented, write_whole
from ..model.record import Record

RUN, SUMMARY = "run.json", "summary.csv"
IMAGES = "images"  # key of the records in run.json, the last one
COLUMNS = ("file", "name", "status", "masked_fraction", "seconds", "error")
_PART = 1 << 16  # characters that are read at a time


def write_run(folder: Path, run: Mapping[str, Any], records: Iterable[Record]) -> None:
    """Write ``run.json`` atomically.

    Parameters
    ----------
    folder
        Results folder.
    run
        Content of the file without its records.
    records
        Records of the frames.
    """

    def write(file: BinaryIO) -> None:
        head = indented({**run, IMAGES: []}, 0)
        file.write(encoded(head.removesuffix("[]\n}")))
        between = "[\n  "
        for record in records:
            file.write(encoded(between + _record_text(record)))
            between = ",\n  "
        file.write(b"[]\n}\n" if between.startswith("[") else b"\n ]\n}\n")

    write_whole(folder / RUN, write)


def _record_text(record: Record) -> str:
    """Return the JSON of a record, as `indented` does, in a few calls of the encoder."""
    parts, flat = list[str](), dict[str, Any]()
    encode = encoder("\n   ")
    for key, value in vars(record).items():
        if isinstance(value, (dict, list)) and value:
            parts += [encode(flat)[1:-1]] if flat else []
            parts.append(f'"{key}": {indented(value, 3)}')
            flat = {}
        else:
            flat[key] = value
    parts += [encode(flat)[1:-1]] if flat else []
    text = ",\n   ".join(parts)
    return f"{{\n   {text}\n  }}"


def write_summary(folder: Path, records: Callable[[], Iterable[Record]]) -> None:
    """Write ``summary.csv`` atomically: a row for each record, with header columns, metrics and times of the stages.

    Parameters
    ----------
    folder
        Results folder.
    records
        Returns the records of the frames, twice.
    """
    columns = dict.fromkeys(COLUMNS)
    for record in records():
        columns |= dict.fromkeys([*record.columns, *record.metrics, *map(_seconds, record.steps)])

    def write(file: BinaryIO) -> None:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="")
        table = csv.writer(text, lineterminator="\n")
        table.writerow(columns)
        for record in records():
            row = summary_row(record)
            table.writerow([row.get(column, "") for column in columns])
        text.detach()

    write_whole(folder / SUMMARY, write)


def summary_row(record: Record) -> dict[str, Any]:
    """Return the cells of a record in ``summary.csv``, by column."""
    row = {column: getattr(record, column) for column in COLUMNS}
    return {**row, **record.columns, **record.metrics, **{_seconds(name): each for name, each in record.steps.items()}}


def _seconds(stage: str) -> str:
    return f"seconds_{stage}"


def read_run(path: Path, take: Callable[[Any], object]) -> dict[str, Any]:
    """Read a file like ``run.json`` and return its content without the records.

    Parameters
    ----------
    path
        The file.
    take
        Receives one record after another, as plain Python.

    Raises
    ------
    OSError, ValueError
        The file cannot be read, or is no JSON object.
    """
    rows = run_rows(path)
    while True:
        try:
            take(next(rows))
        except StopIteration as end:
            values: dict[str, Any] = end.value
            return values


def run_rows(path: Path) -> Generator[Any, None, dict[str, Any]]:
    """Yield the records of a file like ``run.json``, and return the rest; see `read_run`."""
    with open(path, encoding="utf-8") as file:
        return (yield from _Parser(file).read())


class _Parser:
    """Parser of a JSON object that holds one value at a time in memory."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._decoder = file, JSONDecoder()
        self._text, self._at, self._ended = "", 0, False

    def read(self) -> Generator[Any, None, dict[str, Any]]:
        """Yield the records and return the rest; it has an empty list of them if they are a list."""
        values: dict[str, Any] = {}
        for _ in self._members("{}"):
            key = self._value()
            self._expect(":")
            if key == IMAGES and self._next() == "[":
                values[key] = []
                for _ in self._members("[]"):
                    yield self._value()
            else:
                values[key] = self._value()
        if self._next():
            raise ValueError(f"{self._next()!r} after the end")
        return values

    def _members(self, ends: str) -> Iterator[None]:
        """Yield at the start of each member of an object or array."""
        self._expect(ends[0])
        if self._next() == ends[1]:
            self._at += 1
            return
        while True:
            yield
            if self._next() == ends[1]:
                self._at += 1
                return
            self._expect(",")

    def _expect(self, character: str) -> None:
        if self._next() != character:
            raise ValueError(f"{character!r} expected, {self._next()!r} found")
        self._at += 1

    def _next(self) -> str:
        """Return the next character that is no space; empty at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at].isspace():
                self._at += 1
            if self._at < len(self._text) or not self._read_more():
                return self._text[self._at : self._at + 1]

    def _value(self) -> Any:
        self._next()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
                if end < len(self._text) or not self._read_more():  # a number may go on
                    self._at = end
                    return value
            except JSONDecodeError:
                if not self._read_more():
                    raise

    def _read_more(self) -> bool:
        """Append text from the file; twice as much for a value that is longer."""
        rest = self._text[self._at :]
        part = self._file.read(max(_PART, len(rest)))
        self._text, self._at = rest + part, 0
        return bool(part)
