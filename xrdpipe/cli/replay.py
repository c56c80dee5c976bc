"""``xrdpipe replay``: repeat a recorded run and compare the results."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..execution.run import run
from ..io import files
from ..io.formats import format_of
from ..io.paths import split_path
from ..io.writing import file_hash
from ..model.errors import ConfigError, FrameError
from ..model.identity import relocate, versions
from ..model.record import Record
from ..model.series import MERGED
from ..results.folder import Folder
from ..results.journal import JOURNAL


@dataclass
class Comparison:
    """Result of a replay.

    Attributes
    ----------
    identical
        Files with the same bytes.
    different
        Files that differ, with a description of the difference.
    reasons
        Known reasons for the differences.
    """

    identical: list[str] = field(default_factory=list)
    different: dict[str, str] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    @property
    def status(self) -> int:
        """Exit status: 0 if all files are identical and there is at least one."""
        return int(bool(self.different) or not self.identical)

    def describe(self) -> str:
        """Return a text for the terminal."""
        lines = [f"{file}: {how}" for file, how in self.different.items()]
        lines += [f"because {reason}" for reason in self.reasons]
        if self.different and not self.reasons:
            lines.append("reason unknown: inputs, configuration and versions are the recorded ones")
        total = len(self.identical) + len(self.different)
        verdict = "identical" if not self.status else "NOT identical"
        return "\n".join([*lines, f"{verdict}: {len(self.identical)} of {total} files are the same bytes"])


def replay(record: Path, into: Path | None = None, inputs: Path | None = None) -> Comparison:
    """Repeat the run of ``record``, a results folder or its ``run.json``, and compare the results.

    The new results go into the folder ``into``, by default a temporary one. Inputs that were moved are searched in the
    folder ``inputs``, by their hash. Raise ConfigError if the record is not usable or an input is missing.
    """
    file = record / "run.json" if record.is_dir() else record
    recorded_run = read_record(file)
    done = [row for row in recorded_run["images"] if row["status"] == "done"]
    if not done:
        raise ConfigError(f"{file}: no image of that run was done, so there is nothing to compare")
    if (file.parent / JOURNAL).exists():
        raise ConfigError(f"{file}: that run did not end; finish it first with resume=true")
    result = Comparison()
    with tempfile.TemporaryDirectory(prefix="xrdpipe-replay-", ignore_cleanup_errors=True) as scratch:
        current = Inputs(inputs.absolute() if inputs else None, Path(scratch) / "inputs")
        inputs_then = {what: _beside(each, file.parent) for what, each in recorded_run["inputs"].items()}
        now = {each["given"]: current.find(what, each) + each.get("inside", "") for what, each in inputs_then.items()}
        values = relocate(recorded_run["config"], now)
        places = {row["name"]: current.find_frames(row) for row in done}
        images = [path for paths in places.values() for path in paths]
        values |= {"images": images, "output_dir": str(into or Path(scratch) / "again")}
        values |= {"overwrite": False, "resume": False, "quiet": True, "report": False}
        values["parallel"] = {}  # on this computer: a record of somebody must not connect or submit anywhere
        again = run(values, recorded_run["command"], names={name: paths[0] for name, paths in places.items()})
        result.reasons += [f"the {what} has changed" for what in current.changed]
        result.reasons += _changed_files(done, again.frames)
        for row in done:
            for name, digest in row["outputs"].items():
                if name.endswith((".npy", ".npz")) or format_of(
                    name
                ):  # figures depend on fonts, so they are not compared
                    _compare(name, file.parent, again.folder or file.parent, digest, result)
        for name in Folder(file.parent).together:
            if name.endswith(".nxs"):
                _compare_nexus(name, file.parent, again.folder or file.parent, [row["name"] for row in done], result)
            elif name.startswith(MERGED) and format_of(name) and (file.parent / name).is_file():
                _compare(name, file.parent, again.folder or file.parent, "", result)
        result.reasons += [f"{row.file}: {row.error}" for row in again.failed]
    before, installed = recorded_run["versions"], versions()
    result.reasons += [
        f"the version of {name} is {installed.get(name)}, was {before[name]}"
        for name in before
        if before[name] != installed.get(name)
    ]
    return result


def _changed_files(done: Sequence[Mapping[str, Any]], frames: Iterable[Record]) -> list[str]:
    """Return a reason for each file of a single frame that has another content now."""
    then = {row["name"]: row.get("inputs") or {} for row in done}
    return [
        f"the {key} of {frame.name} has changed"
        for frame in frames
        for key, each in frame.inputs.items()
        if each["hash"] != then.get(frame.name, {}).get(key, {}).get("hash")
    ]


class Inputs:
    """The inputs of a record at their recorded paths or, if they were moved, under ``folder``."""

    def __init__(self, folder: Path | None, copies: Path) -> None:
        self.folder, self.copies = folder, copies
        self.changed: list[str] = []
        self.hashes: dict[str, Path] = {}

    def find_frames(self, row: Mapping[str, Any]) -> list[str]:
        """Return the path of an image of the record, or the paths of all frames that were merged into it."""
        if not row.get("parts"):
            return [self.find("image", row)]
        parts = [self._moved(part) or part for part in row["parts"]]
        frames = tuple(frame for part in parts for frame in files.list_frames(part).references)
        if not all(frame.path.is_file() for frame in frames):
            raise ConfigError(f"the images {row['file']} are gone; say where they may be with inputs=FOLDER")
        if files.digest(replace(frames[0], parts=frames)) != row["hash"]:
            self.changed.append(f"image {row['file']}")
        return parts

    def _moved(self, location: str, digest: str = "") -> str | None:
        # A stack has no hash of its own, so it is looked for by its name.
        path = split_path(location).file
        if self.folder is None or path.is_file():
            return None
        files_there = (each for each in sorted(self.folder.rglob("*")) if each.name == path.name)
        named = (f"{each}{location[len(str(path)) :]}" for each in files_there)
        return next((each for each in named if not digest or _same(each, digest)), None)

    def find(self, what: str, recorded: Mapping[str, Any]) -> str:
        """Return the current path of an input; raise ConfigError if it is missing."""
        location, path = str(recorded["path"]), split_path(recorded["path"]).file
        if path.is_file() and _same(location, recorded["hash"]):
            return location
        if str(path) != location:
            if there := self._moved(location, recorded["hash"]):
                return there
        elif self.folder is not None:
            if not self.hashes:
                self.hashes = {file_hash(each): each for each in self.folder.rglob("*") if each.is_file()}
            if moved := self.hashes.get(recorded["hash"]):
                return str(moved if moved.name == path.name else self._named(moved, path.name))
        if not path.is_file():
            raise ConfigError(f"the {what} {path} is gone; say where it may be with inputs=FOLDER")
        self.changed.append(f"{what} {location}")
        return location

    def _named(self, moved: Path, name: str) -> Path:
        # Names are part of the record, so a renamed input is used under its old one.
        copy = self.copies / file_hash(moved).partition(":")[2] / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(moved.read_bytes())
        return copy


def _beside(recorded: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return where an input is that the run made in its own folder, such as a static mask, if the folder has moved."""
    path = Path(str(recorded["path"]))
    here = folder / path.name
    moved = not path.is_file() and here.is_file() and _same(str(here), recorded["hash"])
    return {**recorded, "path": str(here)} if moved else recorded


