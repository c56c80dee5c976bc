"""What ran on what: content hashes, versions, and the record that makes a run repeatable."""

from __future__ import annotations

import json
import os
import platform
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

ALGORITHM = "xxh128"  # XXH3, 128 bits: 1 ms for a 16 MB frame, where SHA-256 takes 10 to 40; `xxh128sum FILE` checks it


def content_hash(content: Any) -> str:
    """``algorithm:hex`` of bytes or of a contiguous array's bytes."""
    import xxhash

    return f"{ALGORITHM}:{xxhash.xxh3_128_hexdigest(content)}"


def file_hash(path: str | Path) -> str:
    """``algorithm:hex`` of a file's content."""
    return content_hash(Path(path).read_bytes())


def moved(values: Any, places: Mapping[str, str]) -> Any:
    """Configuration values with every path that ``places`` knows replaced, also the path in ``table.csv:column``."""
    if isinstance(values, Mapping):
        return {key: moved(value, places) for key, value in values.items()}
    if isinstance(values, list):
        return [moved(value, places) for value in values]
    if not isinstance(values, str) or values in places:
        return places[values] if isinstance(values, str) else values
    path = next((path for path in places if values.startswith(f"{path}:")), "")
    return places[path] + values.removeprefix(path) if path else values


def versions() -> dict[str, str]:
    """Versions of everything that the numbers depend on; looked up once a process, which takes some ms."""
    packages = {"numpy": "numpy", "pyFAI": "pyFAI", "fabio": "fabio", "hydra": "hydra-core", "numba": "numba"}
    found = {name: version(package) for name, package in packages.items()}
    return {"xrdpipe": version("xrdpipe"), "python": platform.python_version(), **found}


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
