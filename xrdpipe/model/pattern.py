"""Azimuthally integrated pattern of one frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

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
    """

    radial: NDArray[np.float64]
    intensity: NDArray[np.float64]
    sigma: NDArray[np.float64] | None
    unit: str
    label: str = ""
    method: str = ""
    quality: Mapping[str, float] = field(default_factory=dict)
    azimuth_range: tuple[float, float] | None = None

    def _repr_png_(self) -> bytes | None:  # for notebooks
        return None if draw is None else draw(self)


draw: Callable[[Pattern], bytes] | None = None  # renders a pattern as PNG for notebooks; the Python API sets it
