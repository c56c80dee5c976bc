"""The lock of a results folder: one run at a time writes into it; it ends with the process that has it, however."""

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

LOCK = ".lock"  # in the folder, while a run has it; one that a killed run left locks nothing


OWNER = 200  # bytes in it that say who has it


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder, which is made for that; what was made goes if nothing else came in.

    InUseError where another run has it. Where the lock cannot be made nobody is kept out: a folder that cannot be
    written to is refused elsewhere, and of a file system without locks the user is told.
    """
    missing = [path for path in (folder, *folder.parents) if not os.path.exists(path)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = _taken(folder / LOCK)
    except InUseError as error:
        raise InUseError(f"output_dir={folder}: {error}; wait for it, or choose another output_dir") from None
    except (OSError, ValueError):  # the latter of a name that cannot be one
        file = None
    try:
        yield
    finally:
        if file is not None:
            with suppress(OSError):  # as long as it is held: who opened it meanwhile sees that it is gone
                (folder / LOCK).unlink()
            os.close(file)
        for path in missing:
            with suppress(OSError):  # it holds results
                path.rmdir()


def _taken(path: Path) -> int:
    """The open lock file; InUseError with its owner where another one has it, OSError where there are no locks."""
    while True:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except PermissionError:  # of a killed run of somebody else
            file = os.open(path, os.O_RDONLY)
        try:
            _lock(file)
        except OSError as error:
            owner = os.pread(file, OWNER, 0).decode(errors="replace") if hasattr(os, "pread") else ""
            os.close(file)
            if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
                raise InUseError(f"another run writes into it ({owner or 'it has just begun'})") from None
            told = f"no lock can be had there ({error.strerror}); make sure that no other run writes into it"
            print(f"xrdpipe: output_dir={path.parent}: {told}", file=sys.stderr, flush=True)
            raise
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), os.stat(path)):
                break
        os.close(file)  # its owner has just ended, and removed it
    since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    with suppress(OSError):  # only words
        os.ftruncate(file, 0)
        os.write(file, f"process {os.getpid()} on {platform.node()}, since {since}".encode()[:OWNER])
    return file


def _lock(file: int) -> None:
    """Lock an open file for this process, at once or not at all: OSError."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(file, 1 << 20, os.SEEK_SET)  # beyond what says whose it is, as nobody else can read what is locked
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        os.lseek(file, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
