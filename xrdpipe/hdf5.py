"""What is in an HDF5 file: opened once a process, its links followed by hand, nothing in it trusted."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from .frame import FrameError
from .stage import nearest

if TYPE_CHECKING:
    import h5py

MOST_OPEN = 16  # files that stay open
_DEEPEST = 16  # links that lead to one another

# libhdf5 takes one call at a time anyway; under this lock no thread closes what another one reads.
_lock = threading.RLock()
_files: OrderedDict[Path, tuple[tuple[int, int], h5py.File]] = OrderedDict()


@contextmanager
def access(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file to read from, opened when it is new or has changed; FrameError if it cannot be opened.

    Files that are being written are opened too: nothing is locked, and a writer in SWMR mode is gone along with.
    """
    with _lock:
        key = path.absolute()
        try:
            status = path.stat()
        except OSError as error:
            raise FrameError("no such file" if isinstance(error, FileNotFoundError) else str(error.strerror)) from error
        state = (status.st_size, status.st_mtime_ns)
        known = _files.pop(key, None)
        if known is not None and known[0] != state:
            known[1].close()
            known = None
        _files[key] = known or (state, _open(path))
        while len(_files) > MOST_OPEN:
            _files.popitem(last=False)[1][1].close()
        yield _files[key][1]


def close() -> None:
    """Close all files that `access` keeps open."""
    with _lock:
        while _files:
            _files.popitem()[1][1].close()


def _open(path: Path) -> h5py.File:
    import h5py
    import hdf5plugin  # noqa: F401 # bitshuffle, LZ4 and the other filters of detectors

    if not path.is_file():  # a FIFO or a device would never end
        raise FrameError("not a file")
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        try:
            return h5py.File(path, "r", locking=False, swmr=True)
        except (OSError, ValueError):
            reason = str(error)
        if "truncated file" in reason:
            raise FrameError("the file is truncated, and HDF5 cannot read a part of it") from error
        raise FrameError(f"not an HDF5 file that can be read ({reason.splitlines()[0][:200]})") from error


def follow(path: Path, inside: str, depth: int = 0) -> tuple[Path, h5py.Group | h5py.Dataset]:
    """The object ``inside`` a file (``/entry/data``), and the file that really holds it; call it under `access`.

    FrameError says what is missing: an object, with the nearest name beside it; or the file that a link leads to.
    """
    import h5py

    if depth > _DEEPEST:
        raise FrameError(f"{inside}: links that lead nowhere but to one another")
    with access(path) as file:
        node: Any = file["/"]
        parts = [part for part in PurePosixPath(inside).parts if part != "/"]
        for at, part in enumerate(parts):
            here = "/".join(["", *parts[:at]]) or "/"
            rest = parts[at + 1 :]
            link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
            if link is None:
                there = list(node)[:100] if isinstance(node, h5py.Group) else []
                told = f"; {nearest(part, there)}" if there else ""
                raise FrameError(f"{path.name} has no {'/'.join(['', *parts])}: no {part!r} in {here}{told}")
            if isinstance(link, h5py.SoftLink):
                target = link.path if link.path.startswith("/") else f"{here}/{link.path}"
                return follow(path, "/".join([target, *rest]), depth + 1)
            if isinstance(link, h5py.ExternalLink):
                return follow(linked(path, link.filename), "/".join([link.path, *rest]), depth + 1)
            node = node[part]
        return path, node


def linked(path: Path, name: str) -> Path:
    """The file that ``path`` calls ``name``: beside it, as HDF5 looks for it; FrameError if it is not there."""
    for folder in (path.parent, path.resolve().parent):
        if (folder / name).is_file():
            return folder / name
    raise FrameError(f"{path.name} leads to {name}, which is not there")


def small_values(path: Path) -> tuple[str, ...]:
    """Where a file has single values, texts and lists: the paths of all datasets that are no images."""
    with access(path):
        return _small_values(path, _files[path.absolute()][0])


@lru_cache(maxsize=MOST_OPEN)
def _small_values(path: Path, state: tuple[int, int]) -> tuple[str, ...]:
    import h5py

    found: list[str] = []

    def visit(name: str, node: Any) -> bool | None:
        if isinstance(node, h5py.Dataset) and node.ndim < 2:
            found.append(f"/{name}")
        return True if len(found) == 10_000 else None

    with access(path) as file:
        file.visititems(visit)
    return tuple(found)


def value(path: Path, inside: str, index: int | None, count: int) -> Any:
    """A number or text: of a dataset with one value, or the one at ``index`` where it has ``count`` of them.

    KeyError where there is no such value.
    """
    import h5py

    try:
        with access(path):
            node = follow(path, inside)[1]
            if not isinstance(node, h5py.Dataset) or node.dtype.kind not in "uifbSO" or node.shape is None:
                raise KeyError(f"{inside}: not a number or text")
            text = h5py.check_string_dtype(node.dtype)
            if node.dtype.kind == "O" and text is None:
                raise KeyError(f"{inside}: not a number or text")
            if node.size == 1:
                found = node[(0,) * node.ndim]
            elif index is not None and node.shape == (count,):
                found = node[index]
            else:
                shape = " x ".join(map(str, node.shape))
                raise KeyError(f"{inside}: {shape} values, one, or one for each of {count} frames expected")
    except FrameError as error:
        raise KeyError(str(error)) from error
    if isinstance(found, bytes):
        return found.decode(errors="replace")
    return found.item() if hasattr(found, "item") else found
