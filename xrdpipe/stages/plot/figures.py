"""Figures of an image and of a pattern, drawn once and then filled with one frame after another."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...model.arrays import read_only
from ...model.frame import Frame
from ...model.pattern import Pattern

if TYPE_CHECKING:
    pass


MASK_COLOUR = (232, 56, 79)  # red: nowhere in the default colour map


PIXELS = 680  # about what the image takes up of the figure: more are not seen


DPI = 150


def pattern_png(pattern: Pattern) -> bytes:
    """A picture of one pattern, as PNG."""
    return PatternFigure({}).draw(pattern, "")


class Picture:
    """A figure of which only some artists move from frame to frame; all others are drawn once and kept as pixels."""

    def __init__(self, figsize: tuple[float, float]) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.figure = Figure(figsize=figsize, dpi=DPI, layout="constrained")
        self.canvas: Any = FigureCanvasAgg(self.figure)
        self.axes = self.figure.add_subplot()
        self.axes.title.set_parse_math(False)
        self.moving: list[Any] = [self.axes.title]
        self.room: tuple[int, ...] | None = None

    def png(self, axis: Any) -> bytes:
        """Draw what moves over what does not; the layout is made anew where the labels of ``axis`` change width."""
        from PIL import Image as Picture

        room = tuple(sorted({len(label.get_text()) for label in axis.get_ticklabels()}))
        if room != self.room:
            for artist in self.moving:
                artist.set_animated(True)
            self.figure.set_layout_engine("constrained")
            self.canvas.draw()
            self.figure.set_layout_engine("none")
            self.canvas.draw()
            self.still, self.room = self.canvas.copy_from_bbox(self.figure.bbox), room
        self.canvas.restore_region(self.still)
        for artist in self.moving:
            self.figure.draw_artist(artist)
        buffer = io.BytesIO()
        pixels = np.asarray(self.canvas.buffer_rgba())[..., :3]
        Picture.fromarray(pixels).save(buffer, format="png", compress_level=1, dpi=(DPI, DPI))
        return buffer.getvalue()


class ImageFigure(Picture):
    """The picture of an image, made for the first frame and then filled with one after another of the same shape."""

    def __init__(self, keys: dict[str, Any]) -> None:
        from matplotlib.cm import ScalarMappable

        super().__init__((5.4, 4.8))
        given = {key: value for key, value in keys.items() if value is not None}
        self.z_score = float(given.pop("z_score", 2.0))
        self.range = given.pop("vmin", None), given.pop("vmax", None)
        self.colours = ScalarMappable(given.pop("norm", None), given.pop("cmap", None))
        self.given = {"interpolation": "nearest"} | given
        self.picture: Any = None

    def draw(self, frame: Frame) -> bytes:
        """PNG of a frame: its colours span the good pixels, the masked ones lie over it in red."""
        from matplotlib.colors import LogNorm

        masked = frame.masked
        values, share, mean, std = reduced(frame.image, masked, PIXELS)
        low, high = self.range
        high = mean + self.z_score * std if high is None else high
        if low is None:
            low = mean - self.z_score * std
            if low <= 0 and isinstance(self.colours.norm, LogNorm):  # which has no place for zero
                low = float(values.min(where=values > 0, initial=max(high, 1.0)))
                high = max(high, 10 * low)
        self.colours.set_clim(low, high)
        rgba = self.colours.to_rgba(values, bytes=True)
        # The root keeps single masked pixels visible where many share one dot of the picture.
        weight = np.sqrt(share)[..., np.newaxis]
        rgba[..., :3] = rgba[..., :3] * (1 - weight) + np.array(MASK_COLOUR) * weight
        rgba[..., 3] = 255
        if self.picture is None:
            self.picture = self.axes.matshow(rgba, **self.given)
            self.axes.set(xticks=[], yticks=[])
            bar = self.figure.colorbar(self.colours, ax=self.axes, label="Intensity (counts)", pad=0.02)
            self.axis = bar.ax.yaxis
            self.moving += [self.picture, self.axis]
        self.picture.set_data(rgba)
        self.axes.set_title(f"{frame.name}  ({100 * masked.mean():.1f} % masked, red)", fontsize=9)
        return self.png(self.axis)


class PatternFigure(Picture):
    """The picture of a pattern, made once and then filled with one after another on the same axis."""

    def __init__(self, keys: dict[str, Any]) -> None:
        from matplotlib.cbook import normalize_kwargs
        from matplotlib.lines import Line2D

        super().__init__((6.4, 4.0))
        given = normalize_kwargs({key: value for key, value in keys.items() if value is not None}, Line2D)
        (self.line,) = self.axes.plot([], [], **({"linewidth": 1.0} | given))
        self.axes.set_ylabel("Intensity (counts)")
        self.moving += [self.line, self.axes.yaxis]
        self.band: Any = None

    def draw(self, pattern: Pattern, name: str) -> bytes:
        """PNG of a pattern over its radial axis, with a band of one sigma where there is one."""
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
        # All of the axis, whatever bins are empty: it stands still while the line moves.
        first, last = float(pattern.radial.min()), float(pattern.radial.max())
        margin = 0.01 * (last - first) or 0.5
        if self.axes.get_xlim() != (first - margin, last + margin):
            self.axes.set_xlim(first - margin, last + margin)
            self.room = None
        self.axes.relim()
        self.axes.autoscale_view(scalex=False)
        return self.png(self.axes.yaxis)


def reduced(
    image: NDArray[np.float32], masked: NDArray[np.bool_], pixels: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], float, float]:
    """Shrink an image (slow, fast) to at most about ``pixels`` a side by whole-number blocks.

    Returns the mean of the good pixels of every block (NaN where it has none), the share of its pixels that is
    masked, both float32, and mean and standard deviation of all good pixels. Rows and columns that fill no block are
    left out.
    """
    from ...numerics.reduction import shrink

    step = min(max(1, -(-max(image.shape) // pixels)), *image.shape)
    values, share = np.empty((2, image.shape[0] // step, image.shape[1] // step), np.float32)
    mean, std = shrink(read_only(image), read_only(masked), step, values, share)
    return values, share, mean, std
