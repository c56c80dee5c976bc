"""Frame: an image, its mask, and the results of the stages."""

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
    """One frame and the results of the stages so far; every stage returns a new one.

    Images and masks have shape (slow, fast), in the orientation after ``source.transform``.

    Attributes
    ----------
    name
        Unique name of the frame in its run.
    image
        Counts, float32.
    file, digest
        Base name and content hash of the file that the frame comes from.
    variance
        Variance of ``image`` in counts**2, float32, or None if no later stage needs it.
    bad
        Pixels that the file itself marks as bad, bool, or None if it marks none.
    mask
        uint8, 0 = good, any other value = masked; None before the mask stage.
    pattern
        Pattern of the whole frame.
    sectors
        Patterns of parts of the frame by the suffix of their files.
    cake
        Intensity over radial and azimuthal angle.
    notes
        Messages for the user.
    exposures
        Number of frames that this one is the sum of.
    header
        Header values of the file, key -> number or text, read on first access. KeyError if there is no such key. In an
        HDF5 file, a key that begins with ``/`` is a path; a dataset with one value per frame gives the value of this
        frame.
    raw
        Image as it was read, if a stage has subtracted something from it.
    factors
        Scale factors of this frame alone, name -> value; they are recorded in its results.
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
        """Pixels that do not count, bool, (slow, fast): masked ones, or without a mask those that are not finite."""
        return ~np.isfinite(self.image) if self.mask is None else self.mask != 0
