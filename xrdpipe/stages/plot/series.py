"""Read the patterns of a results folder back, on one axis, for figures and reports."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from ...io.formats import read_pattern
from ...model.cake import Cake
from ...model.pattern import Pattern

Floats = NDArray[np.float64]
AXES = {"q_A^-1": "q (Å⁻¹)", "q_nm^-1": "q (nm⁻¹)", "2th_deg": "2θ (°)", "2th_rad": "2θ (rad)", "r_mm": "r (mm)"}
MOST_BYTES = 1 << 28  # of a cake that is read


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


def read_cake(folder: Path, name: str) -> Cake | None:
    """Read the cake of a frame from ``<name>_cake.npz`` of a run.

    Parameters
    ----------
    folder
        Folder of the run.
    name
        Name of the frame.

    Returns
    -------
    Cake or None
        None if there is no such file, or if it is not as `xrdpipe.stages.output` writes it.
    """
    if not name or Path(name).name != name:  # the name may come from an untrusted run.json
        return None
    path = folder / f"{name}_cake.npz"
    try:
        with ZipFile(path) as content:
            if sum(each.file_size for each in content.infolist()) > MOST_BYTES:
                return None
        with np.load(path, allow_pickle=False) as arrays:
            radial, azimuthal, intensity = (arrays[key].astype(float) for key in ("radial", "azimuthal", "intensity"))
            unit = str(json.loads(str(arrays["about"]))["unit"])
    except (OSError, ValueError, KeyError, TypeError, BadZipFile):
        return None
    fits = radial.size > 1 and azimuthal.size > 1 and intensity.shape == (azimuthal.size, radial.size)
    return Cake(radial.ravel(), azimuthal.ravel(), intensity, None, unit) if fits else None


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
