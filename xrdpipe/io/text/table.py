"""Tables of a pattern as text."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

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
    order, axis = _axis(np.ascontiguousarray(radial).tobytes(), width, precision)
    if order is not None:
        columns = [column[order] for column in columns]
    filled = ~np.isnan(columns[0])
    if not filled.all():
        axis, columns = axis[filled], [column[filled] for column in columns]
    table = np.full((len(axis), len(columns) + 1, width + 1), ord(" "), np.uint8)
    table[:, 0, :-1] = axis
    for number, column in enumerate(columns, 1):
        table[:, number, :-1] = _texts(column, width, precision)
    table[:, -1, -1] = ord("\n")
    return table.tobytes().decode("ascii")


@lru_cache(maxsize=_FEW)
def _axis(radial: bytes, width: int, precision: int) -> tuple[NDArray[np.intp] | None, Text]:
    """Return the order of the bins, None if they are in order, and their positions as text.

    All frames of a run have the same.
    """
    values = np.frombuffer(radial)
    order = np.argsort(values, kind="stable")
    in_order = bool((order == np.arange(order.size)).all())
    return None if in_order else order, _texts(values[order], width, precision)


def _texts(values: Floats, width: int, precision: int) -> Text:
    from .decimals import POWERS, write_decimals

    texts = np.empty((values.size, width), np.uint8)
    if write_decimals(np.ascontiguousarray(values, np.float64), precision, POWERS, texts):
        for row in np.flatnonzero(texts[:, 0] == 0):
            texts[row] = np.frombuffer(b"%*.*e" % (width, precision, values[row]), np.uint8)
    return texts


def read_rows(text: str) -> Floats | None:
    """Return the table that `rows_text` wrote, (rows, columns); None if the text has another form."""
    from .decimals import POWERS, read_decimals

    content = np.frombuffer(text.encode(), np.uint8)
    numbers = np.empty(content.size // 7)  # a blank and 1e+00 at least
    count, columns = read_decimals(content, POWERS, numbers)
    return numbers[:count].reshape(-1, columns) if count else None
