"""The results of a run as an xarray Dataset or a pandas DataFrame; both libraries are optional."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..io.nexus import AXES, OTHER_UNITS
from ..model.cake import Cake
from ..model.pattern import Pattern
from ..model.record import Record
from .run_file import summary_row

Floats = NDArray[np.float64]
INTENSITY = {"long_name": "intensity", "units": "counts per pixel"}
SIGMA = {"long_name": "standard error of the intensity", "units": "counts per pixel"}
TAKEN = frozenset({"frame", "sector", "radial", "azimuthal", "intensity", "sigma"})  # names of dimensions and variables


def dataset(
    frames: Iterable[Record],
    patterns: Mapping[str, Pattern],
    sectors: Mapping[str, Mapping[str, Pattern]],
    cakes: Mapping[str, Cake],
) -> Any:
    """Return the results of the frames that are done; see `Run.to_xarray`."""
    xarray = _import("xarray")
    done = [record for record in frames if record.status == "done"]
    names = [record.name for record in done]
    variables: dict[str, Any] = {}
    coordinates: dict[str, Any] = {"frame": ("frame", names, {"long_name": "frame"}), **_of_frames(done)}
    if found := [patterns[name] for name in names if name in patterns]:
        _add(variables, coordinates, "", ("frame",), found)
    if parts := [sectors[name] for name in names if name in sectors]:
        suffixes = list(parts[0])
        limits = np.array([parts[0][suffix].azimuth_range or (-180.0, 180.0) for suffix in suffixes])
        coordinates["sector"] = ("sector", suffixes, {"long_name": "sector"})
        for number, end in enumerate(("first", "last")):
            about = {"long_name": f"{end} azimuth of the sector", "units": "degree"}
            coordinates[f"sector_{end}"] = ("sector", limits[:, number], about)
        _add(variables, coordinates, "sector", ("frame", "sector"), [each[name] for each in parts for name in suffixes])
    if made := [cakes[name] for name in names if name in cakes]:
        about = {"long_name": "azimuth", "units": "degree"}
        coordinates["azimuthal"] = ("azimuthal", made[0].azimuthal, about)
        _add(variables, coordinates, "cake", ("frame", "azimuthal"), made)
    return xarray.Dataset(variables, coordinates, {"program": "xrdpipe"})


def dataframe(
    frames: Iterable[Record], patterns: Mapping[str, Pattern], sectors: Mapping[str, Mapping[str, Pattern]]
) -> Any:
    """Return the patterns of the frames that are done, a row for each frame and bin; see `Run.to_dataframe`."""
    pandas = _import("pandas")
    names = [record.name for record in frames if record.status == "done"]
    found = [(name, "", patterns[name]) for name in names if name in patterns]
    found += [(name, part, each) for name in names if name in sectors for part, each in sectors[name].items()]
    columns: dict[str, Any] = {"frame": _category(pandas, [(name, len(each.radial)) for name, _, each in found])}
    if any(part for _, part, _ in found):
        columns["sector"] = _category(pandas, [(part, len(each.radial)) for _, part, each in found])
    for column in ("radial", "intensity", "sigma"):
        values = [getattr(each, column) for _, _, each in found]
        if not any(each is None for each in values):
            columns[column] = np.concatenate(values) if values else np.empty(0)
    table = pandas.DataFrame(columns)
    table.attrs["radial_unit"] = found[0][2].unit if found else ""
    return table


def summary(frames: Iterable[Record]) -> Any:
    """Return the columns of ``summary.csv``, a row for each frame; see `Run.summary`."""
    return _import("pandas").DataFrame([summary_row(record) for record in frames])


def _import(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f"{name} is not installed; pip install 'xrdpipe[notebook]' brings it", name=name) from error


def _add(
    variables: dict[str, Any],
    coordinates: dict[str, Any],
    kind: str,
    dims: tuple[str, ...],
    found: Sequence[Pattern | Cake],
) -> None:
    """Add intensity and sigma of patterns, sectors or cakes, on the axis that they share."""
    unit, axis = found[0].unit, common_axis([each.radial for each in found])
    radial = "radial"
    if radial in coordinates:  # of the patterns: sectors in text files may lack more bins
        if np.isin(axis, coordinates[radial][1]).all():
            axis = coordinates[radial][1]
        else:
            radial = f"{kind}_radial"
    name, neutral = AXES.get(unit, (unit, OTHER_UNITS.get(unit, unit)))
    coordinates[radial] = (radial, axis, {"long_name": name, "units": neutral, "pyfai_unit": unit})
    shape = tuple(len(coordinates[dim][1]) for dim in dims[1:])
    before = () if kind == "cake" else shape
    for column, about in (("intensity", INTENSITY), ("sigma", SIGMA)):
        arrays = [getattr(each, column) for each in found]
        if any(each is None for each in arrays):
            continue
        rows = np.stack([_on(axis, each.radial, array) for each, array in zip(found, arrays, strict=True)])
        values = rows.reshape(-1, *before, *rows.shape[1:])
        variables[f"{kind}_{column}" if kind else column] = ((*dims, radial), values, about)


def common_axis(axes: Sequence[Floats]) -> Floats:
    """Return the axis that holds the bins of all axes: files of text lack bins without a pixel."""
    first = axes[0]
    if all(np.array_equal(axis, first) for axis in axes[1:]):
        return first
    axis: Floats = np.unique(np.concatenate(axes))
    return axis


def _on(axis: Floats, radial: Floats, values: Floats) -> Floats:
    """Return values at the bins of an axis, NaN where there are none; the last dimension is radial."""
    if len(axis) == len(radial):
        return values
    placed = np.full((*values.shape[:-1], len(axis)), np.nan)
    placed[..., np.searchsorted(axis, radial)] = values
    return placed


def _of_frames(done: Sequence[Record]) -> dict[str, Any]:
    """Return the coordinates that each frame has: file, masked fraction, metrics and header columns."""
    rows = [
        {"file": each.file, "masked_fraction": each.masked_fraction, **each.metrics, **each.columns} for each in done
    ]
    found: dict[str, Any] = {}
    for key in dict.fromkeys(key for row in rows for key in row):
        values = [row.get(key) for row in rows]
        numbers = all(value is None or isinstance(value, (int, float)) for value in values)
        blank = np.nan if numbers else ""
        filled = [blank if value is None else value if numbers else str(value) for value in values]
        found[f"header_{key}" if key in TAKEN else key] = ("frame", filled)
    return found


def _category(pandas: Any, runs: Sequence[tuple[str, int]]) -> Any:
    """Return a column that repeats each text so many times, in little memory."""
    texts = list(dict.fromkeys(name for name, _ in runs))
    places = {name: place for place, name in enumerate(texts)}
    codes, counts = (np.array(each, np.int64) for each in ([places[name] for name, _ in runs], [n for _, n in runs]))
    return pandas.Categorical.from_codes(np.repeat(codes, counts), texts)
