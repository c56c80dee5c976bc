"""Frames in files: list them, read one of them."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..model.errors import ConfigError, FrameError
from ..model.identity import content_hash
from ..model.limits import check_image
from ..model.naming import assign_names
from ..model.reference import Indices, Reference, References, StackFrames
from . import hdf5
from .frame_count import _count, _kind, _kind_in_state
from .handles import file_state
from .image_file import PACKED, UNPACKED, _by_fabio, _first_line, _tiffs, as_image, read_file
from .paths import split_path
from .writing import file_hash

_TRANSIENT = (errno.ESTALE, errno.EIO, errno.ETIMEDOUT)  # errors of a network file system that may pass
_PAUSE = 0.2  # seconds before the second attempt
Result = TypeVar("Result")


@dataclass(frozen=True)
class Content:
    """Frames of a file.

    Attributes
    ----------
    references
        References without names, in order.
    notes
        Messages for the user.
    """

    references: References
    notes: tuple[str, ...] = ()


def list_frames(path: str | Path) -> Content:
    """List the frames in a file, or in a part of it (``file.h5::/entry/data[10:20]``).

    An unreadable file counts as one frame, which fails with the reason when it is read.

    Raises
    ------
    ConfigError
        If the slice selects no frame.
    """
    file, inside, selection = split_path(path)
    index = selection if isinstance(selection, int) else None
    available: Indices | None
    try:
        kind = _kind(file)
        if kind == "hdf5":
            stack = hdf5.stack(file, inside)
            inside, total, available = stack.inside, stack.count, None if stack.single else stack.indices
            notes = [f"{file}: {note}" for note in stack.notes]
        elif inside:
            raise FrameError("not an HDF5 file, so there are no datasets in it")
        else:
            total, truncated = _count(file, kind)
            available = None if total == 1 and not truncated else range(total)
            notes = [f"{file}: is truncated; it has {total} whole frames"] if truncated else []
    except (FrameError, OSError):  # OSError: the file was just removed
        return Content(References([Reference("", file, None, inside, index)]))
    if available is None:  # a single image, no stack
        index = None if index in (None, 0, -1) else index
        return Content(References([Reference("", file, None, inside, index)]))
    if isinstance(selection, int):
        number = selection + total if selection < 0 else selection
        available = range(number, number + 1)
    elif selection is not None:
        selected = _common(available, range(total)[selection])
        if not len(selected):
            raise ConfigError(f"{path}: none of the {len(available)} frames that {file} has")
        available = selected
    elif not len(available):
        notes = notes or [f"{file}: has no frames yet"]
    return Content(References([StackFrames(Reference("", file, None, inside), available)]), tuple(notes))


def _common(available: Indices, selected: range) -> Indices:
    """Return the selected indices among those that are available, in ascending order."""
    ascending = selected if selected.step > 0 else selected[::-1]
    if isinstance(available, range):  # all
        return ascending
    return available[np.isin(available, ascending)]


def read(reference: Reference) -> tuple[NDArray[Any], str]:
    """Read a frame from a file.

    Returns
    -------
    raw : ndarray
        Raw array, (slow, fast).
    digest : str
        Content hash of the file or, for a frame of a stack, of the array.

    Raises
    ------
    FrameError
        If there is no image; the message is the reason.
    """
    path, index = reference.path, reference.index
    if index is None and not reference.dataset:
        return read_file(path)
    kind = _kind(path)
    if reference.dataset and kind != "hdf5":
        raise FrameError("not an HDF5 file, so there are no datasets in it")
    raw = hdf5.image(path, reference.dataset, index) if kind == "hdf5" else _frame_of_stack(path, kind, index or 0)
    raw = np.ascontiguousarray(as_image(raw))
    return raw, content_hash(raw)


def digest(reference: Reference) -> str:
    """Return the hash that `read` returns; for merged frames, that of the hashes of their parts."""
    if reference.parts:
        return content_hash("".join(map(digest, reference.parts)).encode())
    if reference.index is None and not reference.dataset:
        try:
            return file_hash(reference.path)
        except OSError as error:
            raise FrameError(str(error.strerror)) from error
    return read(reference)[1]


def reference_state(reference: Reference) -> tuple[int, int]:
    """Return the total size (bytes) and the latest modification time (ns) of the files of a frame.

    Raises
    ------
    FrameError
        If a file is missing.
    """
    if not reference.parts and not reference.dataset:
        return file_state(reference.path)
    files = dict.fromkeys(each.path for each in reference.parts or (reference,))
    for each in reference.parts or (reference,):
        if each.dataset:
            files |= dict.fromkeys(hdf5.locate(each.path, each.dataset, each.index)[0].files)
    states = [file_state(file) for file in files]
    return sum(size for size, _ in states), max(time for _, time in states)


def read_steady(reference: Reference, read: Callable[[Reference], Result]) -> tuple[Result, tuple[int, int]]:
    """Read a frame whose files do not change meanwhile; retry once.

    A retry follows a change of the files and a transient error of a network file system. The file of a stack may grow.

    Parameters
    ----------
    reference
        The frame.
    read
        Function that reads it.

    Returns
    -------
    result
        Result of ``read``.
    state : tuple of int
        State of the files, see `reference_state`.

    Raises
    ------
    FrameError
        If the second attempt fails as well.
    """
    for last in (False, True):
        before = None
        try:
            before = reference_state(reference)
            result = read(reference)
            require_unchanged(reference, before)
            return result, before
        except (FrameError, OSError) as error:
            if last or not (_is_transient(error) or _differs(reference, before)):
                raise
            time.sleep(_PAUSE)
            forget_files()  # a stale handle stays stale
    raise AssertionError  # the last attempt returns or raises


def require_unchanged(reference: Reference, before: tuple[int, int]) -> None:
    """Raise FrameError if the files of a frame differ from the state ``before``; a stack may grow."""
    stack = all(each.dataset or each.index is not None for each in reference.parts or (reference,))
    if not stack and reference_state(reference) != before:
        raise FrameError("it changed while it was read")


def _differs(reference: Reference, before: tuple[int, int] | None) -> bool:
    try:
        return before is not None and reference_state(reference) != before
    except FrameError:
        return False


def _is_transient(error: BaseException | None) -> bool:
    """Return whether an error may pass. HDF5 gives the error number in its message only."""
    while error is not None:
        if isinstance(error, OSError):
            in_message = any(f"errno = {number}," in str(error) for number in _TRANSIENT)
            if in_message or error.errno in _TRANSIENT:
                return True
        error = error.__cause__
    return False


def input_hash(path: str | Path) -> str:
    """Return the hash of an input: of the file or, for HDF5 and parts of files, of the frames.

    Raises
    ------
    FrameError
        If there is no image.
    """
    file, inside, selection = split_path(path)
    if not inside and selection is None and _kind(file) != "hdf5":
        return digest(Reference("", file))
    hashes = [digest(each) for each in list_frames(path).references]
    return hashes[0] if len(hashes) == 1 else content_hash("".join(hashes).encode())


def own_hash(key: str, path: str | Path) -> str:
    """Return the hash of a file that only some frames use, ``key`` says for what; FrameError if it cannot be read."""
    if key != "geometry.poni":
        return input_hash(path)
    try:
        return file_hash(path)
    except OSError as error:
        raise FrameError(f"cannot be read ({error.strerror})") from error


def forget_files() -> None:
    """Close all files that stay open, and forget their contents."""
    hdf5.forget()
    _kind_in_state.cache_clear()
    for each in (_tiffs, _by_fabio):
        each.close()


def _frame_of_stack(path: Path, kind: str, index: int) -> NDArray[Any]:
    try:
        if kind == "npy":
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            return np.array(array if array.ndim == 2 and index == 0 else array[index])
        if kind == "tiff":
            with _tiffs.access(path) as tiff:
                page = tiff.pages[index]
                check_image(page.shape, page.dtype.itemsize, path.stat().st_size, PACKED)
                try:
                    return np.asarray(page.asarray())
                except (ValueError, ImportError):  # compressed in a way that tifffile cannot decode
                    pass
        with _by_fabio.access(path) as file:
            if index >= file.nframes:
                raise IndexError
            frame = file.get_frame(index)
            check_image(frame.shape, UNPACKED, path.stat().st_size, PACKED)
            return np.asarray(frame.data)
    except FrameError:
        raise
    except IndexError as error:
        raise FrameError(f"it has no frame {index}") from error
    except Exception as error:  # tifffile, numpy and fabio raise many types
        raise FrameError(f"frame {index} cannot be read ({_first_line(error)})") from error


def references(paths: Iterable[str | Path], taken: Mapping[str, str] | None = None) -> list[Reference]:
    """Return the frames of files, each with its name; see `model.naming.assign_names`."""
    return list(assign_names(References(each for path in paths for each in list_frames(path).references.items), taken))
