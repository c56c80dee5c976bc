"""Azimuthally integrated pattern of one frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Pattern:
    """One azimuthally integrated pattern on the radial axis of its run.

    Attributes
    ----------
    radial
        Centres of the bins in ``unit``, float64, shape (npt,).
    intensity
        Counts per pixel, float64, shape (npt,). Bins without a pixel are NaN.
    sigma
        Standard error of ``intensity``, float64, shape (npt,), or None without an error model.
    unit
        Radial unit, as pyFAI names it (``q_A^-1``).
    label
        Axis label in words.
    method
        pyFAI method that computed the pattern.
    quality
        Metrics that the integration itself computes, name -> value; see `metrics`.
    azimuth_range
        Azimuthal limits of a sector in degrees, None for the whole frame.
    sums
        Signal, normalization, variance and count of each bin, float64, shape (4, npt), if frames are merged.
    """

    radial: NDArray[np.float64]
    intensity: NDArray[np.float64]
    sigma: NDArray[np.float64] | None
    unit: str
    label: str = ""
    method: str = ""
    quality: Mapping[str, float] = field(default_factory=dict)
    azimuth_range: tuple[float, float] | None = None
    sums: NDArray[np.float64] | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        sector = "" if self.azimuth_range is None else ", azimuth {:g} to {:g} deg".format(*self.azimuth_range)
        return f"<Pattern: {axis_text(self)}{sector}, {sigma_text(self)}>"

    def _repr_png_(self) -> bytes | None:
        return picture(self)


pictures: dict[str, Callable[[Any], bytes]] = {}  # class of a result -> its PNG for notebooks; the Python API fills it


def picture(result: object) -> bytes | None:
    """Return the PNG that shows a result in a notebook; None before the Python API is imported."""
    draw = pictures.get(type(result).__name__)
    return None if draw is None else draw(result)


def axis_text(result: Any) -> str:
    """Describe the radial axis of a pattern or cake: bins, those without a pixel, unit and range."""
    radial, count = result.radial, len(result.radial)
    filled = np.isfinite(np.atleast_2d(result.intensity)).any(axis=0)
    empty = f" ({count - filled.sum()} without a pixel)" if not filled.all() else ""
    ends = f" from {radial[0]:.4g} to {radial[-1]:.4g}" if count else ""
    return f"{count} bins{empty}, {result.unit}{ends}"


def sigma_text(result: Any) -> str:
    """Say whether a pattern or cake has a sigma."""
    return "without sigma" if result.sigma is None else "with sigma"
