"""Memory cache of frames."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import Any

from numpy.typing import NDArray

from ..model.reference import Reference
from . import files


class Memory:
    """Cache of raw frames for the jobs of a sweep, which read the same frames again and again.

    Attributes
    ----------
    room
        Largest size in bytes. 0 disables the cache, as in a single run, which reads every frame once.
    """

    room = 0

    def __init__(self) -> None:
        self.files: OrderedDict[tuple[str, int, int], tuple[NDArray[Any], str]] = OrderedDict()
        self.lock = threading.Lock()  # protects the cache, not the reading

    def read(self, reference: Reference) -> tuple[NDArray[Any], str]:
        """Return what `files.read` returns, from the cache if the files are unchanged."""
        if not self.room or not os.path.isfile(reference.path):
            return files.read(reference)
        key = (f"{reference.path.resolve()}{reference.tail}", *files.reference_state(reference))
        with self.lock:
            cached = self.files.get(key)
        if cached is None:
            cached = files.read(reference)
            with self.lock:
                self.files[key] = cached
                while sum(array.nbytes for array, _ in self.files.values()) > self.room:
                    self.files.popitem(last=False)
        return cached


memory = Memory()
