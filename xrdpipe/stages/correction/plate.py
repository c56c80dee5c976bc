"""A plate whose transmission is measured with each frame, as by a diode before and one after the sample."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...model.errors import FrameError
from ...model.frame import Frame
from ...numerics.expression import Expression
from ...numerics.intensity.absorption import arriving, plate_transmission, tilted
from ..scalar_lookup import ScalarLookup, table_lookup

if TYPE_CHECKING:
    from ...geometry.geometry import Geometry

KEY = "correction.plate_transmission"


class MeasuredPlate:
    """The transmission of the scattered rays of each frame, which follows from that of the beam.

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

    def prepared(self, geometry: Geometry) -> Callable[[Frame], NDArray[np.float32]]:
        """Return the function from a frame to its factor, (slow, fast), NaN where no ray arrives."""
        from ...geometry.rays import Rays

        direction, normal = Rays.of(geometry).direction, tilted(self.tilt, self.rotation)

        def factor(frame: Frame) -> NDArray[np.float32]:
            # along the beam the path is the thickness over the cosine of the tilt
            mu_t = -math.log(self.transmission(frame)) * math.cos(self.tilt)
            return arriving(plate_transmission(direction, mu_t, normal).astype(np.float32))

        return factor
