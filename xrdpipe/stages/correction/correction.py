"""Correction: flat field and saturation of the detector, and the factors of intensity."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...model.errors import ConfigError, require
from ...model.frame import Frame
from ..scalar_lookup import table_files
from ..stage import NOTHING, Makes, Needs, Setup, Stage, Step
from .intensity import Intensity

if TYPE_CHECKING:
    from ...geometry.poni import Poni
    from ...model.arrays import Image

LEAST = 1e-9  # below this factor nothing arrives


@dataclass(frozen=True)
class Correction(Intensity, Stage):
    """Divide by the flat field and by the factors of `Intensity`, and mask saturated pixels.

    Attributes
    ----------
    flat_file
        File with the response of every pixel, in the orientation of the raw frames. The image becomes image / flat,
        the variance variance / flat**2. The flat is used as it is, not normalized, and counts as exact. Pixels where
        it is zero, negative or not finite are masked with the reason "detector". The same holds for the factors.
    saturation
        Raw counts, before any subtraction, from which on a pixel is masked with the reason "upper"; None for no limit.
    """

    flat_file: str | None = None
    saturation: float | None = None

    def __post_init__(self) -> None:
        good = self.saturation is None or (np.isfinite(self.saturation) and self.saturation > 0)
        require(bool(good), "saturation", self.saturation, "counts > 0 expected, or null for no limit")
        self.check_values()

    @property
    def needs(self) -> Needs:
        """The file of the flat field, and the table of transmissions."""
        plate = self.measured_plate
        tables = {} if plate is None or plate.table is None else table_files({"plate_transmission": plate.table})
        return Needs(tables if self.flat_file is None else {"flat": self.flat_file, **tables})

    def check(self, poni: Poni, line: Makes = NOTHING) -> None:
        """Raise ConfigError for a sensor whose absorption is not known at the wavelength, or an unusable table."""
        self.check_geometry(poni)
        plate = self.measured_plate
        if plate is not None and plate.table is not None:
            plate.table.check()

    def prepare(self, setup: Setup) -> Step:
        """Read the flat field, compute the factors, and return the step that applies them."""
        correct = self._same_for_all(setup)
        if self.measured_plate is None:
            return correct
        divide = self.measured_plate.prepared(setup.geometry)
        return lambda frame: divide(correct(frame))

    def _same_for_all(self, setup: Setup) -> Step:
        from ...numerics.constants import DETECTOR, UPPER

        if self.flat_file is None and self.saturation is None and not self.is_on:
            return lambda frame: frame
        static_mask = np.zeros(setup.geometry.shape, np.uint8)
        flat = None if self.flat_file is None else self._flat(setup)
        factor = self._factor(setup) if self.is_on else None
        divisor: Any = flat if factor is None else factor if flat is None else flat * factor
        if divisor is not None:
            bad = ~(np.isfinite(divisor) & (divisor > 0))
            divisor, static_mask[bad] = np.where(bad, np.float32(1), divisor), DETECTOR
        square: Any = None if divisor is None else divisor * divisor
        saturation = None if self.saturation is None else np.float32(self.saturation)

        def correct(frame: Frame) -> Frame:
            mask = static_mask.copy() if frame.mask is None else np.where(frame.mask, frame.mask, static_mask)
            raw = frame.info.raw
            if saturation is not None:
                mask[((frame.image if raw is None else raw) >= saturation) & (mask == 0)] = UPPER
            image, variance = frame.image, frame.variance
            if divisor is not None and square is not None:
                image = image / divisor
                variance = None if variance is None else variance / square
            corrected = replace(frame, image=image, variance=variance, mask=mask)
            # The error of a pattern is estimated from image and raw counts, which must have one scale.
            return corrected if factor is None or raw is None else corrected.with_info(raw=raw / divisor)

        return correct

    def _flat(self, setup: Setup) -> Image:
        """Return the flat field, NaN where a pixel has no response."""
        flat = setup.read(str(self.flat_file))
        if flat.shape != setup.geometry.shape:
            raise ConfigError(
                f"correction.flat_file={self.flat_file}: {flat.shape[0]} x {flat.shape[1]} pixels, "
                f"{setup.geometry.shape_from} {setup.geometry.shape[0]} x {setup.geometry.shape[1]}; "
                "a frame of the same detector, in the orientation of the raw frames, expected"
            )
        good = np.isfinite(flat) & (flat > 0)
        if not good.any():
            raise ConfigError(f"correction.flat_file={self.flat_file}: no pixel of it is above zero")
        return np.where(good, flat, np.float32(np.nan))

    def _factor(self, setup: Setup) -> Image:
        """Return the factor of the geometry, NaN where no ray arrives.

        ConfigError if no pixel is left, or polarization is corrected twice.
        """
        integ: Any = setup.provenance.get("config", {}).get("integ", {})
        twice = self.polarization_factor is not None and integ.get("polarization_factor") is not None
        expected = "integ.polarization_factor is set too; leave out one of them"
        require(not twice, "correction.polarization_factor", self.polarization_factor, expected)
        factor = self.factor(setup.geometry)
        good = np.isfinite(factor) & (factor > LEAST)
        if not good.any():
            raise ConfigError("correction: no ray reaches the detector; check plate, capillary and cell")
        return np.where(good, factor, np.float32(np.nan))
