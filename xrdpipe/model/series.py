"""What the frames of a run have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Series:
    """The frames of a run: the folder of their results, and of each its name and the stack it is from ("": none).

    ``provenance`` is what every result says about its making; ``poni`` is the text of the file, ``wavelength`` in m,
    ``started`` the time, ISO 8601. ``parts`` are the suffixes of what a frame gives, "" for the pattern of all of it.
    """

    folder: Path
    stacks: Mapping[str, str]
    provenance: Mapping[str, Any]
    poni: str
    wavelength: float | None
    started: str
    parts: tuple[str, ...] = ("",)
