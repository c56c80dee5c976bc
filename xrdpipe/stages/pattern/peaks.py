"""Peaks: position, width and area of peaks of each pattern, a table and a figure over the series."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...io.writing import encoded, write_bytes
from ...model.errors import ConfigError, FrameError, choice, nearest, require
from ...model.frame import Frame
from ...model.pattern import Pattern
from ...model.series import Series
from ..collector import AtEnd, Collector
from ..stage import NOTHING, Makes, Setup, Stage, Step
from .fit import SHAPES, Peak, find_regions, fit_peak
from .peak_table import COLUMNS, FIGURE, TABLE, peaks_file, write_table

if TYPE_CHECKING:
    from ...model.record import Record

MOST = 200  # peaks of a pattern


@dataclass(frozen=True)
class Peaks(Stage):
    """Fit peaks of the pattern and of the sectors of each frame.

    The peaks of a frame are in ``peaks/<name>.csv``. When the run ends, ``peaks.csv`` has those of all frames, and
    ``figures/peaks.png`` shows them.

    Attributes
    ----------
    regions
        First and last value of the axis for each peak; one peak on a straight line is fitted in each.
    number
        Number of peaks to find in each pattern, the most prominent ones; see `fit.find_regions`.
    shape
        "pseudo_voigt" or "gaussian".
    label
        Column (see `Record.columns`) over which the figure shows the peaks; None takes the number of the frame.
    """

    regions: Any = None
    number: int | None = field(default=None, metadata={"low": 1})
    shape: str = field(default=SHAPES[0], metadata={"choices": SHAPES})
    label: str | None = None

    def __post_init__(self) -> None:
        choice("shape", self.shape, SHAPES)
        require(self.number is None or 1 <= self.number <= MOST, "number", self.number, f"1 to {MOST} expected")
        listed = self.regions or []
        good = isinstance(listed, list) and len(listed) <= MOST and all(map(_is_region, listed))
        expected = f"up to {MOST} pairs of numbers expected, the smaller one first, as in [[2.9,3.2],[3.4,3.7]]"
        require(good, "regions", self.regions, expected)
        require(not (listed and self.number), "number", self.number, "together with regions; choose one")
        require(self.label is None or self.active, "label", self.label, "without peaks; set regions or number")

    @property
    def active(self) -> bool:
        """True if there are regions, or a number of peaks to find."""
        return bool(self.regions) or self.number is not None

    def writes(self, name: str, line: Makes = NOTHING) -> list[str]:
        """Return the file of the peaks of a frame."""
        return [peaks_file(name)]

    def collect(self, series: Series) -> Sequence[Collector]:
        """Return the collector of the table and the figure."""
        return [AtEnd([TABLE, FIGURE], lambda records: self._finish(series.folder, records))]

    def prepare(self, setup: Setup) -> Step:
        """Return the step that fits the peaks of a frame and writes them."""
        if self.label is not None and self.label not in setup.columns:
            hint = nearest(self.label, setup.columns) if setup.columns else "none is read"
            ways = f"name it in source.columns=[{self.label}]"
            raise ConfigError(f"pattern.peaks.label={self.label}: no such column; {ways} ({hint})")
        folder = setup.folder

        def fit(frame: Frame) -> Frame:
            if folder is None or frame.pattern is None:
                return frame
            regions = self.regions or find_regions(
                frame.pattern.radial, frame.pattern.intensity, frame.pattern.sigma, self.number or 0
            )
            parts = {"": frame.pattern, **frame.results.sectors}
            rows = [
                (number, part, pattern.unit, peak)
                for part, pattern in parts.items()
                for number, peak in enumerate(self.fits(pattern, regions), 1)
            ]
            output = write_bytes(folder, path := peaks_file(frame.name), encoded(_text(rows)))
            return frame.with_info(outputs={**frame.info.outputs, path: output})

        return fit

    def fits(self, pattern: Pattern, regions: Sequence[Sequence[float]]) -> list[Peak]:
        """Return a peak for each region of a pattern.

        Raises
        ------
        FrameError
            A region is outside the axis.
        """
        found = []
        for first, last in regions:
            inside = (pattern.radial >= first) & (pattern.radial <= last)
            if not inside.any():
                low, high = pattern.radial[[0, -1]]
                raise FrameError(
                    f"pattern.peaks.regions: {first:g} to {last:g} is outside the pattern ({low:.4g} to {high:.4g})"
                )
            sigma = None if pattern.sigma is None else pattern.sigma[inside]
            found.append(fit_peak(pattern.radial[inside], pattern.intensity[inside], sigma, self.shape))
        return found

    def _finish(self, folder: Path, records: Sequence[Record]) -> list[str]:
        from ..plot.peaks import draw_peaks

        done = [record for record in records if record.status == "done"]
        tracks = write_table(folder, done, linked=self.number is not None)
        values: list[Any] = [record.columns.get(self.label) for record in done] if self.label is not None else []
        notes = []
        if values and not all(isinstance(value, (int, float)) for value in values):
            notes.append(f"pattern.peaks.label={self.label}: not a number in each frame; the figure shows frames")
            values = []
        return notes + draw_peaks(folder / FIGURE, tracks, values, self.label or "")


def _text(rows: Sequence[tuple[int, str, str, Peak]]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for *first, peak in rows:
        cells = [each if isinstance(each, str) else "" if math.isnan(each) else f"{each:.8g}" for each in peak]
        table.writerow([*first, *cells])
    return text.getvalue()


def _is_region(limits: Any) -> bool:
    if not (isinstance(limits, list) and len(limits) == 2):
        return False
    if not all(isinstance(limit, (int, float)) and not isinstance(limit, bool) for limit in limits):
        return False
    return bool(np.isfinite(limits).all()) and limits[0] < limits[1]
