"""Read the patterns of a results folder back, on one axis, for figures and reports."""

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
    """Patterns of several frames on one radial axis.

    Attributes
    ----------
    unit
        Unit of the radial axis.
    radial
        Centres of the bins, (points,).
    intensity
        Counts, (names, points); NaN in empty bins.
    names
        Names of the frames.
    """

    unit: str
    radial: Floats
    intensity: Floats
    names: list[str]


def first_pattern(folder: Path, names: Iterable[str]) -> Pattern | None:
    """Return the first pattern that the folder holds; None if it holds none."""
    return next((pattern for name in names if (pattern := read_pattern(folder, name))), None)


def read_series(folder: Path, names: Iterable[str], block: int = 1) -> Series | None:
    """Read the patterns of several frames onto the axis of the one with the most bins.

    Parameters
    ----------
    folder
        Folder of the run.
    names
        Names of the frames.
    block
        Number of bins that are averaged into one point.

    Returns
    -------
    Series or None
        The patterns with the same unit as the first; None if the folder holds no pattern.
    """
    patterns = {name: pattern for name in names if (pattern := read_pattern(folder, name))}
    if not patterns:
        return None
    unit = next(iter(patterns.values())).unit
    patterns = {name: pattern for name, pattern in patterns.items() if pattern.unit == unit}
    axis = max((pattern.radial for pattern in patterns.values()), key=len)
    axis = axis[: len(axis) // block * block]
    rows = np.array([_thin(_resample(axis, pattern), block) for pattern in patterns.values()])
    return Series(unit, _thin(axis, block), rows, list(patterns))


def _resample(axis: Floats, pattern: Pattern) -> Floats:
    """Return the intensity at the nearest bin of each value of an axis; NaN beyond half a step, in an empty bin."""
    right = np.clip(np.searchsorted(pattern.radial, axis), 1, len(pattern.radial) - 1)
    nearest = np.where(axis - pattern.radial[right - 1] < pattern.radial[right] - axis, right - 1, right)
    close = abs(pattern.radial[nearest] - axis) <= np.median(np.diff(axis)) / 2
    return np.where(close, pattern.intensity[nearest], np.nan)


def _thin(values: Floats, block: int) -> Floats:
    """Return the mean of every ``block`` values; NaN if none of them is finite."""
    tiles = values.reshape(-1, block)
    counts = np.isfinite(tiles).sum(axis=1)
    return np.where(counts, np.nansum(tiles, axis=1) / np.maximum(counts, 1), np.nan)
