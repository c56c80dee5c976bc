"""A pattern at once, while the exact one is made: whole pixels in bins, without the matrix that splits them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.geometry import Geometry
from ..model.cake import Cake
from ..model.errors import FrameError
from ..model.frame import Frame
from ..model.pattern import Pattern
from ..numerics.compiled import compiled
from ..stages.integ.cake import Regroup
from ..stages.integ.integ import Integ
from ..stages.integ.methods import radial_unit
from ..stages.integ.normalize import normalize
from ..stages.integ.sectors import Sectors
from .line import Kept

METHOD = "preview without pixel splitting"
FINE = 720  # azimuthal bins from which sectors are added up
KEPT = 8  # arrays of one number a pixel, 16 MB each for 4 million pixels

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Grid:
    """Bins of a preview.

    Attributes
    ----------
    edges
        Edges of the radial bins.
    first, last
        Azimuthal range, degrees.
    count
        Azimuthal bins.
    """

    edges: NDArray[np.float64]
    first: float = -180.0
    last: float = 180.0
    count: int = 1

    @property
    def centres(self) -> NDArray[np.float64]:
        """Centres of the radial bins."""
        return (self.edges[1:] + self.edges[:-1]) / 2

    @property
    def azimuths(self) -> NDArray[np.float64]:
        """Centres of the azimuthal bins, degrees."""
        return self.first + (np.arange(self.count) + 0.5) * (self.last - self.first) / self.count


@dataclass(frozen=True)
class Preview:
    """Integrates frames of a geometry; the angles of the pixels are kept.

    Attributes
    ----------
    geometry
        The geometry.
    """

    geometry: Geometry
    _arrays: Kept[Floats] = field(default_factory=lambda: Kept(KEPT))
    _integrators: Kept[Any] = field(default_factory=lambda: Kept(1))
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __call__(self, integ: Integ, frame: Frame) -> Frame:
        """Return the frame with the preview of what a stage makes; without sigma and quality.

        Raises
        ------
        FrameError
            No good pixel is in the range.
        """
        return normalize(lambda each: self._integrated(integ, each), integ.divisors())(frame)

    def cake(self, integ: Regroup, frame: Frame) -> Cake:
        """Return the preview of a cake."""
        grid = Grid(self._edges(integ), *integ.azimuth_limits, integ.npt_azim)
        return self._cake(integ, grid, self._sums(integ, frame, grid))

    def warm(self) -> None:
        """Make what the first previews need, while nothing else is asked for."""
        for unit in ("chi_deg", *(["q_A^-1"] if self.geometry.poni.wavelength else []), "2th_deg", "r_mm"):
            self._angles(unit)
        corrects = Integ(unit="2th_deg", npt=1, correctSolidAngle=True, polarization_factor=0.99)
        frame = Frame("ones", np.ones(self.geometry.shape, np.float32))
        with suppress(FrameError):
            self(corrects, frame)

    def _integrated(self, integ: Integ, frame: Frame) -> Frame:
        edges = self._edges(integ)
        if isinstance(integ, Regroup):
            grid = Grid(edges, *integ.azimuth_limits, integ.npt_azim)
            sums = self._sums(integ, frame, grid)
            pattern, cake = _pattern(integ, grid, sums.sum(axis=1)), self._cake(integ, grid, sums)
            return frame.with_results(pattern=pattern, cake=cake, pattern_error=None)
        if isinstance(integ, Sectors):
            return self._sectors(integ, frame, edges)
        first, last = integ.azimuth_range or (-180.0, 180.0)
        grid = Grid(edges, first, last)
        pattern = _pattern(integ, grid, self._sums(integ, frame, grid)[:, 0])
        return frame.with_results(pattern=pattern, pattern_error=None)

    def _sectors(self, integ: Sectors, frame: Frame, edges: NDArray[np.float64]) -> Frame:
        grid = Grid(edges, count=FINE)
        sums, patterns = self._sums(integ, frame, grid), {}

        def part(first: float, last: float) -> Pattern:
            inside = (grid.azimuths - first) % 360 < last - first
            return _pattern(integ, grid, sums[:, inside].sum(axis=1))

        for name, (first, last) in integ.ranges.items():
            patterns[name] = part(first, last)
        whole = part(*(integ.azimuth_range or (-180.0, 180.0)))
        return frame.with_results(pattern=whole, sectors=patterns, pattern_error=None)

    def _cake(self, integ: Regroup, grid: Grid, sums: NDArray[np.float64]) -> Cake:
        intensity = _means(integ, sums)
        label = radial_unit(integ.unit).label
        return Cake(grid.centres, grid.azimuths, intensity, None, integ.unit, label, METHOD)

    def _edges(self, integ: Integ) -> NDArray[np.float64]:
        edges = integ.bin_edges()
        if edges is not None:
            return edges
        limits = integ.radial_range
        if limits is None:
            radial = self._angles(integ.unit)
            limits = [float(np.nanmin(radial)), float(np.nanmax(radial))]
        if not (np.isfinite(limits).all() and limits[0] < limits[1]):
            raise FrameError(f"integ.unit={integ.unit}: infinite somewhere on the detector")
        return np.linspace(limits[0], limits[1], integ.npt + 1)

    def _sums(self, integ: Integ, frame: Frame, grid: Grid) -> NDArray[np.float64]:
        """Return signal and normalization, (2, azimuthal bins, radial bins)."""
        azimuth, norm = np.empty(0, np.float32), np.empty(0, np.float32)
        if grid.count > 1 or grid.last - grid.first < 360:
            azimuth = self._angles("chi_deg")
        if integ.corrects:
            key = json.dumps([integ.correctSolidAngle, integ.polarization_factor])
            norm = self._kept(key, lambda: integ.pixel_norm(self._integrator(), self.geometry.shape))
        mask = np.zeros(frame.image.shape, np.uint8) if frame.mask is None else frame.mask
        sums = np.zeros((2, grid.count, grid.edges.size - 1))
        uniform = integ.edges is None
        angles = self._angles(integ.unit), azimuth, norm
        add(frame.image.ravel(), mask.ravel(), *angles, grid.edges, uniform, grid.first, grid.last, sums)
        return sums

    def _angles(self, unit: str) -> Floats:
        """Return an angle of every pixel, in a unit of pyFAI, flat."""

        def make() -> Floats:
            angles = self._integrator().center_array(self.geometry.shape, unit=unit, scale=True)
            return np.ascontiguousarray(angles, np.float32).ravel()

        return self._kept(unit, make)

    def _kept(self, key: str, make: Callable[[], Floats]) -> Floats:
        with self._lock:
            return self._arrays.get(key, make)

    def _integrator(self) -> Any:
        """Return an integrator of pyFAI; one for all, because the last digits do not matter here."""
        return self._integrators.get("", lambda: self.geometry.integrator)


def _means(integ: Integ, sums: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        empty = np.nan if integ.empty is None else integ.empty
        means: NDArray[np.float64] = np.where(sums[1] == 0, empty, sums[0] / sums[1])
    return means


def _pattern(integ: Integ, grid: Grid, sums: NDArray[np.float64]) -> Pattern:
    if not sums[1].any():
        raise FrameError("no good pixel in the range of the pattern")
    label = radial_unit(integ.unit).label
    return Pattern(grid.centres, _means(integ, sums), None, integ.unit, label, METHOD)


@compiled
def add(
    image: Floats,
    mask: NDArray[np.uint8],
    radial: Floats,
    azimuth: Floats,
    norm: Floats,
    edges: NDArray[np.float64],
    uniform: bool,
    first: float,
    last: float,
    sums: NDArray[np.float64],
) -> None:
    """Add every good pixel to the bin of its centre.

    Parameters
    ----------
    image, mask, radial
        Counts, mask (0 = good) and radial value of every pixel, flat.
    azimuth
        Degrees; empty if all pixels are in the only azimuthal bin.
    norm
        What counts are divided by; empty for 1.
    edges
        Edges of the radial bins; ``uniform`` says that all are of one width.
    first, last
        Azimuthal range, degrees.
    sums
        Output, (2, azimuthal bins, radial bins): signal and normalization.
    """
    count, bins = sums.shape[1], sums.shape[2]
    low, high = edges[0], edges[-1]
    scale, turn = bins / (high - low), count / (last - first)
    for pixel in range(len(image)):
        value, place = np.float64(image[pixel]), np.float64(radial[pixel])
        weight = np.float64(norm[pixel]) if len(norm) else 1.0
        if mask[pixel] or not (np.isfinite(value) and low <= place <= high and 0 < weight < np.inf):
            continue
        row = 0
        if len(azimuth):
            row = int(((np.float64(azimuth[pixel]) - first) % 360.0) * turn)
            if row >= count:
                continue
        at = int((place - low) * scale) if uniform else np.searchsorted(edges, place, "right") - 1
        at = min(at, bins - 1)
        sums[0, row, at] += value
        sums[1, row, at] += weight
