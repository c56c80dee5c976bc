"""A results folder: what stands in it, whether more may come, and the record of what ran."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
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


FOREIGN: dict[str, Any] = {"identity": None}  # a run.json of somebody: nothing fits it, so only overwrite=true goes on


COLUMNS = ("file", "name", "status", "masked_fraction", "seconds", "error")


TAKEN = frozenset({*(each.name for each in fields(Record)), *NAMES})  # names of what else is said of a frame


WAYS_OUT = "say resume=true (go on), overwrite=true (again) or choose another output_dir"


class Folder:
    """The folder of a run. It is read when made, and written to by `begin` and `record` only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run = self._read_run()
        self._torn = False  # whether the journal may end in a part of a line
        self.records: dict[str, Record] = {}
        known = {each.name for each in fields(Record)}
        try:
            records = [Record(**{key: row[key] for key in row if key in known}) for row in self.run.get("images", [])]
            records += [Record(**{key: row[key] for key in row if key in known}) for row in journal(path)]
            self.records = {record.name: record for record in records}
        except (TypeError, KeyError):
            self.run = FOREIGN

    @property
    def names(self) -> dict[str, str]:
        """Names given here before -> the image (resolved path) that has it."""
        return {name: record.path for name, record in self.records.items()}

    @property
    def together(self) -> list[str]:
        """Files that all frames here share."""
        files = self.run.get("together")
        return [str(file) for file in files] if isinstance(files, list) else []

    def renamed(self, frame: Reference) -> bool:
        """Whether the file of a frame is one that was done before under another name, and has only been moved."""
        try:
            now, here = reference_state(frame), absolute_location(frame)
            return any(
                (record.size, record.mtime_ns) == now
                and record.status == "done"
                and record.path != here
                and not os.path.lexists(record.path)
                and digest(frame) == record.hash
                for record in self.records.values()
            )
        except FrameError:
            return False

    def done(self, frame: Reference, outputs: Sequence[str], verify: bool) -> bool:
        """Whether a frame needs nothing more: same content, and every one of its files still there as it was written.

        An image of the same size and modification time counts as unchanged, unless ``verify``.
        """
        record = self.records.get(frame.name)
        if record is None or record.status != "done" or not set(outputs) <= set(record.outputs):
            return False
        try:
            same = not verify and reference_state(frame) == (record.size, record.mtime_ns)
            if not same and digest(frame) != record.hash:
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
        """Refuse what would mix or replace results: ConfigError says how to go on. Touches nothing.

        ``identity``: what decides the numbers of this run; ``outputs``: the files of every frame, by its name;
        ``overwrite``: whether the user knows (also where a run is resumed); ``together``: files of all frames.
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
            differs = difference(self.run.get("identity", {}), identity)
            raise ConfigError(f"output_dir={self.path}: holds results of another configuration ({differs}); {WAYS_OUT}")
        for file in set(together) - set(self.together):
            if (self.path / file).exists():
                raise ConfigError(f"output_dir={self.path}: {file} is already there, of no run of xrdpipe; {WAYS_OUT}")
        for name, files in outputs.items():
            done = name in self.records and self.records[name].status == "done"
            there = [file for file in files if (self.path / file).exists()]
            if done or there:
                what = there[0] if there else f"{name} (see run.json)"
                raise ConfigError(f"output_dir={self.path}: {what} is already there; {WAYS_OUT}")

    def check_shape(self, identity: Mapping[str, Any], shape: tuple[int, int]) -> None:
        """Refuse frames of another shape than those here: one folder, one axis."""
        there = self.run.get("shape")
        if there and self.run.get("identity") == identity and tuple(there) != shape:
            frames = f"frames of {there[0]} x {there[1]} pixels, these have {shape[0]} x {shape[1]}"
            raise ConfigError(f"output_dir={self.path}: holds {frames}; choose another output_dir")

    def replaced(self, identity: Mapping[str, Any]) -> int:
        """How many frames were done here with another configuration than ``identity``, and go when a run begins."""
        other = bool(self.run) and self.run.get("identity") != identity
        return sum(record.status == "done" for record in self.records.values()) if other else 0

    def begin(self, run: Mapping[str, Any], outputs: Mapping[str, Sequence[str]]) -> None:
        """Make the folder ready for a run that `check` let pass; results of another configuration go.

        ``run``: the record of the run, ``outputs``: the files of every frame that will be done, by its name.
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
        before = self.run.get("outputs", {})
        going = [
            file for name, files in outputs.items() for file in (*files, *before.get(name, []), f"previews/{name}.png")
        ]
        if self.run and self.run.get("identity") != run["identity"]:
            going += [file for name, files in before.items() for file in (*files, f"previews/{name}.png")]
            going += [file for record in self.records.values() for file in record.outputs]  # of a killed run
            going += self.together
            self.records, self.run = {}, {}
        for file in going:
            if (self.path / file).resolve().is_relative_to(self.path.resolve()):  # a run.json may say anything
                (self.path / file).unlink(missing_ok=True)
        for part in self.parts():
            part.unlink(missing_ok=True)
        self._write(run)
        self._forget()

    def parts(self) -> list[Path]:
        """What stands there of files that were being written when somebody was killed."""
        return [part for place in (".", "masks", "figures", "previews") for part in (self.path / place).glob(".*.part")]

    def note(self, record: Record) -> None:
        """Keep the record of one frame at once, so that a killed run can be resumed."""
        self.records[record.name] = record
        try:
            with open(self.path / JOURNAL, "a", encoding="utf-8") as journal:
                journal.write("\n" * self._torn + json.dumps(asdict(record)) + "\n")
            self._torn = False
        except OSError as error:  # a full disk; what is done is known here until `record` writes it
            self._torn = True
            log.warning("%s: %s", JOURNAL, error)

    def record(self, run: Mapping[str, Any], records: Iterable[Record]) -> None:
        """Write ``run.json`` and ``summary.csv`` with these records added to those that stand here."""
        new = {record.name: record for record in records}
        self.records = {name: record for name, record in self.records.items() if name not in new} | new
        rows = [_flat(record) for record in self.records.values()]
        columns = list(dict.fromkeys([*COLUMNS, *(key for row in rows for key in row)]))
        text = io.StringIO()
        table = csv.DictWriter(text, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        write_text(self.path / "summary.csv", text.getvalue())
        self._write(run)
        self._forget()

    def _forget(self) -> None:
        """Remove the journals: what they say is in run.json now."""
        (self.path / JOURNAL).unlink(missing_ok=True)
        shutil.rmtree(self.path / ARRAY, ignore_errors=True)

    def _write(self, run: Mapping[str, Any]) -> None:
        outputs = {**self.run.get("outputs", {}), **run.get("outputs", {})}
        together = dict.fromkeys([*self.together, *run.get("together", [])])
        rows = [asdict(record) for record in self.records.values()]
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
        """Write everything that is logged meanwhile, by any library, into ``xrdpipe.log``."""
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
    """A log that is given up, silently, where it cannot be written: what matters is said elsewhere too."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):  # it is opened with its first line
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        return None

    def close(self) -> None:
        with suppress(OSError):
            super().close()


def _flat(record: Record) -> dict[str, Any]:
    """A row of summary.csv: the columns that the user named, the metrics and the seconds of each stage among them."""
    row = {column: getattr(record, column) for column in COLUMNS}
    seconds = {f"seconds_{name}": value for name, value in record.steps.items()}
    return {**row, **record.columns, **record.metrics, **seconds}


def difference(before: Any, now: Any, where: str = "") -> str:
    """The first place where two configurations differ, in words."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *(key for key in now if key not in before)]:
            if before.get(key) != now.get(key):
                return difference(before.get(key), now.get(key), f"{where}.{key}" if where else key)
    return f"{where or 'run.json'}: {before} there, {now} now"
