"""Check of the files that a command is asked to write."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..model.errors import ConfigError


def check_new_files(files: Sequence[Path], inputs: Iterable[Path], overwrite: bool, key: str) -> None:
    """Check that files can be written and replace nothing.

    Parameters
    ----------
    files
        The files to write.
    inputs
        Files that the command reads.
    overwrite
        A file that is there may be replaced.
    key
        Beginning of the messages.

    Raises
    ------
    ConfigError
        A file is there already, is an input or a folder, or cannot be written.
    """
    taken = {path.resolve() for path in inputs}
    for path in files:
        if path.resolve() in taken:
            raise ConfigError(f"{key}: {path} is an input; choose another name")
        if path.is_dir():
            raise ConfigError(f"{key}: {path} is a folder")
        if path.exists() and not overwrite:
            raise ConfigError(f"{key}: {path} is already there; say overwrite=true, or choose another name")
        parent = next(each for each in path.absolute().parents if each.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
            why = "not writable" if parent.is_dir() else "a file, not a folder"
            raise ConfigError(f"{key}: {path}: {parent} is {why}")
