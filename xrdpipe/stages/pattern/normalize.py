"""Normalize: divide the pattern by the integral of a region, its mean, or the transmission of the sample."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...geometry.poni import Poni
from ...model.errors import FrameError, choice, require
from ...model.frame import Frame
from ...model.pattern import Pattern
from ..integ.normalize import divided_frame
from ..scalar_lookup import ScalarLookup, table_files
from ..stage import NOTHING, Makes, Needs, Setup, Stage, Step

WAYS = ("integral", "mean")


@dataclass(frozen=True)
class Normalize(Stage):
    """Divide intensity and sigma of the pattern, and those of sectors and cake by the same number.

    Attributes
    ----------
    by
        "integral": of the pattern over ``range``, along straight lines between its bins. "mean": of the bins in
        ``range``. None: neither.
    range
        First and last value of the axis, in its unit; None takes the whole pattern.
    transmission
        Where to find the transmission of the sample, see `ScalarLookup`.
    """

    by: str | None = field(default=None, metadata={"choices": WAYS})
    range: list[float] | None = None
    transmission: Any = None

    def __post_init__(self) -> None:
        if self.by is not None:
            choice("by", self.by, WAYS)
        if self.range is not None:
            good = len(self.range) == 2 and bool(np.isfinite(self.range).all()) and self.range[0] < self.range[1]
            require(good, "range", self.range, "two numbers expected, the smaller one first")
            require(self.by is not None, "range", self.range, f"without by; say which: {', '.join(WAYS)}")
        self._lookups()  # checks the value

    def _lookups(self) -> dict[str, ScalarLookup]:
        where, key = self.transmission, "transmission"
        return {} if where is None else {key: ScalarLookup(key, where)}

    @property
    def active(self) -> bool:
        """True if anything divides the pattern."""
        return self.by is not None or self.transmission is not None

    @property
    def needs(self) -> Needs:
        """The table of the transmission."""
        return Needs(table_files(self._lookups()))

    def check(self, poni: Poni, line: Makes = NOTHING) -> None:
        """Raise ConfigError if the table cannot be used."""
        for lookup in self._lookups().values():
            lookup.check()

    def prepare(self, setup: Setup) -> Step:
        """Return the step that divides; what it divides by is recorded with the frame."""
        lookups = self._lookups()

        def normalize(frame: Frame) -> Frame:
            merged = frame.info.exposures  # a transmission is a mean, which a lookup multiplies
            factors = {
                name: lookup.of(frame) / (1 if lookup.constant is not None else merged)
                for name, lookup in lookups.items()
            }
            if self.by is not None and frame.pattern is not None:
                factors["normalization"] = self.divisor(frame.pattern)
            divided = divided_frame(frame, float(np.prod(list(factors.values()))))
            return divided.with_info(factors={**divided.info.factors, **factors})

        return normalize

    def divisor(self, pattern: Pattern) -> float:
        """Return the integral or the mean of a pattern, by which it is divided.

        Raises
        ------
        FrameError
            The pattern does not cover the range, or the number is not above zero.
        """
        filled = np.isfinite(pattern.intensity)
        radial, intensity = pattern.radial[filled], pattern.intensity[filled]
        first, last = self.range or (-np.inf, np.inf)
        inside = (radial >= first) & (radial <= last)
        if self.by == "mean":
            value = float(intensity[inside].mean()) if inside.any() else np.nan
        else:
            if self.range is not None and not (radial.size and radial[0] <= first and last <= radial[-1]):
                raise FrameError(f"pattern.normalize.range={self.range}: the pattern does not cover it")
            ends = np.array([] if self.range is None else self.range, float)
            x = np.union1d(radial[inside], ends)
            value = float(np.trapezoid(np.interp(x, radial, intensity), x))
        if not value > 0:
            where = "the pattern" if self.range is None else f"the range {self.range}"
            raise FrameError(f"pattern.normalize.by={self.by}: {value:g} in {where}, a number > 0 is needed")
        return value
