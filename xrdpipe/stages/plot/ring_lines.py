"""Lines of equal q, 2theta or radius over an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ...geometry.geometry import Geometry

RING_UNITS = {"q_A^-1": " Å⁻¹", "q_nm^-1": " nm⁻¹", "2th_deg": "°", "2th_rad": " rad", "r_mm": " mm"}
MOST = 8  # lines
SAMPLES = 512  # of the geometry along a side: lines through so few points are smooth


def draw_rings(axes: Any, geometry: Geometry, unit: str) -> list[Any]:
    """Draw lines of equal q, 2theta or radius with labels, and a cross at the beam centre if the detector has it.

    Parameters
    ----------
    axes
        Axes of matplotlib whose coordinates are pixels: the first one is at 0, 0.
    geometry
        The geometry of the image.
    unit
        One of `RING_UNITS`.

    Returns
    -------
    list
        The artists.
    """
    from matplotlib.patheffects import withStroke
    from matplotlib.ticker import MaxNLocator

    dark = [withStroke(linewidth=1.8, foreground=(0, 0, 0, 0.55))]
    radial = geometry.integrator.center_array(geometry.shape, unit=unit)
    step = max(1, max(radial.shape) // SAMPLES)
    rows, columns = (np.unique(np.append(np.arange(0, size, step), size - 1)) for size in radial.shape)
    lowest, highest = (np.array(np.unravel_index(at, radial.shape)) for at in (radial.argmin(), radial.argmax()))
    levels = MaxNLocator(MOST, steps=[1, 2, 2.5, 5, 10]).tick_values(float(radial.min()), float(radial.max()))
    axes.autoscale(False)
    # Each label stands on the way from the lowest to the highest value, which ends short of the corner.
    way = lowest + np.linspace(0, 0.9, 400)[:, np.newaxis] * (highest - lowest)
    along = radial[tuple(way.round().astype(int).T)]
    levels = levels[(levels > radial.min()) & (levels < along.max())]
    places = [way[np.abs(along - level).argmin()][::-1] for level in levels]
    lines = axes.contour(
        columns, rows, radial[np.ix_(rows, columns)], levels, colors="white", linewidths=0.8, linestyles="dashed"
    )
    lines.set_path_effects(dark)
    labels = lines.clabel(fmt=lambda value: f"{value:g}{RING_UNITS[unit]}", fontsize=8, manual=places)
    for label in labels:
        label.set(path_effects=dark, rotation=0)
    inside = all(0 < at < size - 1 for at, size in zip(lowest, radial.shape, strict=True))
    centre = axes.plot(*lowest[::-1], marker="+", color="white", markersize=9, path_effects=dark) if inside else []
    return [lines, *labels, *centre]
