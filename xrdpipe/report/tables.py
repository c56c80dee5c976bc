"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

MOST = 30  # rows of a table
LAST = 3  # of a longer one, so many last rows are printed
Row = TypeVar("Row")


def ends(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that a table shows: of a long one, the first rows and the last three."""
    return list(rows) if len(rows) <= MOST else [*rows[: MOST - LAST], *rows[-LAST:]]


def print_table(rows: list[dict[str, Any]], total: int | None = None) -> None:
    """Print a table on the terminal.

    Empty columns are left out, and so are errors, which are printed when they happen.

    Parameters
    ----------
    rows
        The rows, mappings with the same keys; those of `ends` are printed.
    total
        Number of all rows, if some are left out already.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    shown = [key for key in (rows[0] if rows else {}) if key != "error" and any(row[key] != "" for row in rows)]
    for key in shown:
        table.add_column(key, overflow="fold")
    total, printed = len(rows) if total is None else total, ends(rows)
    for index, row in enumerate(printed):
        if total > len(printed) and index == len(printed) - LAST:
            table.add_row(f"... {total - len(printed)} more")
        table.add_row(*(Text(str(row[key])) for key in shown))
    Console().print(table)
