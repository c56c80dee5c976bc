"""Correction: flat field and saturation of the detector."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..model.errors import ConfigError, require
from ..model.frame import Frame
from .stage import Needs, Setup, Stage, Step


@dataclass(frozen=True)
class Correction(Stage):
    """Divide by the flat field and mask saturated pixels.

    Attributes
    ----------
    flat_file
        File with the response of every pixel, in the orientation of the raw frames. The image becomes image / flat,
        the variance variance / flat**2. The flat is used as it is, not normalized, and counts as exact. Pixels where
        it is zero, negative or not finite are masked with the reason "detector".
    saturation
        Raw counts, before any subtraction, from which on a pixel is masked with the reason "upper"; None for no limit.
    """

    flat_file: str | None = None
    saturation: float | None = None

    def __post_init__(self) -> None:
        good = self.saturation is None or (np.isfinite(self.saturation) and self.saturation > 0)
        require(bool(good), "saturation", self.saturation, "counts > 0 expected, or null for no limit")

    @property
    def needs(self) -> Needs:
        """The file of the flat field."""
        return Needs({} if self.flat_file is None else {"flat": self.flat_file})

    def prepare(self, setup: Setup) -> Step:
        """Read the flat field and return the step that applies it."""
        from ..numerics.constants import DETECTOR, UPPER

        if self.flat_file is None and self.saturation is None:
            return lambda frame: frame
        flat, static_mask = None, np.zeros(setup.geometry.shape, np.uint8)
        if self.flat_file is not None:
            flat = setup.read(self.flat_file)
            if flat.shape != setup.geometry.shape:
                raise ConfigError(
                    f"correction.flat_file={self.flat_file}: {flat.shape[0]} x {flat.shape[1]} pixels, "
                    f"{setup.geometry.shape_from} {setup.geometry.shape[0]} x {setup.geometry.shape[1]}; "
                    "a frame of the same detector, in the orientation of the raw frames, expected"
                )
            bad = ~(np.isfinite(flat) & (flat > 0))
            if bad.all():
                raise ConfigError(f"correction.flat_file={self.flat_file}: no pixel of it is above zero")
            flat, static_mask[bad] = np.where(bad, np.float32(1), flat), DETECTOR
        square = None if flat is None else flat * flat
        saturation = None if self.saturation is None else np.float32(self.saturation)

        def correct(frame: Frame) -> Frame:
            mask = static_mask.copy() if frame.mask is None else np.where(frame.mask, frame.mask, static_mask)
            if saturation is not None:
                raw = frame.image if frame.info.raw is None else frame.info.raw
                mask[(raw >= saturation) & (mask == 0)] = UPPER
            image, variance = frame.image, frame.variance
            if flat is not None and square is not None:
                image = image / flat
                variance = None if variance is None else variance / square
            return replace(frame, image=image, variance=variance, mask=mask)

        return correct
