"""Runs and masks in notebooks: HTML without scripts, in which names and messages are text whatever they hold."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from html import escape
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.cake import Cake
from ..model.errors import FrameError
from ..model.pattern import Pattern
from ..model.record import Record

ROWS, LAST = 20, 3  # most rows of a table; of a longer one, so many of them are its last
PICTURES = 3
SIDE = 300  # largest side of the picture of a mask, pixels
WIDTH = 280  # of a figure, CSS pixels
CELLS = 12  # most header columns
GOOD, MASKED = (234, 234, 234, 255), (213, 94, 0, 255)  # grey, and vermilion of Okabe & Ito
LEVELS = 64  # colours between the two


def run_html(title: str, frames: Sequence[Record], patterns: Mapping[str, Pattern], cakes: Mapping[str, Cake]) -> str:
    """Return a table of the frames of a run, and pictures of the first patterns and the first cake.

    Parameters
    ----------
    title
        Line above the table.
    frames
        Records of the frames; the first and the last ones are shown.
    patterns, cakes
        Results by the name of the frame.
    """
    shown = frames if len(frames) <= ROWS else [*frames[: ROWS - LAST], *frames[len(frames) - LAST :]]
    columns = list(dict.fromkeys(key for record in shown for key in record.columns))[:CELLS]
    rows = [_cells(record, columns) for record in shown]
    names = ["frame", "file", "status", "masked", "seconds", *columns]
    if any(record.error for record in shown):
        names.append("error")
        rows = [[*row, record.error] for row, record in zip(rows, shown, strict=True)]
    if len(frames) > ROWS:
        rows.insert(ROWS - LAST, [f"... {len(frames) - ROWS} more"])
    pictured = (record.name for record in frames if record.status == "done")
    pictures = [_picture(name, name, patterns) for name in islice(pictured, PICTURES)]
    pictures += [_picture(name, f"{name}, cake", cakes) for name in islice(cakes, 1)]
    return f"<div><p>{text(title)}</p>{table(names, rows)}<div>{''.join(pictures)}</div></div>"


def masks_html(masks: Mapping[str, NDArray[np.uint8]]) -> str:
    """Return pictures of the first masks, with their masked fractions."""
    pictures = []
    for name in islice(masks, PICTURES):
        mask = masks[name]
        pictures.append(image(mask_png(mask), f"{name}: {100 * float(mask.mean()):.1f} % masked (orange)", SIDE))
    return f"<div><p>{text(repr(masks).strip('<>'))}</p>{''.join(pictures)}</div>"


def mask_png(mask: NDArray[np.uint8]) -> bytes:
    """Return a PNG of a mask, orange by the share of masked pixels; doubled, so that a masked line is seen."""
    from ..stages.plot.png import encode_indexed_png

    step = min(max(1, -(-max(mask.shape) // SIDE)), *mask.shape)
    slow, fast = (size // step for size in mask.shape)
    tiles = (mask[: slow * step, : fast * step] != 0).reshape(slow, step, fast, step).mean(axis=(1, 3))
    indices = np.rint(np.minimum(2 * tiles, 1) * (LEVELS - 1)).astype(np.uint8)
    return encode_indexed_png(indices, np.linspace(GOOD, MASKED, LEVELS).astype(np.uint8))


def table(names: Iterable[Any], rows: Iterable[Iterable[Any]]) -> str:
    """Return an HTML table of texts."""
    head = "".join(f"<th>{text(name)}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def image(png: bytes, caption: str, width: int = WIDTH) -> str:
    """Return an HTML figure of a PNG."""
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    style = "display:inline-block;margin:4px"
    return (
        f'<figure style="{style}"><img src="{source}" width="{width}" alt="{text(caption)}">'
        f"<figcaption>{text(caption)}</figcaption></figure>"
    )


def text(value: Any) -> str:
    """Return a value as text of a page; bytes of a name that are no UTF-8 are shown as escapes."""
    return escape(str(value).encode("utf-8", "backslashreplace").decode())


def _cells(record: Record, columns: Iterable[str]) -> list[Any]:
    masked = "" if record.masked_fraction is None else f"{100 * record.masked_fraction:.1f} %"
    seconds = "" if record.seconds is None else f"{record.seconds:.2f}"
    values = [record.columns.get(column, "") for column in columns]
    return [record.name, record.file, record.status, masked, seconds, *values]


def _picture(name: str, caption: str, results: Mapping[str, Pattern] | Mapping[str, Cake]) -> str:
    """Return the picture of a frame's pattern or cake; nothing if there is none, or its file cannot be read."""
    with suppress(FrameError):
        png = results[name]._repr_png_() if name in results else None
        return "" if png is None else image(png, caption)
    return ""
