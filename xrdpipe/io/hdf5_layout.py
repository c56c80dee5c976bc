"""Layout of HDF5 files: links, groups, and the datasets that count as frames."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from fnmatch import fnmatchcase
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..model.errors import FrameError
from .handles import FileHandles
from .paths import natural

if TYPE_CHECKING:
    import h5py


SIGNATURE = b"\x89HDF\r\n\x1a\n"
SERIES = re.compile(r"data_\d+")  # Eiger's names of the datasets of a series
REFUSED = "xrdpipe_refused"  # attribute of a file in place of a frame: why there is none
_DEEPEST = 16  # longest chain of links
_MOST = 10_000  # objects of a file that are visited
_SMALLEST = 8  # shortest side in pixels of a dataset that counts as images by default


def _open(path: Path) -> h5py.File:
    import h5py
    import hdf5plugin  # noqa: F401 # bitshuffle, LZ4 and the other filters of detectors

    try:  # without a lock, because other programs may be writing
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        try:
            return h5py.File(path, "r", locking=False, swmr=True)
        except (OSError, ValueError):
            if "truncated file" in str(error):
                raise FrameError("the file is truncated, and HDF5 cannot read a part of it") from error
            raise FrameError(f"HDF5 cannot read it ({str(error).splitlines()[0][:200]})") from error


opened = FileHandles(_open)


@contextmanager
def access(path: Path) -> Iterator[h5py.File]:
    """Yield an open file; raise FrameError if it is missing or damaged."""
    try:
        with opened.access(path) as file:
            yield file
    except FrameError:
        raise
    except Exception as error:  # h5py raises many types, from RuntimeError to UnicodeDecodeError
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise FrameError(f"HDF5 cannot read it ({reason})") from error


def follow(path: Path, inside: str, depth: int = 0) -> tuple[Path, h5py.Group | h5py.Dataset]:
    """Return an object of a file, and the file that holds it, across links. Call this inside `access`.

    Parameters
    ----------
    path
        File.
    inside
        Path of the object, ``/entry/data``.
    depth
        Number of links followed so far.

    Raises
    ------
    FrameError
        If the object is missing, with the nearest name, or the file that a link points to.
    """
    import h5py

    if depth > _DEEPEST:
        raise FrameError(f"{inside}: its links lead to one another")
    with access(path) as file:
        node: Any = file["/"]
        parts = [part for part in inside.split("/") if part not in ("", ".")]
        for at, part in enumerate(parts):
            here = "/".join(["", *parts[:at]])
            link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
            if link is None:
                hint = _near(part, node) if isinstance(node, h5py.Group) else ""
                raise FrameError(f"{path.name} has no {'/'.join(['', *parts])}: no {part!r} in {here or '/'}{hint}")
            remaining = parts[at + 1 :]
            if isinstance(link, h5py.SoftLink):
                target = link.path if link.path.startswith("/") else f"{here}/{link.path}"
                return follow(path, "/".join([target, *remaining]), depth + 1)
            if isinstance(link, h5py.ExternalLink):
                return follow(_linked(path, link.filename), "/".join([link.path, *remaining]), depth + 1)
            try:
                node = node[part]
            except (KeyError, OSError) as error:
                raise FrameError(f"{path.name}: {here}/{part} cannot be read") from error
        return path, node


def _near(name: str, group: h5py.Group) -> str:
    names = list(group)
    close = get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there is {', '.join(names[:8])}{', ...' * (len(names) > 8)}"
    return f"; {hint}" if names else ""


def _linked(path: Path, name: str) -> Path:
    """Return the file that ``path`` calls ``name``, next to it as in HDF5; raise FrameError if it is missing."""
    for folder in (path.parent, path.resolve().parent):
        if os.path.isfile(folder / name):
            return folder / name
    raise FrameError(f"{path.name} leads to {name}, which is not there")


def _walk(path: Path, inside: str = "/") -> Iterator[tuple[str, Path, Any]]:
    """Yield every object under ``inside`` once, across links: path, file that holds it, object."""
    import h5py

    seen: set[tuple[str, int]] = set()
    waiting = [inside]
    while waiting and len(seen) < _MOST:
        here = waiting.pop(0)
        try:
            file, node = follow(path, here)
        except FrameError:  # the target of a link is missing
            continue
        identity = (str(file), h5py.h5o.get_info(node.id).addr)
        if identity in seen:
            continue
        seen.add(identity)
        yield here, file, node
        if isinstance(node, h5py.Group):
            waiting += [f"{here.rstrip('/')}/{name}" for name in node]


def _matching(path: Path, pattern: str) -> list[str]:
    """Return the paths that match a pattern, sorted naturally; ``*`` stays within one level."""
    import h5py

    paths = [""]
    for part in (part for part in pattern.split("/") if part):
        if not any(character in part for character in "*?["):
            paths = [f"{each}/{part}" for each in paths]
            continue
        deeper = []
        for each in paths:
            try:
                node = follow(path, each)[1]
            except FrameError:
                continue
            if isinstance(node, h5py.Group):
                names = sorted((name for name in node if fnmatchcase(name, part)), key=natural)
                deeper += [f"{each}/{name}" for name in names]
        paths = deeper
    return paths[:_MOST]


def candidates(path: Path) -> list[tuple[str, tuple[int, ...], np.dtype[Any]]]:
    """Return all datasets that may be images: path, shape, type; stacks first, then by size."""
    import h5py

    with access(path):
        datasets = [
            (name, node.shape, node.dtype)
            for name, _, node in _walk(path)
            if isinstance(node, h5py.Dataset)
            and node.dtype.kind in "uifb"
            and node.ndim >= 2
            and min(node.shape[-2:]) >= _SMALLEST
        ]
    return sorted(datasets, key=lambda each: (len(each[1]) == 2, -prod(each[1])))


def _default(path: Path) -> tuple[str, list[str]]:
    """Return the default dataset of a file, and a note on the choice."""
    import h5py

    if (signal := _signal(path)) is not None:
        return signal, []
    datasets = candidates(path)
    try:
        group = follow(path, "/entry/data")[1]
    except FrameError:
        group = None
    numbered = [name for name in group if SERIES.fullmatch(name)] if isinstance(group, h5py.Group) else []
    if numbered:  # some may be links to missing files
        return "/entry/data/data_*", []
    if not datasets:
        refused = _text(follow(path, "/")[1].attrs.get(REFUSED)).splitlines()
        raise FrameError(
            refused[0][:200] if refused else "no images in it: no dataset of numbers with two dimensions or more"
        )
    name, shape, _ = datasets[0]
    others = [each for each, other, _ in datasets[1:] if other == shape]
    return name, [f"{name} is taken; {', '.join(others[:3])} has the same shape"] if others else []


def _signal(path: Path) -> str | None:
    """Return the path of NeXus' default plot, along ``@default`` and ``@signal``, or None."""
    import h5py

    here = "/"
    for _ in range(_DEEPEST):
        node = follow(path, here)[1]
        if not isinstance(node, h5py.Group):
            return None
        step = _text(node.attrs.get("signal")) or _text(node.attrs.get("default"))
        if not step:
            return None
        here = step if step.startswith("/") else f"{here.rstrip('/')}/{step}"
        try:
            target = follow(path, here)[1]
        except FrameError:
            return None
        if isinstance(target, h5py.Dataset):
            return here if target.ndim >= 2 and target.dtype.kind in "uifb" else None
    return None


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value if isinstance(value, str) else ""
