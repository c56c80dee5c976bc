"""Peaks of a series, and their harmonics over the azimuth, for the page of a run."""

from __future__ import annotations

import base64
import csv
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

MOST = 200  # rows of a table on the page
LARGEST = 1 << 23  # bytes of a figure
SCALE = 0.5  # pixels of the page for one of a figure, so that text has the same size in all of them
TABLES = {  # name of table and figure -> title, and the columns that are shown, each with its error
    "peaks": ("Peaks", ("position", "fwhm", "area")),
    "harmonics": ("Texture and strain", ("texture", "ellipticity", "strain")),
}


def peaks_of_run(folder: Path) -> list[dict[str, Any]]:
    """Return the tables ``peaks.csv`` and ``harmonics.csv`` of a run, as far as they are there.

    Returns
    -------
    list of dict
        For each table ``name``, ``title``, ``rows`` (of text, the first `MOST` of the whole patterns), ``total`` (their
        number) and ``figure`` (address and alternative text, or None).
    """
    tables = []
    for name, (title, shown) in TABLES.items():
        rows, total = list[dict[str, str]](), 0
        for row in _rows(folder / f"{name}.csv"):
            if not row.get("part"):
                total += 1
                if len(rows) < MOST:
                    rows.append(_texts(row, shown))
        if rows:
            figure = _figure(folder / "figures" / f"{name}.png", title)
            tables.append({"name": name, "title": title, "rows": rows, "total": total, "figure": figure})
    return tables


def _rows(path: Path) -> Iterator[Mapping[str, str]]:
    """Yield the rows of a table; none if it is not there, and those before a place that cannot be read."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file, restval="", restkey="")
    except (OSError, ValueError, csv.Error):
        return


def _texts(row: Mapping[str, str], shown: tuple[str, ...]) -> dict[str, str]:
    """Return what the page shows of a row: what comes before the unit, values with errors, and why there are none."""
    names = list(row)
    first = names[: names.index("unit")] if "unit" in names else names[:1]
    texts = {name: str(row[name]) for name in first if name != "part"}
    texts |= {name: _value(str(row[name]), str(row.get(f"{name}_error", ""))) for name in shown if name in row}
    return texts | {"fit": str(row.get("fit", ""))}


def _value(value: str, error: str) -> str:
    """Return a number and its standard error, with two digits of it; empty if there is none."""
    try:
        number, spread = float(value), float(error or "nan")
    except ValueError:
        return ""
    if not (math.isfinite(spread) and spread > 0):
        return f"{number:.6g}"
    digits = max(0, 1 - math.floor(math.log10(spread)))
    return f"{number:.{digits}f} ± {spread:.{digits}f}" if digits <= 9 else f"{number:.6g} ± {spread:.2g}"


def _figure(path: Path, title: str) -> dict[str, Any] | None:
    try:
        content = path.read_bytes() if path.stat().st_size <= LARGEST else b""
    except OSError:
        return None
    if not content:
        return None
    address = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    width = round(SCALE * int.from_bytes(content[16:20], "big"))  # of the header of PNG
    caption = f"{title} over the series, with standard errors."
    return {"address": address, "alt": f"{title} over the series", "width": width, "caption": caption}
