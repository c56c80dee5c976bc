"""Figures of a calibration: rings over the frame, residuals, the cake, a geometry over a series."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..stages.plot.figures import shrink_image
from ..stages.plot.paper_figures import ANONYMOUS, MM, paper_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

RING, POINT, INK = "#d55e00", "#0072b2", "#1c1c1c"  # Okabe & Ito
RESOLUTION = 200  # dots per inch
PIXELS = 900  # of a side of a drawn frame, at most
CAKE = (500, 180)  # bins of 2theta and azimuth
FINE = 1600  # parts of pixels along a side of a frame, about, that fill the cake
DARKEST = 0.4  # grey of the strongest pixels, light enough for lines in colour


@dataclass(frozen=True)
class Drawn:
    """What the figures of a frame show.

    Attributes
    ----------
    image
        Counts, (slow, fast).
    bad
        True for pixels without a value.
    two_theta, azimuth
        Of the pixels, deg, (slow, fast).
    lines
        2theta of the calibrant's rings, deg.
    points
        Control points (slow, fast), pixels; the centre of the first pixel is (0.5, 0.5), (n, 2).
    rings
        Number of the ring of each, from 0, (n,).
    residuals
        Distance of each from its ring, pixels, (n,).
    """

    image: NDArray[np.floating]
    bad: NDArray[np.bool_]
    two_theta: Floats
    azimuth: Floats
    lines: Floats
    points: Floats
    rings: NDArray[np.intp]
    residuals: Floats


def frame_figure(drawn: Drawn) -> bytes:
    """Draw the frame with the rings of the geometry and the control points over it; PNG."""
    from matplotlib.lines import Line2D

    with paper_style():
        slow, fast = drawn.image.shape
        width = min(120.0, 120.0 * fast / slow)
        figure, axes = _figure(width + 16, width * slow / fast + 20)
        values = shrink_image(np.asarray(drawn.image, np.float32), drawn.bad, PIXELS)[0]
        extent = (0, fast, slow, 0)
        axes.imshow(_grey(values), extent=extent, interpolation="nearest", aspect="equal")
        step = -(-max(slow, fast) // PIXELS)
        angles = drawn.two_theta[::step, ::step]
        levels = drawn.lines[np.unique(drawn.rings)]
        columns, rows = np.arange(0, fast, step) + 0.5, np.arange(0, slow, step) + 0.5
        axes.contour(columns, rows, angles, levels=levels, colors=RING, linewidths=0.6)
        axes.plot(drawn.points[:, 1], drawn.points[:, 0], ".", color=POINT, markersize=2.6, markeredgewidth=0)
        axes.set(xlabel="column (pixel)", ylabel="row (pixel)", xlim=(0, fast), ylim=(slow, 0))
        handles = [
            Line2D([], [], color=RING, linewidth=0.8, label="rings of the geometry"),
            Line2D([], [], color=POINT, marker=".", linestyle="", label="control points"),
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False, fontsize=7)
        return _png(figure)


def residual_figure(drawn: Drawn) -> bytes:
    """Draw the residuals of the control points against azimuth and against 2theta; PNG."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    with paper_style():
        figure = Figure(figsize=(170 * MM, 66 * MM), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        at = tuple(np.clip(drawn.points.astype(np.intp), 0, np.array(drawn.image.shape) - 1).T)
        _scatter(left, drawn.azimuth[at], drawn.residuals)
        left.set(xlabel="azimuth (deg)", ylabel="residual (pixel)")
        left.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[3, 6, 9]))
        angles = drawn.lines[drawn.rings]
        _scatter(right, angles, drawn.residuals)
        numbers = np.unique(drawn.rings)
        means = [drawn.residuals[drawn.rings == number].mean() for number in numbers]
        right.plot(drawn.lines[numbers], means, "D", color=RING, markersize=3, label="mean of a ring")
        right.legend(loc="upper right", frameon=False, fontsize=7)
        right.set(xlabel=r"2$\theta$ of the ring (deg)")
        return _png(figure)


def _scatter(axes: Axes, x: Floats, residuals: Floats) -> None:
    axes.axhline(0, color=INK, linewidth=0.6)
    axes.plot(x, residuals, ".", color=POINT, markersize=2.5, markeredgewidth=0, alpha=0.6)
    reach = 1.15 * float(np.abs(residuals).max(initial=0.1))
    axes.set_ylim(-reach, reach)


