"""Names of frames: the stem of the file, or the shortest path that distinguishes files of the same stem."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..model.limits import LONGEST_STACK
from ..model.reference import Indices, NumberedFiles, Reference, References, StackFrames, absolute_location

_STACK_NAME = re.compile(r"(.*)_(\d{4}|[1-9]\d{4,})", re.DOTALL)  # of a frame, see `StackFrames`
_NOT_ON_WINDOWS = re.compile(r'[<>:"/\\|?*\x00-\x1f]|^(?=(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$))', re.IGNORECASE)
Item = Reference | StackFrames
WIDEST = 18  # digits of a number in a name
Key = tuple[Path, str]  # file and dataset


def assign_names(frames: Iterable[Reference], taken: Mapping[str, str] | None = None) -> References:
    """Return the frames, each with its name.

    The name is the stem of the file or, if several files share it, the shortest path that distinguishes them. The name
    of a frame in a stack ends in its index, with four digits or more. Names differ by more than case, because some file
    systems ignore it.

    Parameters
    ----------
    frames
        Frames without names.
    taken
        Names that are in use in the output folder -> the frame (absolute path and tail) that has it. That frame keeps
        it.
    """
    owners = _Owners(taken or {})
    items = cast(list[Item], list(frames.items if isinstance(frames, References) else frames))
    known = [owners.name_of(item) for item in items]
    new = [owners.unknown(item) if name is None else [] for item, name in zip(items, known, strict=True)]
    files: dict[Key, list[Item]] = {}
    for part in (part for parts in new for part in parts):
        files.setdefault(_key(part), []).append(part)
    stems = _stems(files, owners)
    named = References()
    for item, name, parts in zip(items, known, new, strict=True):
        if name is not None:
            named.extend([_with_stem(item, name) if isinstance(item, StackFrames) else replace(item, name=name)])
        elif parts and (parts[0] is item or owners.share_stem(item, stems[_key(item)])):
            named.extend([_with_stem(item, stems[_key(item)])])
        else:  # some frames of a stack have names of another kind
            assert isinstance(item, StackFrames)
            stem, names = stems.get(_key(item), ""), owners.names_in(item)
            named.extend(replace(frame, name=names.get(frame.index) or _frame_name(stem, frame)) for frame in item)
    return named


class _Names:
    """Names in use, without case: those of single frames, and those of stacks by their stem."""

    def __init__(self) -> None:
        self.single: dict[str, int] = {}  # with the number of uses
        self.stacks: dict[str, list[Indices]] = {}

    def add(self, stem: str, items: Iterable[Item]) -> None:
        """Add the names of frames of one file."""
        for item in items:
            if isinstance(item, StackFrames):
                self.stacks.setdefault(folded(stem), []).append(item.indices)
            else:
                name = folded(_frame_name(stem, item))
                self.single[name] = self.single.get(name, 0) + 1

    def uses(self, stem: str, items: Iterable[Item]) -> int:
        """Return how often a name of these frames is in use, the largest number of all."""
        return max(self._uses(stem, item) for item in items)

    def _uses(self, stem: str, item: Item) -> int:
        if isinstance(item, StackFrames):
            stacks = sum(_overlap(item.indices, each) for each in self.stacks.get(folded(stem), ()))
            return stacks + (bool(self.single) and any(_holds(stem, item.indices, name) for name in self.single))
        name = folded(_frame_name(stem, item))
        match = _STACK_NAME.fullmatch(name) if self.stacks else None
        stacks = sum(int(match[2]) in each for each in self.stacks.get(match[1], ())) if match else 0
        return stacks + self.single.get(name, 0)


class _Owners(_Names):
    """Names in use in the output folder, with the frames that have them."""

    def __init__(self, taken: Mapping[str, str]) -> None:
        super().__init__()
        self.places: dict[str, str] = {}  # name without case -> frame
        self._known: dict[str, str] = {}  # frame -> name
        self._stacks: dict[str, dict[str, array[int]]] = {}  # location of a stack -> name of the stack -> indices
        for name, place in taken.items():
            match = _STACK_NAME.fullmatch(name)
            if match and place.endswith(tail := f"[{int(match[2])}]"):
                stems = self._stacks.setdefault(place.removesuffix(tail), {})
                stems.setdefault(match[1], array("q")).append(int(match[2]))
            else:
                self._known[place] = name
                self.places[folded(name)] = place
                self.single[folded(name)] = 1
        for stems in self._stacks.values():
            for stem, indices in stems.items():
                self.stacks.setdefault(folded(stem), []).append(np.unique(indices))

    def name_of(self, item: Item) -> str | None:
        """Return the name that a frame has, or the name of a stack whose frames all have names of one kind."""
        stems = self._stacks.get(_stack_location(item), {})
        if isinstance(item, StackFrames):
            return next((stem for stem, own in stems.items() if np.isin(item.indices, own).all()), None)
        if (name := self._known.get(absolute_location(item))) is None and item.index is not None:
            return next((_frame_name(stem, item) for stem, own in stems.items() if item.index in own), None)
        return name

    def names_in(self, item: StackFrames) -> dict[int | None, str]:
        """Return the names that frames of a stack have, by index."""
        location = _stack_location(item)
        stacks = self._stacks.get(location, {})
        names: dict[int | None, str] = {i: f"{stem}_{i:04d}" for stem, own in stacks.items() for i in own}
        single = ((index, self._known.get(f"{location}[{index}]")) for index in (item.indices if self._known else ()))
        return {**names, **{int(index): name for index, name in single if name is not None}}

    def unknown(self, item: Item) -> list[Item]:
        """Return the frames of an item that have no name yet."""
        if not isinstance(item, StackFrames) or not (self._known or self._stacks):
            return [item]
        location = _stack_location(item)
        single = [index for index in item.indices if f"{location}[{index}]" in self._known] if self._known else []
        taken = [np.array(own, np.int64) for own in (single, *self._stacks.get(location, {}).values())]
        is_new = ~np.isin(item.indices, np.concatenate(taken))
        if is_new.all():
            return [item]
        return [item.part(np.asarray(item.indices)[is_new])] if is_new.any() else []

    def share_stem(self, item: Item, stem: str) -> bool:
        """Return True if all frames of a stack that have names have them from this stem."""
        location = _stack_location(item)
        return set(self._stacks.get(location, ())) == {stem} and not any(
            place.startswith(f"{location}[") for place in self._known
        )


def _stems(files: Mapping[Key, list[Item]], owners: _Owners) -> dict[Key, str]:
    """Return the name of each file and dataset; that of a frame in a stack begins with it."""
    stems: dict[Key, str] = {}
    waiting = dict(files)
    depth, longest = 0, max((2 * len(Path(os.path.abspath(path)).parts) - 3 for path, _ in files), default=0)
    while waiting:
        proposals = {key: _proposal(*key, depth) for key in waiting}
        proposed = _Names()
        for key, stem in proposals.items():
            proposed.add(stem, waiting[key])
        for key, stem in proposals.items():
            own, path = waiting[key], key[0]
            unique = depth > longest or proposed.uses(stem, own) == 1  # after that, the first one takes it
            other = Path(owners.places.get(folded(path.stem), ""))  # x.tif is distinguished by its folder
            if unique and not owners.uses(stem, own) and (depth != 1 or path.suffix != other.suffix):
                stems[key] = stem
                owners.add(stem, own)
                owners.places |= {folded(stem): absolute_location(each) for each in own if isinstance(each, Reference)}
                del waiting[key]
        depth += 1
    return stems


def _proposal(path: Path, dataset: str, depth: int) -> str:
    # x, x_tif, a_x, a_x_tif, b_a_x, ...: each depth adds a part of the path, then a number.
    absolute = Path(os.path.abspath(path))
    parts = [part for part in absolute.parts if part != absolute.anchor]
    stem, suffix = path.stem, path.suffix.lstrip(".")
    parents = parts[:-1]
    folders, with_suffix = divmod(depth, 2)
    name = "_".join([*parents[len(parents) - min(folders, len(parents)) :], stem])
    if folders > len(parents):
        name += f"_{folders - len(parents) + 1}"
    name = f"{name}_{suffix}" if with_suffix and suffix else name
    if depth and dataset:  # two datasets of one file
        inside = [part for part in dataset.replace("*", "").split("/") if part]
        name = "_".join([name, *inside[-depth:]])
    return _NOT_ON_WINDOWS.sub("_", name) if sys.platform == "win32" else name


def folded(name: str) -> str:
    """Return a name without case, and with composed accents: some file systems see no other difference."""
    return name.casefold() if name.isascii() else unicodedata.normalize("NFC", name.casefold())


def _key(item: Item) -> Key:
    frame = item.stack if isinstance(item, StackFrames) else item
    return frame.path, frame.dataset


def _stack_location(item: Item) -> str:
    """Return the location of a stack, without the index of a frame."""
    path, dataset = _key(item)
    return f"{os.path.abspath(path)}::{dataset}"


def _frame_name(stem: str, frame: Reference) -> str:
    return stem if frame.index is None else f"{stem}_{frame.index:04d}"


def _with_stem(item: Item, stem: str) -> Item:
    if isinstance(item, StackFrames):
        return replace(item, stack=replace(item.stack, name=stem))
    return replace(item, name=_frame_name(stem, item))


def _overlap(one: Indices, other: Indices) -> bool:
    if one[0] > other[-1] or other[0] > one[-1]:
        return False
    if isinstance(one, range) and isinstance(other, range) and one.step == other.step == 1:
        return True
    return bool(np.isin(one, other).any())


def _holds(stem: str, indices: Indices, name: str) -> bool:
    """Return whether a frame of a stack has this name, without case."""
    match = _STACK_NAME.fullmatch(name)
    return match is not None and match[1] == folded(stem) and int(match[2]) in indices


def distinct(items: Iterable[Item | NumberedFiles]) -> list[Item | NumberedFiles]:
    """Return frames in order, each once."""
    single: set[str] = set()
    stacks: dict[str, Indices] = {}
    found: list[Item | NumberedFiles] = []
    for item in items:
        if isinstance(item, NumberedFiles):
            found.append(item)
        elif isinstance(item, StackFrames):
            location, indices = absolute_location(item.stack), item.indices
            if location in stacks:
                indices = np.asarray(indices)[~np.isin(indices, stacks[location])]
                stacks[location] = np.union1d(indices, stacks[location])
            else:
                stacks[location] = indices
            found.append(item.part(indices))
        elif (location := absolute_location(item)) not in single:
            single.add(location)
            found.append(item)
    return found


def compact_names(frames: References) -> list[str | list[Any]]:
    """Return the names of frames as JSON: a name, or text, first number, end, digits and text of names in a row."""
    names: list[str | list[Any]] = []
    for item in frames.items:
        if isinstance(item, Reference):
            names.append(item.name)
            continue
        if isinstance(item, StackFrames):
            numbers, before, width, after = np.asarray(item.indices), f"{item.stack.name}_", 4, ""
        else:
            numbers, before, width, after = (
                item.numbers,
                os.path.basename(item.before),
                item.width,
                Path(item.after).stem,
            )
        breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
        names += [[before, int(row[0]), int(row[-1]) + 1, width, after] for row in np.split(numbers, breaks)]
    return names


def expand_names(names: Any) -> Iterator[str]:
    """Yield the names that `compact_names` returned, from a file that is not trusted."""
    for each in names if isinstance(names, list) else ():
        if isinstance(each, str):
            yield each
        elif isinstance(each, list) and list(map(type, each)) == [str, int, int, int, str]:
            before, first, end, width, after = each
            numbers = range(first, min(end, first + LONGEST_STACK)) if 0 <= width <= WIDEST else ()
            yield from (f"{before}{number:0{width}d}{after}" for number in numbers)
