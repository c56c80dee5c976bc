"""Pictures of what depends on the azimuth: a cake, and the patterns of several sectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...model.cake import Cake
from ...model.pattern import Pattern
from .figures import Picture

NO_PIXEL = (0.88, 0.88, 0.88)  # grey: nowhere in the default colour map, and not the red of masked pixels


MOST_NAMED = 12  # sectors in the legend


class CakeFigure(Picture):
    """The picture of a cake, made once and then filled with one after another of the same axes."""

    def __init__(self, keys: dict[str, Any]) -> None:
        super().__init__((6.4, 4.8))
        given = {key: value for key, value in keys.items() if value is not None}
        self.z_score = float(given.pop("z_score", 2.0))
        self.range = given.pop("vmin", None), given.pop("vmax", None)
        self.given = {"interpolation": "nearest"} | given | {"aspect": "auto", "origin": "lower"}
        self.picture: Any = None

    def draw(self, cake: Cake, name: str) -> bytes:
        """PNG of a cake; its colours span mean +- z_score * standard deviation of the cells that have pixels."""
        values = np.ma.masked_invalid(cake.intensity)
        spread = self.z_score * float(values.std())
        low, high = self.range
        low = float(values.mean()) - spread if low is None else low
        high = float(values.mean()) + spread if high is None else high
        if self.picture is None:
            extent = (*_ends(cake.radial), *_ends(cake.azimuthal))
            self.picture = self.axes.imshow(values, **self.given, extent=extent)
            self.axes.set_facecolor(NO_PIXEL)
            self.axes.set(xlabel=cake.label or cake.unit, ylabel="Azimuth (°)")
            bar = self.figure.colorbar(self.picture, ax=self.axes, label="Intensity (counts)", pad=0.02)
            self.axis = bar.ax.yaxis
            self.moving += [self.picture, self.axis]
        self.picture.set_data(values)
        self.picture.set_clim(low, high)
        self.axes.set_title(name, fontsize=9)
        return self.png(self.axis)


class SectorsFigure(Picture):
    """The picture of the patterns of several sectors, made once and then filled with one frame's after another."""

    def __init__(self, keys: dict[str, Any]) -> None:
        from matplotlib.cbook import normalize_kwargs
        from matplotlib.lines import Line2D

        super().__init__((6.4, 4.0))
        given = normalize_kwargs({key: value for key, value in keys.items() if value is not None}, Line2D)
        given.pop("color", None)  # which tells the sectors apart
        self.given = {"linewidth": 1.0} | given
        self.axes.set_ylabel("Intensity (counts)")
        self.lines: list[Any] = []

    def draw(self, patterns: Mapping[str, Pattern], name: str) -> bytes:
        """PNG of the patterns over their radial axis, a colour each, in the order of the sectors."""
        if not self.lines:
            import matplotlib

            colours = matplotlib.colormaps["hsv"](
                np.linspace(0, 1, len(patterns), endpoint=False)
            )  # a turn, as they are
            for (suffix, pattern), colour in zip(patterns.items(), colours, strict=True):
                label = suffix if pattern.azimuth_range is None else "{:g}° to {:g}°".format(*pattern.azimuth_range)
                (line,) = self.axes.plot([], [], color=colour, label=label, **self.given)
                self.lines.append(line)
            self.moving += [*self.lines, self.axes.yaxis]
            first = next(iter(patterns.values()))
            low, high = _ends(first.radial)
            self.axes.set(xlabel=first.label or first.unit, xlim=(low, high))
            if len(patterns) <= MOST_NAMED:
                self.axes.legend(fontsize=7)
        for line, pattern in zip(self.lines, patterns.values(), strict=True):
            line.set_data(pattern.radial, pattern.intensity)
        self.axes.set_title(name, fontsize=9)
        self.axes.relim()
        self.axes.autoscale_view(scalex=False)
        return self.png(self.axes.yaxis)


def _ends(centres: Any) -> tuple[float, float]:
    """Where an axis of uniform bins begins and ends."""
    half = (centres[-1] - centres[0]) / (2 * max(len(centres) - 1, 1)) or 0.5
    return float(centres[0] - half), float(centres[-1] + half)
