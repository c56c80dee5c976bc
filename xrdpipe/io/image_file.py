"""Reading one image file, by tifffile, numpy or fabio."""

from __future__ import annotations

import bz2
import gzip
import io
import re
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..model.errors import FrameError
from ..model.identity import content_hash
from ..model.limits import check_image
from . import hdf5, hdf5_layout
from .handles import FileHandles, file_state

_TIFF = {b"II*\0": "<HIHH", b"MM\0*": ">HIHH", b"II+\0": "<QQHH", b"MM\0+": ">QQHH"}


_TIFF_NUMBERS = {3: "H", 4: "I", 16: "Q"}  # types of offsets and lengths


_NPY = b"\x93NUMPY"


UNPACKED = 8  # bytes a pixel that fabio may take where it unpacks an image


PACKED = 100  # times an image may be larger than its file, where that is no HDF5


_CBF_NUMBERS = b"\x0c\x1a\x04\xd5"  # what stands before them


LARGEST_FILE = 1 << 28  # bytes of one that is packed as a whole, .gz or .bz2, when it is unpacked


_PACKERS: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open}


def _count_tiff(path: Path) -> tuple[int, bool]:
    """How many pages are there whole, and whether there should be more. A file of one page is not looked at further."""
    size, count, seen = path.stat().st_size, 0, set()
    with open(path, "rb") as file:
        try:
            start = file.read(16)
            form = _TIFF[start[:4]]
            big = form[1] == "Q"
            (at,) = struct.unpack_from(f"{form[0]}{'Q' if big else 'I'}", start, 8 if big else 4)
            while at and at not in seen:
                seen.add(at)
                whole, following = _tiff_page(file, at, form[0], big, size)
                if count == 0 and following == 0:
                    return 1, False
                if not whole:
                    return count, True
                count, at = count + 1, following
        except (struct.error, ValueError, OverflowError, OSError):  # the file ends before a page does
            return max(count, 1), count > 0
    if at in seen:  # libraries would follow them for ever
        raise FrameError("its pages lead to one another")
    return max(count, 1), False


def _tiff_page(file: BinaryIO, at: int, order: str, big: bool, size: int) -> tuple[bool, int]:
    """Whether the pixels of a page are all in the file, and where the next page is."""
    file.seek(at)
    number, entry, word = (8, 20, "Q") if big else (2, 12, "I")
    (entries,) = struct.unpack(f"{order}{'Q' if big else 'H'}", file.read(number))
    if entries > 4096:
        raise struct.error("no such page")
    directory = file.read(entries * entry)
    (following,) = struct.unpack(f"{order}{word}", file.read(struct.calcsize(word)))
    found: dict[int, tuple[int, ...]] = {}
    for start in range(0, len(directory), entry):
        tag, kind, count = struct.unpack_from(f"{order}HH{word}", directory, start)
        if tag in (273, 279, 324, 325) and kind in _TIFF_NUMBERS and count <= 1 << 20:
            values = f"{order}{count}{_TIFF_NUMBERS[kind]}"
            content = directory[start + entry - struct.calcsize(word) : start + entry]
            if struct.calcsize(values) > len(content):
                file.seek(struct.unpack(f"{order}{word}", content)[0])
                content = file.read(struct.calcsize(values))
            found[tag] = struct.unpack_from(values, content)
    starts, lengths = found.get(273, found.get(324, ())), found.get(279, found.get(325, ()))
    return max(map(sum, zip(starts, lengths, strict=False)), default=0) <= size, following


def _open_tiff(path: Path) -> Any:
    import tifffile

    try:
        return tifffile.TiffFile(path)
    except Exception as error:
        raise FrameError(f"not a TIFF file that can be read ({_first_line(error)})") from error


def _open_fabio(path: Path) -> Any:
    import fabio

    try:
        _check_ends(path)
        return fabio.open(str(path))
    except FrameError:
        raise
    except Exception as error:  # fabio raises anything, from struct.error to TypeError
        raise FrameError(f"not an image that fabio can read ({_first_line(error)})") from error


_tiffs: FileHandles[Any] = FileHandles(_open_tiff)


_by_fabio: FileHandles[Any] = FileHandles(_open_fabio)


def read_file(path: Path) -> tuple[NDArray[Any], str]:
    """Read an image file: the raw array (slow, fast) and the hash of the file's content.

    FrameError says why there is no image: no such file, empty, truncated, a format nobody knows, not two-dimensional.
    A ``.mask`` is Dioptas': a TIFF whose first row is the last one of the frames' files, turned here.
    """
    file_state(path)
    try:
        with open(path, "rb", buffering=0) as file:  # no buffer, so that its content is not copied
            if file.read(8) == hdf5_layout.SIGNATURE:
                raw = np.ascontiguousarray(as_image(hdf5.image(path, "", None)))
                return raw, content_hash(raw)
            file.seek(0)
            content = file.readall()
    except OSError as error:
        raise FrameError(f"cannot be read ({error.strerror})") from error
    if not content:
        raise FrameError("the file is empty")
    digest = content_hash(content)
    if content[:6] == _NPY:
        return as_image(_npy(content)), digest
    plain = _plain_tiff(content) if content[:4] in (b"II*\0", b"MM\0*") else None
    raw = as_image(_read_with_fabio(path) if plain is None else plain)
    return np.flipud(raw) if path.suffix.lower() == ".mask" else raw, digest


