"""Tables on the terminal."""

from __future__ import annotations

from typing import Any


def print_table(rows: list[dict[str, Any]], most: int = 30) -> None:
    """Print a table on the terminal.

    Empty columns are left out, and so are errors, which are printed when they happen.

    Parameters
    ----------
    rows
        The rows, mappings with the same keys.
    most
        Largest number of rows; of a longer table, the first rows and the last three are printed.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    shown = [key for key in (rows[0] if rows else {}) if key != "error" and any(row[key] != "" for row in rows)]
    for key in shown:
        table.add_column(key, overflow="fold")
    for index, row in enumerate(rows):
        if len(rows) > most and index == most - 3:
            table.add_row(f"... {len(rows) - most} more")
        if len(rows) <= most or index < most - 3 or index >= len(rows) - 3:
            table.add_row(*(Text(str(row[key])) for key in shown))
    Console().print(table)
