"""Files: which frames are in one, and how one of them is read."""

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
from ..model.reference import Reference
from . import hdf5
from .frame_count import _count, _kind
from .handles import file_state
from .image_file import PACKED, UNPACKED, _by_fabio, _first_line, _tiffs, as_image, read_file
from .paths import split_path
from .writing import file_hash

_PASSING = (errno.ESTALE, errno.EIO, errno.ETIMEDOUT)  # what a network file system may answer once, and then no more


_PAUSE = 0.2  # seconds until it is asked again


Made = TypeVar("Made")


@dataclass(frozen=True)
class Content:
    """The frames of a file, as references without names, in order; and what is to be said of them."""

    references: tuple[Reference, ...]
    notes: tuple[str, ...] = ()


def look(path: str | Path) -> Content:
    """Which frames are in a file, or in the part of it that is named (``file.h5::/entry/data[10:20]``).

    A file that cannot be read is one frame, which will fail with the reason. ConfigError where none is in the slice.
    """
    file, inside, wanted = split_path(path)
    index = wanted if isinstance(wanted, int) else None
    try:
        kind = _kind(file)
        if kind == "hdf5":
            stack = hdf5.stack(file, inside)
            inside, total, there = stack.inside, stack.count, None if stack.single else stack.indices
            notes = [f"{file}: {note}" for note in stack.notes]
        elif inside:
            raise FrameError("not an HDF5 file, so there are no datasets in it")
        else:
            total, truncated = _count(file, kind)
            there = None if total == 1 and not truncated else list(range(total))
            notes = [f"{file}: is truncated; it has {total} whole frames"] if truncated else []
    except (FrameError, OSError):  # the latter of one that has just gone
        return Content((Reference("", file, None, inside, index),))
    if there is None:  # an image of its own, no stack
        return Content((Reference("", file, None, inside, None if index in (None, 0, -1) else index),))
    if isinstance(wanted, int):
        there = [wanted + total if wanted < 0 else wanted]
    elif wanted is not None:
        inside_slice = set(range(total)[wanted])
        if not inside_slice.intersection(there):
            raise ConfigError(f"{path}: none of the {len(there)} frames that {file} has")
        there = [each for each in there if each in inside_slice]
    elif not there:
        notes = notes or [f"{file}: has no frames yet"]
    return Content(tuple(Reference("", file, None, inside, each) for each in there), tuple(notes))


def read(reference: Reference) -> tuple[NDArray[Any], str]:
    """The raw array (slow, fast) of a frame in a file, and the hash of the file's content, or in a stack of the array.

    FrameError says why there is no image.
    """
    path, index = reference.path, reference.index
    if index is None and not reference.dataset:
        return read_file(path)
    kind = _kind(path)
    if reference.dataset and kind != "hdf5":
        raise FrameError("not an HDF5 file, so there are no datasets in it")
    raw = hdf5.image(path, reference.dataset, index) if kind == "hdf5" else _one_of_many(path, kind, index or 0)
    raw = np.ascontiguousarray(as_image(raw))
    return raw, content_hash(raw)


def digest(reference: Reference) -> str:
    """The hash that `read` gives; of merged frames that of their hashes. FrameError if there is no image."""
    if reference.parts:
        return content_hash("".join(map(digest, reference.parts)).encode())
    if reference.index is None and not reference.dataset:
        try:
            return file_hash(reference.path)
        except OSError as error:
            raise FrameError(str(error.strerror)) from error
    return read(reference)[1]


def reference_state(reference: Reference) -> tuple[int, int]:
    """Size (bytes) and modification time (ns) of the files that hold a frame, all together; FrameError if one is gone.

    They stay as they are as long as the frame does.
    """
    if not reference.parts and not reference.dataset:
        return file_state(reference.path)
    files = dict.fromkeys(each.path for each in reference.parts or (reference,))
    for each in reference.parts or (reference,):
        if each.dataset:
            files |= dict.fromkeys(hdf5.locate(each.path, each.dataset, each.index)[0].files)
    states = [file_state(file) for file in files]
    return sum(size for size, _ in states), max(time for _, time in states)


def read_steady(reference: Reference, read: Callable[[Reference], Made]) -> tuple[Made, tuple[int, int]]:
    """What ``read`` makes of a frame, and the state of its files, see `changed`, which is the same before and after.

    Where it is not, or where a network file system did not answer, it is read once more; FrameError if that is no
    better. The file of a stack may grow meanwhile.
    """
    for last in (False, True):
        before = None
        try:
            before = reference_state(reference)
            made = read(reference)
            is_unchanged(reference, before)
            return made, before
        except (FrameError, OSError) as error:
            if last or not (_passing(error) or _differs(reference, before)):
                raise
            time.sleep(_PAUSE)
            forget_files()  # a handle that is stale stays so
    raise AssertionError  # the last time it has returned or raised


def is_unchanged(reference: Reference, before: tuple[int, int]) -> None:
    """FrameError where the files of a frame are not as they were ``before``, see `changed`. A stack may grow."""
    stack = all(each.dataset or each.index is not None for each in reference.parts or (reference,))
    if not stack and reference_state(reference) != before:
        raise FrameError("it changed while it was read")


def _differs(reference: Reference, before: tuple[int, int] | None) -> bool:
    try:
        return before is not None and reference_state(reference) != before
    except FrameError:
        return False


def _passing(error: BaseException | None) -> bool:
    """Whether what went wrong may go right the next time; HDF5 says the number of the error in its text only."""
    while error is not None:
        if isinstance(error, OSError):
            told = any(f"errno = {number}," in str(error) for number in _PASSING)
            if told or error.errno in _PASSING:
                return True
        error = error.__cause__
    return False


def content_of(path: str | Path) -> str:
    """The hash of an input: of the file, or in HDF5 and where a part is named, of the frames; FrameError if none."""
    file, inside, wanted = split_path(path)
    if not inside and wanted is None and _kind(file) != "hdf5":
        return digest(Reference("", file))
    hashes = [digest(each) for each in look(path).references]
    return hashes[0] if len(hashes) == 1 else content_hash("".join(hashes).encode())


def forget_files() -> None:
    """Close the files that stay open for more frames, and look again at what is in them."""
    hdf5.forget()
    for each in (_tiffs, _by_fabio):
        each.close()


def _one_of_many(path: Path, kind: str, index: int) -> NDArray[Any]:
    try:
        if kind == "npy":
            whole = np.load(path, mmap_mode="r", allow_pickle=False)
            return np.array(whole if whole.ndim == 2 and index == 0 else whole[index])
        if kind == "tiff":
            with _tiffs.access(path) as tiff:
                page = tiff.pages[index]
                check_image(page.shape, page.dtype.itemsize, path.stat().st_size, PACKED)
                try:
                    return np.asarray(page.asarray())
                except (ValueError, ImportError):  # a compression that needs more than tifffile
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
    except Exception as error:  # as with one frame a file
        raise FrameError(f"frame {index} cannot be read ({_first_line(error)})") from error


def references(paths: Iterable[str | Path], taken: Mapping[str, str] | None = None) -> list[Reference]:
    """The frames of files, each with its name; see `named`."""
    return assign_names([each for path in paths for each in look(path).references], taken)
