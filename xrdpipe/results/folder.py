"""A results folder: its content, the checks before a run writes into it, and the record of the run."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..io.files import digest, reference_state
from ..io.writing import file_hash, write_json, write_text
from ..model.errors import ConfigError, FrameError
from ..model.record import Record
from ..model.reference import Reference, absolute_location
from ..numerics.metrics import NAMES
from .journal import ARRAY, JOURNAL, journal

log = logging.getLogger("xrdpipe")

FOREIGN: dict[str, Any] = {"identity": None}  # stands for a run.json of another program; it matches no identity
COLUMNS = ("file", "name", "status", "masked_fraction", "seconds", "error")
RESERVED_COLUMNS = frozenset({*(field.name for field in fields(Record)), *NAMES})  # not available for header columns
WAYS_OUT = "say resume=true (go on), overwrite=true (again) or choose another output_dir"


class Folder:
    """The folder of a run.

    The constructor reads the folder. Only `begin`, `note`, `record` and `log` write to it.

    Parameters
    ----------
    path
        Path of the folder, which need not exist.

    Attributes
    ----------
    run
        Content of ``run.json``; empty without a run.
    records
        Records of frames, by name, from ``run.json`` and the journals.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run = self._read_run()
        self._torn = False  # the journal may end with a partial line
        self.records: dict[str, Record] = {}
        known = {field.name for field in fields(Record)}
        try:
            records = [Record(**{key: row[key] for key in row if key in known}) for row in self.run.get("images", [])]
            records += [Record(**{key: row[key] for key in row if key in known}) for row in journal(path)]
            self.records = {record.name: record for record in records}
        except (TypeError, KeyError):
            self.run = FOREIGN

    @property
    def names(self) -> dict[str, str]:
        """Names of frames in this folder, name -> path of the image."""
        return {name: record.path for name, record in self.records.items()}

    @property
    def together(self) -> list[str]:
        """Files that are made of all frames, relative to the folder."""
        files = self.run.get("together")
        return [str(file) for file in files] if isinstance(files, list) else []

    def renamed(self, frame: Reference) -> bool:
        """Return True if the frame is done already and its file was only moved since."""
        try:
            state, location = reference_state(frame), absolute_location(frame)
            return any(
                (record.size, record.mtime_ns) == state
                and record.status == "done"
                and record.path != location
                and not os.path.lexists(record.path)
                and digest(frame) == record.hash
                for record in self.records.values()
            )
        except FrameError:
            return False

    def done(self, frame: Reference, outputs: Sequence[str], verify: bool) -> bool:
        """Return True if a frame and all of its output files are unchanged since it was processed.

        Parameters
        ----------
        frame
            Frame to look up.
        outputs
            Output files that the frame needs.
        verify
            Compare the content of the image, even if size and modification time are the same.
        """
        record = self.records.get(frame.name)
        if record is None or record.status != "done" or not set(outputs) <= set(record.outputs):
            return False
        try:
            is_unchanged = not verify and reference_state(frame) == (record.size, record.mtime_ns)
            if not is_unchanged and digest(frame) != record.hash:
                return False
            return all(file_hash(self.path / file) == digest for file, digest in record.outputs.items())
        except (OSError, FrameError):
            return False

    def check(
        self,
        identity: Mapping[str, Any],
        outputs: Mapping[str, Sequence[str]],
        overwrite: bool,
        together: Sequence[str] = (),
    ) -> None:
        """Check that a run neither mixes nor replaces results; nothing is changed.

        Parameters
        ----------
        identity
            Identity of the run: everything that determines its numbers.
        outputs
            Output files of every frame, by its name.
        overwrite
            Existing results may be replaced, as in a resumed run.
        together
            Files that are made of all frames.

        Raises
        ------
        ConfigError
            The folder is not writable or holds other results; the message says how to go on.
        """
        parent = next(path for path in (self.path, *self.path.parents) if path.exists())
        if not parent.is_dir():
            raise ConfigError(f"output_dir={self.path}: {parent} is a file, not a folder")
        if not os.access(parent, os.W_OK | os.X_OK):
            raise ConfigError(f"output_dir={self.path}: {parent} is not writable")
        if overwrite:
            return
        foreign = "run.json" if self.run == FOREIGN else "summary.csv"
        if self.run == FOREIGN or (not self.run and (self.path / foreign).exists()):
            raise ConfigError(f"output_dir={self.path}: its {foreign} is of no run of xrdpipe; {WAYS_OUT}")
        if self.run and self.run.get("identity") != identity:
            change = difference(self.run.get("identity", {}), identity)
            raise ConfigError(f"output_dir={self.path}: holds results of another configuration ({change}); {WAYS_OUT}")
        for file in set(together) - set(self.together):
            if (self.path / file).exists():
                raise ConfigError(f"output_dir={self.path}: {file} is already there, of no run of xrdpipe; {WAYS_OUT}")
        known = self.path.exists()
        for name, files in outputs.items():
            done = name in self.records and self.records[name].status == "done"
            existing = [file for file in files if os.path.exists(f"{self.path}/{file}")] if known else []
            if done or existing:
                result = existing[0] if existing else f"{name} (see run.json)"
                raise ConfigError(f"output_dir={self.path}: {result} is already there; {WAYS_OUT}")

    def check_shape(self, identity: Mapping[str, Any], shape: tuple[int, int]) -> None:
        """Raise ConfigError if the folder holds frames of another shape, as one folder has one radial axis."""
        previous = self.run.get("shape")
        if previous and self.run.get("identity") == identity and tuple(previous) != shape:
            frames = f"frames of {previous[0]} x {previous[1]} pixels, these have {shape[0]} x {shape[1]}"
            raise ConfigError(f"output_dir={self.path}: holds {frames}; choose another output_dir")

    def replaced(self, identity: Mapping[str, Any]) -> int:
        """Return the number of finished frames of another identity, which `begin` removes."""
        is_other = bool(self.run) and self.run.get("identity") != identity
        return sum(record.status == "done" for record in self.records.values()) if is_other else 0

    def begin(self, run: Mapping[str, Any], outputs: Mapping[str, Sequence[str]]) -> None:
        """Prepare the folder for a run that passed `check`; remove results of another configuration.

        Parameters
        ----------
        run
            Record of the run.
        outputs
            Output files of every frame to process, by its name.

        Raises
        ------
        ConfigError
            The folder cannot be created or written to.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"output_dir={self.path}: cannot be made ({error.strerror})") from error
        try:
            self._begin(run, outputs)
        except OSError as error:
            raise ConfigError(f"output_dir={self.path}: cannot be written to ({error.strerror})") from error

    def _begin(self, run: Mapping[str, Any], outputs: Mapping[str, Sequence[str]]) -> None:
        previous = self.run.get("outputs", {})
        outdated = []
        for name, files in outputs.items():
            outdated += [*files, *previous.get(name, []), f"previews/{name}.png"]
        if self.run and self.run.get("identity") != run["identity"]:
            outdated += [file for name, files in previous.items() for file in (*files, f"previews/{name}.png")]
            outdated += [file for record in self.records.values() for file in record.outputs]  # of a killed run
            outdated += self.together
            self.records, self.run = {}, {}
        home = self.path.resolve()
        for file in outdated:
            path = os.path.join(self.path, file)
            if os.path.lexists(path) and Path(path).resolve().is_relative_to(home):  # run.json is not trusted
                os.unlink(path)
        for part in self.parts():
            part.unlink(missing_ok=True)
        self._write_run(run)
        self._remove_journals()

    def parts(self) -> list[Path]:
        """Return the partial files that killed processes left."""
        return [part for place in (".", "masks", "figures", "previews") for part in (self.path / place).glob(".*.part")]

    def note(self, *records: Record) -> None:
        """Append records of frames to the journal, so that a killed run can be resumed."""
        self.records.update((record.name, record) for record in records)
        try:
            with open(self.path / JOURNAL, "ab") as journal:
                journal.write(b"\n" * self._torn + b"".join(map(_line, records)))
            self._torn = False
        except OSError as error:  # a full disk; the record stays in memory until `record` writes it
            self._torn = True
            log.warning("%s: %s", JOURNAL, error)

    def record(self, run: Mapping[str, Any], records: Iterable[Record]) -> None:
        """Write ``run.json`` and ``summary.csv``, and remove the journals.

        Parameters
        ----------
        run
            Record of the run.
        records
            Records of its frames. They are added to those of earlier runs.

        Raises
        ------
        OSError
            A file cannot be written.
        """
        new = {record.name: record for record in records}
        self.records = {name: record for name, record in self.records.items() if name not in new} | new
        rows = [_table_row(record) for record in self.records.values()]
        columns = dict.fromkeys(COLUMNS)
        for row in rows:
            columns |= dict.fromkeys(row)
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(columns)
        table.writerows([row.get(column, "") for column in columns] for row in rows)
        write_text(self.path / "summary.csv", text.getvalue())
        self._write_run(run)
        self._remove_journals()

    def _remove_journals(self) -> None:
        (self.path / JOURNAL).unlink(missing_ok=True)
        shutil.rmtree(self.path / ARRAY, ignore_errors=True)

    def _write_run(self, run: Mapping[str, Any]) -> None:
        outputs = {**self.run.get("outputs", {}), **run.get("outputs", {})}
        together = dict.fromkeys([*self.together, *run.get("together", [])])
        rows = [vars(record) for record in self.records.values()]
        write_json(self.path / "run.json", {**run, "outputs": outputs, "together": list(together), "images": rows})

    def _read_run(self) -> dict[str, Any]:
        try:
            values = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
            if not isinstance(values, dict) or values.get("program") != "xrdpipe":
                return FOREIGN
            return {} if values.get("status") == "refused" else values  # a refused job of a sweep left nothing else
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, ValueError):
            return FOREIGN

    @contextmanager
    def log(self) -> Iterator[None]:
        """Write all log messages within the context, also those of libraries, to ``xrdpipe.log``."""
        handler = _Log(self.path / "xrdpipe.log", "a", "utf-8", delay=True, errors="surrogateescape")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root = logging.getLogger()
        root.addHandler(handler)
        logger = logging.getLogger("xrdpipe")
        level = logger.level
        logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            logger.setLevel(level)
            root.removeHandler(handler)
            handler.close()


class _Log(logging.FileHandler):
    """A file handler that ignores errors, because important messages are also shown on the terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, if the file can be opened."""
        with suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Ignore an error in `emit`."""

    def close(self) -> None:
        """Close the file, if it can be flushed."""
        with suppress(OSError):
            super().close()


def _line(record: Record) -> bytes:
    """Return a line of the journal."""
    return json.dumps(vars(record)).encode() + b"\n"


def _table_row(record: Record) -> dict[str, Any]:
    """Return a row of ``summary.csv``, with header columns, metrics and the duration of each stage."""
    row = {column: getattr(record, column) for column in COLUMNS}
    seconds = {f"seconds_{name}": value for name, value in record.steps.items()}
    return {**row, **record.columns, **record.metrics, **seconds}


def difference(before: Any, now: Any, path: str = "") -> str:
    """Describe the first difference between two configurations, or between their values at ``path``."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *(key for key in now if key not in before)]:
            if before.get(key) != now.get(key):
                return difference(before.get(key), now.get(key), f"{path}.{key}" if path else key)
    return f"{path or 'run.json'}: {before} there, {now} now"
