"""The keys of the corrections of intensity: what they may be, and the factor that they ask for."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...model.errors import ConfigError, require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ...geometry.geometry import Geometry
    from ...geometry.poni import Poni
    from ...geometry.rays import Rays
    from .plate import MeasuredPlate

PLANCK = 12.398419843320026  # keV angstrom, h c / e
MOST_MU_R = 10.0  # up to which numerics.intensity.cylinder is accurate
number = partial(field, kw_only=True)


@dataclass(frozen=True)
class Intensity:
    """Factors of the geometry, the sample, the cell and the sensor; None switches each off.

    Lengths are mm, angles degrees. Azimuths are pyFAI's: 0 is horizontal, 90 degrees vertical.

    Attributes
    ----------
    polarization_factor, polarization_offset
        Polarization, from -1 (vertical) to 1 (horizontal), and pyFAI's ``axis_offset``.
    lorentz
        Divide by the Lorentz factor of a powder.
    sensor_thickness, sensor_absorption, sensor_material
        Sensor of the detector: its thickness, and its absorption coefficient (1/mm) or its material.
    plate_mu_t, plate_tilt, plate_rotation
        Sample that is a plate: absorption coefficient times thickness; angle between its normal and the beam, and the
        azimuth towards which the normal is tilted.
    plate_transmission
        Transmission of the beam through the plate where it is measured with each frame, in place of ``plate_mu_t``, see
        `MeasuredPlate`.
    capillary_mu_r, capillary_azimuth, capillary_beam
        Sample that is a cylinder: absorption coefficient times radius; azimuth of its axis; width of the beam over the
        diameter.
    diamond_thickness, diamond_abs_length
        Anvil on the side of the detector, and its absorption length.
    seat_thickness, seat_abs_length, seat_small_radius, seat_large_radius
        Seat of this anvil, its absorption length, and the radii of its opening; thickness 0 for no seat.
    cell_tilt, cell_tilt_rotation, cell_offset, cell_offset_angle
        Position of the cell, as in Dioptas.
    """

    polarization_factor: float | None = number(default=None, metadata={"low": -1, "high": 1})
    polarization_offset: float = number(default=0.0)
    lorentz: bool = number(default=False)
    sensor_thickness: float | None = number(default=None)
    sensor_absorption: float | None = number(default=None)
    sensor_material: str | None = number(default=None)
    plate_mu_t: float | None = number(default=None)
    plate_transmission: float | str | None = number(default=None)
    plate_tilt: float = number(default=0.0)
    plate_rotation: float = number(default=0.0)
    capillary_mu_r: float | None = number(default=None)
    capillary_azimuth: float = number(default=0.0)
    capillary_beam: float = number(default=1.0)
    diamond_thickness: float | None = number(default=None)
    diamond_abs_length: float = number(default=13.7)
    seat_thickness: float = number(default=5.0)
    seat_abs_length: float = number(default=14.05)
    seat_small_radius: float = number(default=0.5)
    seat_large_radius: float = number(default=2.0)
    cell_tilt: float = number(default=0.0)
    cell_tilt_rotation: float = number(default=0.0)
    cell_offset: float = number(default=0.0)
    cell_offset_angle: float = number(default=0.0)

    @property
    def is_on(self) -> bool:
        """Whether any of the corrections is switched on."""
        switches = (
            self.polarization_factor,
            self.sensor_thickness,
            self.plate_mu_t,
            self.capillary_mu_r,
            self.diamond_thickness,
        )
        return self.lorentz or any(value is not None for value in switches)

    @property
    def measured_plate(self) -> MeasuredPlate | None:
        """The plate whose transmission is measured with each frame; ConfigError if its expression cannot be read."""
        if self.plate_transmission is None:
            return None
        from .plate import MeasuredPlate

        return MeasuredPlate(self.plate_transmission, np.deg2rad(self.plate_tilt), np.deg2rad(self.plate_rotation))

    def check_values(self) -> None:
        """Raise ConfigError for values that cannot be."""
        for key in (each.name for each in fields(Intensity)):
            value = getattr(self, key)
            if isinstance(value, float):
                require(bool(np.isfinite(value)), key, value, "a finite number expected")
        self._require("polarization_factor", -1, 1, "a number from -1 to 1 expected")
        self._require("sensor_thickness", 0, None, "mm > 0 expected")
        self._require("sensor_absorption", 0, None, "1/mm > 0 expected")
        self._require("plate_mu_t", 0, None, "a number > 0 expected: absorption coefficient times thickness")
        most = "a number > 0, at most 10, expected: absorption coefficient times radius"
        self._require("capillary_mu_r", 0, MOST_MU_R, most)
        require(self.capillary_beam >= 0, "capillary_beam", self.capillary_beam, "0 or more expected")
        require(abs(self.plate_tilt) < 90, "plate_tilt", self.plate_tilt, "degrees between -90 and 90 expected")
        both = self.plate_mu_t is not None and self.capillary_mu_r is not None
        require(not both, "plate_mu_t", self.plate_mu_t, "together with capillary_mu_r; choose one")
        self._check_transmission()
        self._check_sensor()
        self._check_cell()

    def _require(self, key: str, low: float, high: float | None, expected: str) -> None:
        """Require that a number is above 0, or between ``low`` and ``high``; null always is."""
        value = getattr(self, key)
        if value is not None:
            good = (value >= low if low < 0 else value > low) and (high is None or value <= high)
            require(bool(good), key, value, expected)

    def _check_transmission(self) -> None:
        given, key = self.plate_transmission, "plate_transmission"
        if given is None:
            return
        other = next((each for each in ("plate_mu_t", "capillary_mu_r") if getattr(self, each) is not None), None)
        require(other is None, key, given, f"together with {other}; choose one")
        good = given != "" if isinstance(given, str) else 0 < given < 1
        expected = "a number between 0 and 1, an expression, /path/in/hdf5 or table.csv:column expected"
        require(good, key, given, expected)
        self.measured_plate  # noqa: B018 - its construction is the check

    def _check_sensor(self) -> None:
        given = [key for key in ("sensor_absorption", "sensor_material") if getattr(self, key) is not None]
        if self.sensor_thickness is None:
            for key in given:
                require(False, key, getattr(self, key), "without sensor_thickness; give it in mm")
            return
        require(
            len(given) == 1,
            "sensor_thickness",
            self.sensor_thickness,
            "needs either sensor_absorption (1/mm) or sensor_material (Si, CdTe, ...)",
        )

    def _check_cell(self) -> None:
        self._require("diamond_thickness", 0, None, "mm > 0 expected")
        for key in ("diamond_abs_length", "seat_abs_length", "seat_small_radius", "seat_large_radius"):
            self._require(key, 0, None, "mm > 0 expected")
        require(self.seat_thickness >= 0, "seat_thickness", self.seat_thickness, "mm >= 0 expected; 0 is no seat")
        require(abs(self.cell_tilt) < 90, "cell_tilt", self.cell_tilt, "degrees between -90 and 90 expected")
        inside = 0 <= self.cell_offset < self.seat_small_radius
        require(inside, "cell_offset", self.cell_offset, "mm >= 0, less than seat_small_radius, expected")
        if self.diamond_thickness is None or not self.seat_thickness:
            return
        ends = self.seat_large_radius / (self.diamond_thickness + self.seat_thickness)
        require(
            ends > self.seat_small_radius / self.diamond_thickness,
            "seat_large_radius",
            self.seat_large_radius,
            "so small that the outer edge shadows the opening; more than seat_small_radius * "
            "(diamond_thickness + seat_thickness) / diamond_thickness expected",
        )

    def check_geometry(self, poni: Poni) -> None:
        """Raise ConfigError if a material has no absorption coefficient at the wavelength."""
        if self.sensor_thickness is not None:
            self._sensor_mu(poni)

    def _sensor_mu(self, poni: Poni) -> float:
        """Return the absorption coefficient of the sensor, 1/mm."""
        if self.sensor_absorption is not None:
            return self.sensor_absorption
        key, other = f"correction.sensor_material={self.sensor_material}", "or say correction.sensor_absorption (1/mm)"
        if poni.wavelength is None:
            raise ConfigError(
                f"{key}: needs a wavelength, which {poni.path} does not have; say geometry.wavelength=..."
            )
        try:
            from pyFAI.detectors.sensors import ALL_MATERIALS
        except ImportError:
            raise ConfigError(f"{key}: this pyFAI has no table of materials; update it, {other}") from None
        if self.sensor_material not in ALL_MATERIALS:
            raise ConfigError(f"{key}: not in pyFAI's table ({', '.join(ALL_MATERIALS)}); choose one, {other}")
        energy = PLANCK / (poni.wavelength * 1e10)
        try:
            return float(ALL_MATERIALS[self.sensor_material].mu(energy, unit="mm^-1"))
        except RuntimeError:
            raise ConfigError(f"{key}: pyFAI's table does not reach {energy:.4g} keV; {other}") from None

    def factor(self, geometry: Geometry) -> NDArray[np.float32]:
        """Return the product of the factors, float32, (slow, fast); by it an image is divided.

        It is computed once, and kept with the arrays of the geometry.
        """
        same = (each.name for each in fields(Intensity) if each.name != "plate_transmission")
        keys = {name: getattr(self, name) for name in same}
        found: Any = geometry.cached("intensity", keys, lambda: {"factor": self._product(geometry)})
        return np.asarray(found["factor"])

    def _product(self, geometry: Geometry) -> NDArray[np.float32]:
        from ...geometry.rays import Rays

        product, rays = np.ones(geometry.shape), Rays.of(geometry)
        for factor in self._factors(rays, geometry.poni):
            product *= factor
        return product.astype(np.float32)

    def _factors(self, rays: Rays, poni: Poni) -> Iterator[NDArray[np.float64]]:
        from ...numerics.intensity import absorption, cell, scattering

        if self.polarization_factor is not None:
            offset = np.deg2rad(self.polarization_offset)
            yield scattering.polarization(rays.two_theta, rays.chi, self.polarization_factor, offset)
        if self.lorentz:
            yield scattering.lorentz(rays.two_theta)
        if self.plate_mu_t is not None:
            normal = absorption.tilted(np.deg2rad(self.plate_tilt), np.deg2rad(self.plate_rotation))
            yield absorption.plate_transmission(rays.direction, self.plate_mu_t, normal)
        if self.capillary_mu_r is not None:
            from ...numerics.intensity.cylinder import cylinder_transmission

            azimuth = np.deg2rad(self.capillary_azimuth)
            yield cylinder_transmission(rays.direction, self.capillary_mu_r, azimuth, self.capillary_beam)
        if self.diamond_thickness is not None:
            yield cell.cell_transmission(rays.direction, self._cell(self.diamond_thickness))
        if self.sensor_thickness is not None:
            yield absorption.sensor_absorption(rays.cos_incidence, self._sensor_mu(poni) * self.sensor_thickness)

    def _cell(self, diamond: float) -> Any:
        from ...numerics.intensity.cell import Cell

        return Cell(
            diamond,
            self.diamond_abs_length,
            self.seat_thickness,
            self.seat_abs_length,
            self.seat_small_radius,
            self.seat_large_radius,
            np.deg2rad(self.cell_tilt),
            np.deg2rad(self.cell_tilt_rotation),
            self.cell_offset,
            np.deg2rad(self.cell_offset_angle),
        )
