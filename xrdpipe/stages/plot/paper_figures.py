"""Draw figures for a paper."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...model.errors import choice, nearest, require
from ...model.frame import Frame
from ...model.pattern import Pattern
from .colours import SCALES, colour_limits, colour_norm
from .figures import shrink_image
from .series import AXES, Floats, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure


FORMATS = ("pdf", "svg", "png")
DPI = 300  # resolution of images in a figure, at its printed size
MM = 1 / 25.4  # inches
POINT = 25.4 / 72  # mm
LABEL_LENGTH = 16  # characters; longer ones leave no room for the lines
STYLE: Any = {
    "font.size": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "axes.formatter.limits": (-4, 7),  # counts without exponent
    "pdf.fonttype": 42,  # embedded TrueType: journals refuse Type 3, and text stays text
    "svg.fonttype": "path",  # outlines look the same without the font
    "svg.hashsalt": "xrdpipe",
    "svg.id": None,
}

ANONYMOUS = {
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    "svg": {"Creator": None, "Date": None},
    "png": {"Software": None},
}

# Style and text of matplotlib are not safe for threads: one figure is drawn at a time.
_drawing = threading.RLock()


@dataclass(frozen=True)
class Image:
    """Style of an image.

    Attributes
    ----------
    cmap
        Colour map of matplotlib.
    vmin, vmax
        First and last value of the colours, counts; None takes the 1st and the 99.5th percentile.
    scale
        Scale of the colours: linear, sqrt or log.
    """

    cmap: str = "cividis"
    vmin: float | None = None
    vmax: float | None = None
    scale: str = "sqrt"

    def __post_init__(self) -> None:
        _check_colours(self.cmap, self.scale)


@dataclass(frozen=True)
class Line:
    """Style of a pattern.

    Attributes
    ----------
    color
        Colour of the line.
    linewidth
        Width of the line, points.
    scale
        Scale of the intensity: linear, sqrt or log.
    """

    color: str = "#0072b2"
    linewidth: float = 0.8
    scale: str = "linear"

    def __post_init__(self) -> None:
        from matplotlib.colors import is_color_like

        require(is_color_like(self.color), "color", self.color, "a colour expected, such as black or '#0072b2'")
        require(self.linewidth > 0, "linewidth", self.linewidth, "points, > 0, expected")
        choice("scale", self.scale, SCALES)


@dataclass(frozen=True)
class Waterfall:
    """Style of a series.

    Attributes
    ----------
    lines
        Largest number of patterns that are drawn as lines; more are drawn as a heat map.
    offset
        Distance of two lines, counts (or their root or logarithm, see ``scale``); None chooses one that fits.
    cmap
        Colour map of the lines, first to last, and of the heat map.
    scale
        Scale of the lines and of the colours of the heat map: linear, sqrt or log; None takes linear for lines and sqrt
        for colours.
    """

    lines: int = 30
    offset: float | None = None
    cmap: str = "cividis"
    scale: str | None = None

    def __post_init__(self) -> None:
        require(self.lines >= 0, "lines", self.lines, "a number >= 0 expected")
        _check_colours(self.cmap, self.scale or "sqrt")


@contextmanager
def paper_style() -> Iterator[None]:
    """Return a context in which one thread draws figures in the style of a paper."""
    import matplotlib

    known = {key: value for key, value in STYLE.items() if key in matplotlib.rcParams}  # svg.id: matplotlib 3.10
    with _drawing, matplotlib.rc_context(known):
        yield


def _check_colours(cmap: str, scale: str) -> None:
    import matplotlib

    known = matplotlib.colormaps
    require(cmap in known, "cmap", cmap, f"no such colour map; {nearest(cmap, known)}"[:150])
    choice("scale", scale, SCALES)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure of this width and height, mm, with axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * MM, height * MM), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03)  # type: ignore[union-attr, call-arg]
    return figure, figure.add_subplot()


def _norm(scale: str, values: Any, low: float | None, high: float | None) -> Normalize:
    """Return the norm of the colours, see `colour_limits`."""
    norm = colour_norm(scale)
    norm.vmin, norm.vmax = colour_limits(values, scale, low, high)
    return norm


def image_figure(frame: Frame, keys: Image, width: float) -> Figure:
    """Draw the image of a frame, in counts; masked pixels are white.

    A dot is the mean of the good pixels under it. It is white if more than half of them are masked.

    Parameters
    ----------
    frame
        The frame with its mask.
    keys
        Style of the image.
    width
        Width of the figure, mm.
    """
    import matplotlib

    slow, fast = frame.image.shape
    height = min(0.66 * width * slow / fast + 11, 1.2 * width)
    figure, axes = _figure(width, height)
    values, share, _, _ = shrink_image(frame.image, frame.masked, int(0.8 * width * MM * DPI))
    shown = np.where(share > 0.5, np.nan, values)
    step = slow // values.shape[0]
    extent = (-0.5, values.shape[1] * step - 0.5, values.shape[0] * step - 0.5, -0.5)
    norm = _norm(keys.scale, shown, keys.vmin, keys.vmax)
    cmap = matplotlib.colormaps[keys.cmap].with_extremes(bad="white")
    # No interpolation: the file holds exactly these dots.
    picture = axes.imshow(shown, cmap=cmap, norm=norm, extent=extent, interpolation="none")
    axes.set(xlabel="Column (pixel)", ylabel="Row (pixel)")
    _colour_bar(figure, axes, picture)
    return figure


def pattern_figure(pattern: Pattern, keys: Line, width: float) -> Figure:
    """Draw a pattern over its radial axis; a band shows sigma if there is one.

    Parameters
    ----------
    pattern
        The pattern.
    keys
        Style of the line.
    width
        Width of the figure, mm.
    """
    figure, axes = _figure(width, min(0.7 * width, 90))
    radial, intensity, sigma = pattern.radial, pattern.intensity, pattern.sigma
    if sigma is not None:
        low, high = intensity - sigma, intensity + sigma
        axes.fill_between(radial, low, high, color=keys.color, alpha=0.3, linewidth=0)
    axes.plot(radial, intensity, color=keys.color, linewidth=keys.linewidth)
    _scale(axes, keys.scale)
    axes.set(xlabel=AXES.get(pattern.unit) or pattern.label or pattern.unit, ylabel="Intensity (counts)")
    filled = radial[np.isfinite(intensity)] if np.isfinite(intensity).sum() > 1 else radial
    axes.set_xlim(float(filled.min()), float(filled.max()))
    axes.minorticks_on()
    return figure


def offset_lines(series: Series, labels: Sequence[Any], title: str, keys: Waterfall, width: float) -> Figure:
    """Draw patterns one above the other, the first one lowest, each with a label at the end of its line.

    Parameters
    ----------
    series
        The patterns.
    labels
        Label of each pattern.
    title
        Title of the labels.
    keys
        Style of the lines.
    width
        Width of the figure, mm.
    """
    import matplotlib

    number = len(series.names)
    height = min(1.2 * width, 130)
    figure, axes = _figure(width, height)
    name, transformed = _LINES[keys.scale or "linear"]
    lines = transformed(series.intensity)
    span = float(np.nanmax(lines) - np.nanmin(lines)) or 1.0
    offset = keys.offset if keys.offset is not None else float(f"{min(3 / number, 0.6) * _height(lines):.1g}")
    colours = matplotlib.colormaps[keys.cmap](np.linspace(0, 0.8, number))  # the last ones are too light for a line
    last = float(series.radial[-1])
    text_height = 9 * POINT * 1.1 * (number * offset + span) / (height - 12)  # of a label, in counts
    every = max(1, int(np.ceil(text_height / abs(offset)))) if offset else number
    for row, (intensity, colour) in enumerate(zip(lines, colours, strict=True)):
        axes.plot(series.radial, intensity + row * offset, color=colour, linewidth=0.7, zorder=3 + number - row)
    end = lines[:, -20:]
    level = (
        float(np.nanmedian(end)) if np.isfinite(end).any() else 0.0
    )  # the same for all lines, so that labels are evenly spaced
    heights = [row * offset + level for row in range(number)]
    labelled = slice(None, None, every)
    beside = axes.secondary_yaxis("right")
    beside.set_yticks(heights[labelled], [_text(label) for label in labels[labelled]])
    beside.set_ylabel(title).set_parse_math(False)
    beside.tick_params(length=0)
    for tick in beside.get_yticklabels():
        tick.set_parse_math(False)
    notes = ["counts"] * (name == "Intensity") + [f"lines {offset:g} apart"] * bool(offset)
    axes.set(xlabel=AXES.get(series.unit, series.unit), ylabel=f"{name} ({', '.join(notes)})" if notes else name)
    axes.set_xlim(float(series.radial[0]), last)
    axes.minorticks_on()
    return figure


def _height(lines: Floats) -> float:
    """Return a height of lines for their distance: a single strong peak counts for a third of its height at least."""
    above = lines - np.nanmin(lines, axis=1, keepdims=True)
    highest = float(np.nanmax(above)) or 1.0
    return min(max(2 * float(np.nanpercentile(above, 99)), highest / 3), highest)


def heat_map(series: Series, labels: Sequence[Any], title: str, keys: Waterfall, width: float) -> Figure:
    """Draw the intensity of a series in colours over the radial axis and the frames; empty bins are white.

    Parameters
    ----------
    series
        The patterns.
    labels
        Label of each pattern. Monotonic numbers become the vertical axis.
    title
        Title of the labels.
    keys
        Style of the colours.
    width
        Width of the figure, mm.
    """
    import matplotlib

    figure, axes = _figure(width, min(width, 120))
    numbers = np.array([value if isinstance(value, int | float) else np.nan for value in labels], float)
    steps = np.diff(numbers)
    monotonic = bool(np.isfinite(numbers).all() and ((steps > 0).all() or (steps < 0).all()))
    rows = numbers if monotonic else np.arange(1.0, len(labels) + 1)
    mesh = axes.pcolormesh(
        _edges(series.radial),
        _edges(rows),
        np.ma.masked_invalid(series.intensity),
        cmap=matplotlib.colormaps[keys.cmap],
        norm=_norm(keys.scale or "sqrt", series.intensity, None, None),
        rasterized=True,
    )
    if not monotonic:  # labels beside their rows replace the axis
        ticks = np.unique(np.linspace(0, len(labels) - 1, 8).astype(int))
        axes.set_yticks(rows[ticks], [_text(labels[tick]) for tick in ticks])
        for tick in axes.get_yticklabels():
            tick.set_parse_math(False)
    axes.set_xlabel(AXES.get(series.unit, series.unit))
    axes.set_ylabel(title).set_parse_math(False)
    _colour_bar(figure, axes, mesh)
    return figure


def _colour_bar(figure: Figure, axes: Axes, shown: Any) -> None:
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import MaxNLocator

    beside = axes.inset_axes((1.03, 0, 0.035, 1))  # as high as the axes, for any aspect of the image
    bar = figure.colorbar(shown, cax=beside, label="Intensity (counts)")
    if not isinstance(bar.norm, LogNorm):
        bar.locator = MaxNLocator(5)
    bar.outline.set_linewidth(0.6)
    shown.colorbar.solids.set_rasterized(True)  # viewers show seams between vector shapes


def _scale(axes: Axes, scale: str) -> None:
    if scale == "sqrt":
        axes.set_yscale("function", functions=(_root, np.square))
        axes.set_ylim(bottom=0)
    elif scale == "log":
        axes.set_yscale("log", nonpositive="mask")


def _root(values: Floats) -> Floats:
    return np.sqrt(np.maximum(values, 0))


def _signed_root(values: Floats) -> Floats:
    return np.sign(values) * np.sqrt(np.abs(values))


def _logarithm(values: Floats) -> Floats:
    return np.log10(np.where(values > 0, values, np.nan))


_LINES: dict[str, tuple[str, Callable[[Floats], Floats]]] = {
    "linear": ("Intensity", np.asarray),
    "sqrt": ("√Intensity", _signed_root),
    "log": ("log₁₀ Intensity", _logarithm),
}  # of a waterfall: name of the axis, and what is drawn


def _edges(centres: Floats) -> Floats:
    """Return the edges of cells with these centres."""
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def _text(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else "" if value is None else str(value)
    return text if len(text) <= LABEL_LENGTH else f"{text[:7]}…{text[-8:]}"
