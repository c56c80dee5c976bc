"""Plot: the masked image and the pattern of every frame, as pictures."""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .frame import Frame, Pattern
from .provenance import write_whole
from .stage import ConfigError, Setup, Stage, Step, nearest

MASK_COLOUR = (0.91, 0.22, 0.31)  # red: nowhere in the default colour map
PIXELS = 680  # about what the image takes up of the figure: more are not seen
DPI = 150


@dataclass(frozen=True)
class Plot(Stage):
    """Draw each frame's masked, background-subtracted image and its pattern into ``figures/``.

    ``image``: keyword arguments of matplotlib's ``Axes.matshow``, and ``z_score``: without ``vmin`` and ``vmax`` the
    colours span mean +- z_score * std of the good pixels. ``pattern``: those of ``Axes.plot``. None draws nothing.
    """

    image: dict[str, Any] | None = None
    pattern: dict[str, Any] | None = None

    def outputs(self, name: str) -> list[str]:
        wanted = {"image": self.image, "pattern": self.pattern}
        return [f"figures/{name}_{what}.png" for what, keys in wanted.items() if keys is not None]

    def prepare(self, setup: Setup) -> Step:
        own = threading.local()  # a figure is drawn by one thread at a time, and kept for the next frame
        self._try()
        folder = setup.folder

        def draw(frame: Frame) -> Frame:
            if folder is None:
                return frame
            if self.image is not None:
                own.image = getattr(own, "image", None) or ImageFigure(self.image)
                _save(own.image.draw(frame), folder / "figures" / f"{frame.name}_image.png")
            if self.pattern is not None and frame.pattern is not None:
                own.pattern = getattr(own, "pattern", None) or PatternFigure(self.pattern)
                _save(own.pattern.draw(frame.pattern, frame.name), folder / "figures" / f"{frame.name}_pattern.png")
            return frame

        return draw

    def _try(self) -> None:
        # Only matplotlib knows what it takes: draw a small picture before the first frame.
        ramp = np.arange(4, dtype=np.float32)
        try:
            if self.image is not None:
                ImageFigure(self.image).draw(Frame("", ramp.reshape(2, 2)))
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfigError(_reason("image", self.image or {}, error)) from error
        try:
            if self.pattern is not None:
                PatternFigure(self.pattern).draw(Pattern(ramp.astype(float), ramp.astype(float), None, "r_mm"), "")
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfigError(_reason("pattern", self.pattern or {}, error)) from error


def pattern_png(pattern: Pattern) -> bytes:
    """A picture of one pattern, as PNG."""
    return PatternFigure({}).draw(pattern, "")


class ImageFigure:
    """The picture of an image, made for the first frame and then filled with one after another of the same shape."""

    def __init__(self, keys: dict[str, Any]) -> None:
        self.keys = {key: value for key, value in keys.items() if value is not None}
        self.z_score = float(self.keys.pop("z_score", 2.0))
        self.range = self.keys.pop("vmin", None), self.keys.pop("vmax", None)
        self.figure: Any = None

    def draw(self, frame: Frame) -> bytes:
        """PNG of a frame: its colours span the good pixels, the masked ones lie over it in red."""
        masked = frame.masked
        values, share = reduced(frame.image, masked, PIXELS)
        # The root keeps single masked pixels visible where many share one dot of the picture.
        layer = np.empty((*share.shape, 4), np.float32)
        layer[..., :3], layer[..., 3] = MASK_COLOUR, np.sqrt(share)
        if self.figure is None:
            self._make(values, layer)
        self.picture.set_data(values)
        self.picture.set_clim(*self._limits(frame.image[~masked]))
        self.layer.set_data(layer)
        percent = 100 * float(masked.mean())
        self.axes.set_title(f"{frame.name}  ({percent:.1f} % masked, red)", fontsize=9, parse_math=False)
        return _png(self.figure)

    def _make(self, values: NDArray[np.float32], layer: NDArray[np.float32]) -> None:
        from matplotlib.figure import Figure

        self.figure = Figure(figsize=(5.4, 4.8), dpi=DPI, layout="constrained")
        self.axes = self.figure.add_subplot()
        self.picture = self.axes.matshow(values, **self.keys)
        same = {key: value for key, value in self.keys.items() if key in ("origin", "aspect", "extent")}
        self.layer = self.axes.imshow(layer, interpolation="nearest", **same)
        self.axes.set_xticks([])
        self.axes.set_yticks([])
        self.figure.colorbar(self.picture, label="Intensity (counts)", pad=0.02)

    def _limits(self, good: NDArray[np.float32]) -> tuple[float, float]:
        mean, std = (float(good.mean(dtype=float)), float(good.std(dtype=float))) if good.size else (0.0, 1.0)
        low, high = self.range
        return (
            mean - self.z_score * std if low is None else low,
            mean + self.z_score * std if high is None else high,
        )


