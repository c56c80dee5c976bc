"""Pattern: rebin, subtract the background under the peaks, normalize and fit peaks, each only where it is set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ...geometry.poni import Poni
from ...model.errors import ConfigError
from ...model.frame import Frame
from ...model.series import Series
from ..collector import Collector
from ..stage import NOTHING, Makes, Needs, Setup, Stage, Step
from .background import PatternBackground
from .normalize import Normalize
from .peaks import Peaks
from .rebin import Rebin


@dataclass(frozen=True)
class AfterIntegration(Stage):
    """Do to the pattern, and to those of sectors, what is set, in the order of the attributes.

    Attributes
    ----------
    rebin
        Wider bins of constant steps.
    background
        Subtraction of the background under the peaks.
    normalize
        Division by the integral of a region, the mean, or the transmission.
    peaks
        Positions, widths and areas of peaks.
    """

    rebin: Rebin = field(default_factory=Rebin)
    background: PatternBackground = field(default_factory=PatternBackground)
    normalize: Normalize = field(default_factory=Normalize)
    peaks: Peaks = field(default_factory=Peaks)

    @property
    def _steps(self) -> dict[str, Stage]:
        steps = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: step for name, step in steps.items() if step.active}

    @property
    def active(self) -> bool:
        """True if any step is."""
        return bool(self._steps)

    @property
    def needs(self) -> Needs:
        """The files of all steps."""
        return Needs({role: path for step in self._steps.values() for role, path in step.needs.files.items()})

    @property
    def makes(self) -> Makes:
        """The unit of the axis, if it changes."""
        return Makes(unit=self.rebin.makes.unit)

    def writes(self, name: str, line: Makes = NOTHING) -> list[str]:
        """Return the files of all steps."""
        return [path for step in self._steps.values() for path in step.writes(name, line)]

    def check(self, poni: Poni, line: Makes = NOTHING) -> None:
        """Check all steps; ConfigError where patterns are merged, which are sums of what the frames counted."""
        if line.merged and self._steps:
            raise ConfigError(
                f"pattern.{next(iter(self._steps))}: integ=multi merges the patterns of all frames as they are "
                "integrated; leave the step out"
            )
        if "units" in line.parts and self._steps:
            raise ConfigError(f"pattern.{next(iter(self._steps))}: works in one unit, and integ=units has several")
        if self.peaks.harmonics is not None and self.rebin.unit is not None and "cake" in line.parts:
            ways = f"say integ.unit={self.rebin.unit}, or integ=sectors"
            raise ConfigError(f"pattern.peaks.harmonics: a cake keeps its axis where pattern.rebin.unit is set; {ways}")
        for name, step in self._steps.items():
            try:
                step.check(poni, line)
            except ConfigError as error:
                raise ConfigError(f"pattern.{name}.{error}") from error

    def collect(self, series: Series) -> Sequence[Collector]:
        """Return the collectors of all steps."""
        return [collector for step in self._steps.values() for collector in step.collect(series)]

    def prepare(self, setup: Setup) -> Step:
        """Return one step that does all of them."""
        steps = [step.prepare(setup) for step in self._steps.values()]

        def process(frame: Frame) -> Frame:
            for step in steps:
                frame = step(frame)
            return frame

        return process
