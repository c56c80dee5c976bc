"""What flows through the pipeline: a reference to a frame, the frame, its pattern."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]


class FrameError(ValueError):
    """A frame that cannot be processed; it fails alone, the message is its reason."""


Scalar = TypeVar("Scalar", bound=np.generic)


def locked(array: NDArray[Scalar]) -> NDArray[Scalar]:
    """A contiguous read-only view: compiled code has one form for these, whether the array itself is or not."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True)
class Reference:
    """Where a frame is, before it is read: a file, or an array (slow, fast) handed over in Python."""

    name: str
    path: Path
    array: NDArray[Any] | None = None


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

    def _repr_png_(self) -> bytes:
        from .plot import pattern_png

        return pattern_png(self)


@dataclass(frozen=True)
class Cake:
    """One frame over radial and azimuthal angle.

    ``radial`` is in ``unit``, shape (npt,), ``azimuthal`` in degrees, shape (npt_azim,): the centres of the bins;
    ``intensity`` and ``sigma`` (None without an error model) have shape (npt_azim, npt) and mean what those of a
    `Pattern` do; all float64. Cells without a pixel are NaN.
    """

    radial: NDArray[np.float64]
    azimuthal: NDArray[np.float64]
    intensity: NDArray[np.float64]
    sigma: NDArray[np.float64] | None
    unit: str
    label: str = ""
    method: str = ""


@dataclass(frozen=True)
class Frame:
    """One frame on its way: every stage returns a new one with its part filled in.

    ``image`` and ``variance`` are float32 in counts, ``mask`` is uint8 with 0 = good, anything else = masked; all of
    shape (slow, fast), after ``source.transform``. ``variance`` is there when a later stage wants it. ``file`` and
    ``digest`` are the base name and the content hash of the file it came from; ``notes`` what the user should know.
    ``sectors`` are patterns of parts of the frame by the suffix of their files, ``cake`` is all of it over two angles.
    """

    name: str
    image: Image
    file: str = ""
    digest: str = ""
    variance: Image | None = None
    mask: NDArray[np.uint8] | None = None
    pattern: Pattern | None = None
    sectors: Mapping[str, Pattern] = field(default_factory=dict)
    cake: Cake | None = None
    notes: tuple[str, ...] = ()

    @property
    def masked(self) -> NDArray[np.bool_]:
        """Every pixel that does not count: masked, or where there is no mask, not finite. Bool, (slow, fast)."""
        return ~np.isfinite(self.image) if self.mask is None else self.mask != 0