class PatternFigure:
    """The picture of a pattern, drawn once and then filled with frame after frame."""

    def __init__(self, keys: dict[str, Any]) -> None:
        from matplotlib.figure import Figure

        given = {key: value for key, value in keys.items() if value is not None}
        self.figure = Figure(figsize=(6.4, 4.0), dpi=DPI, layout="constrained")
        self.axes = self.figure.add_subplot()
        (self.line,) = self.axes.plot([], [], **({"linewidth": 1.0} | given))
        self.axes.set_ylabel("Intensity (counts)")
        self.axes.margins(x=0.01)
        self.band: Any = None

    def draw(self, pattern: Pattern, name: str) -> bytes:
        """PNG of a pattern over its radial axis, with a band of one sigma where there is one."""
        from pyFAI.units import to_unit

        if self.band is not None:
            self.band.remove()
            self.band = None
        self.line.set_data(pattern.radial, pattern.intensity)
        if pattern.sigma is not None:
            low, high = pattern.intensity - pattern.sigma, pattern.intensity + pattern.sigma
            self.band = self.axes.fill_between(
                pattern.radial, low, high, color=self.line.get_color(), alpha=0.3, linewidth=0
            )
        self.axes.set_xlabel(to_unit(pattern.unit).label)
        self.axes.set_title(name, fontsize=9, parse_math=False)
        self.axes.relim()
        self.axes.autoscale_view()
        return _png(self.figure)


def reduced(
    image: NDArray[np.float32], masked: NDArray[np.bool_], pixels: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Shrink an image (slow, fast) to at most about ``pixels`` a side by whole-number blocks.

    Returns the mean of the good pixels of every block (NaN where it has none) and the share of its pixels that is
    masked, both float32. Rows and columns that fill no block are left out.
    """
    step = max(1, -(-max(image.shape) // pixels))
    step = min(step, *image.shape)
    slow, fast = (size // step for size in image.shape)
    good = ~masked[: slow * step, : fast * step]
    values = np.where(good, image[: slow * step, : fast * step], np.float32(0))
    total = np.zeros((slow, fast), np.float32)
    count = np.zeros((slow, fast), np.float32)
    for i in range(step):
        for j in range(step):
            total += values[i::step, j::step]
            count += good[i::step, j::step]
    with np.errstate(invalid="ignore"):
        return total / np.where(count == 0, np.float32(np.nan), count), 1 - count / np.float32(step * step)


def _reason(group: str, keys: dict[str, Any], error: Exception) -> str:
    import matplotlib
    from matplotlib.artist import ArtistInspector
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D

    cmap = keys.get("cmap")
    if isinstance(cmap, str) and cmap not in matplotlib.colormaps:
        return f"plot.{group}.cmap={cmap}: no such colour map; {nearest(cmap, matplotlib.colormaps)}"[:200]
    known = ArtistInspector({"image": AxesImage, "pattern": Line2D}[group]).get_setters()
    for key in keys:
        if key in str(error) and key not in known:
            return f"plot.{group}.{key}: matplotlib has no such key; {nearest(key, known)}"[:300]
    return f"plot.{group}: matplotlib refuses it ({error})"


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", pil_kwargs={"compress_level": 1})
    return buffer.getvalue()


def _save(png: bytes, path: Path) -> None:
    write_whole(path, lambda file: file.write(png))
