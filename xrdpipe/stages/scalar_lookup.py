"""Look up a number of each frame, such as a monitor or an exposure time."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from ..model.errors import ConfigError, FrameError, nearest, require
from ..model.frame import Frame
from ..numerics.expression import TABLE


@dataclass(frozen=True)
class ScalarLookup:
    """Look up a positive number of each frame.

    Attributes
    ----------
    key
        The configuration key that the user set, for messages.
    where
        Where the number is. A number is the same for all frames. ``table.csv:column`` is a column of a table; the row
        of a frame has in its first cell the name of the frame or of its file, with or without folder and suffix. Any
        other text is a key of the frame's header; one that begins with / is a path in its HDF5 file.
    """

    key: str
    where: float | str

    def __post_init__(self) -> None:
        good = isinstance(self.where, (int, float, str)) and not isinstance(self.where, bool) and self.where != ""
        require(good, self.key, self.where, "a number, a header key, /path/in/hdf5 or table.csv:column expected")
        if self.constant is not None:
            require(_positive(self.constant), self.key, self.where, "a number > 0 expected")

    @cached_property
    def constant(self) -> float | None:
        """The number that is the same for all frames; None if it has to be looked up."""
        try:
            return float(self.where)
        except ValueError:
            return None

    @cached_property
    def table(self) -> tuple[str, str] | None:
        """Path and column of the table; None if the number is not in a table."""
        match = TABLE.fullmatch(str(self.where))
        return (match[1], match[2]) if match else None

    def check(self) -> None:
        """Raise ConfigError if the table cannot be read or lacks the column."""
        if self.table is not None:
            self._rows  # noqa: B018 - reading them is the check

    def of(self, frame: Frame) -> float:
        """Return the number of a frame.

        Raises
        ------
        FrameError
            The frame has no such number, or one that is not positive and finite.
        """
        if self.constant is not None:
            return self.constant
        text, where = self.found(frame)
        try:
            value = float(text)
        except (TypeError, ValueError) as error:
            raise FrameError(f"{self.key}={self.where}: is {text!r} in {where}, a number is expected") from error
        if not _positive(value):
            raise FrameError(f"{self.key}={self.where}: is {value:g} in {where}, a number > 0 is expected")
        return value * frame.info.exposures  # the header of merged frames holds the mean

    def found(self, frame: Frame) -> tuple[Any, str]:
        """Return what a header or table has for a frame, unchecked, and its place in words.

        Raises
        ------
        FrameError
            There is nothing for the frame.
        """
        return self._cell(frame) if self.table else self._header(frame)

    @property
    def files(self) -> list[str]:
        """Paths in the cells of the table, each one once; they begin in the folder of the table."""
        return [self.path(cell) for cell in dict.fromkeys(cell for _, cell in self._rows) if cell]

    def path(self, cell: str) -> str:
        """Return the path in a cell of the table, which begins in the folder of the table."""
        return str(Path(self.table[0] if self.table else "").parent / cell)

    def _header(self, frame: Frame) -> tuple[Any, str]:
        key, where = str(self.where), f"the header of {frame.info.file or frame.name}"
        try:
            return frame.header[key], where
        except KeyError as error:
            known = [] if key.startswith("/") else list(frame.header)
            hint = f"; {nearest(key, known)}" if known else ""
            raise FrameError(f"{self.key}={key}: not in {where}{hint}") from error

    def _cell(self, frame: Frame) -> tuple[str, str]:
        path, rows = self.table[0] if self.table else "", self._rows
        for name in dict.fromkeys((frame.name, frame.info.file, Path(frame.info.file).stem)):
            cells = [cell for first, cell in rows if first == name] if name == frame.name else []
            cells = cells or [cell for first, cell in rows if name and Path(first).name == name]
            if len(cells) > 1:
                raise FrameError(
                    f"{self.key}={self.where}: {len(cells)} rows of {path} are for {name}, one is expected"
                )
            if cells:
                return cells[0], f"the row of {name} in {path}"
        raise FrameError(f"{self.key}={self.where}: {path} has no row for {frame.info.file or frame.name}")

    @cached_property
    def _rows(self) -> list[tuple[str, str]]:
        """Pairs of the first cell and the cell of the column, for each row of the table."""
        path, column = self.table or ("", "")
        try:
            lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.key}={self.where}: {path} cannot be read ({error})") from error
        lines = [line for line in lines if line.strip()]
        if not lines:
            raise ConfigError(f"{self.key}={self.where}: {path} is empty")
        delimiter = max(",;\t", key=lines[0].count)
        names, *rows = ([cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter))
        if column not in names[1:]:
            raise ConfigError(f"{self.key}={self.where}: {path} has no such column; {nearest(column, names[1:])}")
        index = names.index(column, 1)
        return [(row[0], row[index] if index < len(row) else "") for row in rows]


def table_lookup(key: str, where: str) -> ScalarLookup | None:
    """Return the lookup in a table, which is read once and again after a change; None if the text names no column."""
    if not (match := TABLE.fullmatch(where)):
        return None
    try:
        state = os.stat(match[1])
    except OSError:  # reading it says why
        return ScalarLookup(key, where)
    return _table(key, where, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=32)
def _table(key: str, where: str, size: int, mtime_ns: int) -> ScalarLookup:
    return ScalarLookup(key, where)


def file_lookups(key: str, files: Sequence[str]) -> dict[str, ScalarLookup]:
    """Return the lookups among files, for those that a table names: ``table.csv:column`` -> lookup.

    Parameters
    ----------
    key
        The configuration key, for messages.
    files
        Paths, as the user wrote them. ``file.dat::/path`` is a dataset.
    """
    named = (file for file in files if "::" not in file and not os.path.lexists(file))
    return {file: lookup for file in named if (lookup := table_lookup(key, file))}


def refuse_lookups(lookups: Mapping[str, ScalarLookup]) -> None:
    """Raise ConfigError if a file differs between frames, where all of them need the same."""
    for where, lookup in lookups.items():
        raise ConfigError(f"{lookup.key}={where}: a file for each frame; here one file for all frames is needed")


def table_files(lookups: Mapping[str, ScalarLookup]) -> dict[str, str]:
    """Return the paths of the tables that these lookups read, by name of the input."""
    return {f"{name}_table": lookup.table[0] for name, lookup in lookups.items() if lookup.table}


def _positive(value: float) -> bool:
    return math.isfinite(value) and value > 0
