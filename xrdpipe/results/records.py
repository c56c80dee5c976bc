"""Records of the frames of a folder, by name: in a temporary database on disk, not in memory."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import ItemsView, Iterable, Iterator, Mapping, Sequence, ValuesView
from contextlib import suppress
from dataclasses import fields
from itertools import islice
from typing import Any, overload

from ..model.record import Record

log = logging.getLogger("xrdpipe")

BATCH = 200  # records that are written or read together
CACHE = 4000  # kB of the database in memory; a series that fits never comes to the disk
_KNOWN = frozenset(field.name for field in fields(Record))
_SETTINGS = f"PRAGMA cache_size = -{CACHE}; PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF;"
_TABLES = """
CREATE TABLE records (
    id INTEGER PRIMARY KEY, name BLOB UNIQUE, status TEXT, size INTEGER, mtime_ns INTEGER, text TEXT
);
CREATE TABLE frames (place INTEGER PRIMARY KEY, id INTEGER UNIQUE);
"""
_ADD = """
INSERT INTO records (name, status, size, mtime_ns, text) VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET
status = excluded.status, size = excluded.size, mtime_ns = excluded.mtime_ns, text = excluded.text
"""


def record_of(row: Mapping[str, Any]) -> Record:
    """Return the record that a row of ``run.json`` or of a journal holds; TypeError if it holds none."""
    return Record(**{key: row[key] for key in row if key in _KNOWN})


class Records(Mapping[str, Record]):
    """Records by name, in the order in which the names were added first.

    The database is a private file in the system's folder for temporary files, see ``SQLITE_TMPDIR`` and ``TMPDIR``. If
    that disk is full, it moves into memory.
    """

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.executescript(_SETTINGS + _TABLES)
        self._new: list[Record] = []  # not in the database yet

    def __del__(self) -> None:
        with suppress(AttributeError):
            self._database.close()

    def add(self, *records: Record) -> None:
        """Add records, or replace those of the same frames."""
        self._new += records
        if len(self._new) >= BATCH:
            self._write()

    def remove(self, names: Iterable[str]) -> None:
        """Remove the records of these frames, if there are any."""
        if len(self):
            self._change("DELETE FROM records WHERE name = ?", ((_key(name),) for name in names))

    def clear(self) -> None:
        """Remove all records."""
        self._change("DELETE FROM records", [()])

    def arrange(self, names: Iterable[str]) -> None:
        """Define the frames of a run and their order; records of other frames come before them."""
        self._change("DELETE FROM frames", [()])
        found = "INSERT OR IGNORE INTO frames (id) SELECT id FROM records WHERE name = ?"
        self._change(found, ((_key(name),) for name in names))

    @property
    def arranged(self) -> RunRecords:
        """Records of the frames of a run, see `arrange`."""
        return RunRecords(self)

    def __getitem__(self, name: str) -> Record:
        for (text,) in self.select("text FROM records WHERE name = ?", _key(name)):
            return _record(text)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (record.name for record in self.records())

    def __len__(self) -> int:
        return self.number("FROM records")

    def items(self) -> ItemsView[str, Record]:
        """Return names and records in order."""
        return _Items(self)

    def values(self) -> ValuesView[Record]:
        """Return all records in order."""
        return _Values(self)

    def records(self) -> Iterator[Record]:
        """Yield all records in order."""
        is_other = "NOT EXISTS (SELECT 1 FROM frames WHERE frames.id = records.id)"
        yield from self.in_turn(f"id, text FROM records WHERE id > ? AND {is_other} ORDER BY id")
        yield from self.arranged

    def count(self, status: str) -> int:
        """Return the number of records with this status."""
        return self.number("FROM records WHERE status = ?", status)

    def with_state(self, size: int | None, mtime_ns: int | None) -> list[Record]:
        """Return the records of frames whose files had this size (bytes) and modification time (ns)."""
        self._change("CREATE INDEX IF NOT EXISTS states ON records (mtime_ns, size)", [()])
        found = self.select("text FROM records WHERE mtime_ns = ? AND size = ?", mtime_ns, size)
        return [_record(text) for (text,) in found]

    def select(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return rows of the database."""
        self._write()
        return self._database.execute(f"SELECT {query}", values).fetchall()

    def number(self, query: str, *values: Any) -> int:
        """Return a number of rows."""
        return int(self.select(f"COUNT(*) {query}", *values)[0][0])

    def in_turn(self, query: str) -> Iterator[Record]:
        """Yield the records of a query for the place and the text after a place, a part at a time."""
        place = -1
        while rows := self.select(f"{query} LIMIT {BATCH}", place):
            yield from (_record(text) for _, text in rows)
            place = rows[-1][0]

    def _write(self) -> None:
        if self._new:
            new, self._new = self._new, []
            self._change(_ADD, [_values(record) for record in new])

    def _change(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        self._write()
        rows = iter(rows)
        while part := list(islice(rows, 10 * BATCH)):
            try:
                self._execute(statement, part)
            except sqlite3.OperationalError as error:  # the disk is full
                log.warning("records of frames stay in memory: %s", error)
                disk, self._database = self._database, sqlite3.connect(":memory:", isolation_level=None)
                disk.backup(self._database)
                disk.close()
                self._execute(statement, part)

    def _execute(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        self._database.execute("BEGIN")
        try:
            self._database.executemany(statement, rows)
            self._database.execute("COMMIT")
        except sqlite3.Error:
            with suppress(sqlite3.Error):  # it ended with the error
                self._database.execute("ROLLBACK")
            raise


class _Items(ItemsView[str, Record]):
    """Names and records, without a search for each name."""

    _mapping: Records

    def __iter__(self) -> Iterator[tuple[str, Record]]:
        return ((record.name, record) for record in self._mapping.records())


class _Values(ValuesView[Record]):
    """Records, without a search for each name."""

    _mapping: Records

    def __iter__(self) -> Iterator[Record]:
        return self._mapping.records()


class RunRecords(Sequence[Record]):
    """Records of the frames of a run, in their order; each is read on access."""

    def __init__(self, records: Records) -> None:
        self._records = records

    @overload
    def __getitem__(self, place: int) -> Record: ...
    @overload
    def __getitem__(self, place: slice) -> list[Record]: ...
    def __getitem__(self, place: int | slice) -> Record | list[Record]:
        if isinstance(place, slice):
            return [self[each] for each in range(len(self))[place]]
        number = range(len(self))[place] + 1
        joined = "text FROM frames JOIN records ON records.id = frames.id WHERE place = ?"
        return _record(self._records.select(joined, number)[0][0])

    def __len__(self) -> int:
        return self._records.number("FROM frames")

    def __iter__(self) -> Iterator[Record]:
        joined = "FROM frames JOIN records ON records.id = frames.id"
        return self._records.in_turn(f"place, text {joined} WHERE place > ? ORDER BY place")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __repr__(self) -> str:
        return f"<records of {len(self)} frames>"

    def __reduce__(self) -> tuple[type[list[Any]], tuple[list[Record]]]:
        return list, (list(self),)

    __hash__ = None  # type: ignore[assignment]

    def of_status(self, status: str) -> list[Record]:
        """Return the records with this status."""
        joined = "text FROM frames JOIN records ON records.id = frames.id WHERE status = ? ORDER BY place"
        return [_record(text) for (text,) in self._records.select(joined, status)]

    def count_of(self, status: str) -> int:
        """Return the number of records with this status."""
        return self._records.number("FROM frames JOIN records ON records.id = frames.id WHERE status = ?", status)


def _key(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")  # a file name may hold bytes that are not UTF-8


def _values(record: Record) -> tuple[Any, ...]:
    return _key(record.name), record.status, record.size, record.mtime_ns, json.dumps(vars(record))


def _record(text: str) -> Record:
    return Record(**json.loads(text))
