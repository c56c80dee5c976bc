"""References to frames that are not read yet."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, overload

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

    def _reference(self, index: int) -> Reference:
        stack = self.stack
        name = f"{stack.name}_{index:04d}" if stack.name else ""
        return Reference(name, stack.path, None, stack.dataset, index)


class References(Sequence[Reference]):
    """References of many frames in order; those of a stack are made on access.

    Parameters
    ----------
    items
        Single frames and frames of stacks.

    Attributes
    ----------
    items
        The same. `extend` adds to them.
    """

    def __init__(self, items: Iterable[Reference | StackFrames] = ()) -> None:
        self.items: list[Reference | StackFrames] = []
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
        if not -len(self) <= place < len(self):
            raise IndexError(f"there is no frame {place} among {len(self)}")
        place %= len(self)
        number = bisect_right(self._ends, place)
        item = self.items[number]
        return item[place - self._ends[number] + len(item)] if isinstance(item, StackFrames) else item

    def __iter__(self) -> Iterator[Reference]:
        for item in self.items:
            if isinstance(item, StackFrames):
                yield from item
            else:
                yield item

    def extend(self, items: Iterable[Reference | StackFrames]) -> None:
        """Add frames at the end."""
        for item in items:
            if count := len(item) if isinstance(item, StackFrames) else 1:
                self._ends.append(len(self) + count)
                self.items.append(item)

    def select(self, places: NDArray[np.int64]) -> References:
        """Return the frames at these places, which ascend."""
        found: list[Reference | StackFrames] = []
        end = 0
        for item in self.items:
            start, end = end, end + (len(item) if isinstance(item, StackFrames) else 1)
            low, high = np.searchsorted(places, (start, end))
            if low == high:
                continue
            if isinstance(item, StackFrames):
                is_whole = high - low == len(item)
                found.append(item if is_whole else item.part(np.asarray(item.indices)[places[low:high] - start]))
            else:
                found.append(item)
        return References(found)


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
        return self._note(self._images[place])

    def __iter__(self) -> Iterator[Reference]:
        return map(self._note, self._images)

    @property
    def has_arrays(self) -> bool:
        """True if any of the frames is an array that is passed in Python."""
        return has_arrays(self._images)

    def _note(self, image: Reference) -> Reference:
        self._taken[image.name] = image
        return image


class ByName(Mapping[str, Value]):
    """Values of frames by their name, made on access.

    Parameters
    ----------
    images
        The frames.
    value
        Returns the value of a frame.
    """

    def __init__(self, images: Sequence[Reference], value: Callable[[Reference], Value]) -> None:
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


def distinct(items: Iterable[Reference | StackFrames]) -> list[Reference | StackFrames]:
    """Return frames in order, each once."""
    single: set[str] = set()
    stacks: dict[str, Indices] = {}
    found: list[Reference | StackFrames] = []
    for item in items:
        if isinstance(item, StackFrames):
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