def cake_figure(drawn: Drawn) -> bytes:
    """Draw the frame unrolled: azimuth against 2theta, with the calibrant's lines; PNG."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    with paper_style():
        figure, axes = _figure(170, 90)
        cake, extent = _cake(drawn)
        axes.imshow(_grey(cake), extent=extent, aspect="auto", interpolation="nearest")
        shown = drawn.lines[(drawn.lines > extent[0]) & (drawn.lines < extent[1])]
        axes.vlines(shown, extent[2], extent[3], color=RING, linewidth=0.5, linestyle=(0, (4, 4)))
        axes.set(xlabel=r"2$\theta$ (deg)", ylabel="azimuth (deg)", xlim=extent[:2], ylim=extent[2:])
        axes.yaxis.set_major_locator(MaxNLocator(nbins=8, steps=[3, 6, 9]))
        handle = Line2D([], [], color=RING, linewidth=0.8, linestyle="--", label="lines of the calibrant")
        figure.legend(handles=[handle], loc="outside upper center", frameon=False, fontsize=7)
        return _png(figure)


def _cake(drawn: Drawn) -> tuple[Floats, tuple[float, float, float, float]]:
    """Return the mean counts (azimuth, 2theta), NaN without a pixel, and the range of both axes, deg."""
    image, angles, azimuths = _divided(drawn)
    good = np.isfinite(image)
    image, angles, azimuths = image[good], angles[good], azimuths[good]
    place, ends = [], []
    for values, number in ((azimuths, CAKE[1]), (angles, CAKE[0])):
        low, high = float(values.min()), float(values.max())
        place.append(np.minimum(((values - low) / max(high - low, 1e-9) * number).astype(np.intp), number - 1))
        ends += [low, high]
    key = place[0] * CAKE[0] + place[1]
    many = np.bincount(key, minlength=CAKE[0] * CAKE[1])
    total = np.bincount(key, image, CAKE[0] * CAKE[1])
    mean = np.divide(total, many, out=np.full(len(many), np.nan), where=many > 0).reshape(CAKE[1], CAKE[0])
    return mean[::-1], (ends[2], ends[3], ends[0], ends[1])


def _divided(drawn: Drawn) -> tuple[Floats, Floats, Floats]:
    """Return counts (NaN without a value), 2theta and azimuth (deg) of parts of pixels, so that they fill the cake."""
    from scipy.ndimage import zoom

    image = np.where(drawn.bad, np.nan, np.asarray(drawn.image, np.float64))
    parts = FINE // max(image.shape)
    if parts < 2:
        return image, drawn.two_theta, drawn.azimuth
    turn = np.deg2rad(drawn.azimuth)  # without a jump where the azimuth begins anew
    sides = [
        zoom(drawn.two_theta * side, parts, order=1, grid_mode=True, mode="nearest")
        for side in (np.cos(turn), np.sin(turn))
    ]
    image = image.repeat(parts, axis=0).repeat(parts, axis=1)
    return image, np.hypot(*sides), np.rad2deg(np.arctan2(sides[1], sides[0]))


def correlation_figure(names: Sequence[str], matrix: Floats) -> bytes:
    """Draw a correlation matrix with its numbers; PNG."""
    with paper_style():
        side = 11.0 * len(names)
        figure, axes = _figure(side + 36, side + 14)
        picture = axes.imshow(matrix, cmap="PuOr", vmin=-1, vmax=1)
        for row, column in np.ndindex(matrix.shape):
            strong = abs(matrix[row, column]) > 0.6
            text = f"{matrix[row, column]:.3f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=6, color="white" if strong else INK)
        axes.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(length=0)
        figure.colorbar(picture, label="correlation", shrink=0.9)
        return _png(figure)


def drift_unit(name: str) -> tuple[float, str]:
    """Return the unit for small changes of a parameter: so many of it are one m or rad, and its name."""
    if name == "wavelength":
        return 1e15, "fm"
    return (1e3, "mrad") if name.startswith("rot") else (1e6, "µm")


def drift_figure(numbers: Sequence[int], values: Mapping[str, tuple[Floats, Floats]], change: Floats) -> bytes:
    """Draw each parameter with its error, and the displacement of the rings, against the number of the frame; PNG."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    with paper_style():
        rows = -(-(len(values) + 1) // 2)
        figure = Figure(figsize=(170 * MM, (12 + 42 * rows) * MM), layout="constrained")
        panels = figure.subplots(rows, 2, sharex=True, squeeze=False).ravel()
        for axes, (name, (value, error)) in zip(panels, values.items(), strict=False):
            factor, unit = drift_unit(name)
            offset = factor * (value - np.median(value))
            axes.errorbar(numbers, offset, factor * error, fmt="o", color=POINT, markersize=2.5, elinewidth=0.7)
            axes.set(ylabel=f"{name}, offset ({unit})")
        last = panels[len(values)]
        last.plot(numbers, change, "D", color=RING, markersize=3)
        top = max(float(np.max(change)), 0.01)
        last.set(ylabel="ring shift (pixel)", ylim=(-0.08 * top, 1.15 * top))
        for axes in panels[len(values) + 1 :]:
            axes.set_visible(False)
        for axes in panels[: len(values) + 1]:
            axes.set_xlabel("frame")
            axes.tick_params(labelbottom=True)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        return _png(figure)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure of this width and height, mm, with axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * MM, height * MM), layout="constrained")
    return figure, figure.add_subplot()


def _grey(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return colours, (slow, fast, 3): strong pixels dark, by the root of the counts, those without a value white."""
    known = np.isfinite(values)
    root = np.sqrt(np.maximum(np.where(known, values, 0), 0))
    low, high = np.percentile(root[known], (1, 99.5)) if known.any() else (0.0, 1.0)
    grey = np.where(known, 0.97 - (0.97 - DARKEST) * np.clip((root - low) / max(high - low, 1e-9), 0, 1), 1.0)
    return np.repeat(grey[..., np.newaxis], 3, axis=2).astype(np.float32)


def _png(figure: Figure) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.set_dpi(RESOLUTION)
    canvas.print_png(buffer, metadata=ANONYMOUS["png"])
    return buffer.getvalue()
