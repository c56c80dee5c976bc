"""Files that stay open, so that a stack of a thousand frames is not opened a thousand times."""

from __future__ import annotations

import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from ..model.errors import FrameError


class Closable(Protocol):
    def close(self) -> object: ...


File = TypeVar("File", bound=Closable)


class FileHandles(Generic[File]):
    """The files that ``opening`` has opened in this process, up to ``most``; the one not used for longest is closed."""

    def __init__(self, opening: Callable[[Path], File], most: int = 16) -> None:
        self._opening, self._most = opening, most
        self._lock = threading.RLock()  # no thread closes, or moves about in, what another one reads
        self._files: OrderedDict[Path, tuple[tuple[int, int], File]] = OrderedDict()

    @contextmanager
    def access(self, path: Path) -> Iterator[File]:
        """A file to read from, opened when it is new here or has changed; FrameError where there is none."""
        with self._lock:
            key, now = path.absolute(), file_state(path)
            before, file = self._files.pop(key, (None, None))
            if file is not None and before != now:
                file.close()
                file = None
            if file is None:
                file = self._opening(path)
            self._files[key] = now, file
            while len(self._files) > self._most:
                self._files.popitem(last=False)[1][1].close()
            yield file

    def close(self) -> None:
        """Close all of them."""
        with self._lock:
            while self._files:
                self._files.popitem()[1][1].close()


def file_state(path: Path) -> tuple[int, int]:
    """Size (bytes) and modification time (ns) of a file, by which one sees that it has changed; FrameError if none."""
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise FrameError("no such file") from error
    except OSError as error:
        raise FrameError(f"cannot be read ({error.strerror})") from error
    except ValueError as error:  # a NUL in its name
        raise FrameError(f"cannot be read ({error})") from error
    if stat.S_ISDIR(status.st_mode):
        raise FrameError("is a folder, not an image")
    if not stat.S_ISREG(status.st_mode):  # a FIFO or a device would never end
        raise FrameError("not a regular file")
    return status.st_size, status.st_mtime_ns
