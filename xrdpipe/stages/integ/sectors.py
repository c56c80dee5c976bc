"""Sectors: patterns of several azimuthal ranges, in one pass over the frame."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...geometry.geometry import Geometry
from ...model.errors import ConfigError, FrameError, require
from ...model.frame import Frame, Results
from ...model.pattern import Pattern
from ..stage import Makes, Setup, Step
from .correlation import by_name, correlation
from .integ import Integ
from .methods import integration_method, sector_pixels

MAX_SECTORS = 360  # each is a file for every frame
DIVISIONS = 8  # sectors of equal width where none are asked for


@dataclass(frozen=True)
class Sectors(Integ):
    """Integrate each of several sectors, and the pattern of the whole as well.

    The pattern of a sector is that of `Integ` with this ``azimuth_range``. A pixel on a border counts in both sectors,
    as in pyFAI. The keys not listed here are those of `Integ`.

    Attributes
    ----------
    sectors
        First and last azimuth of each sector, degrees; a sector may cross 180.
    number
        Number of adjacent sectors of equal width, which divide ``azimuth_range``, or the turn from -180; None stands
        for 8, or for none beside ``sectors``.
    """

    sectors: Any = None
    number: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.number is None or 1 <= self.number <= MAX_SECTORS,
            "number",
            self.number,
            f"1 to {MAX_SECTORS} sectors expected",
        )
        listed = self.sectors or []
        good = isinstance(listed, list) and len(listed) <= MAX_SECTORS and all(map(_is_range, listed))
        expected = f"up to {MAX_SECTORS} pairs of degrees expected, the smaller one first, as in [[-30,30],[60,120]]"
        require(good, "sectors", self.sectors, expected)
        require(len(self.ranges) == len(listed) + self._divisions, "sectors", self.sectors, "the same sector twice")

    @property
    def _divisions(self) -> int:
        return self.number or (0 if self.sectors else DIVISIONS)

    @property
    def ranges(self) -> dict[str, list[float]]:
        """First and last azimuth of each sector, degrees, by the suffix of its files."""
        first, last = self.azimuth_range or [-180.0, 180.0]
        limits = np.linspace(first, last, self._divisions + 1).tolist()
        ranges = [*(self.sectors or []), *([a, b] for a, b in pairwise(limits))]
        return {f"sector_{first:.6g}_{last:.6g}": [float(first), float(last)] for first, last in ranges}

    @property
    def makes(self) -> Makes:
        """The columns of the pattern, and the sectors."""
        return Makes(super().makes.columns, {"sectors": list(self.ranges)})

    def _integrator(self, setup: Setup) -> Step:
        whole = super()._integrator(setup)
        geometry = setup.geometry
        single = {name: self._single(limits) for name, limits in self.ranges.items()}
        cached = geometry.cached("sectors", self._settings(), lambda: self._make_matrix(geometry))
        about = json.loads(cached["about"].tobytes())
        if "bins" not in cached or self.error_model == "hybrid":
            steps = {name: stage._integrator(setup) for name, stage in single.items()}

            def one_by_one(frame: Frame) -> Frame:
                frame, results = whole(frame), dict[str, Results]()
                for name, step in steps.items():
                    with _named(name):
                        results[name] = step(frame).results
                frame = frame.with_sectors(results)
                return frame.with_results(sectors=self._add_ranges(frame.results.sectors))

            return one_by_one
        npt = cached["radial"].size
        sum_bins = self._summation(setup, cached, npt * len(single))
        correlate = correlation(cached, (len(single), npt), self.needs.variance)

        def integrate(frame: Frame) -> Frame:
            frame, sums = whole(frame), sum_bins(frame)[2]
            patterns, weights = dict[str, Pattern](), dict(frame.results.weights)
            for number, name in enumerate(single):
                part = sums[:, number * npt : (number + 1) * npt]
                with _named(name):
                    patterns[name] = self._pattern(cached["radial"], *self._means(part), part[1], about)
                weights[name] = part[1]
            frame = frame.with_results(sectors=self._add_ranges(patterns), weights=weights)
            if self.error_model is None:
                return frame
            found = by_name(single, lambda: np.split(correlate(frame), len(single), axis=1))
            return frame.with_results(correlations={**frame.results.correlations, **found})

        return integrate

    def _add_ranges(self, patterns: Mapping[str, Pattern]) -> dict[str, Pattern]:
        ranges = self.ranges
        return {
            name: replace(each, azimuth_range=(ranges[name][0], ranges[name][1])) for name, each in patterns.items()
        }

    def _single(self, limits: list[float] | None) -> Integ:
        keys = {each.name: getattr(self, each.name) for each in fields(Integ)}
        return Integ(**keys | {"azimuth_range": limits})

    def _make_matrix(self, geometry: Geometry) -> dict[str, NDArray[Any]]:
        """Return one matrix for the bins of all sectors, one sector after another."""
        from ...numerics.sparse_matrix import Matrix

        arrays = self._single(None)._make_arrays(geometry)
        if "bins" not in arrays:
            return arrays
        method, integrator = integration_method(self.method), geometry.integrator
        ranges = self.ranges.values()
        chosen = np.array([self._sector_pixels(geometry, method, limits, integrator) for limits in ranges])
        matrix = Matrix(arrays["starts"], arrays["bins"], arrays["coefs"]).sectors(chosen, arrays["radial"].size)
        return arrays | matrix._asdict()

    def _sector_pixels(
        self, geometry: Geometry, method: Any, limits: list[float], integrator: Any
    ) -> NDArray[np.bool_]:
        try:
            return sector_pixels(geometry, method, limits, integrator)
        except ConfigError as error:
            raise ConfigError(str(error).replace("azimuth_range", "sectors")) from error


@contextmanager
def _named(sector: str) -> Iterator[None]:
    """Put the name of the sector before the reason why a frame fails."""
    try:
        yield
    except FrameError as error:
        raise FrameError(f"{sector}: {error}") from error


def _is_range(limits: Any) -> bool:
    if not (isinstance(limits, list) and len(limits) == 2):
        return False
    if not all(isinstance(limit, (int, float)) and not isinstance(limit, bool) for limit in limits):
        return False
    return bool(np.isfinite(limits).all()) and limits[0] < limits[1]
