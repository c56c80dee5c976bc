"""Sectors: a pattern of each of several azimuthal ranges, all in one pass over the frame."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...geometry.geometry import Geometry
from ...model.errors import ConfigError, FrameError, require
from ...model.frame import Frame
from ...model.pattern import Pattern
from ..stage import Makes, Setup, Step
from .integ import Integ
from .methods import integration_method, sector_pixels

MOST = 360  # sectors: a file each for every frame


@dataclass(frozen=True)
class Sectors(Integ):
    """A pattern of each sector beside that of the whole: each is what ``azimuth_range`` alone gives.

    ``sectors``: [first, last] of each, degrees, also across 180; ``number``: so many of the same width, side by side,
    beginning at -180, or where ``azimuth_range`` is given, in that. Pixels on a border count in both, as in pyFAI.
    """

    sectors: Any = None
    number: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.number is None or 1 <= self.number <= MOST, "number", self.number, f"1 to {MOST} sectors expected")
        given = self.sectors or []
        good = isinstance(given, list) and len(given) <= MOST and all(map(_is_range, given))
        told = f"up to {MOST} pairs of degrees expected, the smaller one first, as in [[-30,30],[60,120]]"
        require(good, "sectors", self.sectors, told)
        require(
            bool(given or self.number), "sectors", self.sectors, "missing; say sectors=[[-30,30],[60,120]] or number=8"
        )
        names = list(self.ranges)
        require(len(names) == len(given) + (self.number or 0), "sectors", self.sectors, "the same sector twice")

    @property
    def ranges(self) -> dict[str, list[float]]:
        """The suffix of each sector's files -> [first, last], degrees."""
        first, last = self.azimuth_range or [-180.0, 180.0]
        limits = np.linspace(first, last, (self.number or 0) + 1).tolist()
        ranges = [*(self.sectors or []), *([a, b] for a, b in pairwise(limits))]
        return {f"sector_{first:.6g}_{last:.6g}": [float(first), float(last)] for first, last in ranges}

    @property
    def makes(self) -> Makes:
        return Makes(super().makes.columns, {"sectors": list(self.ranges)})

    def _integrator(self, setup: Setup) -> Step:
        whole = super()._integrator(setup)
        geometry = setup.geometry
        alone = {name: self._alone(limits) for name, limits in self.ranges.items()}
        kept = geometry.kept("sectors", self._settings(), lambda: self._parts(geometry))
        about = json.loads(kept["about"].tobytes())
        if "bins" not in kept or self.error_model == "hybrid":
            steps = {name: stage._integrator(setup) for name, stage in alone.items()}

            def one_by_one(frame: Frame) -> Frame:
                made = {name: step(frame).pattern for name, step in steps.items()}
                return replace(whole(frame), sectors=self._told({name: each for name, each in made.items() if each}))

            return one_by_one
        npt = kept["radial"].size
        add = self._adding(kept, npt * len(alone))

        def integrate(frame: Frame) -> Frame:
            frame, sums = whole(frame), add(frame)[2]
            made: dict[str, Pattern] = {}
            for number, name in enumerate(alone):
                part = sums[:, number * npt : (number + 1) * npt]
                try:
                    made[name] = self._pattern(kept["radial"], *self._means(part), part[1], about)
                except FrameError as error:
                    raise FrameError(f"{name}: {error}") from error
            return replace(frame, sectors=self._told(made))

        return integrate

    def _told(self, made: dict[str, Pattern]) -> dict[str, Pattern]:
        ranges = self.ranges
        return {name: replace(each, azimuth_range=(ranges[name][0], ranges[name][1])) for name, each in made.items()}

    def _alone(self, limits: list[float] | None) -> Integ:
        keys = {each.name: getattr(self, each.name) for each in fields(Integ)}
        return Integ(**keys | {"azimuth_range": limits})

    def _parts(self, geometry: Geometry) -> dict[str, NDArray[Any]]:
        """One matrix for the bins of all sectors, one sector after another."""
        from ...numerics.sparse_matrix import Matrix

        made = self._alone(None)._make(geometry)
        if "bins" not in made:
            return made
        method = integration_method(self.method)
        chosen = np.array([self._seen(geometry, method, limits) for limits in self.ranges.values()])
        matrix = Matrix(made["starts"], made["bins"], made["coefs"]).sectors(chosen, made["radial"].size)
        return made | matrix._asdict()

    def _seen(self, geometry: Geometry, method: Any, limits: list[float]) -> NDArray[np.bool_]:
        try:
            return sector_pixels(geometry, method, limits)
        except ConfigError as error:
            raise ConfigError(str(error).replace("azimuth_range", "sectors")) from error


def _is_range(limits: Any) -> bool:
    if not (isinstance(limits, list) and len(limits) == 2):
        return False
    if not all(isinstance(limit, (int, float)) and not isinstance(limit, bool) for limit in limits):
        return False
    return bool(np.isfinite(limits).all()) and limits[0] < limits[1]
