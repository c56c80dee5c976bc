"""Header: what a file says of a frame besides its pixels, read only when somebody asks."""

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
    """Key -> number or text. ``load`` gives the values, and is called when the first key is asked for.

    A key is taken as it is, or if there is none, whatever its upper and lower case; in an HDF5 file it is a path
    (``/entry/sample/temperature``), or its last name alone where only one path ends so.
    """

    def __init__(self, load: Callable[[], Mapping[str, Any]]) -> None:
        self._load = load

    @cached_property
    def _values(self) -> Mapping[str, Any]:
        return self._load()

    def __getitem__(self, key: str) -> Any:
        if key.startswith("/"):
            return self._values[key]
        same = [each for each in self._values if each == key]
        same = same or [each for each in self._values if each.casefold() == key.casefold()]
        same = same or [each for each in self._values if each.startswith("/") and each.rpartition("/")[2] == key]
        if len(same) != 1:
            raise KeyError(f"{key}: {'which of ' + ', '.join(same) if same else 'no such key'}")
        return self._values[same[0]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def missing(self, key: str) -> str:
        """Why there is no ``key``, in words, with the nearest keys that there are."""
        try:
            self[key]
        except KeyError as error:
            told = str(error.args[0]) if error.args else key
            names = {each: each for each in self} | {each.rpartition("/")[2]: each for each in self if "/" in each}
            close = [names[each] for each in get_close_matches(key.rpartition("/")[2], names, n=3)]
            return f"{told}; the nearest are {', '.join(dict.fromkeys(close))}" if close else told
        return ""


def header(reference: Reference) -> Header:
    """The header of a frame; that of an array, or of a file that has none, is empty. Nothing is read yet."""
    if reference.parts:
        return Header(lambda: Merged([header(part) for part in reference.parts]))
    return Header(lambda: {} if reference.array is not None else _read(reference))


def checked(header: Mapping[str, Any], check: Callable[[], object]) -> Header:
    """The same header; when it has been read, ``check`` is called, which may raise."""

    def load() -> Mapping[str, Any]:
        for key in header:
            header.get(key)
        check()
        return header

    return Header(load)


def of_file(path: str) -> Header:
    """The header of an image file; of one that holds several frames it is as that of their merger."""
    from .files import look

    found = look(path).references
    return header(found[0] if len(found) == 1 else Reference("", Path(path), parts=found))


class Merged(Mapping[str, Any]):
    """The headers of merged frames: of numbers their mean, of all else what the first one says."""

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
            return _Inside(reference)
        if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return _tiff(path, frame)
        return {} if start[:6] == b"\x93NUMPY" else _fabio(path, frame)
    except Exception:  # tifffile and fabio raise anything; the frame itself was read, so its header just has nothing
        return {}


class _Inside(Mapping[str, Any]):
    """The values in an HDF5 file: by path; of what has a value for each frame, that of the frame's ``index``."""

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
    plain = {name: parsed(value) for name, value in tags.items() if isinstance(value, (str, int, float))}
    return {**plain, **{key: value for text in texts for key, value in described(text).items()}}


def _fabio(path: Path, frame: int) -> Mapping[str, Any]:
    import fabio

    with fabio.openheader(str(path)) as file:
        found = dict((file.get_frame(frame) if frame else file).header)
    for names, values in (("motor_mne", "motor_pos"), ("counter_mne", "counter_pos")):  # ESRF's way of many in a line
        if names in found and values in found:
            found |= dict(zip(str(found[names]).split(), str(found[values]).split(), strict=False))
    text = found.pop("_array_data.header_contents", "")  # CBF
    return {**{str(key): parsed(value) for key, value in found.items()}, **described(text)}


def described(text: str) -> dict[str, Any]:
    """Values in a text: JSON, or lines of ``key: value``, ``key = value`` or ``# key value [unit]``."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        lines = text.splitlines()
        found = {match[1]: parsed(match[2]) for line in lines if (match := _LINE.fullmatch(line)) and match[1]}
        return {match[1]: parsed(match[2]) for line in lines if (match := _MINI.fullmatch(line))} | found
    return dict(_flat(values)) if isinstance(values, dict) else {}


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        elif isinstance(value, (str, int, float)):
            yield f"{above}{key}", parsed(value)


def parsed(value: Any) -> Any:
    """A number where a text is one, else the text without spaces around it."""
    if isinstance(value, (bool, int, float)):
        return value
    text = str(value).strip().strip("\0")
    if not _NUMBER.fullmatch(text):
        return text
    return int(text) if text.lstrip("+-").isdecimal() else float(text)
