"""Units: patterns of one frame in several radial units, each with bins of equal width."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from ...geometry.poni import Poni
from ...model.errors import choice, require
from ...model.frame import Frame
from ..stage import NOTHING, Makes, Setup, Step
from .integ import USUAL_UNITS, Integ


@dataclass(frozen=True)
class Units(Integ):
    """Integrate in ``unit`` and in each of ``units``; the frame is read, corrected and masked once.

    Each pattern is that of `Integ` with this ``unit``, to the last bit: bins of equal width in one unit are not equal
    in another, so each unit has sums of its own. The keys not listed here are those of `Integ`.

    Attributes
    ----------
    units
        Further units, of `USUAL_UNITS`, whose names are safe in file names.
    """

    units: Any = field(default_factory=lambda: ["2th_deg"], metadata={"kind": "list"})

    def __post_init__(self) -> None:
        super().__post_init__()
        names = self.units
        require(isinstance(names, list) and bool(names), "units", names, "a list expected, as in [2th_deg,q_nm^-1]")
        for name in names:
            choice("units", name, USUAL_UNITS)
        require(
            len({self.unit, *names}) == 1 + len(names), "units", names, f"the same unit twice, with unit={self.unit}"
        )
        for key in ("radial_range", "edges"):
            expected = f"is in one unit, and integ=units has several; say integ=default integ.unit={self.unit}"
            require(getattr(self, key) is None, key, getattr(self, key), expected)

    @property
    def makes(self) -> Makes:
        """The columns of the pattern, and the patterns in the further units."""
        return Makes(super().makes.columns, {"units": list(self.units)})

    def check(self, poni: Poni, line: Makes = NOTHING) -> None:
        """Check all units, see `Integ.check`."""
        super().check(poni, line)
        for unit in self.units:
            self._in(unit).check(poni, line)

    def _in(self, unit: str) -> Integ:
        return Integ(**{each.name: getattr(self, each.name) for each in fields(Integ)} | {"unit": unit})

    def _integrator(self, setup: Setup) -> Step:
        first = super()._integrator(setup)
        others = {unit: self._in(unit)._integrator(setup) for unit in self.units}

        def integrate(frame: Frame) -> Frame:
            results = {unit: step(frame).results for unit, step in others.items()}
            return first(frame).with_sectors(results)

        return integrate
