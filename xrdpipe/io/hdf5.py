"""Images in HDF5 files. Links are followed by hand, and no content is trusted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..model.errors import FrameError
from ..model.limits import CREDIBLE, check_count, check_image
from ..model.reference import Indices
from . import chunks
from .handles import file_state
from .hdf5_layout import _default, _linked, _matching, _near, _walk, access, follow, opened

if TYPE_CHECKING:
    import h5py

_PACKED = 2000  # largest credible compression ratio
_OPEN = 64  # datasets that stay open
_datasets: dict[tuple[Path, str], tuple[h5py.File, h5py.Dataset, chunks.Layout | None]] = {}


@dataclass(frozen=True)
class Piece:
    """A dataset of images.

    Attributes
    ----------
    file, inside
        File that holds the dataset, and its path there.
    shape
        Shape, (..., slow, fast).
    dtype
        Type of the pixels.
    written
        True for each image that is written, shape (count,); None if all are.
    files
        All files that contain its images.
    """

    file: Path
    inside: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    written: NDArray[np.bool_] | None = None
    files: tuple[Path, ...] = ()

    @property
    def count(self) -> int:
        """Number of images, written or not."""
        return prod(self.shape[:-2])


@dataclass(frozen=True)
class Stack:
    """Images of one dataset, or of several in a row.

    Attributes
    ----------
    inside
        Path of the dataset, or a pattern that several match.
    pieces
        The datasets.
    notes
        Messages for the user about missing images.
    """

    inside: str
    pieces: tuple[Piece, ...]
    notes: tuple[str, ...] = ()

    @property
    def single(self) -> bool:
        """True for a single image, False for a stack of one."""
        return len(self.pieces) == 1 and len(self.pieces[0].shape) == 2

    @property
    def count(self) -> int:
        """Number of images, written or not."""
        return sum(piece.count for piece in self.pieces)

    @property
    def indices(self) -> Indices:
        """Indices of the images that are written."""
        if all(piece.written is None for piece in self.pieces):
            return range(self.count)
        written = [np.ones(each.count, bool) if each.written is None else each.written for each in self.pieces]
        return np.flatnonzero(np.concatenate(written))

    def locate(self, index: int) -> tuple[Piece, int]:
        """Return the dataset of an image and its index there; raise FrameError if there is no such image."""
        at = index
        for piece in self.pieces:
            if at < piece.count:
                if at < 0 or (piece.written is not None and not piece.written[at]):
                    break
                return piece, at
            at -= piece.count
        raise FrameError(f"there is no frame {index} in {self.inside}, which has {len(self.indices)}")


def stack(path: Path, inside: str = "") -> Stack:
    """Return the images of a dataset; the result is cached as long as the file does not change.

    Parameters
    ----------
    path
        File.
    inside
        Path of the dataset, or a pattern. By default NeXus' default signal, Eiger's series, else the largest dataset.

    Raises
    ------
    FrameError
        If there are no images.
    """
    return _stack(path, inside, file_state(path))


@lru_cache(maxsize=256)
def _stack(path: Path, inside: str, state: tuple[int, int]) -> Stack:
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
            except FrameError as error:  # the target of a link is missing (yet)
                notes.append(f"{name} is left out: {error}")
        if not pieces:
            raise FrameError("; ".join(notes) or f"no dataset matches {inside}")
        return Stack(inside, tuple(pieces), tuple(notes))


def forget() -> None:
    """Close all files, and forget their contents."""
    opened.close()
    _datasets.clear()
    for cached in (_stack, _pixel_mask, _small_values):
        cached.cache_clear()


def locate(path: Path, inside: str, index: int | None) -> tuple[Piece, int]:
    """Return the dataset of an image and its index there; raise FrameError if there is no such image."""
    try:
        return stack(path, inside).locate(index or 0)
    except FrameError:  # a linked file may have grown or appeared
        _stack.cache_clear()
        return stack(path, inside).locate(index or 0)


def image(path: Path, inside: str, index: int | None) -> NDArray[Any]:
    """Return one image as it is stored; raise FrameError if it cannot be read."""
    with access(path):
        piece, at = locate(path, inside, index)
        dataset, layout = _dataset(piece)
        if dataset.shape[-2:] != piece.shape[-2:]:
            raise FrameError(f"{inside} has changed its shape")
        with _readable(inside):
            axes = piece.shape[:-2]
            corner = (at,) if len(axes) == 1 else tuple(map(int, np.unravel_index(at, axes))) if axes else ()
            stored = None if layout is None else chunks.stored(dataset, layout, corner)
            if stored is None:
                chunks.check(dataset, corner)
                return np.asarray(dataset[corner])
            file = os.dup(stored.layout.file)  # stays open when another thread closes the file
    try:  # outside of the lock of the file and of that of HDF5, for all threads at once
        with _readable(inside):
            return stored.read(file)
    finally:
        os.close(file)


@contextmanager
def _readable(inside: str) -> Iterator[None]:
    """Turn an error of HDF5 or of the system into FrameError."""
    try:
        yield
    except FrameError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise FrameError(f"{inside} cannot be read ({str(error).splitlines()[0][:200]})") from error


def _dataset(piece: Piece) -> tuple[h5py.Dataset, chunks.Layout | None]:
    """Return an open dataset and its layout, from the last calls if its file is still open."""
    with access(piece.file) as file:
        key = piece.file, piece.inside
        holder, dataset, layout = _datasets.get(key, (None, None, None))
        if holder is not file:  # closed, and the dataset with it
            dataset = follow(piece.file, piece.inside)[1]
            layout = chunks.layout(dataset)
            while len(_datasets) >= _OPEN:
                _datasets.pop(next(iter(_datasets)))
            _datasets[key] = file, dataset, layout
        return dataset, layout


def _piece(file: Path, node: Any) -> Piece:
    """Return the description of a dataset; raise FrameError if it holds no images or is not credible."""
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
    chunk = prod(node.chunks) * node.dtype.itemsize if node.chunks else 0  # HDF5 reads whole chunks
    if chunk > CREDIBLE and chunk > _PACKED * stored > 0:
        raise FrameError(f"{name} claims {chunk} bytes where {stored} are stored")
    check_image(shape[-2:], node.dtype.itemsize, stored, _PACKED)
    return Piece(file, name, shape, node.dtype, _written(node), (file,))


def _written(node: h5py.Dataset) -> NDArray[np.bool_] | None:
    """Return True for each image that is written, None if all are; HDF5 reads the others as zeros."""
    shape, sizes = node.shape, node.chunks
    if sizes is None:
        return None if node.id.get_storage_size() or 0 in shape else np.zeros(prod(shape[:-2]), bool)
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
    return np.ravel(full)


def _virtual(file: Path, node: h5py.Dataset) -> Piece:
    """Return the description of a virtual dataset; images in missing files count as not written."""
    shape = node.shape
    written = np.zeros(shape[:-2] or (1,), bool)
    files = {file: None}
    for source in node.virtual_sources():
        if "%b" in source.file_name:  # one file per block: HDF5 stops at the first missing file
            written[:] = True
            continue
        if source.file_name != ".":
            try:
                files[_linked(file, source.file_name)] = None
            except FrameError:
                continue
        start, end = source.vspace.get_select_bounds()
        written[tuple(slice(a, b + 1) for a, b in zip(start[:-2], end[:-2], strict=True)) or slice(None)] = True
    return Piece(file, node.name, shape, node.dtype, None if written.all() else written.ravel(), tuple(files))


def _unwritten(piece: Piece) -> list[str]:
    if piece.written is None:
        return []
    return [
        f"{piece.inside} has {np.count_nonzero(piece.written)} of {piece.count} frames, the others are not there (yet)"
    ]


def pixel_mask(path: Path, shape: tuple[int, int]) -> NDArray[np.uint32] | None:
    """Return the detector's mask in a file.

    It is the first dataset ``pixel_mask`` of this shape, as in ``/entry/instrument/detector`` or Eiger's
    ``detectorSpecific``.

    Parameters
    ----------
    path
        File.
    shape
        Shape of the raw frames, (slow, fast).

    Returns
    -------
    ndarray or None
        Bits of NeXus' definition (0 = good), uint32, (slow, fast), read-only and cached; None if there is none.
    """
    return _pixel_mask(path, shape, file_state(path))


@lru_cache(maxsize=4)
def _pixel_mask(path: Path, shape: tuple[int, int], state: tuple[int, int]) -> NDArray[np.uint32] | None:
    import h5py

    with access(path):
        for name, _, node in _walk(path):
            named = name.endswith("/pixel_mask") and isinstance(node, h5py.Dataset)
            if named and node.dtype.kind in "uib" and node.shape[-2:] == shape and prod(node.shape[:-2]) == 1:
                _piece(path, node)
                mask: NDArray[np.uint32] = np.asarray(node[()]).reshape(shape).astype(np.uint32)
                mask.flags.writeable = False
                return mask
    return None


def small_values(path: Path) -> tuple[str, ...]:
    """Return the paths of all datasets that are no images: single values, texts and lists."""
    return _small_values(path, file_state(path))


@lru_cache(maxsize=16)
def _small_values(path: Path, state: tuple[int, int]) -> tuple[str, ...]:
    import h5py

    with access(path):
        return tuple(name for name, _, node in _walk(path) if isinstance(node, h5py.Dataset) and node.ndim < 2)


def value(path: Path, inside: str, index: int | None, count: int) -> Any:
    """Return a number or text from a dataset.

    Parameters
    ----------
    path, inside
        File, and path of the dataset.
    index
        Index of the frame, for a dataset with one value per frame.
    count
        Number of frames.

    Raises
    ------
    KeyError
        If there is no such value.
    """
    import h5py

    try:
        with access(path):
            node = follow(path, inside)[1]
            kind = node.dtype.kind if isinstance(node, h5py.Dataset) and node.shape is not None else ""
            if kind not in set("uifbSO") or (kind == "O" and h5py.check_string_dtype(node.dtype) is None):
                raise FrameError(f"{inside}: not a number or text")
            if node.size == 1:
                content = node[(0,) * node.ndim]
            elif index is not None and node.shape == (count,):
                content = node[index]
            else:
                shape = " x ".join(map(str, node.shape))
                raise FrameError(f"{inside}: {shape} values, where one is expected, or one for each of {count} frames")
    except FrameError as error:
        raise KeyError(str(error)) from error
    if isinstance(content, bytes):
        return content.decode(errors="replace")
    return content.item() if hasattr(content, "item") else content
