"""Number of frames in a file, from its header."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..model.errors import FrameError
from ..model.limits import check_count
from . import hdf5_layout
from .handles import file_state
from .image_file import _NPY, _TIFF, _by_fabio, _count_tiff


def _kind(path: Path) -> str:
    """Return the kind of a file from its first bytes or else from its suffix; cached as long as it does not change."""
    return _kind_in_state(path, file_state(path))


@lru_cache(maxsize=256)
def _kind_in_state(path: Path, state: tuple[int, int]) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            start = file.read(8)
    except OSError as error:
        raise FrameError(f"cannot be read ({error.strerror})") from error
    if start == hdf5_layout.SIGNATURE:
        return "hdf5"
    if start[:4] in _TIFF:
        return "tiff"
    suffix = path.suffix.lower()
    return "npy" if start[:6] == _NPY else "edf" if suffix == ".edf" else "ge" if suffix.startswith(".ge") else ""


def _count(path: Path, kind: str) -> tuple[int, bool]:
    """Return the number of frames, and whether the file is truncated; 1 for an unreadable file."""
    try:
        total, truncated = _COUNTS[kind](path) if kind in _COUNTS else (1, False)
    except FrameError:
        raise
    except Exception:  # fabio and numpy raise many types; reading reports them
        return 1, False
    check_count(total)
    return total, truncated


def _count_npy(path: Path) -> tuple[int, bool]:
    shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
    stacked = len(shape) == 3 and shape[-1] not in (3, 4)
    return (shape[0], False) if stacked else (1, False)


def _count_edf(path: Path) -> tuple[int, bool]:
    """Count the frames of an EDF file; one that is as long as its first frame needs no full scan."""
    with open(path, "rb") as file:
        start = file.read(1 << 16)
    end = start.find(b"}\n") + 2
    fields = dict(line.partition(b"=")[::2] for line in start[:end].split(b"\n"))
    sizes = [value for key, value in fields.items() if key.strip() in (b"EDF_BinarySize", b"Size")]
    length = sizes[0].strip(b" ;\r") if sizes else b""
    if length == str(path.stat().st_size - end).encode():
        return 1, False
    return _count_with_fabio(path)


def _count_with_fabio(path: Path) -> tuple[int, bool]:
    with _by_fabio.access(path) as file:
        return max(file.nframes, 1), False


_COUNTS: dict[str, Callable[[Path], tuple[int, bool]]] = {
    "tiff": _count_tiff,
    "npy": _count_npy,
    "edf": _count_edf,
    "ge": _count_with_fabio,
}
