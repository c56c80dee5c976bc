"""The geometry of a single frame, from values of its header or of a table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..geometry.poni import Poni
from ..model.errors import ConfigError, FrameError
from ..model.frame import Frame
from ..model.reference import Reference
from ..numerics.expression import Expression
from ..stages.scalar_lookup import table_lookup
from .selection import frame_values

POSITION = "position."  # before the name of a motor


def frame_poni(poni: Poni, reference: Reference, frame: Frame) -> Poni:
    """Return the calibration of a frame: that of the run, with the values that are looked up for the frame.

    Parameters
    ----------
    poni
        Calibration of the run.
    reference, frame
        The frame.

    Raises
    ------
    FrameError
        The frame has no such value, or one that cannot be.
    """
    found: dict[str, float] = {}
    positions: dict[str, float] = {}
    path = None
    for name, where in poni.lookups.items():
        key = f"geometry.{name}"
        try:
            value = _looked_up(key, where, reference, frame)
            if name == "poni":
                table = table_lookup(key, where)
                path = table.path(str(value)) if table else str(reference.path.parent / str(value))
            elif name.startswith(POSITION):
                positions[name.removeprefix(POSITION)] = _number(value)
            else:
                found[name] = _number(value)
        except FrameError as error:
            raise FrameError(f"{key}={where}: {str(error).removeprefix(f'{key}={where}: ')}") from error
    try:
        return poni.with_values({**poni.at(positions), **found}, path)
    except (ConfigError, FrameError) as error:
        values = ", ".join(f"{name}={value}" for name, value in (positions | found).items())
        raise FrameError(f"{values}: {error}" if values else str(error)) from error


def check_lookups(lookups: Mapping[str, str]) -> None:
    """Raise ConfigError if a table of the geometry cannot be read or lacks the column."""
    for name, where in lookups.items():
        if table := table_lookup(f"geometry.{name}", where):
            table.check()


def _looked_up(key: str, where: str, reference: Reference, frame: Frame) -> Any:
    if table := table_lookup(key, where):
        return table.found(frame)[0]
    value = frame_values(reference, frame.header)
    return value(where, True) if where.startswith("/") or key == "geometry.poni" else Expression(key, where)(value)


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise FrameError(f"is {value!r}, a number is expected") from error
    if not math.isfinite(number):
        raise FrameError(f"is {number}, a finite number is expected")
    return number
