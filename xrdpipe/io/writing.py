"""What ran on what: content hashes, versions, and the record that makes a run repeatable."""

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
    """``algorithm:hex`` of a file's content."""
    return content_hash(Path(path).read_bytes())


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that it appears whole or not at all: beside its name, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The name of the host too: computers that share the file system may have processes of the same number.
    beside = path.with_name(f".{platform.node()}-{os.getpid()}-{threading.get_ident()}.part")
    try:
        with open(beside, "w+b") as file:
            write(file)
        os.replace(beside, path)
    except BaseException as error:
        with suppress(OSError):
            beside.unlink()
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole or not at all."""
    # A file name may hold bytes that are no UTF-8: they are written as \udcff, which JSON reads back.
    write_whole(path, lambda file: file.write(text.encode(errors="backslashreplace")))


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    write_text(path, json.dumps(values, indent=1, ensure_ascii=False, default=str) + "\n")
