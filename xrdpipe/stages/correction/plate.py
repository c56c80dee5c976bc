"""A plate whose transmission is measured with each frame, as by a diode before and one after the sample."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...model.errors import FrameError
from ...model.frame import Frame
from ...numerics.constants import DETECTOR
from ...numerics.expression import Expression
from ...numerics.intensity.absorption import plate_transmission, tilted
from ..scalar_lookup import ScalarLookup, table_lookup

if TYPE_CHECKING:
    from ...geometry.geometry import Geometry

KEY = "correction.plate_transmission"


class MeasuredPlate:
    """Divides frames by the transmission of the scattered rays, which follows from that of the beam.

    Parameters
    ----------
    where
        Transmission of the beam: a number, an `Expression` of values of the header, a path in the HDF5 file of the
        frame, or ``table.csv:column``.
    tilt, rotation
        Of the plate, radians, see `tilted`.
    """

    def __init__(self, where: float | str, tilt: float, rotation: float) -> None:
        self.where, self.tilt, self.rotation = str(where), tilt, rotation
        self._expression = None if self.table or self.where.startswith("/") else Expression(KEY, self.where)

    @cached_property
    def table(self) -> ScalarLookup | None:
        """The table of the transmissions, if they are in one."""
        return table_lookup(KEY, self.where)

    def transmission(self, frame: Frame) -> float:
        """Return the transmission of the beam; FrameError if the frame has none between 0 and 1."""
        value: Any = self._value(frame)
        try:
            number = float(value)
        except (TypeError, ValueError) as error:
            raise FrameError(f"{KEY}={self.where}: is {value!r}, a number is expected") from error
        if not 0 < number < 1:
            raise FrameError(f"{KEY}={self.where}: is {number:g}, a number between 0 and 1 is expected")
        return number

    def _value(self, frame: Frame) -> Any:
        def in_header(name: str, _: bool = True) -> Any:
            return ScalarLookup(KEY, name).found(frame)[0]

        if self.table is not None:
            return self.table.found(frame)[0]
        return in_header(self.where) if self._expression is None else self._expression(in_header)

    def prepared(self, geometry: Geometry) -> Any:
        """Return the step that divides a frame."""
        from ...geometry.rays import Rays

        direction, normal = Rays.of(geometry).direction, tilted(self.tilt, self.rotation)

        def divide(frame: Frame) -> Frame:
            # along the beam the path is the thickness over the cosine of the tilt
            mu_t = -math.log(self.transmission(frame)) * math.cos(self.tilt)
            return divided(frame, plate_transmission(direction, mu_t, normal).astype(np.float32))

        return divide


def divided(frame: Frame, factor: NDArray[np.float32], least: float = 1e-9) -> Frame:
    """Return a frame divided by a factor, (slow, fast); pixels with less than ``least`` of it are masked."""
    bad = ~(factor > least)
    factor = np.where(bad, np.float32(1), factor)
    mask = np.zeros(frame.image.shape, np.uint8) if frame.mask is None else frame.mask.copy()
    mask[bad & (mask == 0)] = DETECTOR
    variance = None if frame.variance is None else frame.variance / (factor * factor)
    raw = frame.info.raw
    result = replace(frame, image=frame.image / factor, variance=variance, mask=mask)
    return result if raw is None else result.with_info(raw=raw / factor)
