"""Lock of a results folder: only one run at a time writes into it.

The operating system releases the lock when its process ends, however it ends.
"""

from __future__ import annotations

import errno
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from ..model.errors import InUseError

LOCK = ".lock"  # lock file in the folder; one that a killed run leaves locks nothing
OWNER = 200  # bytes of the lock file that describe its owner


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Lock a results folder for the duration of the context.

    The folder is created if it is missing, and removed again if it stays empty. A folder that is not writable is not
    locked; the run refuses it later. A file system without locks causes a warning.

    Parameters
    ----------
    folder
        Results folder.

    Raises
    ------
    InUseError
        Another run writes into the folder.
    """
    missing = [path for path in (folder, *folder.parents) if not os.path.exists(path)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = _open_lock(folder / LOCK)
    except InUseError as error:
        raise InUseError(f"output_dir={folder}: {error}; wait for it, or choose another output_dir") from None
    except (OSError, ValueError):  # ValueError: the name is not a valid path
        file = None
    try:
        yield
    finally:
        if file is not None:
            with suppress(OSError):  # before the lock ends, so that a process that waits for it sees the removal
                (folder / LOCK).unlink()
            os.close(file)
            if sys.platform == "win32":  # an open file cannot be removed there
                with suppress(OSError):
                    (folder / LOCK).unlink()
        for path in missing:
            with suppress(OSError):  # the folder is not empty
                path.rmdir()


def _open_lock(path: Path) -> int:
    """Open and lock the lock file.

    Raise InUseError, which names the owner, if another process holds the lock, and OSError if locks are impossible.
    """
    while True:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except PermissionError:  # left by a killed run of another user
            file = os.open(path, os.O_RDONLY)
        try:
            _lock(file)
        except OSError as error:
            os.lseek(file, 0, os.SEEK_SET)
            owner = os.read(file, OWNER).decode(errors="replace")
            os.close(file)
            if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
                raise InUseError(f"another run writes into it ({owner or 'it has just begun'})") from None
            warning = f"no lock can be had there ({error.strerror}); make sure that no other run writes into it"
            print(f"xrdpipe: output_dir={path.parent}: {warning}", file=sys.stderr, flush=True)
            raise
        with suppress(FileNotFoundError):
            if sys.platform == "win32" or os.path.samestat(os.fstat(file), os.stat(path)):
                break  # Windows removes no open file
        os.close(file)  # its owner ended and removed it in the meantime
    since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    with suppress(OSError):  # the description is optional
        os.ftruncate(file, 0)
        os.write(file, f"process {os.getpid()} on {platform.node()}, since {since}".encode()[:OWNER])
    return file


def _lock(file: int) -> None:
    """Lock an open file for this process without waiting; raise OSError if that fails."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(file, 1 << 20, os.SEEK_SET)  # beyond the description of the owner: locked bytes are unreadable
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        os.lseek(file, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
