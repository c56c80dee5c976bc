"""Patterns of a results folder, as figures and reports show them: read back, on one axis, thinned."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

AXES = {"q_A^-1": "q (Å⁻¹)", "q_nm^-1": "q (nm⁻¹)", "2th_deg": "2θ (°)", "2th_rad": "2θ (rad)", "r_mm": "r (mm)"}


class Chi(NamedTuple):
    """A pattern as its file has it: radial in ``unit``, intensity in counts; no row for an empty bin."""

    unit: str
    radial: Floats
    intensity: Floats


class Series(NamedTuple):
    """Patterns on one radial axis, (points,) in ``unit``; intensity in counts is (names, points), NaN: an empty bin."""

    unit: str
    radial: Floats
    intensity: Floats
    names: list[str]


def read_chi(folder: Path, name: str) -> Chi | None:
    """The pattern of a frame; None where the folder holds none."""
    try:
        if Path(name).name != name:  # a run.json may say anything
            return None
        text = (folder / f"{name}.chi").read_text(encoding="utf-8", errors="replace")
        columns, _, body = text[text.rfind("\n#") + 2 :].partition("\n")
        if body.count("\n") < 2:
            return None
        rows = np.loadtxt(body.splitlines(), usecols=(0, 1))
        return Chi(columns.split()[0], rows[:, 0], rows[:, 1])
    except (OSError, ValueError, IndexError):
        return None


def first_chi(folder: Path, names: Iterable[str]) -> Chi | None:
    """The first pattern that is there."""
    return next((chi for name in names if (chi := read_chi(folder, name))), None)


def read_series(folder: Path, names: Iterable[str], block: int = 1) -> Series | None:
    """The patterns of frames on the axis of the one with the most bins; None where the folder holds none of them.

    Each point is the mean of ``block`` bins. Patterns in another unit than the first one's are left out.
    """
    read = {name: chi for name in names if (chi := read_chi(folder, name))}
    if not read:
        return None
    unit = next(iter(read.values())).unit
    found = {name: chi for name, chi in read.items() if chi.unit == unit}
    axis = max((chi.radial for chi in found.values()), key=len)
    axis = axis[: len(axis) // block * block]
    rows = np.array([_thin(_onto(axis, chi), block) for chi in found.values()])
    return Series(unit, _thin(axis, block), rows, list(found))


def _onto(axis: Floats, chi: Chi) -> Floats:
    """A pattern on another axis by the nearest bin; NaN where that is further than half a step: an empty bin."""
    right = np.clip(np.searchsorted(chi.radial, axis), 1, len(chi.radial) - 1)
    nearest = np.where(axis - chi.radial[right - 1] < chi.radial[right] - axis, right - 1, right)
    close = abs(chi.radial[nearest] - axis) <= np.median(np.diff(axis)) / 2
    return np.where(close, chi.intensity[nearest], np.nan)


def _thin(values: Floats, block: int) -> Floats:
    """The mean of every ``block`` values; NaN where none of them is finite."""
    tiles = values.reshape(-1, block)
    counts = np.isfinite(tiles).sum(axis=1)
    return np.where(counts, np.nansum(tiles, axis=1) / np.maximum(counts, 1), np.nan)
