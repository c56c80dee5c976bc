"""Background: subtract what the peaks of a pattern stand on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...geometry.poni import Poni
from ...io.formats import Shared, chi_text
from ...io.writing import encoded, write_bytes
from ...model.arrays import read_only
from ...model.errors import ConfigError, FrameError, choice, require
from ...model.frame import Frame
from ...model.pattern import Pattern
from ..stage import NOTHING, Makes, Setup, Stage, Step

Floats = NDArray[np.float64]
METHODS = ("snip", "bruckner")
FOLDER = "backgrounds"
MOST_ROUNDS = 10_000


@dataclass(frozen=True)
class PatternBackground(Stage):
    """Subtract the background under the peaks, and write it to ``backgrounds/<name>.chi``; sigma stays.

    Attributes
    ----------
    method
        "snip": statistics-sensitive clipping, by pybaselines (extra ``background``). "bruckner": as in Dioptas. None
        subtracts nothing.
    width
        Half the width of the window, in the unit of the axis: about the width of the broadest peak.
    iterations
        Rounds of "bruckner".
    order
        Order of the Chebyshev polynomial that replaces the result of "bruckner", as in Dioptas (50 there); None takes
        the result as it is.
    """

    method: str | None = field(default=None, metadata={"choices": METHODS})
    width: float | None = field(default=None, metadata={"low": 0})
    iterations: int = 50
    order: int | None = None

    def __post_init__(self) -> None:
        if self.method is not None:
            choice("method", self.method, METHODS)
        good = self.width is None or (bool(np.isfinite(self.width)) and self.width > 0)
        require(good, "width", self.width, "a number > 0 expected")
        good = 1 <= self.iterations <= MOST_ROUNDS
        require(good, "iterations", self.iterations, f"1 to {MOST_ROUNDS} rounds expected")
        require(self.order is None or 0 <= self.order <= 200, "order", self.order, "0 to 200, or null")
        require(self.order is None or self.method == "bruckner", "order", self.order, "with method=bruckner alone")
        alone = self.width is not None and self.method is None
        require(not alone, "width", self.width, f"without a method; say which: {', '.join(METHODS)}")
        expected = "the half width of the window, in the unit of the axis, expected, such as 0.1"
        require(self.method is None or self.width is not None, "width", self.width, expected)

    @property
    def active(self) -> bool:
        """True if there is a method."""
        return self.method is not None

    def check(self, poni: Poni, line: Makes = NOTHING) -> None:
        """Raise ConfigError if the library of the method is not installed."""
        if self.method == "snip":
            try:
                import pybaselines  # noqa: F401 - the import is the check
            except ImportError as error:
                ways = "pip install 'xrdpipe[background]' brings it; or say pattern.background.method=bruckner"
                raise ConfigError(f"method=snip: pybaselines is not installed; {ways}") from error

    def writes(self, name: str, line: Makes = NOTHING) -> list[str]:
        """Return the files of the backgrounds of the pattern and the sectors."""
        return [background_file(name, suffix) for suffix in ("", *line.parts.get("sectors", ()))]

    def prepare(self, setup: Setup) -> Step:
        """Return the step that subtracts the background, and writes it."""
        folder = setup.folder
        shared = {key: Shared(value) if isinstance(value, dict) else value for key, value in setup.provenance.items()}
        find = self.finder()

        def subtract(frame: Frame) -> Frame:
            texts: dict[str, bytes] = {}

            def subtracted(suffix: str, pattern: Pattern) -> Pattern:
                background = find(pattern)
                about = {"method": f"{self.method} of the pattern", "image": f"{frame.info.file} {frame.info.digest}"}
                header = {**shared, **frame.info.factors, **about}
                level = replace(pattern, intensity=background, sigma=None)
                texts[background_file(frame.name, suffix)] = encoded(chi_text(level, header))
                return replace(pattern, intensity=pattern.intensity - background)

            after = frame.with_patterns(subtracted)
            if folder is None:
                return after
            outputs = {path: write_bytes(folder, path, text) for path, text in texts.items()}
            return after.with_info(outputs={**frame.info.outputs, **outputs})

        return subtract

    def finder(self) -> Callable[[Pattern], Floats]:
        """Return the function from a pattern to its background, NaN in bins without a pixel."""
        clip = self._snip() if self.method == "snip" else self._bruckner

        def find(pattern: Pattern) -> Floats:
            filled = np.isfinite(pattern.intensity)
            radial, bins = pattern.radial, len(pattern.radial)
            step = (radial[-1] - radial[0]) / max(bins - 1, 1)
            points = round((self.width or 0) / step) if step else 0
            if not 1 <= points <= (bins - 1) // 2:
                low, high = step, step * ((bins - 1) // 2)
                expected = f"{low:.3g} (a bin) to {high:.3g} (half of the axis) expected"
                raise FrameError(f"pattern.background.width={self.width:g}: {expected}")
            values = np.interp(radial, radial[filled], pattern.intensity[filled])  # over bins without a pixel
            return np.where(filled, clip(radial, values, points), np.nan)

        return find

    def _snip(self) -> Callable[[Floats, Floats, int], Floats]:
        from pybaselines.smooth import snip

        def clip(radial: Floats, values: Floats, points: int) -> Floats:
            level: Any = snip(values, max_half_window=points, decreasing=True)[0]
            return np.asarray(level, float)

        return clip

    def _bruckner(self, radial: Floats, values: Floats, points: int) -> Floats:
        from .bruckner import smooth_bruckner

        longer = np.concatenate([values, np.full(2 * points + 2, values[-1])])  # the last ones would stay as they are
        level = smooth_bruckner(read_only(longer), points, self.iterations)[: values.size]
        if self.order is None:
            return level
        x = 2 * (radial - radial[0]) / (radial[-1] - radial[0]) - 1
        fitted: Floats = np.polynomial.chebyshev.chebval(x, np.polynomial.chebyshev.chebfit(x, level, self.order))
        return fitted


def background_file(name: str, suffix: str) -> str:
    """Return the path of the background of a pattern or sector, relative to the folder of the run."""
    return f"{FOLDER}/{name}_{suffix}.chi" if suffix else f"{FOLDER}/{name}.chi"
