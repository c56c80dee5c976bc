"""Patterns of a results folder, as figures and reports show them: read back, on one axis, thinned."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...io.formats import read_pattern
from ...model.pattern import Pattern

Floats = NDArray[np.float64]


AXES = {"q_A^-1": "q (Å⁻¹)", "q_nm^-1": "q (nm⁻¹)", "2th_deg": "2θ (°)", "2th_rad": "2θ (rad)", "r_mm": "r (mm)"}


class Series(NamedTuple):
    """Patterns on one radial axis, (points,) in ``unit``; intensity in counts is (names, points), NaN: an empty bin."""

    unit: str
    radial: Floats
    intensity: Floats
    names: list[str]


def first_pattern(folder: Path, names: Iterable[str]) -> Pattern | None:
    """The first pattern that is there."""
    return next((pattern for name in names if (pattern := read_pattern(folder, name))), None)


def read_series(folder: Path, names: Iterable[str], block: int = 1) -> Series | None:
    """The patterns of frames on the axis of the one with the most bins; None where the folder holds none of them.

    Each point is the mean of ``block`` bins. Patterns in another unit than the first one's are left out.
    """
    read = {name: pattern for name in names if (pattern := read_pattern(folder, name))}
    if not read:
        return None
    unit = next(iter(read.values())).unit
    found = {name: pattern for name, pattern in read.items() if pattern.unit == unit}
    axis = max((pattern.radial for pattern in found.values()), key=len)
    axis = axis[: len(axis) // block * block]
    rows = np.array([_thin(_onto(axis, pattern), block) for pattern in found.values()])
    return Series(unit, _thin(axis, block), rows, list(found))


def _onto(axis: Floats, pattern: Pattern) -> Floats:
    """A pattern on another axis by the nearest bin; NaN where that is further than half a step: an empty bin."""
    right = np.clip(np.searchsorted(pattern.radial, axis), 1, len(pattern.radial) - 1)
    nearest = np.where(axis - pattern.radial[right - 1] < pattern.radial[right] - axis, right - 1, right)
    close = abs(pattern.radial[nearest] - axis) <= np.median(np.diff(axis)) / 2
    return np.where(close, pattern.intensity[nearest], np.nan)


def _thin(values: Floats, block: int) -> Floats:
    """The mean of every ``block`` values; NaN where none of them is finite."""
    tiles = values.reshape(-1, block)
    counts = np.isfinite(tiles).sum(axis=1)
    return np.where(counts, np.nansum(tiles, axis=1) / np.maximum(counts, 1), np.nan)
