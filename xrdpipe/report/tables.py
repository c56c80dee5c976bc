"""Tables on the terminal."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.table import Table

MOST = 30  # rows of a table
LAST = 3  # of a longer one, so many last rows are printed
WIDE = 10_000  # characters of a line in a pipe
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
    show(table)


def show(table: Table) -> None:
    """Print a table as wide as the terminal; in a pipe or file a row is one line, however long."""
    from rich.console import Console

    if sys.stdout.isatty():
        Console().print(table)
        return
    text = io.StringIO()
    Console(file=text, width=WIDE, color_system=None).print(table)
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())
