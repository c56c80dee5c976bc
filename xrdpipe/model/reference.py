"""References to frames that are not read yet."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True)
class Reference:
    """Location of a frame: a file, a frame in a file, or an array passed in Python.

    Attributes
    ----------
    name
        Name of the frame in its run.
    path
        File.
    array
        Array of shape (slow, fast), if the frame is passed in Python.
    dataset
        Path in an HDF5 file. A pattern (``/entry/data/data_*``) stands for the matching datasets, one after another.
    index
        Index of the frame in a file of several, from 0.
    parts
        Frames that are merged in this one. The other attributes are then those of the first part.
    """

    name: str
    path: Path
    array: NDArray[Any] | None = None
    dataset: str = ""
    index: int | None = None
    parts: tuple[Reference, ...] = ()

    @property
    def tail(self) -> str:
        """Part of the location after the path: ``::/entry/data/data[3]``, or an empty text."""
        number = "" if self.index is None else f"[{self.index}]"
        return f"::{self.dataset}{number}" if self.dataset or number else ""

    @property
    def location(self) -> str:
        """Location as a user types it: ``scan.h5::/entry/data/data[3]``."""
        return f"{self.path}{self.tail}"

    @property
    def stack(self) -> str:
        """Name of the stack that the frame belongs to; empty for a file with one frame."""
        return "" if self.index is None else self.name.rpartition("_")[0]


def absolute_location(frame: Reference) -> str:
    """Return the absolute path and the tail of a frame."""
    return f"{os.path.abspath(frame.path)}{frame.tail}"


def display_path(frame: Reference, folders: bool = True) -> str:
    """Return the path of a frame as the user typed it.

    Merged frames give the first and the last of their parts. Without ``folders``, only base names are shown.
    """
    parts = frame.parts or (frame,)
    first, last = (f"{part.path if folders else part.path.name}{part.tail}" for part in (parts[0], parts[-1]))
    return first if first == last else f"{first} ... {last if parts[0].index is None else parts[-1].tail[2:]}"
