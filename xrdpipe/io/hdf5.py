"""HDF5: where a file has its images, and one of them; links are followed by hand, and nothing in it is trusted."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..model.errors import FrameError
from ..model.limits import CREDIBLE, check_count, check_image
from . import chunks
from .handles import FileHandles, file_state
from .paths import natural

if TYPE_CHECKING:
    import h5py


SIGNATURE = b"\x89HDF\r\n\x1a\n"


SERIES = re.compile(r"data_\d+")  # how Eiger numbers the datasets of one series


_DEEPEST = 16  # links that lead to one another


_MOST = 10_000  # objects of a file that are looked at


_SMALLEST = 8  # pixels a side of what is taken for an image, where nobody says which dataset is one


_PACKED = 2000  # times a dataset may be larger than what is stored of it: more than any compression makes of noise


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


@dataclass(frozen=True)
class Piece:
    """A dataset of images: the file that really holds it, its path there, its shape (..., slow, fast) and type.

    ``there``: which of its images have been written, None for all; ``files``: all files that its images lie in.
    """

    file: Path
    inside: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    there: frozenset[int] | None = None
    files: tuple[Path, ...] = ()

    @property
    def count(self) -> int:
        """How many images it has, or is to have."""
        return prod(self.shape[:-2])


@dataclass(frozen=True)
class Stack:
    """The images of one dataset, or of several in a row (``inside`` is a pattern); ``notes`` say what is missing."""

    inside: str
    pieces: tuple[Piece, ...]
    notes: tuple[str, ...] = ()

    @property
    def single(self) -> bool:
        """Whether it is one image and no stack of one."""
        return len(self.pieces) == 1 and len(self.pieces[0].shape) == 2

    @property
    def count(self) -> int:
        """How many images it has, or is to have."""
        return sum(piece.count for piece in self.pieces)

    @property
    def indices(self) -> list[int]:
        """The numbers of the images that are there."""
        found, start = [], 0
        for piece in self.pieces:
            found += [start + at for at in range(piece.count) if piece.there is None or at in piece.there]
            start += piece.count
        return found

    def locate(self, index: int) -> tuple[Piece, int]:
        """The dataset that has an image, and its number there; FrameError if there is no such image."""
        at = index
        for piece in self.pieces:
            if at < piece.count:
                if at < 0 or (piece.there is not None and at not in piece.there):
                    break
                return piece, at
            at -= piece.count
        raise FrameError(f"there is no frame {index} in {self.inside}, which has {len(self.indices)}")


def stack(path: Path, inside: str = "") -> Stack:
    """The images in the dataset ``inside`` of a file, in those that match it as a pattern, or by default in the one
    that is to be shown: NeXus' default signal, Eiger's series, else the largest dataset.

    FrameError says why there is none. Kept for as long as the file does not change.
    """
    return _stack(path, inside, file_state(path))


@lru_cache(maxsize=256)
def _stack(path: Path, inside: str, now: tuple[int, int]) -> Stack:
    with access(path):
        notes: list[str] = []
        if not inside:
            inside, notes = _default(path)
        if not any(character in inside for character in "*?["):
            return Stack(inside, (piece := _piece(*follow(path, inside)),), (*notes, *_unwritten(piece)))
        pieces = []
        for name in _matching(path, inside):
            try:
                pieces.append(_piece(*follow(path, name)))
                notes += _unwritten(pieces[-1])
            except FrameError as error:  # a file that a link leads to is not there (yet)
                notes.append(f"{name} is left out: {error}")
        if not pieces:
            raise FrameError("; ".join(notes) or f"no dataset matches {inside}")
        return Stack(inside, tuple(pieces), tuple(notes))


def forget() -> None:
    """Close all files, and look again at what is in them, and in those they lead to."""
    opened.close()
    for kept in (_stack, _pixel_mask, _small_values):
        kept.cache_clear()


def locate(path: Path, inside: str, index: int | None) -> tuple[Piece, int]:
    """The dataset that has an image, and its number there; FrameError if there is no such image."""
    try:
        return stack(path, inside).locate(index or 0)
    except FrameError:  # a file that it leads to may have grown, or come
        _stack.cache_clear()
        return stack(path, inside).locate(index or 0)


def image(path: Path, inside: str, index: int | None) -> NDArray[Any]:
    """One image, as it is stored; FrameError says why there is none."""
    with access(path):
        piece, at = locate(path, inside, index)
        dataset = follow(piece.file, piece.inside)[1]
        if dataset.shape[-2:] != piece.shape[-2:]:
            raise FrameError(f"{inside} has changed its shape")
        try:
            corner = tuple(map(int, np.unravel_index(at, piece.shape[:-2]))) if len(piece.shape) > 2 else ()
            chunks.check(dataset, corner)
            found = dataset[corner]
        except FrameError:
            raise
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise FrameError(f"{inside} cannot be read ({str(error).splitlines()[0][:200]})") from error
    return np.asarray(found)


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


def _piece(file: Path, node: Any) -> Piece:
    """What is to be known of a dataset; FrameError where it holds no images, or lies about them."""
    import h5py

    name = node.name
    if not isinstance(node, h5py.Dataset):
        raise FrameError(f"{name} is a group, no dataset{_near(name, node)}")
    shape = node.shape or ()
    if len(shape) < 2 or node.dtype.kind not in "uifb":
        raise FrameError(f"{name} holds no images but {' x '.join(map(str, shape)) or 'one'} of type {node.dtype}")
    if node.external is not None:
        raise FrameError(f"{name} has its values in other files that are no HDF5 files; that is refused")
    if 0 in shape[-2:]:
        raise FrameError(f"{name} has no pixels")
    check_count(prod(shape[:-2]))
    if node.is_virtual:
        check_image(shape[-2:], node.dtype.itemsize, file.stat().st_size, _PACKED)
        return _virtual(file, node)
    stored = node.id.get_storage_size()
    chunk = prod(node.chunks) * node.dtype.itemsize if node.chunks else 0  # which is read as a whole
    if chunk > CREDIBLE and chunk > _PACKED * stored > 0:
        raise FrameError(f"{name} speaks of {chunk} bytes where {stored} are stored")
    check_image(shape[-2:], node.dtype.itemsize, stored, _PACKED)
    return Piece(file, name, shape, node.dtype, _written(node), (file,))


def _written(node: h5py.Dataset) -> frozenset[int] | None:
    """Which images of a dataset have been written: HDF5 gives zeros for the others; None for all."""
    shape, sizes = node.shape, node.chunks
    if sizes is None:
        return None if node.id.get_storage_size() or 0 in shape else frozenset()
    per_image = prod(-(-size // chunk) for size, chunk in zip(shape[-2:], sizes[-2:], strict=True))
    blocks = [-(-size // chunk) for size, chunk in zip(shape[:-2], sizes[:-2], strict=True)]
    if node.id.get_num_chunks() == per_image * prod(blocks):
        return None
    counts = np.zeros(blocks or [1], np.int64)

    def visit(chunk: Any) -> None:
        corner = tuple(at // size for at, size in zip(chunk.chunk_offset[:-2], sizes[:-2], strict=True))
        counts[corner or (0,)] += 1

    node.id.chunk_iter(visit)
    full = counts == per_image
    for axis, chunk in enumerate(sizes[:-2]):
        full = full.repeat(chunk, axis)
    full = full[tuple(slice(size) for size in shape[:-2])] if shape[:-2] else full
    return frozenset(np.flatnonzero(full).tolist())


def _virtual(file: Path, node: h5py.Dataset) -> Piece:
    """A dataset that others make up; its images in files that are not there are not there either."""
    shape = node.shape
    there = np.zeros(shape[:-2] or (1,), bool)
    files = {file: None}
    for source in node.virtual_sources():
        if "%b" in source.file_name:  # a file a block: HDF5 ends where the first is missing
            there[:] = True
            continue
        if source.file_name != ".":
            try:
                files[_linked(file, source.file_name)] = None
            except FrameError:
                continue
        start, end = source.vspace.get_select_bounds()
        there[tuple(slice(a, b + 1) for a, b in zip(start[:-2], end[:-2], strict=True)) or slice(None)] = True
    whole = None if there.all() else frozenset(np.flatnonzero(there).tolist())
    return Piece(file, node.name, shape, node.dtype, whole, tuple(files))


def _unwritten(piece: Piece) -> list[str]:
    if piece.there is None:
        return []
    return [f"{piece.inside} has {len(piece.there)} of {piece.count} frames, the others are not there (yet)"]


def pixel_mask(path: Path, shape: tuple[int, int]) -> NDArray[np.uint32] | None:
    """The detector's own mask in a file, bits by NeXus' definition (0 = good), (slow, fast); None if it has none.

    Any dataset ``pixel_mask`` of this shape (of the raw frames), as in ``/entry/instrument/detector`` or Eiger's
    ``detectorSpecific``; the first in the order of the file counts. The array is read-only, kept, and shared.
    """
    return _pixel_mask(path, shape, file_state(path))


@lru_cache(maxsize=4)
def _pixel_mask(path: Path, shape: tuple[int, int], now: tuple[int, int]) -> NDArray[np.uint32] | None:
    import h5py

    with access(path):
        for name, _, node in _walk(path):
            fits = name.endswith("/pixel_mask") and isinstance(node, h5py.Dataset)
            if fits and node.dtype.kind in "uib" and node.shape[-2:] == shape and prod(node.shape[:-2]) == 1:
                _piece(path, node)
                mask: NDArray[np.uint32] = np.asarray(node[()]).reshape(shape).astype(np.uint32)
                mask.flags.writeable = False
                return mask
    return None


def small_values(path: Path) -> tuple[str, ...]:
    """Where a file has single values, texts and lists: the paths of all datasets that are no images."""
    return _small_values(path, file_state(path))


@lru_cache(maxsize=16)
def _small_values(path: Path, now: tuple[int, int]) -> tuple[str, ...]:
    import h5py

    with access(path):
        return tuple(name for name, _, node in _walk(path) if isinstance(node, h5py.Dataset) and node.ndim < 2)


def value(path: Path, inside: str, index: int | None, count: int) -> Any:
    """A number or text: of a dataset with one value, or the one at ``index`` where it has ``count`` of them.

    KeyError where there is no such value.
    """
    import h5py

    try:
        with access(path):
            node = follow(path, inside)[1]
            kind = node.dtype.kind if isinstance(node, h5py.Dataset) and node.shape is not None else ""
            if kind not in set("uifbSO") or (kind == "O" and h5py.check_string_dtype(node.dtype) is None):
                raise FrameError(f"{inside}: not a number or text")
            if node.size == 1:
                found = node[(0,) * node.ndim]
            elif index is not None and node.shape == (count,):
                found = node[index]
            else:
                shape = " x ".join(map(str, node.shape))
                raise FrameError(f"{inside}: {shape} values, where one is expected, or one for each of {count} frames")
    except FrameError as error:
        raise KeyError(str(error)) from error
    if isinstance(found, bytes):
        return found.decode(errors="replace")
    return found.item() if hasattr(found, "item") else found
