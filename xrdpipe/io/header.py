"""Headers of frames, read on first access."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

from ..model.errors import FrameError
from ..model.reference import Reference

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_LINE = re.compile(r"[#;\s]*([^:=]*?)\s*[:=]\s*(.*?)[;\s]*")  # key: value, key = value
_MINI = re.compile(rf"#\s*(\w+)\s+({_NUMBER.pattern})(?: [^\W\d]*)?\s*")  # Dectris: # Exposure_time 1.0 s


class Header(Mapping[str, Any]):
    """Lazy mapping of header values, key -> number or text.

    A key matches exactly, else regardless of case. In an HDF5 file it is a path (``/entry/sample/temperature``), or the
    last name of a path if only one path ends so.

    Parameters
    ----------
    load
        Function that returns the values; it is called on first access.
    """

    def __init__(self, load: Callable[[], Mapping[str, Any]]) -> None:
        self._load = load

    @cached_property
    def _values(self) -> Mapping[str, Any]:
        return self._load()

    def __getitem__(self, key: str) -> Any:
        if key.startswith("/"):
            return self._values[key]
        matches = [each for each in self._values if each == key]
        matches = matches or [each for each in self._values if each.casefold() == key.casefold()]
        matches = matches or [each for each in self._values if each.startswith("/") and each.rpartition("/")[2] == key]
        if len(matches) != 1:
            raise KeyError(f"{key}: {'which of ' + ', '.join(matches) if matches else 'no such key'}")
        return self._values[matches[0]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def missing(self, key: str) -> str:
        """Return the reason why ``key`` is missing, with the nearest keys; empty if it is not."""
        try:
            self[key]
        except KeyError as error:
            reason = str(error.args[0]) if error.args else key
            names = {each: each for each in self} | {each.rpartition("/")[2]: each for each in self if "/" in each}
            close = [names[each] for each in get_close_matches(key.rpartition("/")[2], names, n=3)]
            return f"{reason}; the nearest are {', '.join(dict.fromkeys(close))}" if close else reason
        return ""


def header(reference: Reference) -> Header:
    """Return the header of a frame, unread; it is empty for an array and for a file without one."""
    if reference.parts:
        return Header(lambda: MergedHeader([header(part) for part in reference.parts]))
    return Header(lambda: {} if reference.array is not None else _read(reference))


def with_check(header: Mapping[str, Any], check: Callable[[], object]) -> Header:
    """Return the same header, which calls ``check`` after it is read; ``check`` may raise."""

    def load() -> Mapping[str, Any]:
        for key in header:
            header.get(key)
        check()
        return header

    return Header(load)


def file_header(path: str) -> Header:
    """Return the header of an image file; that of several frames is their merged header."""
    from .files import list_frames

    frames = list_frames(path).references
    return header(frames[0] if len(frames) == 1 else Reference("", Path(path), parts=tuple(frames)))


class MergedHeader(Mapping[str, Any]):
    """Header of merged frames: the mean of numbers, the first value of everything else."""

    def __init__(self, headers: Sequence[Header]) -> None:
        self.headers = headers

    def __getitem__(self, key: str) -> Any:
        values = [each[key] for each in self.headers]
        numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
        return values[0] if not numbers or len(set(values)) == 1 else sum(values) / len(values)

    def __iter__(self) -> Iterator[str]:
        return iter(self.headers[0])

    def __len__(self) -> int:
        return len(self.headers[0])


def _read(reference: Reference) -> Mapping[str, Any]:
    path, frame = reference.path, reference.index or 0
    try:
        with open(path, "rb") as file:
            start = file.read(8)
        if start == b"\x89HDF\r\n\x1a\n":
            return _Hdf5Header(reference)
        if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return _tiff(path, frame)
        return {} if start[:6] == b"\x93NUMPY" else _fabio(path, frame)
    except Exception:  # tifffile and fabio raise many types; a frame with an unreadable header stays usable
        return {}


class _Hdf5Header(Mapping[str, Any]):
    """Header of a frame in an HDF5 file: values by path; of one value per frame, that of the frame."""

    def __init__(self, reference: Reference) -> None:
        self.path, self.dataset, self.index = reference.path, reference.dataset, reference.index

    @cached_property
    def _paths(self) -> tuple[str, ...]:
        from .hdf5 import small_values

        try:
            return small_values(self.path)
        except FrameError:
            return ()

    def __getitem__(self, key: str) -> Any:
        from .hdf5 import stack, value

        count = 1 if self.index is None else stack(self.path, self.dataset).count
        return value(self.path, key, self.index, count)

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def _tiff(path: Path, page: int) -> Mapping[str, Any]:
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        tags = {tag.name: tag.value for at in {0, page} for tag in tiff.pages[at].tags}
    texts = [tags.pop(name) for name in ("ImageDescription", "Artist") if isinstance(tags.get(name), str)]
    values = {name: parse_value(value) for name, value in tags.items() if isinstance(value, (str, int, float))}
    return {**values, **{key: value for text in texts for key, value in parse_text(text).items()}}


def _fabio(path: Path, frame: int) -> Mapping[str, Any]:
    import fabio

    with fabio.openheader(str(path)) as file:
        fields = dict((file.get_frame(frame) if frame else file).header)
    # ESRF lists several names, and several values, on one line.
    for names, positions in (("motor_mne", "motor_pos"), ("counter_mne", "counter_pos")):
        if names in fields and positions in fields:
            fields |= dict(zip(str(fields[names]).split(), str(fields[positions]).split(), strict=False))
    text = fields.pop("_array_data.header_contents", "")  # CBF
    return {**{str(key): parse_value(value) for key, value in fields.items()}, **parse_text(text)}


def parse_text(text: str) -> dict[str, Any]:
    """Parse values from a text: JSON, or lines of ``key: value``, ``key = value`` or ``# key value [unit]``."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        lines = text.splitlines()
        fields = {match[1]: parse_value(match[2]) for line in lines if (match := _LINE.fullmatch(line)) and match[1]}
        return {match[1]: parse_value(match[2]) for line in lines if (match := _MINI.fullmatch(line))} | fields
    return dict(_flat(values)) if isinstance(values, dict) else {}


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        elif isinstance(value, (str, int, float)):
            yield f"{above}{key}", parse_value(value)


def parse_value(value: Any) -> Any:
    """Return a text as a number if it is one, else without surrounding blanks."""
    if isinstance(value, (bool, int, float)):
        return value
    text = str(value).strip().strip("\0")
    if not _NUMBER.fullmatch(text):
        return text
    return int(text) if text.lstrip("+-").isdecimal() else float(text)
