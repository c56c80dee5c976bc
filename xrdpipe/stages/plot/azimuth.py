"""Figures that depend on the azimuth: a cake, and the patterns of several sectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...model.cake import Cake
from ...model.pattern import Pattern
from .colours import Colours
from .figures import Picture

OF_IMAGES = {"mask_opacity", "rings", "extent"}  # keys that a cake has no use for
DISTINCT = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#1c1c1c")  # Okabe & Ito
MAX_LEGEND = 12  # more sectors than this get no legend


class CakeFigure(Picture):
    """Figure of a cake, made once and then filled with one cake after another on the same axes.

    Parameters
    ----------
    keys
        Keyword arguments of matplotlib's ``Axes.imshow``, and those of `Colours`.
    """

    def __init__(self, keys: dict[str, Any]) -> None:
        super().__init__((6.4, 4.8))
        options = {key: value for key, value in keys.items() if value is not None and key not in OF_IMAGES}
        self.colours = Colours(options)
        self.options = {"interpolation": "nearest"} | options | {"aspect": "auto", "origin": "lower"}
        self.picture: Any = None

    def draw(self, cake: Cake, name: str) -> bytes:
        """Return a PNG of a cake; its colours span the cells with pixels, the others are white."""
        values = np.ma.masked_invalid(cake.intensity)
        z_score = self.colours.z_score is not None  # only that needs mean and deviation, which take time
        mean, std = (float(values.mean()), float(values.std())) if z_score else (0.0, 1.0)
        self.colours.fit(cake.intensity, mean, std)
        if self.picture is None:
            extent = (*_ends(cake.radial), *_ends(cake.azimuthal))
            shown = self.colours.mappable
            self.picture = self.axes.imshow(values, norm=shown.norm, cmap=shown.cmap, **self.options, extent=extent)
            self.axes.set(xlabel=cake.label or cake.unit, ylabel="Azimuth (°)")
            self.moving += [self.picture, self.add_colour_bar(self.picture)]
        self.picture.set_data(values)
        self.axes.set_title(name, fontsize=9)
        return self.png(self.bar.ax.yaxis)


class SectorsFigure(Picture):
    """Figure of the patterns of several sectors, made once and then filled with one frame after another.

    Parameters
    ----------
    keys
        Keyword arguments of matplotlib's ``Axes.plot``; the colour tells the sectors apart and is ignored.
    """

    def __init__(self, keys: dict[str, Any]) -> None:
        from matplotlib.cbook import normalize_kwargs
        from matplotlib.lines import Line2D

        super().__init__((6.4, 4.0))
        options = normalize_kwargs({key: value for key, value in keys.items() if value is not None}, Line2D)
        options.pop("color", None)  # the colour tells the sectors apart
        self.options = {"linewidth": 1.0} | options
        self.axes.set_ylabel("Intensity (counts)")
        self.lines: list[Any] = []

    def draw(self, patterns: Mapping[str, Pattern], name: str) -> bytes:
        """Return a PNG of the patterns over their radial axis, a colour for each sector."""
        if not self.lines:
            import matplotlib

            ramp = matplotlib.colormaps["viridis"](
                np.linspace(0, 0.9, len(patterns))
            )  # its end is too light for a line
            colours = DISTINCT if len(patterns) <= len(DISTINCT) else ramp
            for (suffix, pattern), colour in zip(patterns.items(), colours, strict=False):
                label = suffix if pattern.azimuth_range is None else "{:g}° to {:g}°".format(*pattern.azimuth_range)
                (line,) = self.axes.plot([], [], color=colour, label=label, **self.options)
                self.lines.append(line)
            self.moving += [*self.lines, self.axes.yaxis]
            first = next(iter(patterns.values()))
            low, high = _ends(first.radial)
            self.axes.set(xlabel=first.label or first.unit, xlim=(low, high))
            if len(patterns) <= MAX_LEGEND:
                self.axes.legend(fontsize=7)
        for line, pattern in zip(self.lines, patterns.values(), strict=True):
            line.set_data(pattern.radial, pattern.intensity)
        self.axes.set_title(name, fontsize=9)
        self.axes.relim()
        self.axes.autoscale_view(scalex=False)
        return self.png(self.axes.yaxis)


def _ends(centres: Any) -> tuple[float, float]:
    """Return the first and last edge of an axis of uniform bins."""
    half = (centres[-1] - centres[0]) / (2 * max(len(centres) - 1, 1)) or 0.5
    return float(centres[0] - half), float(centres[-1] + half)
