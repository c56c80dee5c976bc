"""Where a frame is, before it is read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True)
class Reference:
    """Where a frame is, before it is read: a file, or an array (slow, fast) handed over in Python.

    ``index`` is its number in a file of several, from 0; ``dataset`` says where in an HDF5 file it is, and may be a
    pattern (``/entry/data/data_*``) whose datasets follow one another. ``parts`` are the frames that are merged in it,
    ``path`` and the rest are then those of the first.
    """

    name: str
    path: Path
    array: NDArray[Any] | None = None
    dataset: str = ""
    index: int | None = None
    parts: tuple[Reference, ...] = ()

    @property
    def tail(self) -> str:
        """What follows the path where a frame of several is named: ``::/entry/data/data[3]``, or nothing."""
        number = "" if self.index is None else f"[{self.index}]"
        return f"::{self.dataset}{number}" if self.dataset or number else ""

    @property
    def location(self) -> str:
        """The frame as one may type it: ``scan.h5::/entry/data/data[3]``."""
        return f"{self.path}{self.tail}"

    @property
    def stack(self) -> str:
        """The file of many frames that it is one of, as its results are named; "" for a file of its own."""
        return "" if self.index is None else self.name.rpartition("_")[0]


def absolute_location(frame: Reference) -> str:
    """Where a frame is, wherever one stands: absolute path and tail."""
    return f"{os.path.abspath(frame.path)}{frame.tail}"


def display_path(frame: Reference, folders: bool = True) -> str:
    """A frame as it was given, or where frames are merged, the first and the last of them."""
    parts = frame.parts or (frame,)
    first, last = (f"{part.path if folders else part.path.name}{part.tail}" for part in (parts[0], parts[-1]))
    return first if first == last else f"{first} ... {last if parts[0].index is None else parts[-1].tail[2:]}"
