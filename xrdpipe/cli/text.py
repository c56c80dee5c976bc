"""Plain text for a terminal or a pipe."""

from __future__ import annotations

import shutil
import sys
import textwrap

NARROWEST = 20  # characters that a column of text keeps


def width() -> int | None:
    """Return the width of the terminal in characters; None for a pipe or file, where a line is a record."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def wrapped(start: str, text: str) -> str:
    """Return a text after its label, wrapped to the terminal, with the other lines under the first."""
    text, columns = " ".join(text.split()), width()
    if columns is None:
        return f"{start}{text}"
    room = columns - 1
    indent = len(start) if room - len(start) >= NARROWEST else 4
    lines = textwrap.wrap(text, max(room, NARROWEST), initial_indent=start, subsequent_indent=" " * indent)
    return "\n".join(lines or [start.rstrip()])


def printable(text: str) -> str:
    """Return a text whose characters that a terminal would take for commands are as they are written in Python."""
    return "".join(each if each.isprintable() or each == "\n" else repr(each)[1:-1] for each in text)