def as_image(raw: NDArray[Any]) -> NDArray[Any]:
    """Check that an array is one picture of real numbers; FrameError if not."""
    if raw.ndim != 2:
        kind = "a colour picture" if raw.ndim == 3 and raw.shape[-1] in (3, 4) else f"{raw.ndim}-dimensional"
        raise FrameError(f"not one greyscale frame but {kind}, shape {' x '.join(map(str, raw.shape))}")
    if raw.dtype.kind not in "uifb":
        raise FrameError(f"its pixels are of type {raw.dtype}, real numbers are expected")
    if raw.size == 0:
        raise FrameError("it has no pixels")
    return raw


_NPY_HEADERS: dict[tuple[int, int], Callable[[BinaryIO], tuple[tuple[int, ...], bool, np.dtype[Any]]]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def _npy(content: bytes) -> NDArray[Any]:
    try:
        with io.BytesIO(content) as buffer:
            version = np.lib.format.read_magic(buffer)
            shape, _, dtype = _NPY_HEADERS[version](buffer)
            missing = buffer.tell() + prod(shape) * dtype.itemsize - len(content)
        if missing > 0 and not dtype.hasobject:
            raise FrameError(f"the file is truncated, {missing} bytes are missing")
        array: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    except FrameError:
        raise
    except Exception as error:  # ValueError as a rule; SyntaxError or KeyError where the header lies
        raise FrameError(f"not a plain .npy array ({_first_line(error)})") from error
    return array


def _plain_tiff(content: bytes) -> NDArray[Any] | None:
    # The quick way for one uncompressed page, in place: 1.5 ms for 4 Mpixels where fabio takes 12. None for others.
    import tifffile

    try:
        # Its objects refer to each other in a ring: only the closed buffer lets go of the content at once.
        with io.BytesIO(content) as buffer, tifffile.TiffFile(buffer) as tiff:
            page = tiff.pages.first
            check_image(page.shape, page.dtype.itemsize, len(content), PACKED)
            plain = page.is_contiguous and len(tiff.pages) == 1 and len(page.shape) == 2
            shape = page.shape
            dtype = page.dtype.newbyteorder(tiff.byteorder)
            offset = page.dataoffsets[0]
            end = offset + dtype.itemsize * shape[0] * shape[1]
            if not plain:
                end = max(map(sum, zip(page.dataoffsets, page.databytecounts, strict=True)))
    except FrameError:
        raise
    except Exception:  # whatever tifffile says: fabio may know better
        return None
    if end > len(content):  # also where fabio would read it: Pillow makes zeros of what is missing
        raise FrameError(f"the file is truncated, {end - len(content)} bytes are missing")
    if not plain:
        return None
    return np.frombuffer(content, dtype, shape[0] * shape[1], offset).reshape(shape)


def _read_with_fabio(path: Path) -> NDArray[Any]:
    import fabio
    from fabio.tifimage import TifImage

    try:
        _check_unpacked(path)
        _check_ends(path)
        stored = path.stat().st_size
        # Most formats say their shape before they take memory for it, the others have no attribute for it yet.
        with suppress(AttributeError), fabio.openheader(str(path)) as file:
            if not isinstance(file, TifImage):  # of a compressed one it tells another shape; `_plain_tiff` has looked
                check_image(file.shape, UNPACKED, stored, PACKED)
        with fabio.open(str(path)) as file:
            check_image(file.shape, UNPACKED, stored, PACKED)
            if file.nframes > 1:
                raise FrameError(f"holds {file.nframes} frames, in this format one a file is expected")
            data = file.data
    except FrameError:
        raise
    except Exception as error:  # fabio raises anything, from struct.error to TypeError
        raise FrameError(f"not an image that fabio can read ({_first_line(error)})") from error
    if data is None:
        raise FrameError("fabio found no image in it")
    return np.asarray(data)


def _check_unpacked(path: Path) -> None:
    """FrameError where a packed file would fill the memory: looked at in full where it is not too small for that."""
    opening = _PACKERS.get(path.suffix.lower())
    if opening is None or (path.suffix.lower() == ".gz" and path.stat().st_size < LARGEST_FILE // 1032):  # at most
        return
    with opening(path) as file:
        size = 0
        while size <= LARGEST_FILE and (part := file.read(1 << 20)):
            size += len(part)
    if size > LARGEST_FILE:
        raise FrameError(f"unpacked it has more than {LARGEST_FILE >> 20} MB")


def _check_ends(path: Path) -> None:
    """FrameError where fabio would never come to an end: it counts the dimensions that an EDF header speaks of, looks
    for where the numbers of a CBF begin, and follows the pages of a TIFF."""
    with _PACKERS.get(path.suffix.lower(), partial(open, mode="rb"))(path) as file:
        start = file.read(1 << 16)
        if b"{" in start[:8] and (found := re.search(rb"dim_(\d{3,})", start, re.IGNORECASE)):
            raise FrameError(f"the header speaks of {found[1][:20].decode()} dimensions")
        if start.startswith(b"###CBF") and _CBF_NUMBERS not in start and _CBF_NUMBERS not in start[-3:] + file.read():
            raise FrameError("no numbers begin in it, as they do in a CBF file")
    if start[:4] in _TIFF:
        _count_tiff(path)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
