"""Paths that a user types for frames: files, datasets in them, and slices."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..model.errors import ConfigError

_BLOCK = 50_000  # names that are in memory at a time
_DIGITS = 18  # of a number that fits 64 bits
_TAIL = re.compile(r"(?P<inside>/.*?)?(?:\[(?P<selection>[-\d:]+)\])?", re.DOTALL)


class Place(NamedTuple):
    """A part of a file.

    Attributes
    ----------
    file
        The file.
    inside
        Dataset in it, or a pattern of datasets.
    selection
        Index or slice of its frames, None for all.
    """

    file: Path
    inside: str
    selection: int | slice | None


def split_path(path: str | Path) -> Place:
    """Split ``file.h5::/entry/data[10:20]`` into its parts.

    A path that exists as it is stands for that file.

    Raises
    ------
    ConfigError
        If the text after ``::`` is neither a path nor a slice.
    """
    file, colons, tail = str(path).partition("::")
    if not colons or os.path.lexists(path):
        return Place(Path(path), "", None)
    match = _TAIL.fullmatch(tail)
    try:
        assert match is not None
        numbers = [int(part) if part else None for part in (match["selection"] or "").split(":")]
        assert len(numbers) <= 3
    except (AssertionError, ValueError) as error:
        raise ConfigError(
            f"{path}: after :: the path of a dataset is expected, or [number], [first:end], or both, as in "
            f"{file}::/entry/data/data[0:10]"
        ) from error
    selection = None if match["selection"] is None else numbers[0] if len(numbers) == 1 else slice(*numbers)
    return Place(Path(file), match["inside"] or "", selection)


def base_name(path: str) -> str:
    """Return a path without its folders; the part after ``::`` stays."""
    file = split_path(path).file
    return f"{file.name}{path[len(str(file)) :]}" if path.startswith(str(file)) else Path(path).name


def expand(images: str | Iterable[str], key: str = "images") -> list[Path]:
    """Expand paths, globs (also ``**``) and ``@list.txt`` to image files.

    Globs are sorted naturally, lists keep their order, and duplicates are dropped. An entry that exists as it is stands
    for that file, whatever characters it has.

    Parameters
    ----------
    images
        Entries.
    key
        Configuration key, for error messages.

    Raises
    ------
    ConfigError
        If a glob or a list is empty.
    """
    files: dict[str, Path] = {}
    for entry in [images] if isinstance(images, str) else images:
        for path in _expand_one(entry, key):
            files.setdefault(os.path.abspath(path), path)
    return list(files.values())


def numbered(entry: str, least: int) -> tuple[str, int, str, NDArray[np.int64]] | None:
    """Find files whose names differ in a number of so many digits alone, without a look at each.

    Parameters
    ----------
    entry
        Glob in one folder.
    least
        Smallest number of files.

    Returns
    -------
    tuple or None
        Path before the number, number of its digits, path after it, and the numbers in ascending order. None if a file
        has another name, is a link, or if there are fewer; `expand` then finds them.
    """
    folder, pattern = os.path.split(expand_user(entry))
    if os.path.lexists(entry) or any(character in folder for character in "*?[") or "::" in entry or "**" in pattern:
        return None
    try:
        characters = _names_in(folder or ".", pattern)
    except (OSError, ValueError):
        return None
    if len(characters) < least:
        return None
    (varying,) = np.nonzero((characters != characters[0]).any(axis=0))
    low, high = int(varying[0]), int(varying[-1]) + 1
    digits = characters[:, low:high]
    first = characters[0].tobytes().decode("ascii")
    before, after = first[:low], first[high:]
    has_suffix = "." in after or "." not in before
    if high - low > _DIGITS or not has_suffix or not ((digits >= ord("0")) & (digits <= ord("9"))).all():
        return None
    numbers = np.zeros(len(digits), np.int64)
    for column in digits.T:
        numbers = 10 * numbers + (column - ord("0"))
    numbers.sort()
    return os.path.join(folder, before), high - low, after, numbers


def _names_in(folder: str, pattern: str) -> NDArray[np.uint8]:
    """Return the characters of the names of files that a pattern matches, shape (names, length).

    ValueError if a name has another length, is not ASCII, or is of no regular file.
    """
    match, is_hidden = re.compile(fnmatch.translate(pattern)).match, pattern.startswith(".")
    blocks, names = list[NDArray[np.uint8]](), list[str]()
    with os.scandir(folder) as entries:
        for each in entries:
            if match(each.name) and (is_hidden or not each.name.startswith(".")):
                if not each.is_file(follow_symlinks=False):
                    raise ValueError(f"{each.name} is no regular file")
                names.append(each.name)
                if len(names) == _BLOCK:
                    blocks.append(_characters(names))
                    names.clear()
    blocks += [_characters(names)] if names else []
    return np.concatenate(blocks) if blocks else np.empty((0, 0), np.uint8)


def _characters(names: list[str]) -> NDArray[np.uint8]:
    """Return the characters of ASCII names of one length, (names, length); ValueError for others."""
    if len(set(map(len, names))) > 1:
        raise ValueError("several lengths")
    return np.frombuffer("".join(names).encode("ascii"), np.uint8).reshape(len(names), -1)


def expand_user(path: str) -> str:
    """Expand ``~`` and ``$VAR`` unless a file of that exact name exists."""
    try:
        return path if os.path.lexists(path) else os.path.expanduser(os.path.expandvars(path))
    except ValueError:  # a NUL in a user's name
        return path


def _expand_one(entry: str, key: str, lists: tuple[str, ...] = ()) -> Iterator[Path]:
    try:
        valid = b"\0" not in os.fsencode(entry)
    except UnicodeEncodeError:
        valid = False
    if not valid:
        raise ConfigError(f"{key}={entry!r}: no file can have this name")
    entry = expand_user(entry)
    file, colons, tail = entry.partition("::")
    if os.path.lexists(entry):
        yield Path(entry)
    elif colons:
        split_path(entry)
        yield from (Path(f"{each}::{tail}") for each in _expand_one(file, key))
    elif entry.startswith("@"):
        if entry in lists:
            raise ConfigError(f"{key}={entry}: the list names itself")
        lines = _lines(entry[1:], key)
        if not lines:
            raise ConfigError(f"{key}={entry}: the list is empty")
        for line in lines:
            yield from _expand_one(line, key, (*lists, entry))
    elif any(character in entry for character in "*?["):
        from glob import iglob

        files = (match for match in iglob(entry, recursive=True) if os.path.isfile(match))
        matches = sorted(files, key=lambda match: (natural(match), match))  # f_1 and f_01 have an order too
        if not matches:
            raise ConfigError(f"{key}={entry}: no file matches (looked in {Path.cwd()})")
        yield from map(Path, matches)
    else:
        yield Path(entry)  # a file that does not exist fails alone, with its name


def _lines(path: str, key: str) -> list[str]:
    try:
        text = Path(expand_user(path)).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{key}=@{path}: the list cannot be read ({error})") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def natural(text: str) -> list[tuple[int, int | str]]:
    """Return a sort key that puts ``f_2`` before ``f_10``."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", text) if part]
