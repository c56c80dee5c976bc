"""Peaks: position, width and area of peaks of each pattern, and their harmonics over the azimuth, over a series."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...geometry.poni import Poni
from ...io.writing import encoded, write_bytes
from ...model.cake import Cake
from ...model.errors import ConfigError, FrameError, choice, nearest, require
from ...model.frame import Frame
from ...model.pattern import Pattern
from ...model.series import Series
from ..collector import AtEnd, Collector
from ..integ.correlation import to_matrix
from ..stage import NOTHING, Makes, Setup, Stage, Step
from .fit import SHAPES, Floats, Peak, find_regions, fit_peak
from .harmonics import Sectors, columns, describe
from .peak_table import PEAKS, Table, write_table
from .rebin import UNITS

if TYPE_CHECKING:
    from ...model.record import Record

MOST = 200  # peaks of a pattern
HIGHEST = 8  # order of harmonics
Row = dict[str, str | float]


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
    harmonics
        Highest order of the harmonics that are fitted to area and position over the azimuth, see `harmonics`. The peaks
        are then also fitted in each row of a cake. A row for each frame and peak is in ``harmonics.csv``, and
        ``figures/harmonics.png`` shows them.
    strain_axis
        Azimuth of the load axis, which is perpendicular to the beam, in degrees; gives the strain by sin² psi.
    """

    regions: Any = None
    number: int | None = field(default=None, metadata={"low": 1})
    shape: str = field(default=SHAPES[0], metadata={"choices": SHAPES})
    label: str | None = None
    harmonics: int | None = field(default=None, metadata={"low": 2, "high": HIGHEST})
    strain_axis: float | None = None

    def __post_init__(self) -> None:
        choice("shape", self.shape, SHAPES)
        require(self.number is None or 1 <= self.number <= MOST, "number", self.number, f"1 to {MOST} expected")
        listed = self.regions or []
        good = isinstance(listed, list) and len(listed) <= MOST and all(map(_is_region, listed))
        expected = f"up to {MOST} pairs of numbers expected, the smaller one first, as in [[2.9,3.2],[3.4,3.7]]"
        require(good, "regions", self.regions, expected)
        require(not (listed and self.number), "number", self.number, "together with regions; choose one")
        require(self.label is None or self.active, "label", self.label, "without peaks; set regions or number")
        order, axis = self.harmonics, self.strain_axis
        require(order is None or 2 <= order <= HIGHEST, "harmonics", order, f"an order from 2 to {HIGHEST} expected")
        require(order is None or bool(listed), "harmonics", order, "for peaks that you choose; set regions as well")
        require(axis is None or math.isfinite(axis), "strain_axis", axis, "an azimuth in degrees expected")
        require(axis is None or order is not None, "strain_axis", axis, "without harmonics; set harmonics=2 as well")

    @property
    def active(self) -> bool:
        """True if there are regions, or a number of peaks to find."""
        return bool(self.regions) or self.number is not None

    @property
    def _tables(self) -> list[Table]:
        if self.harmonics is None:
            return [PEAKS]
        with_strain = self.strain_axis is not None
        drawn = ("texture", "strain" if with_strain else "ellipticity", "area_mean", "position_mean")
        return [PEAKS, Table("harmonics", ("peak", "unit", *columns(self.harmonics, with_strain)), drawn)]

    def writes(self, name: str, line: Makes = NOTHING) -> list[str]:
        """Return the files of the peaks of a frame and of their harmonics."""
        return [table.file(name) for table in self._tables]

    def check(self, poni: Poni, line: Makes = NOTHING) -> None:
        """Raise ConfigError if there are no azimuths for the harmonics, or no lattice spacings for the strain."""
        if self.harmonics is not None and not {"sectors", "cake"} & set(line.parts):
            raise ConfigError(f"harmonics={self.harmonics}: needs azimuths; say integ=sectors or integ=cake")
        if self.strain_axis is None or not line.columns:
            return
        unit = line.columns[0]
        if unit not in UNITS:
            raise ConfigError(f"strain_axis={self.strain_axis:g}: not over {unit}; over {', '.join(UNITS)} alone")
        if not poni.has_wavelength:
            ways = f"which {poni.path} does not have; say geometry.wavelength=... (m)"
            raise ConfigError(f"strain_axis={self.strain_axis:g}: needs a wavelength, {ways}")

    def collect(self, series: Series) -> Sequence[Collector]:
        """Return the collector of the tables and the figures."""
        files = [path for table in self._tables for path in (table.path, table.figure)]
        return [AtEnd(files, lambda records: self._finish(series.folder, records))]

    def prepare(self, setup: Setup) -> Step:
        """Return the step that fits the peaks of a frame and writes them."""
        if self.label is not None and self.label not in setup.columns:
            hint = nearest(self.label, setup.columns) if setup.columns else "none is read"
            ways = f"name it in source.columns=[{self.label}]"
            raise ConfigError(f"pattern.peaks.label={self.label}: no such column; {ways} ({hint})")
        folder = setup.folder
        wavelength = setup.geometry.poni.wavelength if self.strain_axis is not None else None

        def fit(frame: Frame) -> Frame:
            if folder is None or frame.pattern is None:
                return frame
            regions = self.regions or find_regions(
                frame.pattern.radial, frame.pattern.intensity, frame.pattern.sigma, self.number or 0
            )
            parts = {"": frame.pattern, **frame.results.sectors}
            find = frame.results.correlations
            correlations = {part: find[part]() for part in parts if part in find}
            if self.harmonics is not None and frame.results.cake is not None:
                parts |= (rows_of_cake := cake_rows(frame.results.cake))
                if "cake" in find:
                    correlations |= zip(rows_of_cake, np.moveaxis(find["cake"](), 1, 0), strict=True)
            peaks = {part: self.fits(pattern, regions, correlations.get(part)) for part, pattern in parts.items()}
            rows = {PEAKS.name: _peak_rows(parts, peaks)}
            if self.harmonics is not None:
                rows["harmonics"] = self._harmonics(parts, peaks, wavelength)
            outputs = {
                (path := table.file(frame.name)): write_bytes(folder, path, encoded(table.text(rows[table.name])))
                for table in self._tables
            }
            return frame.with_info(outputs={**frame.info.outputs, **outputs})

        return fit

    def fits(
        self, pattern: Pattern, regions: Sequence[Sequence[float]], correlations: Floats | None = None
    ) -> list[Peak]:
        """Return a peak for each region of a pattern, whose bins have the ``correlations`` of `Results.correlations`.

        Raises
        ------
        FrameError
            A region is outside the axis.
        """
        found = []
        shared = None if correlations is None else to_matrix(correlations).tocsr()
        for first, last in regions:
            inside = (pattern.radial >= first) & (pattern.radial <= last)
            if not inside.any():
                low, high = pattern.radial[[0, -1]]
                raise FrameError(
                    f"pattern.peaks.regions: {first:g} to {last:g} is outside the pattern ({low:.4g} to {high:.4g})"
                )
            sigma = None if pattern.sigma is None else pattern.sigma[inside]
            correlation = None if shared is None else shared[inside][:, inside]
            found.append(fit_peak(pattern.radial[inside], pattern.intensity[inside], sigma, self.shape, correlation))
        return found

    def _harmonics(
        self, parts: Mapping[str, Pattern], peaks: Mapping[str, Sequence[Peak]], wavelength: float | None
    ) -> list[Row]:
        """Return the rows of the harmonics of a frame, one for each peak."""
        ranges = {part: limits for part, each in parts.items() if (limits := each.azimuth_range) is not None}
        unit = parts[""].unit
        rows = []
        for index in range(len(peaks[""])):
            sectors = Sectors.of(list(ranges.values()), [peaks[part][index] for part in ranges])
            about = describe(sectors, self.harmonics or 2, self.strain_axis, unit, wavelength)
            rows.append({"peak": str(index + 1), "unit": unit, **about})
        return rows

    def _finish(self, folder: Path, records: Sequence[Record]) -> list[str]:
        from ..plot.peaks import draw_harmonics, draw_peaks

        done = [record for record in records if record.status == "done"]
        values: list[Any] = [record.columns.get(self.label) for record in done] if self.label is not None else []
        notes = []
        if values and not all(isinstance(value, (int, float)) for value in values):
            notes.append(f"pattern.peaks.label={self.label}: not a number in each frame; the figure shows frames")
            values = []
        for table in self._tables:
            tracks = write_table(folder, table, done, linked=self.number is not None)
            draw = draw_peaks if table is PEAKS else draw_harmonics
            notes += draw(folder / table.figure, tracks, values, self.label or "")
        return notes


