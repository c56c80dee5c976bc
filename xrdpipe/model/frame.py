"""What flows through the pipeline: a reference to a frame, the frame, its pattern."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import Image
from .cake import Cake
from .pattern import Pattern


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
