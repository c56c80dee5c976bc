"""HDF5: where a file has its images, and one of them; links are followed by hand, and nothing in it is trusted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..model.errors import FrameError
from ..model.limits import CREDIBLE, check_count, check_image
from . import chunks
from .handles import file_state

if TYPE_CHECKING:
    import h5py
from .hdf5_layout import _default, _linked, _matching, _near, _walk, access, follow, opened

_PACKED = 2000  # times a dataset may be larger than what is stored of it: more than any compression makes of noise


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
