"""Replay: run a record again and compare what comes out with what stands there."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .folder import JOURNAL
from .provenance import file_hash, versions
from .run import run
from .stage import ConfigError

COMPARED = (".chi", ".npy", ".npz")  # figures depend on fonts, so they are not compared


@dataclass
class Comparison:
    """What a replay found: files that are identical, those that differ with how, and why as far as it is known."""

    identical: list[str] = field(default_factory=list)
    different: dict[str, str] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    @property
    def status(self) -> int:
        """Exit status: 0 only when everything is identical, and there was something to compare."""
        return int(bool(self.different) or not self.identical)

    def told(self) -> str:
        """In words, for a terminal."""
        lines = [f"{file}: {how}" for file, how in self.different.items()]
        lines += [f"because {reason}" for reason in self.reasons]
        if self.different and not self.reasons:
            lines.append("reason unknown: inputs, configuration and versions are the recorded ones")
        total = len(self.identical) + len(self.different)
        verdict = "identical" if not self.status else "NOT identical"
        return "\n".join([*lines, f"{verdict}: {len(self.identical)} of {total} files are the same bytes"])


def replay(record: Path, into: Path | None = None, inputs: Path | None = None) -> Comparison:
    """Run the run of ``record`` (a results folder or its run.json) again, into a temporary folder or ``into``.

    ``inputs``: a folder in which inputs that moved are looked for, by their hash. ConfigError where there is no record,
    or an input is not to be found.
    """
    file = record / "run.json" if record.is_dir() else record
    known = _read(file)
    done = [row for row in known["images"] if row["status"] == "done"]
    if not done:
        raise ConfigError(f"{file}: no image of that run was done, so there is nothing to compare")
    if (file.parent / JOURNAL).exists():
        raise ConfigError(f"{file}: that run did not end; finish it first with resume=true")
    result = Comparison()
    with tempfile.TemporaryDirectory(prefix="xrdpipe-replay-") as scratch:
        found = Inputs(inputs.absolute() if inputs else None, Path(scratch) / "inputs")
        moved = {
            each["given"]: found.find(what, each) + each.get("inside", "") for what, each in known["inputs"].items()
        }
        values = _at(known["config"], moved)
        places = {row["name"]: found.find("image", row) for row in done}
        values |= {"images": list(places.values()), "output_dir": str(into or Path(scratch) / "again")}
        values |= {"overwrite": False, "resume": False, "quiet": True}
        again = run(values, known["command"], names=places)
        result.reasons += [f"the {what} has changed" for what in found.changed]
        for row in done:
            for name, digest in row["outputs"].items():
                if name.endswith(COMPARED):
                    _compare(name, file.parent, again.folder or file.parent, digest, result)
        result.reasons += [f"{row.file}: {row.error}" for row in again.failed]
    before, now = known["versions"], versions()
    result.reasons += [
        f"the version of {name} is {now.get(name)}, was {before[name]}"
        for name in before
        if before[name] != now.get(name)
    ]
    return result


class Inputs:
    """Where the recorded inputs are now: at their place, or under ``folder``, found by their hash."""

    def __init__(self, folder: Path | None, copies: Path) -> None:
        self.folder, self.copies = folder, copies
        self.changed: list[str] = []
        self.hashes: dict[str, Path] = {}

    def find(self, what: str, recorded: Mapping[str, Any]) -> str:
        """The path of an input now; ConfigError where it is gone."""
        path = Path(recorded["path"])
        if path.is_file() and file_hash(path) == recorded["hash"]:
            return str(path)
        if self.folder is not None:
            if not self.hashes:
                self.hashes = {file_hash(each): each for each in self.folder.rglob("*") if each.is_file()}
            if moved := self.hashes.get(recorded["hash"]):
                return str(moved if moved.name == path.name else self._named(moved, path.name))
        if not path.is_file():
            raise ConfigError(f"the {what} {path} is gone; say where it may be with inputs=FOLDER")
        self.changed.append(f"{what} {path}")
        return str(path)

    def _named(self, moved: Path, name: str) -> Path:
        # Names are part of the record, so a renamed input is used under its old one.
        copy = self.copies / file_hash(moved).partition(":")[2] / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(moved.read_bytes())
        return copy


def _read(file: Path) -> dict[str, Any]:
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        if known.get("program") == "xrdpipe" and known.get("config"):
            return dict(known)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); name a results folder") from error
    except (ValueError, AttributeError):
        pass
    raise ConfigError(f"{file}: not the record of a run")


def _at(values: Any, places: Mapping[str, str]) -> Any:
    """The configuration with every input at the place where it is now."""
    if isinstance(values, dict):
        return {key: _at(value, places) for key, value in values.items()}
    return places.get(values, values) if isinstance(values, str) else values


def _compare(name: str, there: Path, here: Path, digest: str, result: Comparison) -> None:
    if not (there / name).exists() or not (here / name).exists():
        result.different[name] = "missing in the record's folder" if (here / name).exists() else "not made again"
        return
    if (there / name).read_bytes() == (here / name).read_bytes():
        result.identical.append(name)
        return
    if file_hash(there / name) != digest:
        result.reasons.append(f"{name} was changed after the run")
    result.different[name] = _how(there / name, here / name)


def _how(old: Path, new: Path) -> str:
    """In which numbers two files differ."""
    try:
        if old.suffix == ".npy":
            before, after = (np.load(path, allow_pickle=False) for path in (old, new))
            return f"{int((before != after).sum())} of {before.size} pixels differ"
        before, after = (np.loadtxt(path, comments="#", ndmin=2) for path in (old, new))
        if before.shape != after.shape:
            return f"{len(before)} points there, {len(after)} now"
        off = np.abs(after - before) / np.maximum(np.abs(before), 1e-12)
        points = np.flatnonzero((off > 0).any(axis=1))
        if points.size == 0:
            return "the same numbers under another header"
        first = ", ".join(f"{before[point, 0]:.6g}" for point in points[:3])
        return f"{points.size} of {len(before)} points differ, by up to {off.max():.1e} (at {first} ...)"
    except ValueError:
        return "differs, and cannot be read as it was written"


def main(arguments: Sequence[str]) -> int:
    """``xrdpipe replay FOLDER [output_dir=FOLDER] [inputs=FOLDER]``; the result is the exit status."""
    places = [word for word in arguments if "=" not in word or Path(word).exists()]
    keys = dict(word.split("=", 1) for word in arguments if word not in places)
    if len(places) != 1 or not set(keys) <= {"output_dir", "inputs"}:
        raise ConfigError("replay: say xrdpipe replay FOLDER [output_dir=FOLDER] [inputs=FOLDER]")
    folders = {key: Path(value) for key, value in keys.items()}
    compared = replay(Path(places[0]), folders.get("output_dir"), folders.get("inputs"))
    print(compared.told())
    return compared.status