def _same(location: str, digest: str) -> bool:
    try:
        return files.input_hash(location) == digest
    except FrameError:
        return False


def read_record(file: Path) -> dict[str, Any]:
    """Return the content of the ``run.json`` of a run; raise ConfigError if it is none."""
    try:
        recorded_run = json.loads(file.read_text(encoding="utf-8"))
        if recorded_run.get("program") == "xrdpipe" and recorded_run.get("config"):
            return dict(recorded_run)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); name a results folder") from error
    except (ValueError, AttributeError):
        pass
    raise ConfigError(f"{file}: not the record of a run; name a results folder, the output_dir of a run")


def _compare(name: str, there: Path, here: Path, digest: str, result: Comparison) -> None:
    if not (there / name).exists() or not (here / name).exists():
        result.different[name] = "missing in the record's folder" if (here / name).exists() else "not made again"
        return
    if (there / name).read_bytes() == (here / name).read_bytes():
        result.identical.append(name)
        return
    if digest and file_hash(there / name) != digest:
        result.reasons.append(f"{name} was changed after the run")
    result.different[name] = _how(there / name, here / name)


def _compare_nexus(name: str, there: Path, here: Path, frames: list[str], result: Comparison) -> None:
    # The frames alone, and what is said of their making: the file also has a date, and the frames that failed.
    from ..io.nexus_read import differences

    if how := differences(there / name, here / name, frames):
        result.different[name] = how
    else:
        result.identical.append(name)


def _how(old: Path, new: Path) -> str:
    """Describe the numbers in which two files differ."""
    try:
        if old.suffix == ".npy":
            before, after = (np.load(path, allow_pickle=False) for path in (old, new))
            return f"{int((before != after).sum())} of {before.size} pixels differ"
        form = format_of(old.name)
        assert form is not None
        before, after = (form.read(path.read_text(encoding="utf-8"))[1] for path in (old, new))
        if before.shape != after.shape:
            return f"{len(before)} points there, {len(after)} now"
        off = np.abs(after - before) / np.maximum(np.abs(before), 1e-12)
        points = np.flatnonzero((off > 0).any(axis=1))
        if points.size == 0:
            return "the same numbers under another header"
        first = ", ".join(f"{before[point, 0]:.6g}" for point in points[:3])
        return f"{points.size} of {len(before)} points differ, by up to {off.max():.1e} (at {first} ...)"
    except (ValueError, IndexError):
        return "differs, and cannot be read as it was written"


def main(arguments: Sequence[str], document: dict[str, Any] | None = None) -> int:
    """Run ``xrdpipe replay FOLDER [output_dir=FOLDER] [inputs=FOLDER]``; return the exit status."""
    places = [word for word in arguments if "=" not in word or Path(word).exists()]
    keys = dict(word.split("=", 1) for word in arguments if word not in places)
    if len(places) != 1 or not set(keys) <= {"output_dir", "inputs"}:
        raise ConfigError("replay: say xrdpipe replay FOLDER [output_dir=FOLDER] [inputs=FOLDER]")
    folders = {key: Path(value) for key, value in keys.items()}
    compared = replay(Path(places[0]), folders.get("output_dir"), folders.get("inputs"))
    if document is not None:
        document |= asdict(compared)
    else:
        print(compared.describe())
    return compared.status
