"""Content hashes, and versions of the software that results depend on."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import Any

ALGORITHM = "xxh128"  # XXH3, 128 bits: 1 ms for a 16 MB frame, where SHA-256 takes 10 to 40; `xxh128sum FILE` checks it


def content_hash(content: Any) -> str:
    """Return ``algorithm:hex`` of bytes or of the bytes of a contiguous array."""
    import xxhash

    return f"{ALGORITHM}:{xxhash.xxh3_128_hexdigest(content)}"


def relocate(values: Any, places: Mapping[str, str]) -> Any:
    """Return configuration values with paths replaced.

    Parameters
    ----------
    values
        Nested mappings, lists and plain values.
    places
        Old path -> new path. The path in ``table.csv:column`` is replaced as well.
    """
    if isinstance(values, Mapping):
        return {key: relocate(value, places) for key, value in values.items()}
    if isinstance(values, list):
        return [relocate(value, places) for value in values]
    if not isinstance(values, str) or values in places:
        return places[values] if isinstance(values, str) else values
    path = next((path for path in places if values.startswith(f"{path}:")), "")
    return places[path] + values.removeprefix(path) if path else values


def versions() -> dict[str, str]:
    """Return the version of every package that results depend on, name -> version."""
    return dict(_versions())


@cache  # it parses the metadata of each package, and frames with files of their own ask for it
def _versions() -> dict[str, str]:
    packages = {"numpy": "numpy", "pyFAI": "pyFAI", "fabio": "fabio", "hydra": "hydra-core", "numba": "numba"}
    installed = {name: version(package) for name, package in packages.items()}
    return {"xrdpipe": version("xrdpipe"), "python": platform.python_version(), **installed}
