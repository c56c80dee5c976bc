"""Number: a monitor or an exposure time, and where each frame's is found."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..model.errors import ConfigError, FrameError, nearest, require
from ..model.frame import Frame


@dataclass(frozen=True)
class Number:
    """The positive number that ``where`` names, for any frame; ``key`` is what the user set, for messages.

    ``where`` is a number, the same for all; ``table.csv:column``, the frame's row being the one whose first cell is the
    frame's name, or the name of its file, with or without folder and suffix; or else a key of the frame's header, where
    one that begins with / is a path in an HDF5 file.
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
        """The number itself, where that was given."""
        try:
            return float(self.where)
        except ValueError:
            return None

    @cached_property
    def table(self) -> tuple[str, str] | None:
        """Path and column, where a table is named."""
        named = re.fullmatch(r"(.+?\.(?:csv|tsv|txt|dat)):(.+)", str(self.where), re.IGNORECASE)
        return (named[1], named[2]) if named else None

    def check(self) -> None:
        """ConfigError where a table cannot be read or has no such column."""
        if self.table is not None:
            self._rows  # noqa: B018 - reading them is the check

    def of(self, frame: Frame) -> float:
        """The number of this frame; FrameError where it has none, or one that is not positive and finite."""
        if self.constant is not None:
            return self.constant
        text, where = self._cell(frame) if self.table else self._header(frame)
        try:
            value = float(text)
        except (TypeError, ValueError) as error:
            raise FrameError(f"{self.key}={self.where}: is {text!r} in {where}, a number is expected") from error
        if not _positive(value):
            raise FrameError(f"{self.key}={self.where}: is {value:g} in {where}, a number > 0 is expected")
        return value * frame.exposures  # of merged frames the header has the mean

    def _header(self, frame: Frame) -> tuple[Any, str]:
        key, where = str(self.where), f"the header of {frame.file or frame.name}"
        try:
            return frame.header[key], where
        except KeyError as error:
            known = [] if key.startswith("/") else list(frame.header)
            hint = f"; {nearest(key, known)}" if known else ""
            raise FrameError(f"{self.key}={key}: not in {where}{hint}") from error

    def _cell(self, frame: Frame) -> tuple[str, str]:
        path, rows = self.table[0] if self.table else "", self._rows
        for name in dict.fromkeys((frame.name, frame.file, Path(frame.file).stem)):
            found = [cell for first, cell in rows if first == name] if name == frame.name else []
            found = found or [cell for first, cell in rows if name and Path(first).name == name]
            if len(found) > 1:
                raise FrameError(
                    f"{self.key}={self.where}: {len(found)} rows of {path} are for {name}, one is expected"
                )
            if found:
                return found[0], f"the row of {name} in {path}"
        raise FrameError(f"{self.key}={self.where}: {path} has no row for {frame.file or frame.name}")

    @cached_property
    def _rows(self) -> list[tuple[str, str]]:
        """First cell and cell of the column, row by row."""
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
        at = names.index(column, 1)
        return [(row[0], row[at] if at < len(row) else "") for row in rows]


def table_files(numbers: Mapping[str, Number]) -> dict[str, str]:
    """The tables that these numbers are read from: what -> path."""
    return {f"{what}_table": number.table[0] for what, number in numbers.items() if number.table}


def _positive(value: float) -> bool:
    return math.isfinite(value) and value > 0
