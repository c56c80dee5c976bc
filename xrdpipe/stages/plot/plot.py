"""Plot: the masked image and the pattern of every frame, as pictures."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...io.writing import write_whole
from ...model.errors import ConfigError, nearest
from ...model.frame import Frame
from ...model.pattern import Pattern
from ..stage import NOTHING, Makes, Setup, Stage, Step

if TYPE_CHECKING:
    from ...geometry.poni import Poni


from .figures import ImageFigure, PatternFigure


@dataclass(frozen=True)
class Plot(Stage):
    """Draw each frame's masked, background-subtracted image and its pattern into ``figures/``.

    ``image``: keyword arguments of matplotlib's ``Axes.matshow``, and ``z_score``: without ``vmin`` and ``vmax`` the
    colours span mean +- z_score * std of the good pixels. ``pattern``: those of ``Axes.plot``. None draws nothing.
    A cake is drawn with the keys of ``image``, the patterns of sectors with those of ``pattern``.
    """

    image: dict[str, Any] | None = None
    pattern: dict[str, Any] | None = None

    def writes(self, name: str, line: Makes = NOTHING) -> list[str]:
        keys = {"image": self.image, "pattern": self.pattern, "cake": self.image, "sectors": self.pattern}
        return [f"figures/{name}_{what}.png" for what in ("image", "pattern", *line.parts) if keys[what] is not None]

    def prepare(self, setup: Setup) -> Step:
        own = threading.local()  # a figure is drawn by one thread at a time, and kept for the next frame
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
            if self.pattern is not None and frame.sectors:
                from .azimuth import SectorsFigure

                own.sectors = getattr(own, "sectors", None) or SectorsFigure(self.pattern)
                _save(own.sectors.draw(frame.sectors, frame.name), folder / "figures" / f"{frame.name}_sectors.png")
            if self.image is not None and frame.cake is not None:
                from .azimuth import CakeFigure

                own.cake = getattr(own, "cake", None) or CakeFigure(self.image)
                _save(own.cake.draw(frame.cake, frame.name), folder / "figures" / f"{frame.name}_cake.png")
            return frame

        return draw

    def check(self, poni: Poni, line: Makes = NOTHING) -> None:
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


def _save(png: bytes, path: Path) -> None:
    write_whole(path, lambda file: file.write(png))