def _peak_rows(parts: Mapping[str, Pattern], peaks: Mapping[str, Sequence[Peak]]) -> list[Row]:
    """Return the rows of the peaks of a frame, part by part."""
    return [
        {"peak": str(number), "part": part, "unit": pattern.unit, **peak._asdict()}
        for part, pattern in parts.items()
        for number, peak in enumerate(peaks[part], 1)
    ]


def cake_rows(cake: Cake) -> dict[str, Pattern]:
    """Return the rows of a cake as patterns, by names that have their first and last azimuth in degrees."""
    step = (cake.azimuthal[-1] - cake.azimuthal[0]) / max(len(cake.azimuthal) - 1, 1)
    rows = {}
    for number, centre in enumerate(cake.azimuthal):
        first, last = float(centre - step / 2), float(centre + step / 2)
        sigma = None if cake.sigma is None else cake.sigma[number]
        row = Pattern(cake.radial, cake.intensity[number], sigma, cake.unit, azimuth_range=(first, last))
        rows[f"azimuth_{first:.6g}_{last:.6g}"] = row
    return rows


def _is_region(limits: Any) -> bool:
    if not (isinstance(limits, list) and len(limits) == 2):
        return False
    if not all(isinstance(limit, (int, float)) and not isinstance(limit, bool) for limit in limits):
        return False
    return bool(np.isfinite(limits).all()) and limits[0] < limits[1]
