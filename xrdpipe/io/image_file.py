"""Reading of one image file with tifffile, numpy or fabio."""

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
_TIFF_NUMBERS = {3: "H", 4: "I", 16: "Q"}  # TIFF types of offsets and lengths
_NPY = b"\x93NUMPY"
UNPACKED = 8  # bytes per pixel that fabio may need to unpack an image
PACKED = 100  # largest credible compression ratio of a file other than HDF5
_CBF_NUMBERS = b"\x0c\x1a\x04\xd5"  # mark before the binary data
LARGEST_FILE = 1 << 28  # bytes of an unpacked .gz or .bz2 file
_PACKERS: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open}


def _count_tiff(path: Path) -> tuple[int, bool]:
    """Return the number of complete pages, and whether the file is truncated; a single page needs no scan."""
    size, count, seen = path.stat().st_size, 0, set()
    with open(path, "rb") as file:
        try:
            start = file.read(16)
            form = _TIFF[start[:4]]
            big = form[1] == "Q"
            (offset,) = struct.unpack_from(f"{form[0]}{'Q' if big else 'I'}", start, 8 if big else 4)
            while offset and offset not in seen:
                seen.add(offset)
                complete, following = _tiff_page(file, offset, form[0], big, size)
                if count == 0 and following == 0:
                    return 1, False
                if not complete:
                    return count, True
                count, offset = count + 1, following
        except (struct.error, ValueError, OverflowError, OSError):  # the file ends before a page does
            return max(count, 1), count > 0
    if offset in seen:  # libraries would loop forever
        raise FrameError("its pages lead to one another")
    return max(count, 1), False


def _tiff_page(file: BinaryIO, offset: int, order: str, big: bool, size: int) -> tuple[bool, int]:
    """Return whether the file has all pixels of a page, and the offset of the next page."""
    file.seek(offset)
    number, entry, word = (8, 20, "Q") if big else (2, 12, "I")
    (entries,) = struct.unpack(f"{order}{'Q' if big else 'H'}", file.read(number))
    if entries > 4096:
        raise struct.error("no such page")
    directory = file.read(entries * entry)
    (following,) = struct.unpack(f"{order}{word}", file.read(struct.calcsize(word)))
    tags: dict[int, tuple[int, ...]] = {}
    for start in range(0, len(directory), entry):
        tag, kind, count = struct.unpack_from(f"{order}HH{word}", directory, start)
        if tag in (273, 279, 324, 325) and kind in _TIFF_NUMBERS and count <= 1 << 20:
            values = f"{order}{count}{_TIFF_NUMBERS[kind]}"
            content = directory[start + entry - struct.calcsize(word) : start + entry]
            if struct.calcsize(values) > len(content):
                file.seek(struct.unpack(f"{order}{word}", content)[0])
                content = file.read(struct.calcsize(values))
            tags[tag] = struct.unpack_from(values, content)
    starts, lengths = tags.get(273, tags.get(324, ())), tags.get(279, tags.get(325, ()))
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
    except Exception as error:  # fabio raises many types, from struct.error to TypeError
        raise FrameError(f"not an image that fabio can read ({_first_line(error)})") from error


_tiffs: FileHandles[Any] = FileHandles(_open_tiff)
_by_fabio: FileHandles[Any] = FileHandles(_open_fabio)


def read_file(path: Path) -> tuple[NDArray[Any], str]:
    """Read an image file.

    The first row of a ``.mask`` file of Dioptas (a TIFF) is the last row of the frames, so it is flipped.

    Returns
    -------
    raw : ndarray
        Raw array, (slow, fast).
    digest : str
        Content hash of the file; of an HDF5 file, that of the array.

    Raises
    ------
    FrameError
        If the file is missing, empty, truncated, of an unknown format, or not two-dimensional.
    """
    file_state(path)
    try:
        with open(path, "rb", buffering=0) as file:  # unbuffered, so that the content is not copied
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
    fast = _plain_tiff(content) if content[:4] in (b"II*\0", b"MM\0*") else None
    raw = as_image(_read_with_fabio(path) if fast is None else fast)
    return np.flipud(raw) if path.suffix.lower() == ".mask" else raw, digest


def as_image(raw: NDArray[Any]) -> NDArray[Any]:
    """Return an array if it is one image of real numbers; raise FrameError otherwise."""
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
    except Exception as error:  # usually ValueError; SyntaxError or KeyError for a malformed header
        raise FrameError(f"not a plain .npy array ({_first_line(error)})") from error
    return array


def _plain_tiff(content: bytes) -> NDArray[Any] | None:
    # Fast path for a single uncompressed page: 1.5 ms for 4 Mpixels, fabio takes 12. None for other files.
    import tifffile

    try:
        # tifffile's objects form a reference cycle; closing the buffer releases the content at once.
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
    except Exception:  # fabio may be able to read it
        return None
    if end > len(content):  # checked here, because Pillow fills missing bytes with zeros
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
        # Most formats know their shape before they allocate memory; the others have no such attribute yet.
        with suppress(AttributeError), fabio.openheader(str(path)) as file:
            if not isinstance(file, TifImage):  # wrong for compressed ones; `_plain_tiff` checks them
                check_image(file.shape, UNPACKED, stored, PACKED)
        with fabio.open(str(path)) as file:
            check_image(file.shape, UNPACKED, stored, PACKED)
            if file.nframes > 1:
                raise FrameError(f"holds {file.nframes} frames, in this format one a file is expected")
            data = file.data
    except FrameError:
        raise
    except Exception as error:  # fabio raises many types, from struct.error to TypeError
        raise FrameError(f"not an image that fabio can read ({_first_line(error)})") from error
    if data is None:
        raise FrameError("fabio found no image in it")
    return np.asarray(data)


def _check_unpacked(path: Path) -> None:
    """Raise FrameError if a packed file would fill the memory; unpack it unless it is too small for that."""
    opening = _PACKERS.get(path.suffix.lower())
    if opening is None or (path.suffix.lower() == ".gz" and path.stat().st_size < LARGEST_FILE // 1032):  # gzip's most
        return
    with opening(path) as file:
        size = 0
        while size <= LARGEST_FILE and (part := file.read(1 << 20)):
            size += len(part)
    if size > LARGEST_FILE:
        raise FrameError(f"unpacked it has more than {LARGEST_FILE >> 20} MB")


def _check_ends(path: Path) -> None:
    """Raise FrameError if fabio would never finish.

    fabio counts as many dimensions as an EDF header claims, searches for the binary data of a CBF, and follows the
    pages of a TIFF.
    """
    with _PACKERS.get(path.suffix.lower(), partial(open, mode="rb"))(path) as file:
        start = file.read(1 << 16)
        if b"{" in start[:8] and (dimensions := re.search(rb"dim_(\d{3,})", start, re.IGNORECASE)):
            raise FrameError(f"the header claims {dimensions[1][:20].decode()} dimensions")
        if start.startswith(b"###CBF") and _CBF_NUMBERS not in start and _CBF_NUMBERS not in start[-3:] + file.read():
            raise FrameError("no numbers begin in it, as they do in a CBF file")
    if start[:4] in _TIFF:
        _count_tiff(path)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
