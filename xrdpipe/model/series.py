"""Properties that all frames of a run share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MERGED = "merged/pattern"  # the pattern that is merged of all frames: in a folder, where no file of a frame is


@dataclass(frozen=True)
class Series:
    """Properties that all frames of a run share.

    Attributes
    ----------
    folder
        Output folder.
    stacks
        Name of each frame -> name of the stack that it belongs to, empty for none.
    provenance
        Provenance that every result records: configuration, versions, inputs.
    poni
        Text of the PONI file.
    wavelength
        In m, or None if unknown.
    started
        Start time of the run, ISO 8601.
    parts
        File suffixes of the results of a frame; ``""`` is the pattern of the whole frame.
    grows
        Frames arrive during the run: ``stacks`` grows with them.
    merged
        The patterns of all frames are merged into one.
    """

    folder: Path
    stacks: Mapping[str, str]
    provenance: Mapping[str, Any]
    poni: str
    wavelength: float | None
    started: str
    parts: tuple[str, ...] = ("",)
    grows: bool = False
    merged: bool = False
