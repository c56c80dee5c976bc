"""Frames read before, kept for as long as their files do not change."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import Any

from numpy.typing import NDArray

from ..model.reference import Reference
from . import files


class Memory:
    """Files read before, for as long as they do not change: the jobs of a sweep read the same frames again and again.

    Holds up to ``room`` bytes; 0, as in a single run, which meets every frame once, holds nothing.
    """

    room = 0

    def __init__(self) -> None:
        self.files: OrderedDict[tuple[str, int, int], tuple[NDArray[Any], str]] = OrderedDict()
        self.lock = threading.Lock()  # of what is held, not of the reading

    def read(self, reference: Reference) -> tuple[NDArray[Any], str]:
        """As `files.read`, from memory where it can be."""
        if not self.room or not os.path.isfile(reference.path):
            return files.read(reference)
        key = (f"{reference.path.resolve()}{reference.tail}", *files.reference_state(reference))
        with self.lock:
            found = self.files.get(key)
        if found is None:
            found = files.read(reference)
            with self.lock:
                self.files[key] = found
                while sum(array.nbytes for array, _ in self.files.values()) > self.room:
                    self.files.popitem(last=False)
        return found


memory = Memory()
