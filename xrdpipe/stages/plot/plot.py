"""Plot: PNG figures of the masked image and the pattern of every frame."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...io.writing import write_whole
from ...model.errors import ConfigError, choice, nearest
from ...model.frame import Frame
from ...model.pattern import Pattern
from ..stage import NOTHING, Makes, Setup, Stage, Step
from .colours import SCALES
from .figures import ImageFigure, PatternFigure

if TYPE_CHECKING:
    from ...geometry.poni import Poni
    from ...model.series import Series
    from ..collector import Collector


@dataclass(frozen=True)
class Plot(Stage):
    """Draw the masked, background-subtracted image and the pattern of each frame into ``figures/``.

    Attributes
    ----------
    image
        Keyword arguments of matplotlib's ``Axes.imshow`` for the image, and for a cake if there is one; None draws
        neither. The colours span the 1st to the 99.5th percentile of the good pixels on a ``scale`` (sqrt, linear or
        log); with ``z_score``, as in PDFstream, mean +- z_score * std on a linear one. ``vmin`` and ``vmax`` override
        their limits. ``mask_opacity`` is that of the colour over masked pixels, 0 to 1. ``rings`` is a unit: lines of
        equal q, 2theta or radius are drawn, and the beam centre.
    pattern
        Keyword arguments of matplotlib's ``Axes.plot`` for the pattern, and for the patterns of sectors if there are
        any; None draws neither.
    """

    image: dict[str, Any] | None = None
    pattern: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        """Raise ConfigError if the scale of the colours is unknown."""
        if (scale := (self.image or {}).get("scale")) is not None:
            choice("image.scale", scale, SCALES)

    def writes(self, name: str, line: Makes = NOTHING) -> list[str]:
        """Return the files of the image, the pattern, the cake and the sectors."""
        keys = {"image": self.image, "pattern": self.pattern, "cake": self.image, "sectors": self.pattern}
        return [
            f"figures/{name}_{what}.png" for what in ("image", "pattern", *line.parts) if keys.get(what) is not None
        ]

    def prepare(self, setup: Setup) -> Step:
        """Return the step that draws the figures of one frame."""
        figures = threading.local()  # each thread keeps its figures for the next frame
        folder = setup.folder

        def draw(frame: Frame) -> Frame:
            if folder is None:
                return frame
            if self.image is not None:
                figures.image = getattr(figures, "image", None) or ImageFigure(self.image, setup.geometry)
                _save(figures.image.draw(frame), folder / "figures" / f"{frame.name}_image.png")
            if self.pattern is not None and frame.pattern is not None:
                figures.pattern = getattr(figures, "pattern", None) or PatternFigure(self.pattern)
                _save(figures.pattern.draw(frame.pattern, frame.name), folder / "figures" / f"{frame.name}_pattern.png")
            sectors = {name: each for name, each in frame.results.sectors.items() if each.azimuth_range is not None}
            if self.pattern is not None and sectors:
                from .azimuth import SectorsFigure

                figures.sectors = getattr(figures, "sectors", None) or SectorsFigure(self.pattern)
                _save(figures.sectors.draw(sectors, frame.name), folder / "figures" / f"{frame.name}_sectors.png")
            if self.image is not None and (cake := frame.results.cake) is not None:
                from .azimuth import CakeFigure

                figures.cake = getattr(figures, "cake", None) or CakeFigure(self.image)
                _save(figures.cake.draw(cake, frame.name), folder / "figures" / f"{frame.name}_cake.png")
            return frame

        return draw

    def collect(self, series: Series) -> Sequence[Collector]:
        """Return the collector of the figure of the merged pattern, if frames are merged."""
        if not series.merged or self.pattern is None:
            return ()
        from .merged import MergedFigure

        return [MergedFigure(series, self.pattern)]

    def check(self, poni: Poni, line: Makes = NOTHING) -> None:
        """Draw small figures, and raise ConfigError if matplotlib refuses a key."""
        rings = (self.image or {}).get("rings")
        if rings is not None and str(rings).startswith("q_") and not poni.has_wavelength:
            raise ConfigError(f"plot.image.rings={rings}: needs a wavelength, which {poni.path} does not have")
        _draw_small(json.dumps([self.image, self.pattern]))


@lru_cache(maxsize=8)  # jobs of a sweep and views of a page have the same figures
def _draw_small(options: str) -> None:
    """Draw small figures with the options (JSON) of image and pattern; ConfigError if matplotlib refuses a key."""
    image, pattern = json.loads(options)
    ramp = np.arange(4, dtype=np.float32)
    try:
        if image is not None:
            ImageFigure(image).draw(Frame("", ramp.reshape(2, 2)))
    except ConfigError as error:
        raise ConfigError(f"plot.image.{error}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(_reason("image", image, error)) from error
    try:
        if pattern is not None:
            PatternFigure(pattern).draw(Pattern(ramp.astype(float), ramp.astype(float), None, "r_mm"), "")
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(_reason("pattern", pattern, error)) from error


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
