"""Tables of a pattern as text."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ...model.arrays import read_only

Floats = NDArray[np.float64]
Text = NDArray[np.uint8]  # ASCII, (rows, width)
_FEW = 4  # columns of an axis that stay in memory


def rows_text(radial: Floats, columns: list[Floats], width: int, precision: int) -> str:
    """Return a line for each bin that has a pixel, in the order of the axis.

    Parameters
    ----------
    radial
        Centres of the bins, (npt,).
    columns
        Intensity, (npt,), and further columns. A bin in which the intensity is NaN has no line.
    width, precision
        Each number is written as ``%{width}.{precision}e``, with a blank between two of them; the width is at least
        precision + 8.
    """
    from .decimals import copy_lines

    order, lines = _lines(np.ascontiguousarray(radial).tobytes(), len(columns), width, precision)
    table = np.empty((len(columns), radial.size))
    for number, column in enumerate(columns):
        table[number] = column if order is None else column[order]
    out = np.empty_like(lines)
    count = copy_lines(lines, table, out)
    for number in range(len(columns)):
        _write(table[number, :count], precision, _fields(out[:count], width)[:, number + 1])
    return out[:count].tobytes().decode("ascii")


@lru_cache(maxsize=_FEW)
def _lines(radial: bytes, columns: int, width: int, precision: int) -> tuple[NDArray[np.intp] | None, Text]:
    """Return the order of the bins, None if they are in order, and their lines, which lack all numbers but the first.

    All frames of a run have the same.
    """
    values = np.frombuffer(radial)
    order = np.argsort(values, kind="stable")
    in_order = bool((order == np.arange(order.size)).all())
    lines = np.full((values.size, (columns + 1) * (width + 1)), ord(" "), np.uint8)
    lines[:, -1] = ord("\n")
    _write(values[order], precision, _fields(lines, width)[:, 0])
    return None if in_order else order, read_only(lines)


def _fields(lines: Text, width: int) -> NDArray[np.uint8]:
    """Return the places of the numbers in lines, (rows, columns, width)."""
    return lines.reshape(len(lines), lines.shape[1] // (width + 1), width + 1)[..., :-1]


def _write(values: Floats, precision: int, fields: Text) -> None:
    from .decimals import POWERS, write_decimals

    if write_decimals(values, precision, POWERS, fields):
        for row in np.flatnonzero(fields[:, 0] == 0):
            fields[row] = np.frombuffer(b"%*.*e" % (fields.shape[1], precision, values[row]), np.uint8)


def read_rows(text: str) -> Floats | None:
    """Return the table that `rows_text` wrote, (rows, columns); None if the text has another form."""
    from .decimals import POWERS, read_decimals

    content = np.frombuffer(text.encode(), np.uint8)
    numbers = np.empty(content.size // 7)  # a blank and 1e+00 at least
    count, columns = read_decimals(content, POWERS, numbers)
    return numbers[:count].reshape(-1, columns) if count else None
