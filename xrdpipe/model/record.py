"""Records of processed frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cake import Cake
from .pattern import Pattern
from .reference import Reference, absolute_location, display_path


@dataclass(frozen=True)
class Record:
    """Record of one processed frame.

    Attributes
    ----------
    file, name
        Display path and name of the frame.
    status
        ``waiting``, ``done`` or ``failed``.
    masked_fraction
        Share of masked pixels, 0 to 1.
    seconds
        Processing time.
    error
        Reason of a failure.
    hash
        Content hash of the image.
    method
        pyFAI method that computed the pattern.
    path
        Absolute path and tail of the frame.
    parts
        Paths of the frames that are merged in it.
    inputs
        Path and hash of each file that only some frames use (mask, background, PONI), by the key that names it.
    size, mtime_ns
        Size (bytes) and modification time (ns) of its files.
    outputs
        Files that were written, file name -> content hash.
    metrics
        Metrics of the frame, name -> value; see `metrics`.
    columns
        Header values that the user asks for, key -> value.
    steps
        Seconds that each stage took, name -> seconds.
    notes
        Messages for the user.
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
    inputs: dict[str, dict[str, str]] = field(default_factory=dict)
    size: int | None = None
    mtime_ns: int | None = None
    outputs: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    columns: dict[str, Any] = field(default_factory=dict)
    steps: dict[str, float] = field(default_factory=dict)
    error_parts: list[float] = field(default_factory=list)  # `pattern_error` of every eighth of the bins
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """Result of one frame, as a worker returns it.

    Attributes
    ----------
    record
        Record of the frame.
    pattern, sectors, cake
        Integrated results; see `Frame`.
    mask
        Packed bits of the mask, uint8, if masks are collected.
    trace
        Traceback of an unexpected error.
    more
        Another outcome follows at once, so that both can be written together.
    """

    record: Record
    pattern: Pattern | None = None
    mask: NDArray[np.uint8] | None = None  # bits, packed
    sectors: Mapping[str, Pattern] = field(default_factory=dict)
    cake: Cake | None = None
    trace: str = ""
    more: bool = False

    @property
    def results(self) -> dict[str, Pattern | Cake]:
        """Integrated results by the suffix of their files."""
        results = {"": self.pattern, **self.sectors, "cake": self.cake}
        return {suffix: result for suffix, result in results.items() if result is not None}


def pending_record(image: Reference) -> Record:
    """Return the record of a frame that is not processed yet."""
    if image.array is not None:
        return Record(display_path(image), image.name)
    return Record(
        display_path(image),
        image.name,
        path=absolute_location(image),
        parts=[absolute_location(part) for part in image.parts],
    )


def failed_outcome(image: Reference, reason: str) -> Outcome:
    """Return the outcome of a frame that cannot be processed."""
    return Outcome(replace(pending_record(image), status="failed", error=reason))
