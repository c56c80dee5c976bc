"""Scale and limits of the colours of an image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...model.errors import choice, require

if TYPE_CHECKING:
    from matplotlib.colors import Normalize

SCALES = ("linear", "sqrt", "log")
PERCENTILES = (1, 99.5)
SAMPLE = 1 << 15  # about as many values give the percentiles: all of them would take as long as the rest of a figure


class Colours:
    """The colours of an image: colour map, scale and limits.

    Parameters
    ----------
    keys
        Keys of a figure. Those of the colours are taken out: ``cmap``, ``norm``, ``scale``, ``z_score``, ``vmin``,
        ``vmax``.

    Attributes
    ----------
    mappable
        `matplotlib.cm.ScalarMappable`, for the colour bar.

    Raises
    ------
    ConfigError
        The scale is unknown, or there is a norm besides it.
    """

    def __init__(self, keys: dict[str, Any]) -> None:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import LogNorm

        scale, norm, z_score = (keys.pop(key, None) for key in ("scale", "norm", "z_score"))
        if scale is not None:
            choice("scale", scale, SCALES)
            require(norm is None, "norm", norm, "the scale of the colours, as scale is; leave one of them out")
        self.z_score = None if z_score is None else float(z_score)
        self.range = keys.pop("vmin", None), keys.pop("vmax", None)
        self.scale = scale or ("sqrt" if norm is None and self.z_score is None else "linear")
        self.mappable: Any = ScalarMappable(norm or colour_norm(self.scale), keys.pop("cmap", None))
        if isinstance(self.mappable.norm, LogNorm):
            self.scale = "log"

    def fit(self, values: NDArray[Any], mean: float, std: float) -> None:
        """Set the limits: the 1st and the 99.5th percentile, or mean +- z_score * std.

        ``vmin`` and ``vmax`` override them.

        Parameters
        ----------
        values
            Counts, NaN where there are none.
        mean, std
            Mean and standard deviation of all pixels.
        """
        low, high = self.range
        if self.z_score is not None:
            high = mean + self.z_score * std if high is None else high
            below = mean - self.z_score * std
            low = below if low is None and (below > 0 or self.scale != "log") else low
        self.mappable.set_clim(*colour_limits(values, self.scale, low, high))


def colour_norm(scale: str) -> Normalize:
    """Return the norm of matplotlib for a scale: linear, sqrt or log."""
    from matplotlib.colors import LogNorm, Normalize, PowerNorm

    if scale == "sqrt":
        return PowerNorm(0.5)
    return LogNorm() if scale == "log" else Normalize()


def colour_limits(
    values: NDArray[Any], scale: str, low: float | None = None, high: float | None = None
) -> tuple[float, float]:
    """Return the first and the last value of the colours.

    Parameters
    ----------
    values
        Counts, (slow, fast); those that are not finite do not count.
    scale
        linear, sqrt or log. A square root is that of the counts above the first value; a logarithm begins above 0.
    low, high
        Values that the user asks for; None takes the 1st and the 99.5th percentile.
    """
    if low is None or high is None:
        good = _some(values)
        good = good[np.isfinite(good) & (good > 0)] if scale == "log" else good[np.isfinite(good)]
        first, last = (float(value) for value in np.percentile(good, PERCENTILES)) if good.size else (0.0, 1.0)
        low = first if low is None else low
        high = last if high is None else high
    if scale == "log":
        low = low if low > 0 else 1.0
        return low, max(high, 10 * low)
    return low, high if high > low else low + max(1.0, abs(low) * 1e-6)


def _some(values: NDArray[Any]) -> NDArray[Any]:
    """Return values evenly chosen from all rows and columns: the step has no common divisor with the row length."""
    step = -(-values.size // SAMPLE)
    while math.gcd(step, values.shape[-1]) > 1:
        step += 1
    return values.ravel()[::step]
