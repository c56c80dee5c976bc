"""Paper: printable figures of the image and pattern of every frame, and of all patterns of a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ...io.writing import write_whole
from ...model.errors import ConfigError, choice, nearest, require
from ...model.frame import Frame
from ..collector import AtEnd, Collector
from ..stage import NOTHING, Makes, Setup, Stage, Step
from .paper_figures import (
    ANONYMOUS,
    DPI,
    FORMATS,
    MM,
    Image,
    Line,
    Waterfall,
    heat_map,
    image_figure,
    offset_lines,
    paper_style,
    pattern_figure,
)
from .series import first_pattern, read_series

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ...geometry.poni import Poni
    from ...model.record import Record
    from ...model.series import Series as SeriesOfRun

WATERFALL = "figures/waterfall"
BANDS = 800  # most patterns in a heat map: more than it has dots
NAME_LENGTH = 12  # characters: longer names do not fit beside a line


@dataclass(frozen=True)
class Paper(Stage):
    """Draw figures for a paper into ``figures/``.

    Attributes
    ----------
    image
        Style of the image of each frame; None draws no image.
    pattern
        Style of the pattern of each frame; None draws no pattern.
    waterfall
        Style of the figure of all patterns, drawn when the run ends; None draws none.
    label
        Column (see `Record.columns`) that labels the patterns of the waterfall; None labels them by frame.
    axis
        Title of the labels; None takes the name of the column.
    format
        Any of pdf, svg, png.
    width
        Width of a figure, mm.
    """

    image: Image | None = None
    pattern: Line | None = None
    waterfall: Waterfall | None = None
    label: str | None = None
    axis: str | None = None
    format: list[str] = field(default_factory=lambda: ["pdf"])
    width: float = 85.0

    def __post_init__(self) -> None:
        for name in self.format:
            choice("format", name, FORMATS)
        require(bool(self.format), "format", self.format, f"at least one expected, of {', '.join(FORMATS)}")
        require(40 <= self.width <= 400, "width", self.width, "40 to 400 mm expected; a column has 85, a page 170")

    def writes(self, name: str, line: Makes = NOTHING) -> list[str]:
        """Return the files of the image and the pattern, one for each format."""
        styles = {"image": self.image, "pattern": self.pattern}
        return [
            f"figures/{name}_{what}.{kind}" for what, keys in styles.items() if keys is not None for kind in self.format
        ]

    def collect(self, series: SeriesOfRun) -> Sequence[Collector]:
        """Return the collector that draws the waterfall."""
        keys = self.waterfall
        if keys is None:
            return ()
        return [AtEnd(self._waterfall_files, lambda records: self._draw_waterfall(series.folder, records, keys))]

    @property
    def _waterfall_files(self) -> list[str]:
        return [f"{WATERFALL}.{kind}" for kind in self.format]

    def check(self, poni: Poni, line: Makes = NOTHING) -> None:
        """Load the fonts and the style of matplotlib, so that an error comes before the first frame."""
        with paper_style():
            pass

    def prepare(self, setup: Setup) -> Step:
        """Return the step that draws the figures of one frame."""
        if self.label is not None and self.label not in setup.columns:
            hint = nearest(self.label, setup.columns) if setup.columns else "none is read"
            raise ConfigError(
                f"plot.label={self.label}: no such column; name it in source.columns=[{self.label}] ({hint})"
            )
        image, line, folder = self.image, self.pattern, setup.folder

        def draw(frame: Frame) -> Frame:
            if folder is None:
                return frame
            if image is not None:
                self._write(folder, f"figures/{frame.name}_image", lambda: image_figure(frame, image, self.width))
            if line is not None and (pattern := frame.pattern) is not None:
                self._write(folder, f"figures/{frame.name}_pattern", lambda: pattern_figure(pattern, line, self.width))
            return frame

        return draw

    def _draw_waterfall(self, folder: Path, records: Sequence[Record], keys: Waterfall) -> list[str]:
        """Draw the patterns of all frames that are done, and return notes for the user."""
        done = [record for record in records if record.status == "done"]
        every = -(-len(done) // BANDS)
        chosen = done[::every] if every else []
        first = first_pattern(folder, (record.name for record in chosen))
        dots = int(self.width * MM * DPI)  # averages points if there are more of them than dots
        block = max(1, len(first.radial) // dots) if first is not None and len(done) > keys.lines else 1
        series = read_series(folder, (record.name for record in chosen), block)
        if series is None or len(series.names) < 2:
            for path in self._waterfall_files:
                (folder / path).unlink(missing_ok=True)  # left by an earlier run
            alone = self.image is None and self.pattern is None
            return ["no waterfall: it takes two patterns in the folder at least"] if alone else []
        rows = {record.name: (number, record) for number, record in enumerate(done, 1)}
        shown = [rows[name] for name in series.names]
        values = [record.columns.get(self.label) for _, record in shown] if self.label is not None else []
        notes = [f"one in {every} of {len(done)} patterns is in {WATERFALL}"] if every > 1 else []
        if values and all(value is None for value in values):
            notes.append(f"plot.label={self.label}: no frame has it; the waterfall says which frame is which instead")
            values = []
        thinned = f" (one in {every} drawn)" if every > 1 else ""
        if len(series.names) > keys.lines:
            labels = values or [number for number, _ in shown]
            title = (self.axis or self.label if values else "Frame") or ""
            self._write(folder, WATERFALL, lambda: heat_map(series, labels, title + thinned, keys, self.width))
        else:
            short_names = all(len(name) <= NAME_LENGTH for name in series.names)
            labels = values or ([*series.names] if short_names else [number for number, _ in shown])
            title = (self.axis or self.label if values else "" if short_names else "Frame") or ""
            self._write(folder, WATERFALL, lambda: offset_lines(series, labels, title, keys, self.width))
        return notes

    def _write(self, folder: Path, name: str, draw: Callable[[], Figure]) -> None:
        with paper_style():
            figure = draw()
            figure.draw_without_rendering()
            figure.set_layout_engine("none")  # the layout is the same in all formats
            for kind in self.format:
                write_whole(
                    folder / f"{name}.{kind}",
                    lambda file, kind=kind: figure.savefig(file, format=kind, dpi=DPI, metadata=ANONYMOUS[kind]),  # type: ignore[misc]
                )
