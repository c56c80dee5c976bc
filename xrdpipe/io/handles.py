"""Open files, kept so that a stack of a thousand frames is opened once."""

from __future__ import annotations

import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from ..model.errors import FrameError


class Closable(Protocol):
    """Object with a ``close`` method."""

    def close(self) -> object:
        """Release the file."""


File = TypeVar("File", bound=Closable)


class FileHandles(Generic[File]):
    """Files that this process keeps open; the least recently used is closed first.

    Parameters
    ----------
    opening
        Function that opens a path.
    most
        Largest number of open files.
    """

    def __init__(self, opening: Callable[[Path], File], most: int = 16) -> None:
        self._opening, self._most = opening, most
        self._lock = threading.RLock()  # no thread closes a file, or seeks in it, while another one reads it
        self._files: OrderedDict[str, tuple[tuple[int, int], File]] = OrderedDict()  # by absolute path

    @contextmanager
    def access(self, path: Path) -> Iterator[File]:
        """Yield the open file; open it again if it has changed. Raise FrameError if it is missing."""
        with self._lock:
            key, current = os.path.abspath(path), file_state(path)
            state, file = self._files.pop(key, (None, None))
            if file is not None and state != current:
                file.close()
                file = None
            if file is None:
                file = self._opening(path)
            self._files[key] = current, file
            while len(self._files) > self._most:
                self._files.popitem(last=False)[1][1].close()
            yield file

    def close(self) -> None:
        """Close all files."""
        with self._lock:
            while self._files:
                self._files.popitem()[1][1].close()


def file_state(path: Path) -> tuple[int, int]:
    """Return size (bytes) and modification time (ns) of a file, which show whether it has changed.

    Raises
    ------
    FrameError
        If it is missing or not a regular file.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError as error:
        raise FrameError("no such file") from error
    except OSError as error:
        raise FrameError(f"cannot be read ({error.strerror})") from error
    except ValueError as error:  # a NUL in its name
        raise FrameError(f"cannot be read ({error})") from error
    if stat.S_ISDIR(status.st_mode):
        raise FrameError("is a folder, not an image")
    if not stat.S_ISREG(status.st_mode):  # reading a FIFO or a device would never end
        raise FrameError("not a regular file")
    return status.st_size, status.st_mtime_ns
