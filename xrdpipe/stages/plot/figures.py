"""Figures of an image and of a pattern, drawn once and then filled with one frame after another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...model.arrays import read_only
from ...model.errors import choice, require
from ...model.frame import Frame
from ...model.pattern import Pattern
from .colours import Colours
from .paint import MASK_COLOUR, OPACITY, colour_table, is_root, paint, uncover
from .png import encode_png
from .ring_lines import RING_UNITS, draw_rings

if TYPE_CHECKING:
    from ...geometry.geometry import Geometry

PIXELS = 680  # size of the image in the figure: more pixels are not visible
DPI = 150
PLACING = {"interpolation", "aspect", "origin", "extent"}  # keys of an image that change no colours


def pattern_png(pattern: Pattern) -> bytes:
    """Return a PNG of one pattern."""
    return PatternFigure({}).draw(pattern, "")


class Picture:
    """Base class of figures of which only some artists change from frame to frame; the others are drawn once.

    Parameters
    ----------
    figsize
        Width and height, inches.
    """

    def __init__(self, figsize: tuple[float, float]) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.figure = Figure(figsize=figsize, dpi=DPI, layout="constrained")
        self.canvas: Any = FigureCanvasAgg(self.figure)
        self.axes = self.figure.add_subplot()
        self.axes.title.set_parse_math(False)
        self.moving: list[Any] = [self.axes.title]
        self.bar: Any = None
        self.widest: tuple[float, str] | None = None
        self.places = [(self.axes, self.axes.get_position(original=True).frozen())]  # before any layout

    def add_colour_bar(self, mappable: Any) -> Any:
        """Draw a colour bar beside the axes, and return its axis."""
        from matplotlib.colors import LogNorm
        from matplotlib.ticker import MaxNLocator

        self.axes.tick_params(labelsize=8)
        self.bar = self.figure.colorbar(mappable, ax=self.axes, label="Intensity (counts)", pad=0.02)
        if not isinstance(mappable.norm, LogNorm):
            self.bar.locator = MaxNLocator(4)
        self.bar.ax.tick_params(labelsize=8)
        self.places.append((self.bar.ax, self.bar.ax.get_position(original=True).frozen()))
        return self.bar.ax.yaxis

    def png(self, axis: Any) -> bytes:
        """Draw the moving artists over the cached background and return the figure as PNG.

        Parameters
        ----------
        axis
            Axis of matplotlib whose tick labels change; the layout is computed anew if the width of the widest does.
        """
        widest = max((_measured(label.get_text()) for label in axis.get_ticklabels()), default=(0.0, ""))
        if widest != self.widest:
            for artist in self.moving:
                artist.set_animated(True)
            for axes, place in self.places:  # or the layout would depend on the one before
                axes.set_position(place)
                axes.set_in_layout(True)
            self.figure.set_layout_engine("constrained")
            # With the same label at all ticks, the layout does not depend on the digits of the first frame.
            formatter = axis.get_major_formatter()
            axis.set_major_formatter(lambda value, place: widest[1])
            self.canvas.draw()
            axis.set_major_formatter(formatter)
            self.figure.set_layout_engine("none")
            if self.bar is not None:  # as high as the image, whatever its aspect
                image, bar = self.axes.get_position(), self.bar.ax.get_position()
                self.bar.ax.set_position((bar.x0, image.y0, bar.width, image.height))
                self.bar.ax.set_in_layout(True)
            self.canvas.draw()
            self.background, self.widest = self.canvas.copy_from_bbox(self.figure.bbox), widest
            self.arrange()
        self.canvas.restore_region(self.background)
        self.draw_moving()
        return encode_png(np.asarray(self.canvas.buffer_rgba()), DPI)

    def arrange(self) -> None:
        """Prepare what depends on the layout."""

    def draw_moving(self) -> None:
        """Draw the artists that change."""
        for artist in self.moving:
            self.figure.draw_artist(artist)


def _measured(label: str) -> tuple[float, str]:
    """Return the width of a tick label, in digits, and the label with zeros for digits, which are equally wide."""
    width = sum({".": 0.5, "\N{MINUS SIGN}": 1.32}.get(character, 1.0) for character in label)
    return width, "".join("0" if character.isdigit() else character for character in label)


class ImageFigure(Picture):
    """Figure of an image, made for the first frame and then filled with one frame after another of the same shape.

    Parameters
    ----------
    keys
        Keyword arguments of matplotlib's ``Axes.imshow``, those of `Colours`, ``mask_opacity`` and ``rings``.
    geometry
        The geometry of the frames; only ``rings`` needs it.
    """

    def __init__(self, keys: dict[str, Any], geometry: Geometry | None = None) -> None:
        super().__init__((5.4, 4.8))
        options = {key: value for key, value in keys.items() if value is not None}
        self.colours = Colours(options)
        self.opacity = float(options.pop("mask_opacity", OPACITY))
        require(0 <= self.opacity <= 1, "mask_opacity", self.opacity, "0 to 1 expected")
        self.rings, self.geometry = options.pop("rings", None), geometry
        if self.rings is not None:
            choice("rings", self.rings, RING_UNITS)
            require("extent" not in options, "rings", self.rings, "is drawn over pixels, so leave extent out")
        self.options = {"interpolation": "nearest"} | options
        self.picture: Any = None
        self.table = colour_table(self.colours.mappable)
        self.root = is_root(self.colours.mappable.norm)
        self.dots: NDArray[np.intp] | None = None

    def draw(self, frame: Frame) -> bytes:
        """Return a PNG of a frame: the colours span the good pixels, masked ones are under a veil of another colour."""
        masked = frame.masked
        values, share, mean, std = shrink_image(frame.image, masked, PIXELS)
        step = frame.image.shape[0] // values.shape[0]
        all_masked = share.min() == 1
        if not all_masked:
            self.colours.fit(values, mean, std)
        uncover(read_only(frame.image), step, values)
        if all_masked:
            self.colours.fit(values, mean, std)
        self.rgba = self._rgba(values, share)
        if self.picture is None:
            self._begin(step)
        self.picture.set_data(self.rgba)
        self.axes.set_title(f"{frame.name}  ({100 * masked.mean():.1f} % masked, orange)", fontsize=9)
        return self.png(self.bar.ax.yaxis)

    def _begin(self, step: int) -> None:
        """Draw what all frames share: axes in pixels, colour bar, rings."""
        rows, columns = (size * step - 0.5 for size in self.rgba.shape[:2])
        up = self.options.get("origin") == "lower"
        extent = (-0.5, columns, *((-0.5, rows) if up else (rows, -0.5)))
        options: dict[str, Any] = {"origin": "upper", "extent": extent} | self.options
        self.picture = self.axes.imshow(self.rgba, **options)
        if "extent" not in self.options:
            self.axes.set(xlabel="Column (pixel)", ylabel="Row (pixel)")
        self.moving += [self.picture, self.add_colour_bar(self.colours.mappable)]
        if self.rings is not None and self.geometry is not None:
            self.moving += draw_rings(self.axes, self.geometry, self.rings)

    def _rgba(self, values: NDArray[np.float32], share: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return the colours of the values, blended with the colour of masked pixels."""
        rgba: NDArray[np.uint8]
        if self.table is not None:
            rgba = np.empty((*values.shape, 4), np.uint8)
            low, high = (float(limit) for limit in self.colours.mappable.get_clim())
            paint(values, share, low, high, self.root, self.table, MASK_COLOUR, self.opacity, rgba)
            return rgba
        rgba = self.colours.mappable.to_rgba(values, bytes=True)
        weight = (np.sqrt(share) * np.where(np.isnan(values), 1, self.opacity))[..., np.newaxis]  # as in `paint`
        rgba[..., :3] = rgba[..., :3] * (1 - weight) + np.array(MASK_COLOUR) * weight
        rgba[..., 3] = 255
        return rgba

    def arrange(self) -> None:
        """Find out which pixel of the image each dot of the figure shows, with an image of numbered pixels."""
        self.dots = None
        if self.options["interpolation"] != "nearest" or not self.options.keys() <= PLACING:
            return
        numbers = np.arange(self.rgba[..., 0].size, dtype="<u4").reshape(self.rgba.shape[:2])
        drawn = []
        for code in (numbers, numbers ^ 0xFFFFFF):  # every dot of the image differs between the two
            self.picture.set_data((code | np.uint32(0xFF000000)).view(np.uint8).reshape(self.rgba.shape))
            self.canvas.restore_region(self.background)
            self.figure.draw_artist(self.picture)
            drawn.append(np.array(self.canvas.buffer_rgba()).view("<u4")[..., 0] & 0xFFFFFF)
        inside = (drawn[0] ^ drawn[1]) == 0xFFFFFF
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        self.picture.set_data(self.rgba)
        if rows.size and inside[box := np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]].all():
            self.box, self.dots = box, drawn[0][box].astype(np.intp)

    def draw_moving(self) -> None:
        """Draw the artists that change; the image is copied dot by dot, faster than by matplotlib."""
        if self.dots is None:
            super().draw_moving()
            return
        canvas = np.asarray(self.canvas.buffer_rgba()).view("<u4")[..., 0]
        canvas[self.box] = self.rgba.view("<u4").ravel()[self.dots]
        for artist in self.moving:
            if artist is not self.picture:
                self.figure.draw_artist(artist)


