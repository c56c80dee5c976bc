"""Figures of the peaks of a series: position, width and area, or their harmonics, over the frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...io.writing import write_whole
from .paper_figures import ANONYMOUS, DPI, MM, paper_style
from .series import AXES

MOST = 4  # peaks of a figure: more leave no room for their axes
HARMONICS = {  # what may be drawn of them, with the title of its axis
    "texture": "Texture (area,\nsecond harmonic)",
    "ellipticity": "Ellipticity (position,\nsecond harmonic)",
    "strain": "Strain along the axis,\nrelative to across",
}
Labels = Mapping[str, str]


class PeakTrack(Protocol):
    """A peak over frames: its number, unit of the axis, indices of frames, and values and errors by name."""

    number: int
    unit: str
    frames: Any
    values: Any


def draw_peaks(path: Path, peaks: Sequence[PeakTrack], places: Sequence[float], title: str) -> list[str]:
    """Draw position, width and area of peaks, see `draw_tracks`."""
    labels = _labels(peaks[0].unit) if peaks else {}
    return draw_tracks(path, peaks, places, title, labels, ("position", "area"))


def draw_harmonics(path: Path, peaks: Sequence[PeakTrack], places: Sequence[float], title: str) -> list[str]:
    """Draw texture and strain, or ellipticity, of peaks, see `draw_tracks`."""
    labels = {name: label for name, label in HARMONICS.items() if peaks and name in peaks[0].values}
    return draw_tracks(path, peaks, places, title, labels, ("position_mean", "area_mean"))


def draw_tracks(
    path: Path,
    peaks: Sequence[PeakTrack],
    places: Sequence[float],
    title: str,
    labels: Labels,
    order: tuple[str, str],
) -> list[str]:
    """Draw the peaks that most frames have, a column each, the strongest of them first; return notes for the user.

    Parameters
    ----------
    path
        The PNG file. It is removed if no peak is in two frames.
    peaks
        Peaks with their values.
    places
        Place of each frame on the axis; empty for the numbers of the frames, from 1.
    title
        Title of that axis.
    labels
        Values that are drawn, a row each, with the title of their axes.
    order
        Values that order the columns, and that say which peaks are strongest.
    """
    from matplotlib.figure import Figure

    followed = [peak for peak in peaks if len(peak.frames) > 1]
    if not followed:
        path.unlink(missing_ok=True)
        return []
    strongest = sorted(followed, key=lambda peak: (-len(peak.frames), -float(np.nanmedian(peak.values[order[1]][0]))))
    shown = sorted(strongest[:MOST], key=lambda peak: float(np.nanmedian(peak.values[order[0]][0])))
    with paper_style():
        figure = Figure(figsize=((30 + 45 * len(shown)) * MM, (20 + 30 * len(labels)) * MM), layout="constrained")
        grid = figure.subplots(len(labels), len(shown), sharex=True, squeeze=False)
        for column, peak in enumerate(shown):
            frames = np.asarray(peak.frames)
            x = np.asarray(places, float)[frames] if len(places) else frames + 1
            for axes, name in zip(grid[:, column], labels, strict=True):
                _draw(axes, x, *(np.asarray(each) for each in peak.values[name]))
            grid[0, column].set_title(f"Peak {peak.number}", fontsize=8)
            grid[-1, column].set_xlabel(title if len(places) else "Frame")
            if not len(places):
                grid[-1, column].xaxis.get_major_locator().set_params(integer=True)
        for axes, label in zip(grid[:, 0], labels.values(), strict=True):
            axes.set_ylabel(label)
        write_whole(path, lambda file: figure.savefig(file, format="png", dpi=DPI, metadata=ANONYMOUS["png"]))
    left = len(followed) - len(shown)
    return [f"{path.name}: {len(shown)} peaks of {len(followed)}; {path.stem}.csv has all of them"] if left else []


def _labels(unit: str) -> dict[str, str]:
    """Return the titles of position, width and area on an axis of a unit."""
    title = AXES.get(unit, unit)
    inside = title[title.find("(") :] if "(" in title else f"({unit})"
    return {"position": f"Position: {title}", "fwhm": f"FWHM {inside}", "area": f"Area (intensity · {inside[1:-1]})"}


def _draw(axes: Any, x: Any, values: Any, errors: Any) -> None:
    """Draw values with error bars; the limits follow the values, as an error may be huge where a fit is poor."""
    many = len(x) > 60
    style = {"ms": 1.5 if many else 3, "lw": 0.6, "elinewidth": 0.6, "color": "#0072b2", "fmt": "o"}
    axes.errorbar(x, values, np.nan_to_num(errors), **style)
    low, high = np.nanmin(values), np.nanmax(values)
    typical = float(np.nanmedian(errors)) if np.isfinite(errors).any() else 0.0
    margin = 0.1 * (high - low) + 2 * typical or abs(high) * 1e-3 or 1.0
    axes.set_ylim(low - margin, high + margin)
    axes.ticklabel_format(axis="y", useOffset=True, useMathText=True)
