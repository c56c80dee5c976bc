"""Messages of a detector's stream in the format of DECTRIS Stream V2: CBOR maps of the types start, image and end.

The format is https://github.com/dectris/documentation/tree/main/stream_v2; arrays are those of RFC 8746, their bytes
may be compressed (tag 56500). A message comes from a network, so every size is checked before it is used.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

MOST_BYTES = 1 << 29  # of a message, and of an image
ARRAY, COMPRESSED = 40, 56500  # CBOR tags
TYPES = {64: "<u1", 69: "<u2", 70: "<u4", 71: "<u8", 72: "<i1", 77: "<i2", 78: "<i4", 79: "<i8", 85: "<f4", 86: "<f8"}
LARGEST = (1 << 31) - 1  # of the numbers of a series and of an image


class MessageError(ValueError):
    """A message is not as the format says; the text is the reason."""


@dataclass(frozen=True)
class Array:
    """A two-dimensional array as it was sent: ``data`` are the bytes, compressed by ``algorithm`` ("" for none)."""

    shape: tuple[int, int]  # (slow, fast)
    dtype: np.dtype[Any]
    algorithm: str
    data: bytes


@dataclass(frozen=True)
class Message:
    """A message of a stream.

    Attributes
    ----------
    kind
        start, image or end.
    series
        Number of the series.
    unique
        Name of the series, if it is one that a file may have; else empty.
    values
        The whole message.
    """

    kind: str
    series: int
    unique: str
    values: Mapping[str, Any]

    @classmethod
    def of(cls, content: bytes) -> Message:
        """Decode a message; raise MessageError if it is none."""
        import cbor2

        try:
            values = cbor2.loads(content)
        except Exception as error:  # of many types, RecursionError among them
            raise MessageError(f"not CBOR ({str(error)[:80] or type(error).__name__})") from error
        if not isinstance(values, dict):
            raise MessageError("not a CBOR map")
        kind = values.get("type")
        if kind not in ("start", "image", "end"):
            raise MessageError(f"type {str(kind)[:20]!r}; start, image or end expected")
        return cls(kind, _number(values, "series_id"), _file_name(values.get("series_unique_id")), values)

    @property
    def image(self) -> int:
        """Number of the image in its series."""
        return _number(self.values, "image_id")

    @property
    def images(self) -> int:
        """Number of images that a start message announces, 0 if it does not say."""
        return _number(self.values, "number_of_images") if "number_of_images" in self.values else 0

    def array(self, key: str, channel: str | None) -> Array | None:
        """Return the array of a channel, the first one for None; None if the message has no such map.

        Raises
        ------
        MessageError
            There is no such channel, or its array is not as the format says.
        """
        channels = self.values.get(key)
        if channels is None:
            return None
        if not isinstance(channels, dict) or not channels:
            raise MessageError(f"{key} is not a map of channels")
        name = next(iter(channels)) if channel is None else channel
        if name not in channels:
            there = ", ".join(str(each)[:30] for each in list(channels)[:4])
            raise MessageError(f"{key} has no channel {channel!r}; there is {there}")
        return _array(channels[name])


def _file_name(value: Any) -> str:
    """Return a text that may be a part of a file's name, empty for another one."""
    if not isinstance(value, str) or not value.isascii() or len(value) > 64:
        return ""
    return value if value.replace("_", "").replace("-", "").isalnum() else ""


def _number(values: Mapping[str, Any], key: str) -> int:
    value = values.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST:
        raise MessageError(f"{key} is not a number from 0 to {LARGEST}")
    return value


def _array(item: Any) -> Array:
    content = _tagged(item, ARRAY, "an array")
    if not (isinstance(content, (list, tuple)) and len(content) == 2):
        raise MessageError("an array without dimensions and content")
    sides, typed = content
    is_shape = isinstance(sides, (list, tuple)) and len(sides) == 2
    if not is_shape or not all(isinstance(each, int) and 0 < each < 1 << 16 for each in sides):
        raise MessageError("an image is not of two dimensions")
    tag = getattr(typed, "tag", None)
    if tag not in TYPES:
        raise MessageError(f"an array of the unknown type {str(tag)[:20]}")
    dtype, data, algorithm = np.dtype(TYPES[tag]), typed.value, ""
    if prod(sides) * dtype.itemsize > MOST_BYTES:
        raise MessageError(f"an image of {sides[0]} x {sides[1]} pixels: larger than {MOST_BYTES >> 20} MiB")
    if getattr(data, "tag", None) == COMPRESSED:
        if not (isinstance(data.value, (list, tuple)) and len(data.value) == 3):
            raise MessageError("compressed bytes without algorithm, element size and content")
        algorithm, size, data = data.value
        if algorithm not in ("lz4", "bslz4"):
            raise MessageError(f"the compression {str(algorithm)[:20]!r}; lz4 or bslz4 expected")
        if algorithm == "bslz4" and size != dtype.itemsize:
            raise MessageError(f"elements of {str(size)[:20]} bytes in an array of {dtype.itemsize}")
    if not isinstance(data, bytes):
        raise MessageError("an array without bytes")
    _check_size(data, algorithm, prod(sides) * dtype.itemsize, dtype.itemsize)
    return Array((sides[0], sides[1]), dtype, algorithm, data)


def _tagged(item: Any, tag: int, what: str) -> Any:
    if getattr(item, "tag", None) != tag:
        raise MessageError(f"{what} without the tag {tag}")
    return item.value


def _check_size(data: bytes, algorithm: str, size: int, itemsize: int) -> None:
    """Raise MessageError unless the bytes, with the headers of all their blocks, are those of an array of ``size``."""
    if not algorithm:
        if len(data) != size:
            raise MessageError(f"{len(data)} bytes for an array of {size}")
        return
    wrong = MessageError(f"its {algorithm} blocks do not make an array of {size} bytes")
    if len(data) < 12:
        raise wrong
    total, block = struct.unpack_from(">QI", data)
    if total != size or not block:
        raise wrong
    if algorithm == "bslz4":  # blocks of 8 n elements; the last elements, fewer than 8, are not compressed
        if block % (8 * itemsize):
            raise wrong
        rest = size // itemsize % 8 * itemsize
        count, longest = -(-(size - rest) // block), block + block // 255 + 16
    else:
        rest, count, longest = 0, -(-size // block), block
    at = 12
    for _ in range(min(count, len(data))):
        if at + 4 > len(data):
            raise wrong
        (length,) = struct.unpack_from(">I", data, at)
        if not 0 < length <= longest:
            raise wrong
        at += 4 + length
    if at + rest != len(data):
        raise wrong
