"""Atomic writing of files, and their hashes."""

from __future__ import annotations

import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from ..model.identity import content_hash


def file_hash(path: str | Path) -> str:
    """Return ``algorithm:hex`` of the content of a file."""
    return content_hash(Path(path).read_bytes())


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file atomically: to a temporary name in the same folder, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _replacing(str(path)) as part, open(part, "w+b") as file:
        write(file)


def write_bytes(folder: str | Path, name: str, content: bytes) -> str:
    """Write a file atomically and return its hash, as `file_hash` does.

    Parameters
    ----------
    folder
        Existing folder or one that is created.
    name
        Path in it.
    content
        What the file shall hold.
    """
    path = f"{folder}/{name}"
    with _replacing(path) as part:
        try:
            _write(part, content)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            _write(part, content)
    return content_hash(content)


def _write(path: str, content: bytes) -> None:
    with open(path, "wb", buffering=0) as file:
        rest = memoryview(content)
        while rest:  # the system may write less
            rest = rest[file.write(rest) :]


@contextmanager
def _replacing(path: str) -> Iterator[str]:
    """Provide the name of a temporary file that becomes ``path``, or is removed if writing fails."""
    # Includes the host name, because hosts on a shared file system may have equal process ids.
    name = f".{platform.node()}-{os.getpid()}-{threading.get_ident()}.part"
    part = os.path.join(os.path.dirname(path), name)
    try:
        yield part
        _rename(part, path)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(part)
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.errno, error.strerror, path) from error
        raise


def _rename(part: str, path: str) -> None:
    """Rename a file; wait a moment on Windows, where a virus scanner or an indexer may have it open."""
    for pause in (0.05, 0.2, 0.5) if sys.platform == "win32" else ():
        try:
            os.replace(part, path)
        except PermissionError:
            time.sleep(pause)
        else:
            return
    os.replace(part, path)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    write_bytes(path.parent, path.name, encoded(text))


def encoded(text: str) -> bytes:
    """Return a text as UTF-8."""
    # A file name may hold bytes that are not UTF-8; they are written as \udcff, which JSON reads back.
    return text.encode(errors="backslashreplace")


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file atomically."""
    write_text(path, indented(values, 0) + "\n")


def indented(values: Any, level: int) -> str:
    """Return JSON as ``json.dumps`` does with ``indent=1``, which is the slow path of the library.

    Parameters
    ----------
    values
        Values. Those that JSON does not know are written as text.
    level
        Depth of the value in the file.
    """
    inner, outer = "\n" + " " * (level + 1), "\n" + " " * level
    if isinstance(values, dict) and values and all(type(key) is str for key in values):
        ends, nested = "{}", any(isinstance(each, _CONTAINERS) and each for each in values.values())
        if nested:
            parts = [f"{encoder('')(key)}: {indented(each, level + 1)}" for key, each in values.items()]
    elif isinstance(values, (list, tuple)) and values:
        ends, nested = "[]", any(isinstance(each, _CONTAINERS) and each for each in values)
        if nested:
            parts = [indented(each, level + 1) for each in values]
    else:
        return json.dumps(values, indent=1, ensure_ascii=False, default=str).replace("\n", outer)
    text = f",{inner}".join(parts) if nested else encoder(inner)(values)[1:-1]
    return f"{ends[0]}{inner}{text}{outer}{ends[1]}"


@cache
def encoder(between: str) -> Callable[[Any], str]:
    """Return a function from values to JSON, with ``between`` after each comma; others are written as text."""
    return json.JSONEncoder(ensure_ascii=False, default=str, separators=(f",{between}", ": ")).encode


_CONTAINERS = (dict, list, tuple)
