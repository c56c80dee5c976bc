"""Cakes and patterns of sectors for the page of a run, of a few of its frames."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..io.formats import format_of, read_pattern
from ..model.cake import Cake
from ..model.series import MERGED
from ..stages.plot.preview import POINTS, encode_floats
from ..stages.plot.series import AXES, first_pattern, read_cake, read_series
from .series import SeriesOfRun

FRAMES = 4  # most frames whose cakes and sectors are on a page: 0.3 MB each with a cake
RADIAL, AZIMUTHAL = 400, 120  # most cells of a cake
SECTORS = 36  # most sectors of a frame


def merged_pattern(folder: Path) -> dict[str, str]:
    """Return the pattern that is merged of all frames for the page of a run; empty without one."""
    place = folder / MERGED
    pattern = read_pattern(place.parent, place.name) if place.parent.is_dir() else None
    if pattern is None:
        return {}
    axis = {"axis": AXES.get(pattern.unit, pattern.unit), "radial": encode_floats(pattern.radial)}
    return {**axis, "intensity": encode_floats(pattern.intensity)}


def cakes_and_sectors(folder: Path, series: SeriesOfRun) -> dict[str, list[dict[str, Any]]]:
    """Return the cakes and the patterns of sectors of frames evenly chosen over a run; empty lists without any.

    Parameters
    ----------
    folder
        Folder of the run.
    series
        Its frames.
    """
    cakes, sectors = list[dict[str, Any]](), list[dict[str, Any]]()
    if any(next(folder.glob(files), None) for files in ("*_cake.npz", "*_sector_*")):
        for record in _chosen(series):
            cake = read_cake(folder, record["name"])
            cakes += [_cake(record["name"], cake)] if cake is not None else []
            sectors += _sectors(folder, record)
    return {"cakes": cakes, "sectors": sectors}


def _chosen(series: SeriesOfRun) -> Iterator[Mapping[str, Any]]:
    count = len(series.done)
    places = {series.done[round(at)] for at in np.linspace(0, count - 1, min(count, FRAMES))}
    return (record for number, record in enumerate(series.records()) if number in places)


def _cake(name: str, cake: Cake) -> dict[str, Any]:
    block = [math.ceil(size / most) for size, most in zip(cake.intensity.shape, (AZIMUTHAL, RADIAL), strict=True)]
    return {
        "name": name,
        "axis": AXES.get(cake.unit, cake.unit),
        "radial": encode_floats(_means(cake.radial[np.newaxis], 1, block[1])),
        "azimuthal": encode_floats(_means(cake.azimuthal[np.newaxis], 1, block[0])),
        "intensity": encode_floats(_means(cake.intensity, *block)),
    }


def _means(values: NDArray[Any], rows: int, columns: int) -> NDArray[np.float64]:
    """Return the means of the finite values of blocks, NaN without any; incomplete blocks are left out."""
    height, width = values.shape[0] // rows, values.shape[1] // columns
    tiles = values[: height * rows, : width * columns].reshape(height, rows, width, columns)
    count = np.isfinite(tiles).sum(axis=(1, 3))
    means: NDArray[np.float64] = np.where(count, np.nansum(tiles, axis=(1, 3)) / np.maximum(count, 1), np.nan)
    return means


def _sectors(folder: Path, record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the patterns of the sectors of a frame, in a list of one; an empty list without sectors."""
    begin = f"{record['name']}_sector_"
    forms = {str(file): format_of(str(file)) for file in record.get("outputs") or () if str(file).startswith(begin)}
    parts = list(dict.fromkeys(file.removesuffix(form.suffix) for file, form in forms.items() if form))[:SECTORS]
    first = first_pattern(folder, parts)
    if first is None:
        return []
    series = read_series(folder, parts, math.ceil(len(first.radial) / POINTS))
    if series is None:
        return []
    labels = [re.sub(r"^(-?[\d.]+)_(-?[\d.]+)$", r"\1° to \2°", part.removeprefix(begin)) for part in series.names]
    axis = AXES.get(series.unit, series.unit)
    encoded = {"radial": encode_floats(series.radial), "intensity": encode_floats(series.intensity)}
    return [{"name": record["name"], "axis": axis, "labels": labels, **encoded}]