class PatternFigure(Picture):
    """Figure of a pattern, made once and then filled with one pattern after another on the same axis.

    Parameters
    ----------
    keys
        Keyword arguments of matplotlib's ``Axes.plot``.
    """

    def __init__(self, keys: dict[str, Any]) -> None:
        from matplotlib.cbook import normalize_kwargs
        from matplotlib.lines import Line2D

        super().__init__((6.4, 4.0))
        options = normalize_kwargs({key: value for key, value in keys.items() if value is not None}, Line2D)
        (self.line,) = self.axes.plot([], [], **({"linewidth": 1.0} | options))
        self.axes.set_ylabel("Intensity (counts)")
        self.moving += [self.line, self.axes.yaxis]
        self.band: Any = None

    def draw(self, pattern: Pattern, name: str) -> bytes:
        """Return a PNG of a pattern over its radial axis; a band shows sigma if there is one."""
        self.line.set_data(pattern.radial, pattern.intensity)
        if self.band is not None:
            self.moving.remove(self.band)
            self.band.remove()
        self.band = None
        if pattern.sigma is not None:
            low, high = pattern.intensity - pattern.sigma, pattern.intensity + pattern.sigma
            colour = self.line.get_color()
            self.band = self.axes.fill_between(pattern.radial, low, high, color=colour, alpha=0.3, lw=0, animated=True)
            self.moving.append(self.band)
        self.axes.set_xlabel(pattern.label or pattern.unit)
        self.axes.set_title(name, fontsize=9)
        # The limits include empty bins, so that the axis is the same for all frames.
        first, last = float(pattern.radial.min()), float(pattern.radial.max())
        margin = 0.01 * (last - first) or 0.5
        if self.axes.get_xlim() != (first - margin, last + margin):
            self.axes.set_xlim(first - margin, last + margin)
            self.widest = None
        self.axes.relim()
        self.axes.autoscale_view(scalex=False)
        return self.png(self.axes.yaxis)


def shrink_image(
    image: NDArray[np.float32], masked: NDArray[np.bool_], pixels: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], float, float]:
    """Shrink an image by averaging square blocks of pixels.

    Rows and columns that do not fill a block are left out.

    Parameters
    ----------
    image
        Counts, (slow, fast).
    masked
        True for masked pixels, (slow, fast).
    pixels
        Approximate largest size of a side of the result.

    Returns
    -------
    values
        Mean of the good pixels of each block, NaN in blocks without any, float32.
    share
        Share of masked pixels in each block, float32.
    mean, std
        Mean and standard deviation of all good pixels.
    """
    from ...numerics.reduction import shrink

    step = min(max(1, -(-max(image.shape) // pixels)), *image.shape)
    values, share = np.empty((2, image.shape[0] // step, image.shape[1] // step), np.float32)
    mean, std = shrink(read_only(image), read_only(masked), step, values, share)
    return values, share, mean, std
