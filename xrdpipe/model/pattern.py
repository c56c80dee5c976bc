"""One azimuthally integrated pattern."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Pattern:
    """One azimuthally integrated pattern on the radial axis of its run.

    ``radial`` is in ``unit`` (pyFAI's name, ``q_A^-1``), ``intensity`` in counts per pixel, ``sigma`` its standard
    error or None without an error model; all float64, shape (npt,). Bins without a pixel are NaN. ``label`` is the
    axis in words, ``method`` which of pyFAI's methods really made it, ``quality`` what its making says of it (see
    `metrics`), ``azimuth_range`` its sector, degrees, where it is one of several.
    """

    radial: NDArray[np.float64]
    intensity: NDArray[np.float64]
    sigma: NDArray[np.float64] | None
    unit: str
    label: str = ""
    method: str = ""
    quality: Mapping[str, float] = field(default_factory=dict)
    azimuth_range: tuple[float, float] | None = None
    error_parts: tuple[float, ...] = ()  # `pattern_error` of every eighth of its bins

    def _repr_png_(self) -> bytes | None:  # for notebooks
        return None if draw is None else draw(self)


draw: Callable[[Pattern], bytes] | None = None  # how a notebook shows a pattern (PNG); the Python API sets it
