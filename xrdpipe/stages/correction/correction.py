"""Correction: flat field and saturation of the detector, and the factors of intensity."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...model.errors import ConfigError, require
from ...model.frame import Frame
from ..scalar_lookup import table_files
from ..stage import NOTHING, Makes, Needs, Setup, Stage, Step
from .intensity import Intensity

if TYPE_CHECKING:
    from ...geometry.poni import Poni
    from ...model.arrays import Image


class _Divisor(NamedTuple):
    """What an image is divided by, its square, and the mask of the pixels where it is not above zero or not finite."""

    values: Image
    square: Image
    mask: NDArray[np.uint8]

    @classmethod
    def of(cls, divisor: Image) -> _Divisor:
        """Return the divisor with 1 where a pixel is masked."""
        from ...numerics.constants import DETECTOR

        bad = ~(np.isfinite(divisor) & (divisor > 0))
        values = np.where(bad, np.float32(1), divisor)
        return cls(values, values * values, np.where(bad, np.uint8(DETECTOR), np.uint8(0)))


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
        from ...numerics.constants import UPPER

        plate = self.measured_plate
        if self.flat_file is None and self.saturation is None and not self.is_on and plate is None:
            return lambda frame: frame
        flat = None if self.flat_file is None else self._flat(setup)
        factor = self._factor(setup) if self.is_on else None
        divisor: Any = flat if factor is None else factor if flat is None else flat * factor
        same = None if divisor is None else _Divisor.of(divisor)
        through = None if plate is None else plate.prepared(setup.geometry)
        saturation = None if self.saturation is None else np.float32(self.saturation)

        def correct(frame: Frame) -> Frame:
            now = same
            if through is not None:
                now = _Divisor.of(through(frame) if divisor is None else divisor * through(frame))
            static = np.zeros(frame.image.shape, np.uint8) if now is None else now.mask
            mask = static.copy() if frame.mask is None else np.where(frame.mask, frame.mask, static)
            raw = frame.info.raw
            if saturation is not None:
                mask[((frame.image if raw is None else raw) >= saturation) & (mask == 0)] = UPPER
            if now is None:
                return replace(frame, mask=mask)
            variance = None if frame.variance is None else frame.variance / now.square
            corrected = replace(frame, image=frame.image / now.values, variance=variance, mask=mask)
            # The error of a pattern is estimated from image and raw counts, which must have one scale.
            flat_alone = factor is None and through is None
            return corrected if flat_alone or raw is None else corrected.with_info(raw=raw / now.values)

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
        from ...numerics.intensity.absorption import arriving

        integ: Any = setup.provenance.get("config", {}).get("integ", {})
        twice = self.polarization_factor is not None and integ.get("polarization_factor") is not None
        expected = "integ.polarization_factor is set too; leave out one of them"
        require(not twice, "correction.polarization_factor", self.polarization_factor, expected)
        factor = arriving(self.factor(setup.geometry))
        if np.isnan(factor).all():
            raise ConfigError("correction: no ray reaches the detector; check plate, capillary and cell")
        return factor
