"""What flows through the pipeline: a reference to a frame, the frame, its pattern."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]


LARGEST_IMAGE = 1 << 28  # pixels, a multiple of the largest detectors: a header may lie about its size
LONGEST_STACK = 1 << 22  # frames of one file
CREDIBLE = 1 << 28  # bytes of an image that are taken as they come


class FrameError(ValueError):
    """A frame that cannot be processed; it fails alone, the message is its reason."""


def check_image(shape: Sequence[int], itemsize: int, stored: int, packed: int) -> None:
    """FrameError where a header speaks of an image (slow, fast) that cannot be; asked before memory is taken.

    ``itemsize``: bytes a pixel in memory; ``stored``: bytes of the file, 0 where nothing is yet; ``packed``: how many
    times more than that an image may have that is not small.
    """
    pixels = prod(int(size) for size in shape)
    if pixels > LARGEST_IMAGE:
        raise FrameError(f"the header speaks of {pixels} pixels")
    if stored and (size := pixels * itemsize) > max(CREDIBLE, packed * stored):
        raise FrameError(f"the header speaks of {size} bytes where {stored} are stored")


def check_count(frames: int) -> None:
    """FrameError where a header speaks of more frames than a file can be meant to have."""
    if frames > LONGEST_STACK:
        raise FrameError(f"the header speaks of {frames} frames")


Scalar = TypeVar("Scalar", bound=np.generic)


def locked(array: NDArray[Scalar]) -> NDArray[Scalar]:
    """A contiguous read-only view: compiled code has one form for these, whether the array itself is or not."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True)
class Reference:
    """Where a frame is, before it is read: a file, or an array (slow, fast) handed over in Python.

    ``index`` is its number in a file of several, from 0; ``dataset`` says where in an HDF5 file it is, and may be a
    pattern (``/entry/data/data_*``) whose datasets follow one another. ``parts`` are the frames that are merged in it,
    ``path`` and the rest are then those of the first.
    """

    name: str
    path: Path
    array: NDArray[Any] | None = None
    dataset: str = ""
    index: int | None = None
    parts: tuple[Reference, ...] = ()

    @property
    def tail(self) -> str:
        """What follows the path where a frame of several is named: ``::/entry/data/data[3]``, or nothing."""
        number = "" if self.index is None else f"[{self.index}]"
        return f"::{self.dataset}{number}" if self.dataset or number else ""

    @property
    def location(self) -> str:
        """The frame as one may type it: ``scan.h5::/entry/data/data[3]``."""
        return f"{self.path}{self.tail}"

    @property
    def stack(self) -> str:
        """The file of many frames that it is one of, as its results are named; "" for a file of its own."""
        return "" if self.index is None else self.name.rpartition("_")[0]


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
    shape (slow, fast), after ``source.transform``. ``variance`` is there when a later stage wants it. ``bad`` (bool) is
    where the file itself says that a pixel counts nothing, None where it says so of none. ``file`` and
    ``digest`` are the base name and the content hash of the file it came from; ``notes`` what the user should know;
    ``exposures`` of how many frames it is the sum.
    ``header`` is what the file says besides: ``header[key]`` is a number or text, KeyError if there is none. It is read
    when it is asked for. A key that begins with ``/`` is a path in an HDF5 file; of a dataset with a value for each
    frame it gives that of this one.
    ``raw`` is the image as it was read, where a stage has subtracted something from it. ``factors`` are the numbers
    that this frame alone was scaled with, name -> value: they stand in its results. ``sectors`` are patterns of parts
    of the frame by the suffix of their files, ``cake`` is all of it over two angles.
    """

    name: str
    image: Image
    file: str = ""
    digest: str = ""
    variance: Image | None = None
    bad: NDArray[np.bool_] | None = None
    mask: NDArray[np.uint8] | None = None
    pattern: Pattern | None = None
    sectors: Mapping[str, Pattern] = field(default_factory=dict)
    cake: Cake | None = None
    notes: tuple[str, ...] = ()
    exposures: int = 1
    header: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    raw: Image | None = None
    factors: Mapping[str, float] = field(default_factory=dict)

    @property
    def masked(self) -> NDArray[np.bool_]:
        """Every pixel that does not count: masked, or where there is no mask, not finite. Bool, (slow, fast)."""
        return ~np.isfinite(self.image) if self.mask is None else self.mask != 0
