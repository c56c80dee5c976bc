"""A results folder: its content, the checks before a run writes into it, and the record of the run."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..io.files import digest, own_hash, reference_state
from ..io.writing import file_hash
from ..model.errors import ConfigError, FrameError
from ..model.naming import expand_names, folded
from ..model.record import Record
from ..model.reference import ByName, Reference, absolute_location
from ..numerics.metrics import NAMES
from .journal import ARRAY, JOURNAL, read_journal
from .records import Records, record_of
from .run_file import IMAGES, RUN, SUMMARY, read_run, write_run, write_summary

log = logging.getLogger("xrdpipe")

FOREIGN: dict[str, Any] = {"identity": None}  # stands for a run.json of another program; it matches no identity
RESERVED_COLUMNS = frozenset({*(field.name for field in fields(Record)), *NAMES})  # not available for header columns
INVALID = (TypeError, KeyError, ValueError, AttributeError, OverflowError, sqlite3.Error)  # in a foreign record
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
        Content of ``run.json`` without its records; empty without a run.
    records
        Records of frames, by name, from ``run.json`` and the journals.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records = Records()
        self.run = self._read_run()
        self._torn = False  # the journal may end with a partial line
        try:
            for row in read_journal(path):
                self.records.add(record_of(row))
            len(self.records)  # takes all of them
        except INVALID:
            self.run = FOREIGN
        if self.run == FOREIGN:
            self.records.clear()

    @property
    def names(self) -> Mapping[str, str]:
        """Names of frames in this folder, name -> path of the image."""
        return ByName(self.records.values(), lambda record: record.path)

    @property
    def together(self) -> list[str]:
        """Files that are made of all frames, relative to the folder."""
        return _texts(self.run.get("together"))

    def renamed(self, frame: Reference) -> bool:
        """Return True if the frame is done already and its file was only moved since."""
        try:
            state, location = reference_state(frame), absolute_location(frame)
            return any(
                record.status == "done"
                and record.path != location
                and not os.path.lexists(record.path)
                and digest(frame) == record.hash
                for record in self.records.with_state(*state)
            )
        except FrameError:
            return False

    def done(self, frame: Reference, outputs: Sequence[str], verify: bool) -> bool:
        """Return True if a frame, its own inputs and its output files are unchanged since it was processed.

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
            return all(file_hash(self.path / file) == digest for file, digest in record.outputs.items()) and all(
                own_hash(key, each["path"]) == each["hash"] for key, each in record.inputs.items()
            )
        except (OSError, FrameError, ConfigError, *INVALID):
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
        foreign = RUN if self.run == FOREIGN else SUMMARY
        if self.run == FOREIGN or (not self.run and (self.path / foreign).exists()):
            raise ConfigError(f"output_dir={self.path}: its {foreign} is of no run of xrdpipe; {WAYS_OUT}")
        if self.run and self.run.get("identity") != identity:
            change = difference(self.run.get("identity", {}), identity)
            raise ConfigError(f"output_dir={self.path}: holds results of another configuration ({change}); {WAYS_OUT}")
        for file in set(together) - set(self.together):
            if (self.path / file).exists():
                raise ConfigError(f"output_dir={self.path}: {file} is already there, of no run of xrdpipe; {WAYS_OUT}")
        for name, files in self._present(outputs):
            done = (record := self.records.get(name)) is not None and record.status == "done"
            existing = [file for file in files if os.path.exists(f"{self.path}/{file}")]
            if done or existing:
                result = existing[0] if existing else f"{name} (see run.json)"
                raise ConfigError(f"output_dir={self.path}: {result} is already there; {WAYS_OUT}")

    def _present(self, outputs: Mapping[str, Sequence[str]]) -> Iterable[tuple[str, Sequence[str]]]:
        """Return the frames that may have a record or a file here; none of a new folder, without a look at each."""
        if self.run or self.records or not outputs:
            return outputs.items()
        name, files = next(iter(outputs.items()))
        files = [*files, _preview(name)]
        endings = tuple(folded(file.rpartition(name)[2]) for file in files)
        present: set[str] = set()  # without case, as some file systems ignore it
        for folder in {os.path.dirname(file) for file in files}:
            with suppress(OSError), os.scandir(self.path / folder) as entries:
                found = (folded(f"{folder}/{entry.name}").lstrip("/") for entry in entries)
                present.update(file for file in found if file.endswith(endings))
        if not present:
            return ()
        return (
            (name, files)
            for name, files in outputs.items()
            if any(folded(file) in present for file in (*files, _preview(name)))
        )

    def check_shape(self, identity: Mapping[str, Any], shape: tuple[int, int]) -> None:
        """Raise ConfigError if the folder holds frames of another shape, as one folder has one radial axis."""
        previous = self.run.get("shape")
        if previous and self.run.get("identity") == identity and tuple(previous) != shape:
            frames = f"frames of {previous[0]} x {previous[1]} pixels, these have {shape[0]} x {shape[1]}"
            raise ConfigError(f"output_dir={self.path}: holds {frames}; choose another output_dir")

    def replaced(self, identity: Mapping[str, Any]) -> int:
        """Return the number of finished frames of another identity, which `begin` removes."""
        is_other = bool(self.run) and self.run.get("identity") != identity
        return self.records.count("done") if is_other else 0

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
        home = self.path.resolve()
        for file in self._outdated(run, outputs):
            path = os.path.join(self.path, file)
            if os.path.lexists(path) and Path(path).resolve().is_relative_to(home):  # run.json is not trusted
                os.unlink(path)
        if self.run and self.run.get("identity") != run["identity"]:
            self.run = {}
            self.records.clear()
        for part in self.parts():
            part.unlink(missing_ok=True)
        self._write_run(run)
        self._remove_journals()
        self.records.remove(outputs)

    def _outdated(self, run: Mapping[str, Any], outputs: Mapping[str, Sequence[str]]) -> Iterator[str]:
        """Yield the files that a run replaces, whether they exist or not."""
        patterns = _texts(self.run.get("files"))
        for name, files in self._present(outputs):
            yield from (*files, *(pattern.replace("*", name) for pattern in patterns), _preview(name))
        if self.run and self.run.get("identity") != run["identity"]:
            for record in self.records.records():
                yield from record.outputs
            for name in (*self.records, *expand_names(self.run.get("waiting"))):
                yield from (*(pattern.replace("*", name) for pattern in patterns), _preview(name))
            yield from self.together

    def parts(self) -> list[Path]:
        """Return the partial files that killed processes left."""
        return [part for place in (".", "masks", "figures", "previews") for part in (self.path / place).glob(".*.part")]

    def note(self, *records: Record) -> None:
        """Append records of frames to the journal, so that a killed run can be resumed."""
        self.records.add(*records)
        try:
            with open(self.path / JOURNAL, "ab") as journal:
                journal.write(b"\n" * self._torn + b"".join(map(_line, records)))
            self._torn = False
        except OSError as error:  # a full disk; the record stays in memory until `record` writes it
            self._torn = True
            log.warning("%s: %s", JOURNAL, error)

    def record(self, run: Mapping[str, Any], records: Iterable[Record] = ()) -> None:
        """Write ``run.json`` and ``summary.csv``, and remove the journals.

        Parameters
        ----------
        run
            Record of the run.
        records
            Records of its frames that were not noted. They are added to those of earlier runs.

        Raises
        ------
        OSError
            A file cannot be written.
        """
        if added := list(records):
            self.records.add(*added)
            self.records.arrange(record.name for record in added)
        write_summary(self.path, self.records.records)
        self._write_run(run)
        self._remove_journals()

    def _remove_journals(self) -> None:
        (self.path / JOURNAL).unlink(missing_ok=True)
        shutil.rmtree(self.path / ARRAY, ignore_errors=True)

    def _write_run(self, run: Mapping[str, Any]) -> None:
        keys = ("files", "together")  # those of earlier runs stay
        lists = {key: list(dict.fromkeys([*_texts(self.run.get(key)), *run.get(key, [])])) for key in keys}
        write_run(self.path, {**run, **lists}, self.records.records())

    def _read_run(self) -> dict[str, Any]:
        try:
            values = read_run(self.path / RUN, lambda row: self.records.add(record_of(row)))
            len(self.records)  # takes all of them
            if values.get("program") != "xrdpipe" or values.get(IMAGES, []) != []:
                return FOREIGN
            return {} if values.get("status") == "refused" else values  # a refused job of a sweep left nothing else
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, *INVALID):
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


def _preview(name: str) -> str:
    return f"previews/{name}.png"


def _texts(values: Any) -> list[str]:
    """Return a list of texts from ``run.json``, which is not trusted."""
    return [str(each) for each in values] if isinstance(values, list) else []


def difference(before: Any, now: Any, path: str = "") -> str:
    """Describe the first difference between two configurations, or between their values at ``path``."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *(key for key in now if key not in before)]:
            if before.get(key) != now.get(key):
                return difference(before.get(key), now.get(key), f"{path}.{key}" if path else key)
    return f"{path or 'run.json'}: {before} there, {now} now"
