"""What became of one frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cake import Cake
from .pattern import Pattern
from .reference import Reference, absolute_location, display_path


@dataclass(frozen=True)
class Record:
    """What became of one image: ``status`` is done, failed or waiting; ``error`` the reason of a failure.

    ``hash`` is of its content, ``outputs`` are its files with the hash of each; ``metrics`` see `metrics`; ``columns``
    are what the user wants to see of its header; ``steps`` are the seconds that each stage took; ``parts``
    are the paths of the frames that are merged in it.
    """

    file: str
    name: str
    status: str = "waiting"
    masked_fraction: float | None = None
    seconds: float | None = None
    error: str = ""
    hash: str = ""
    method: str = ""
    path: str = ""
    parts: list[str] = field(default_factory=list)
    size: int | None = None
    mtime_ns: int | None = None
    outputs: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    columns: dict[str, Any] = field(default_factory=dict)
    steps: dict[str, float] = field(default_factory=dict)
    error_parts: list[float] = field(default_factory=list)  # see `Pattern.error_parts`
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """What a worker sends back of a frame: its record, its pattern, and where masks are kept its mask."""

    record: Record
    pattern: Pattern | None = None
    mask: NDArray[np.uint8] | None = None  # bits, packed
    sectors: Mapping[str, Pattern] = field(default_factory=dict)
    cake: Cake | None = None
    trace: str = ""

    @property
    def results(self) -> dict[str, Pattern | Cake]:
        """What was integrated, by the suffix of its files."""
        made = {"": self.pattern, **self.sectors, "cake": self.cake}
        return {suffix: result for suffix, result in made.items() if result is not None}


def pending_record(image: Reference) -> Record:
    """The record of a frame that is still to be done."""
    if image.array is not None:
        return Record(display_path(image), image.name)
    return Record(
        display_path(image),
        image.name,
        path=absolute_location(image),
        parts=[absolute_location(part) for part in image.parts],
    )
