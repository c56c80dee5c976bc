"""References to frames that are not read yet."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Collection, ItemsView, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

Indices = range | NDArray[np.int64]
Value = TypeVar("Value")


@dataclass(frozen=True)
class Reference:
    """Location of a frame: a file, a frame in a file, or an array passed in Python.

    Attributes
    ----------
    name
        Name of the frame in its run.
    path
        File.
    array
        Array of shape (slow, fast), if the frame is passed in Python.
    dataset
        Path in an HDF5 file. A pattern (``/entry/data/data_*``) stands for the matching datasets, one after another.
    index
        Index of the frame in a file of several, from 0.
    parts
        Frames that are merged in this one. The other attributes are then those of the first part.
    """

    name: str
    path: Path
    array: NDArray[Any] | None = None
    dataset: str = ""
    index: int | None = None
    parts: tuple[Reference, ...] = ()

    @property
    def tail(self) -> str:
        """Part of the location after the path: ``::/entry/data/data[3]``, or an empty text."""
        number = "" if self.index is None else f"[{self.index}]"
        return f"::{self.dataset}{number}" if self.dataset or number else ""

    @property
    def location(self) -> str:
        """Location as a user types it: ``scan.h5::/entry/data/data[3]``."""
        return f"{self.path}{self.tail}"

    @property
    def stack(self) -> str:
        """Name of the stack that the frame belongs to; empty for a file with one frame."""
        return "" if self.index is None else self.name.rpartition("_")[0]


@dataclass(frozen=True, eq=False)
class StackFrames:
    """Frames of one stack, which share all but their index, so that a million of them take no memory.

    Attributes
    ----------
    stack
        Reference without an index. Its name is that of the stack.
    indices
        Indices of the frames, int64.
    """

    stack: Reference
    indices: Indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> Reference:
        return self._reference(int(self.indices[place]))

    def __iter__(self) -> Iterator[Reference]:
        return map(self._reference, self.indices if isinstance(self.indices, range) else self.indices.tolist())

    def part(self, indices: Indices) -> StackFrames:
        """Return the frames with these indices."""
        return replace(self, indices=indices)

    def at(self, places: NDArray[np.int64]) -> StackFrames:
        """Return the frames at these places."""
        return self.part(np.asarray(self.indices)[places])

    def _reference(self, index: int) -> Reference:
        stack = self.stack
        name = f"{stack.name}_{index:04d}" if stack.name else ""
        return Reference(name, stack.path, None, stack.dataset, index)


@dataclass(frozen=True, eq=False)
class NumberedFiles:
    """Files whose paths differ in a number alone, so that a million of them take little memory.

    Each counts as one frame until `look` opens it.

    Attributes
    ----------
    before, width, after
        Path of a file: a text, the number with so many digits, another text. The suffix is in the second text.
    numbers
        Numbers of the files, int64, ascending.
    list_frames
        Returns the frames of a file.
    found
        What `look` found in files that do not hold one plain image, by number.
    """

    before: str
    width: int
    after: str
    numbers: NDArray[np.int64]
    list_frames: Callable[[Path], References]
    found: dict[int, Reference | StackFrames] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place: int) -> Reference:
        return self._reference(int(self.numbers[place]))

    def __iter__(self) -> Iterator[Reference]:
        return map(self._reference, self.numbers.tolist())

    def at(self, places: NDArray[np.int64]) -> NumberedFiles:
        """Return the files at these places."""
        return replace(self, numbers=self.numbers[places])

    def path(self, number: int) -> Path:
        """Return the path of a file."""
        return Path(f"{self.before}{number:0{self.width}d}{self.after}")

    def look(self, place: int) -> Reference:
        """Return the frame at a place as it is in its file, the first one of a stack."""
        number = int(self.numbers[place])
        items = self.list_frames(self.path(number)).items
        if items and isinstance(items[0], StackFrames):
            stack = items[0].stack
            self.found[number] = replace(items[0], stack=replace(stack, name=stack.path.stem))
        elif items and isinstance(items[0], Reference) and items[0].dataset:
            self.found[number] = replace(items[0], name=items[0].path.stem)
        return self._reference(number)

    def settled(self) -> Iterator[Reference | StackFrames | NumberedFiles]:
        """Yield these files, with what `look` found in its place."""
        start = 0
        for number in sorted(self.found):
            place = int(np.searchsorted(self.numbers, number))
            if place < len(self) and self.numbers[place] == number:
                yield self.at(np.arange(start, place))
                yield self.found[number]
                start = place + 1
        yield self.at(np.arange(start, len(self)))

    def _reference(self, number: int) -> Reference:
        if (item := self.found.get(number)) is not None:
            return item[0] if isinstance(item, StackFrames) else item
        path = self.path(number)
        return Reference(path.stem, path)


class References(Sequence[Reference]):
    """References of many frames in order; those of stacks and of numbered files are made on access.

    Parameters
    ----------
    items
        Single frames, frames of stacks, numbered files.

    Attributes
    ----------
    items
        The same. `extend` adds to them.
    """

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self.items: list[Item] = []
        self._ends: list[int] = []  # number of frames up to each item
        self.extend(items)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, place: int) -> Reference: ...
    @overload
    def __getitem__(self, place: slice) -> References: ...
    def __getitem__(self, place: int | slice) -> Reference | References:
        if isinstance(place, slice):
            return self.select(np.arange(len(self))[place])
        item, place = self._find(place)
        return item if isinstance(item, Reference) else item[place]

    def look(self, place: int) -> Reference:
        """Return the frame at a place as it is in its file, see `NumberedFiles`."""
        item, place = self._find(place)
        return (
            item
            if isinstance(item, Reference)
            else item.look(place)
            if isinstance(item, NumberedFiles)
            else item[place]
        )

    def _find(self, place: int) -> tuple[Item, int]:
        """Return the item that holds the frame at a place, and its place there."""
        if not -len(self) <= place < len(self):
            raise IndexError(f"there is no frame {place} among {len(self)}")
        place %= len(self)
        number = bisect_right(self._ends, place)
        return self.items[number], place - (self._ends[number - 1] if number else 0)

    def __iter__(self) -> Iterator[Reference]:
        for item in self.items:
            if isinstance(item, Reference):
                yield item
            else:
                yield from item

    def extend(self, items: Iterable[Item]) -> None:
        """Add frames at the end."""
        for item in items:
            if count := _count(item):
                self._ends.append(len(self) + count)
                self.items.append(item)

    def settle(self) -> References:
        """Put all frames of the files that turned out to be stacks into their places, and return all but the first."""
        items, self.items, self._ends = self.items, [], []
        others = References()
        for item in items:
            settled = list(item.settled()) if isinstance(item, NumberedFiles) else [item]
            self.extend(settled)
            if isinstance(item, NumberedFiles):
                others.extend(each.at(np.arange(1, len(each))) for each in settled if isinstance(each, StackFrames))
        return others

    def select(self, places: NDArray[np.int64]) -> References:
        """Return the frames at these places, which ascend."""
        found: list[Item] = []
        end = 0
        for item in self.items:
            start, end = end, end + _count(item)
            low, high = np.searchsorted(places, (start, end))
            if low == high:
                continue
            if isinstance(item, Reference) or high - low == len(item):
                found.append(item)
            else:
                found.append(item.at(places[low:high] - start))
        return References(found)


Item = Reference | StackFrames | NumberedFiles


def _count(item: Item) -> int:
    return 1 if isinstance(item, Reference) else len(item)


class Taken(Sequence[Reference]):
    """References that are noted when they are taken.

    Parameters
    ----------
    images
        The frames.
    taken
        Receives each frame by its name.
    """

    def __init__(self, images: Sequence[Reference], taken: dict[str, Reference]) -> None:
        self._images, self._taken = images, taken

    def __len__(self) -> int:
        return len(self._images)

    @overload
    def __getitem__(self, place: int) -> Reference: ...
    @overload
    def __getitem__(self, place: slice) -> Taken: ...
    def __getitem__(self, place: int | slice) -> Reference | Taken:
        if isinstance(place, slice):
            return Taken(self._images[place], self._taken)
        images = self._images
        image = images.look(place) if isinstance(images, References) else images[place]
        self._taken[image.name] = image
        return image

    def __iter__(self) -> Iterator[Reference]:
        return map(self.__getitem__, range(len(self)))

    @property
    def has_arrays(self) -> bool:
        """True if any of the frames is an array that is passed in Python."""
        return has_arrays(self._images)


class Named(Protocol):
    """A frame or its record."""

    @property
    def name(self) -> str:
        """Name of the frame."""


Image = TypeVar("Image", bound=Named)


class ByName(Mapping[str, Value]):
    """Values of frames by their name, made on access; a look at all of them is cheap, a search is not.

    Parameters
    ----------
    images
        The frames.
    value
        Returns the value of a frame.
    """

    def __init__(self, images: Collection[Image], value: Callable[[Image], Value]) -> None:
        self._images, self._value = images, value

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[str]:
        return (image.name for image in self._images)

    def __getitem__(self, name: str) -> Value:
        for image in self._images:
            if image.name == name:
                return self._value(image)
        raise KeyError(name)

    def items(self) -> ItemsView[str, Value]:
        """Return names and values, in the order of the frames."""
        return _Items(self)

    def pairs(self) -> Iterator[tuple[str, Value]]:
        """Yield names and values."""
        return ((image.name, self._value(image)) for image in self._images)


class _Items(ItemsView[str, Value]):
    """Names and values, without a search for each name."""

    _mapping: ByName[Value]

    def __iter__(self) -> Iterator[tuple[str, Value]]:
        return self._mapping.pairs()


def has_arrays(images: Sequence[Reference]) -> bool:
    """Return True if any of the frames is an array that is passed in Python."""
    if isinstance(images, Taken):
        return images.has_arrays
    items = images.items if isinstance(images, References) else images
    return any(isinstance(item, Reference) and item.array is not None for item in items)


def absolute_location(frame: Reference) -> str:
    """Return the absolute path and the tail of a frame."""
    return f"{os.path.abspath(frame.path)}{frame.tail}"


def display_path(frame: Reference, folders: bool = True) -> str:
    """Return the path of a frame as the user typed it.

    Merged frames give the first and the last of their parts. Without ``folders``, only base names are shown.
    """
    parts = frame.parts or (frame,)
    first, last = (f"{part.path if folders else part.path.name}{part.tail}" for part in (parts[0], parts[-1]))
    return first if first == last else f"{first} ... {last if parts[0].index is None else parts[-1].tail[2:]}"
