"""The static mask of a series: which pixels are bad in every frame, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .pattern import picture

STUCK, FLICKERING = np.uint16(1 << 8), np.uint16(1 << 9)  # above the bits of a frame's mask


REASONS = {  # the bits, lowest first, and what each says of a pixel
    "user": "mask.file",
    "detector": "gaps, and what the files say counts nothing",
    "edge": "mask.edge",
    "lower": "below mask.lower_thresh in most frames",
    "upper": "above mask.upper_thresh in most frames",
    "outlier": "far from its ring in most frames, or in their sum",
    "not_finite": "NaN or infinite in most frames",
    "grown": "mask.grow",
    "stuck": "varies far less over the series than counting noise",
    "flickering": "varies far more over the series than the pixels beside it",
}


@dataclass(frozen=True)
class StaticMask:
    """The static mask of a series of frames, in the orientation of the raw files.

    Attributes
    ----------
    reasons
        uint16, (slow, fast): 0 = good, else a bit for each of `REASONS`.
    mean
        The mean of the frames without what was masked in each, float32, (slow, fast), counts after subtraction.
    together
        Pixels that the sum of all frames shows, and no single frame.
    frames
        The names of the frames that it is made of.
    failed
        The frames that could not be used, name -> reason.
    doubts
        Why the mask is not to be trusted; () where it is.
    """

    reasons: NDArray[np.uint16]
    mean: NDArray[np.float32]
    together: int
    frames: tuple[str, ...]
    failed: Mapping[str, str] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()

    @property
    def mask(self) -> NDArray[np.uint8]:
        """uint8, (slow, fast): 1 = masked, as ``mask.file`` takes it."""
        masked: NDArray[np.uint8] = (self.reasons != 0).astype(np.uint8)
        return masked

    def of_reason(self, name: str) -> NDArray[np.bool_]:
        """Return the pixels whose first reason is ``name``: a pixel counts for its lowest bit alone."""
        bit = 1 << list(REASONS).index(name)
        found: NDArray[np.bool_] = ((self.reasons & bit) != 0) & ((self.reasons & (bit - 1)) == 0)
        return found

    @property
    def counts(self) -> dict[str, int]:
        """How many pixels each reason masked; a pixel counts for its first reason."""
        return {name: int(np.count_nonzero(self.of_reason(name))) for name in REASONS}

    def __repr__(self) -> str:
        masked = f"{np.count_nonzero(self.reasons)} of {self.reasons.size} pixels masked"
        failed = f", {len(self.failed)} more failed" if self.failed else ""
        doubts = f"; not to be trusted: {'; '.join(self.doubts)}" if self.doubts else ""
        return f"<StaticMask of {len(self.frames)} frames{failed}: {masked}{doubts}>"

    def _repr_png_(self) -> bytes | None:
        return picture(self)
