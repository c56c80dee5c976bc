"""Results that are kept while there is room."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """The values used last, by what they are made of.

    Parameters
    ----------
    most
        Largest number of values.
    room
        Largest size of all of them together, bytes.
    size
        Returns the size of a value, bytes.
    """

    def __init__(self, most: int, room: float = float("inf"), size: Callable[[Value], int] = lambda value: 0) -> None:
        self._most, self._room, self._size = most, room, size
        self._values: OrderedDict[Hashable, Value] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of a key; ``make`` it if it is not kept."""
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        value = self._values[key] = make()
        while len(self._values) > 1 and (len(self._values) > self._most or self._total() > self._room):
            self._values.popitem(last=False)
        return value

    def find(self, key: Hashable) -> Value | None:
        """Return the value of a key, None if it is not kept."""
        return self._values.get(key)

    def _total(self) -> int:
        return sum(map(self._size, self._values.values()))
