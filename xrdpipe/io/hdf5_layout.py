"""Where an HDF5 file keeps its images: links, groups and datasets that are taken for frames."""

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


SERIES = re.compile(r"data_\d+")  # how Eiger numbers the datasets of one series


_DEEPEST = 16  # links that lead to one another


_MOST = 10_000  # objects of a file that are looked at


_SMALLEST = 8  # pixels a side of what is taken for an image, where nobody says which dataset is one


def _open(path: Path) -> h5py.File:
    import h5py
    import hdf5plugin  # noqa: F401 # bitshuffle, LZ4 and the other filters of detectors

    try:  # without a lock, as others may be writing
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
    """A file to read from; FrameError where there is none, and whatever HDF5 says of one that is damaged."""
    try:
        with opened.access(path) as file:
            yield file
    except FrameError:
        raise
    except Exception as error:  # anything, from RuntimeError to UnicodeDecodeError
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise FrameError(f"HDF5 cannot read it ({reason})") from error


def follow(path: Path, inside: str, depth: int = 0) -> tuple[Path, h5py.Group | h5py.Dataset]:
    """The object ``inside`` a file (``/entry/data``), and the file that really holds it; call it under `access`.

    FrameError says what is missing: an object, with the nearest name beside it; or the file that a link leads to.
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
                told = _near(part, node) if isinstance(node, h5py.Group) else ""
                raise FrameError(f"{path.name} has no {'/'.join(['', *parts])}: no {part!r} in {here or '/'}{told}")
            rest = parts[at + 1 :]
            if isinstance(link, h5py.SoftLink):
                target = link.path if link.path.startswith("/") else f"{here}/{link.path}"
                return follow(path, "/".join([target, *rest]), depth + 1)
            if isinstance(link, h5py.ExternalLink):
                return follow(_linked(path, link.filename), "/".join([link.path, *rest]), depth + 1)
            try:
                node = node[part]
            except (KeyError, OSError) as error:
                raise FrameError(f"{path.name}: {here}/{part} cannot be read") from error
        return path, node


def _near(name: str, group: h5py.Group) -> str:
    there = list(group)
    close = get_close_matches(name, there, n=1)
    told = f"did you mean {close[0]!r}?" if close else f"there is {', '.join(there[:8])}{', ...' * (len(there) > 8)}"
    return f"; {told}" if there else ""


def _linked(path: Path, name: str) -> Path:
    """The file that ``path`` calls ``name``: beside it, as HDF5 looks for it; FrameError if it is not there."""
    for folder in (path.parent, path.resolve().parent):
        if os.path.isfile(folder / name):
            return folder / name
    raise FrameError(f"{path.name} leads to {name}, which is not there")


def _walk(path: Path, inside: str = "/") -> Iterator[tuple[str, Path, Any]]:
    """Every object under ``inside`` once, also through links: where it is, the file that holds it, and itself."""
    import h5py

    seen: set[tuple[str, int]] = set()
    waiting = [inside]
    while waiting and len(seen) < _MOST:
        here = waiting.pop(0)
        try:
            file, node = follow(path, here)
        except FrameError:  # a link into a file that is not there
            continue
        mark = (str(file), h5py.h5o.get_info(node.id).addr)
        if mark in seen:
            continue
        seen.add(mark)
        yield here, file, node
        if isinstance(node, h5py.Group):
            waiting += [f"{here.rstrip('/')}/{name}" for name in node]


def _matching(path: Path, pattern: str) -> list[str]:
    """The paths that match a pattern with ``*``, each within one level, sorted naturally."""
    import h5py

    found = [""]
    for part in (part for part in pattern.split("/") if part):
        if not any(character in part for character in "*?["):
            found = [f"{each}/{part}" for each in found]
            continue
        deeper = []
        for each in found:
            try:
                node = follow(path, each)[1]
            except FrameError:
                continue
            if isinstance(node, h5py.Group):
                names = sorted((name for name in node if fnmatchcase(name, part)), key=natural)
                deeper += [f"{each}/{name}" for name in names]
        found = deeper
    return found[:_MOST]


def candidates(path: Path) -> list[tuple[str, tuple[int, ...], np.dtype[Any]]]:
    """All datasets that may be images, the largest first: path, shape, type; stacks before single images."""
    import h5py

    with access(path):
        found = [
            (name, node.shape, node.dtype)
            for name, _, node in _walk(path)
            if isinstance(node, h5py.Dataset)
            and node.dtype.kind in "uifb"
            and node.ndim >= 2
            and min(node.shape[-2:]) >= _SMALLEST
        ]
    return sorted(found, key=lambda each: (len(each[1]) == 2, -prod(each[1])))


def _default(path: Path) -> tuple[str, list[str]]:
    """The dataset that a file is about, and what the user should know of the choice."""
    import h5py

    if (signal := _signal(path)) is not None:
        return signal, []
    found = candidates(path)
    try:
        group = follow(path, "/entry/data")[1]
    except FrameError:
        group = None
    numbered = [name for name in group if SERIES.fullmatch(name)] if isinstance(group, h5py.Group) else []
    if numbered:  # of which some may be links into files that are not there
        return "/entry/data/data_*", []
    if not found:
        raise FrameError("no images in it: no dataset of numbers with two dimensions or more")
    name, shape, _ = found[0]
    others = [each for each, other, _ in found[1:] if other == shape]
    return name, [f"{name} is taken; {', '.join(others[:3])} has the same shape"] if others else []


def _signal(path: Path) -> str | None:
    """NeXus' default plot: from the root along ``@default``, and ``@signal`` there."""
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
            found = follow(path, here)[1]
        except FrameError:
            return None
        if isinstance(found, h5py.Dataset):
            return here if found.ndim >= 2 and found.dtype.kind in "uifb" else None
    return None


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value if isinstance(value, str) else ""
