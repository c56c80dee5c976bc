"""The keys of the shipped configuration files, with the descriptions in their comments; imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Described(NamedTuple):
    """The value of a key as it is written, and its description."""

    value: str
    text: str


def described_keys(path: Path, prefix: str = "") -> dict[str, Described]:
    """Return the keys of a configuration file with their descriptions, up to Hydra's own part.

    Parameters
    ----------
    path
        The file. A line of it is ``key: value  # description``, nested once at most, so no YAML parser is needed.
    prefix
        Beginning of every key, ``mask.`` for a file of the group ``mask``.
    """
    found, parent = {}, ""
    for line in path.read_text(encoding="utf-8").splitlines():
        key, colon, remaining = line.partition(":")
        if line.startswith("hydra:"):
            break
        if not colon or key.lstrip().startswith(("#", "_", "-")) or key == "defaults":
            continue
        value, _, description = remaining.partition(" #")  # a colour begins with # too
        parent = parent if line.startswith(" ") else ""
        found[f"{prefix}{parent}{key.strip()}"] = Described(value.strip(), description.strip())
        parent = parent if value.strip() else f"{key.strip()}."
    return found


def described_option(path: Path) -> str:
    """Return the description of an option: the first line of its file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if not line.startswith("# @package")).lstrip("# ")
