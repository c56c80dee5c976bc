"""Atomic writing of files, and their hashes."""

from __future__ import annotations

import json
import os
import platform
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from ..model.identity import content_hash


def file_hash(path: str | Path) -> str:
    """Return ``algorithm:hex`` of the content of a file."""
    return content_hash(Path(path).read_bytes())


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file atomically: to a temporary name in the same folder, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Includes the host name, because hosts on a shared file system may have equal process ids.
    part = path.with_name(f".{platform.node()}-{os.getpid()}-{threading.get_ident()}.part")
    try:
        with open(part, "w+b") as file:
            write(file)
        os.replace(part, path)
    except BaseException as error:
        with suppress(OSError):
            part.unlink()
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    # A file name may hold bytes that are not UTF-8; they are written as \udcff, which JSON reads back.
    write_whole(path, lambda file: file.write(text.encode(errors="backslashreplace")))


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(values, indent=1, ensure_ascii=False, default=str) + "\n")
