"""Calibration from a PONI file or another format, read and checked."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ..model.errors import ConfigError, nearest
from ..model.identity import versions
from ..numerics.expression import TABLE
from .calibration import Calibration, content, from_fit2d, parsed, split_poni_path, with_changes
from .goniometer import Goniometer, is_goniometer, parse_goniometer
from .rings import FARTHEST

PARALLAX = (2025, 12)  # first version of pyFAI that reads a sensor and its parallax from a PONI
_NUMBERS = ("distance", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength", "pixelsize1", "pixelsize2")


@dataclass(frozen=True)
class Poni:
    """A checked calibration; lengths in m, angles in rad.

    Attributes
    ----------
    path
        File that the calibration comes from.
    text
        Text of a PONI file (versions 1 to 3, pyFAI's ``PoniFile``), of a JSON configuration of pyFAI, or of a
        `Goniometer`.
    changes
        The user's values that replace those of the file, name in `Calibration` -> value, as JSON.
    looked_up
        Where values of each frame are, name in `Calibration` -> text, as JSON.
    """

    path: str
    text: str = field(repr=False)
    changes: str = "{}"
    looked_up: str = "{}"

    @classmethod
    def read(cls, path: str) -> Poni:
        """Read and check a calibration; raise ConfigError if it is incomplete or wrong."""
        return cls(path, content(path)).checked()

    @classmethod
    def of(cls, path: str | None, calibration: Calibration) -> Poni:
        """Combine a file with the user's values.

        Parameters
        ----------
        path
            File, or None if Fit2D's parameters are complete.
        calibration
            The user's values.

        Raises
        ------
        ConfigError
            If the calibration is incomplete or wrong.
        """
        poni = None if path is None else cls(path, content(path))
        lookups = calibration.lookups
        if poni is not None and (goniometer := poni.goniometer) is not None:
            _check_goniometer(calibration, poni.path)
            lookups |= calibration.positions(goniometer.motors)
        elif calibration.position is not None:
            raise ConfigError(f"geometry.position={calibration.position}: poni={path} is no goniometer of pyFAI (JSON)")
        elif poni is not None:
            poni.checked()
        if numbers := calibration.numbers:
            # The parameters become part of the text and its hash; the file provides only detector and wavelength.
            poni = cls(path or "geometry.fit2d", from_fit2d(numbers, poni.values if poni else {}))
        assert poni is not None
        poni = replace(poni, changes=json.dumps(calibration.changed), looked_up=json.dumps(lookups)).checked()
        poni._check_parallax()
        return poni

    @property
    def goniometer(self) -> Goniometer | None:
        """The geometry as a function of motor positions; None if it depends on none, ConfigError if it is wrong."""
        try:
            return parse_goniometer(self.text) if is_goniometer(self.text) else None
        except ValueError as error:
            raise ConfigError(f"poni={self.path}: {error}") from error

    def at(self, positions: Mapping[str, float]) -> dict[str, float]:
        """Return the values of a goniometer at motor positions that the user has not set; FrameError for none."""
        values = {} if self.goniometer is None else self.goniometer.at(positions)
        return {name: value for name, value in values.items() if name not in self.changed}

    def with_values(self, values: Mapping[str, Any], path: str | None = None) -> Poni:
        """Return the calibration of one frame: its values, and its own file; raise ConfigError if they cannot be."""
        poni = self if path is None else replace(self, path=path, text=content(path))
        return replace(poni, changes=json.dumps({**self.changed, **values}), looked_up="{}").checked()

    @property
    def name(self) -> str:
        """Base name of the file, with the path in it."""
        file, inside = split_poni_path(self.path)
        return f"{file.name}::{inside}" if inside else file.name

    @property
    def changed(self) -> dict[str, Any]:
        """Values that the user changed, name in `Calibration` -> value."""
        return dict(json.loads(self.changes))

    @cached_property
    def lookups(self) -> dict[str, str]:
        """Where values of each frame are, name in `Calibration` -> text; empty if all frames have one geometry."""
        return dict(json.loads(self.looked_up))

    @property
    def tables(self) -> dict[str, str]:
        """Paths of the tables with values of each frame, by their name in the record of a run."""
        found = {name: TABLE.fullmatch(where) for name, where in self.lookups.items()}
        return {f"{name}_table": match[1] for name, match in found.items() if match}

    @cached_property
    def values(self) -> Mapping[str, str]:
        """Values by key of a PONI file (lower case)."""
        try:
            return with_changes(parsed(self.text), self.changed)
        except (ValueError, AttributeError, RecursionError) as error:
            raise ConfigError(f"poni={self.path}: {error}") from error

    def checked(self) -> Poni:
        """Return the calibration itself; raise ConfigError if it is incomplete or wrong."""
        self._check()
        return self

    def _check(self) -> None:
        if not self.text.strip():
            raise ConfigError(f"poni={self.path}: the file is empty")
        values = self.values
        missing = [key for key in ("distance", "poni1", "poni2") if values.get(key, "None") == "None"]
        if missing and self.goniometer is not None and not self.lookups:
            raise ConfigError(
                f"poni={self.path}: a goniometer, whose geometry depends on its motors; here a PONI is needed"
            )
        if missing and self.goniometer is None:
            raise ConfigError(f"poni={self.path}: not a PONI file, {', '.join(missing)} missing")
        for key in _NUMBERS:
            if values.get(key, "None") == "None":
                continue
            try:
                number = float(values[key])
            except ValueError as error:
                raise ConfigError(f"poni={self.path}: {key} is {values[key]!r}, a number is expected") from error
            positive = key in ("distance", "wavelength", "pixelsize1", "pixelsize2")
            if not abs(number) < FARTHEST or (positive and number <= 0):
                raise ConfigError(f"poni={self.path}: {key} is {number}, which cannot be")
        try:
            version = float(values.get("poni_version", 1))
            config = json.loads(values.get("detector_config", "{}"))
        except ValueError as error:
            raise ConfigError(f"poni={self.path}: poni_version or detector_config cannot be read ({error})") from error
        if not isinstance(config, dict):
            raise ConfigError(f"poni={self.path}: detector_config is no JSON object")
        max_shape = config.get("max_shape")
        valid = (
            isinstance(max_shape, list)
            and len(max_shape) == 2
            and all(type(side) is int and side > 0 for side in max_shape)
        )
        if max_shape is not None and not valid:
            raise ConfigError(f"poni={self.path}: max_shape is {max_shape!r}, two numbers of pixels are expected")
        if version >= 2 and not {"detector", "detector_config"} <= set(values):
            raise ConfigError(f"poni={self.path}: version {version:g} needs Detector and Detector_config")
        spline = values.get("splinefile", "None")
        if spline != "None" and not os.path.isfile(spline):
            raise ConfigError(f"poni={self.path}: its distortion file (SplineFile) {spline} is not there")

    def _check_parallax(self) -> None:
        """Raise ConfigError where the depth of the sensor is asked for and cannot be corrected."""
        sensor = [key for key in self.changed if key.startswith("sensor_")]
        if not self.corrects_parallax:
            if sensor:
                value = self.changed[sensor[0]]
                raise ConfigError(f"geometry.{sensor[0]}={value}: without effect; say geometry.parallax=true as well")
            return
        where = "geometry.parallax=true" if "parallax" in self.changed else f"poni={self.path}: Parallax: True"
        installed = versions()["pyFAI"]
        if tuple(int(number) for number in installed.split(".")[:2]) < PARALLAX:
            raise ConfigError(
                f"{where}: pyFAI {installed} does not read it from a PONI; install pyFAI 2025.12 or later"
            )
        if not self.has_wavelength:
            raise ConfigError(f"{where}: needs a wavelength; say geometry.wavelength=... (m)")
        from pyFAI.detectors.sensors import ALL_MATERIALS

        material = (json.loads(self.values.get("detector_config", "{}")).get("sensor") or {}).get("material")
        if material is None:
            raise ConfigError(f"{where}: the PONI has no sensor; say geometry.sensor_material=Si and its thickness")
        if material not in ALL_MATERIALS:
            hint = nearest(str(material), ALL_MATERIALS)
            raise ConfigError(f"{where}: pyFAI has no sensor material {material!r}; {hint}")

    @property
    def corrects_parallax(self) -> bool:
        """True if positions are corrected for the depth at which the sensor absorbs."""
        return self.values.get("parallax", "False").strip().lower() == "true"

    @property
    def wavelength(self) -> float | None:
        """Wavelength in m; None if the file has none."""
        value = self.values.get("wavelength", "None")
        return None if value == "None" else float(value)

    @property
    def has_wavelength(self) -> bool:
        """True if every frame has a wavelength."""
        if self.goniometer is not None and "wavelength" in self.goniometer.formulas:
            return True
        return self.wavelength is not None or bool({"wavelength", "poni"} & set(self.lookups))

    @property
    def fixed_shape(self) -> bool:
        """True if the detector may have a shape of its own."""
        config = json.loads(self.values.get("detector_config", "{}"))
        return self.values.get("detector", "Detector") != "Detector" or config.get("max_shape") is not None

    @property
    def self_contained(self) -> bool:
        """True if the calibration refers to no other file (distortion, detector)."""
        spline = self.values.get("splinefile", "None")
        return spline == "None" and "file" not in self.values.get("detector_config", "").lower()

    def integrator(self) -> Any:
        """Return a new AzimuthalIntegrator of pyFAI; raise ConfigError if pyFAI rejects the calibration."""
        from pyFAI.integrator.azimuthal import AzimuthalIntegrator
        from pyFAI.io.ponifile import PoniFile

        self._check_parallax()
        integrator = AzimuthalIntegrator()
        integrator.auto_gc = False  # or it would search all objects of Python for garbage at every change
        try:
            integrator.load(PoniFile(dict(self.values)))
        except Exception as error:  # pyFAI raises many types for malformed files
            raise ConfigError(f"poni={self.path}: {self._reason(error)}") from error
        if not integrator.detector.pixel1 or not integrator.detector.pixel2:
            raise ConfigError(f"poni={self.path}: the size of a pixel is missing (PixelSize1, or Detector_config)")
        if self.corrects_parallax and integrator.parallax is None:  # pyFAI logs an error and goes on without
            raise ConfigError(f"poni={self.path}: pyFAI cannot correct the parallax of this sensor at this wavelength")
        return integrator

    def _reason(self, error: Exception) -> str:
        from pyFAI.detectors import ALL_DETECTORS

        detector = self.values.get("detector", "Detector")
        if detector.lower() not in ALL_DETECTORS:
            return f"no detector is called {detector!r}; {nearest(detector.lower(), ALL_DETECTORS)}"[:300]
        return f"pyFAI cannot use it ({error})"


def _check_goniometer(calibration: Calibration, path: str) -> None:
    """Raise ConfigError for values that exclude a goniometer."""
    for key, is_set in (("fit2d", bool(calibration.numbers)), ("poni", calibration.poni is not None)):
        if is_set:
            raise ConfigError(f"geometry.{key}: together with the goniometer poni={path}; choose one")


def fits(detector: Any, shape: tuple[int, int]) -> bool:
    """Return whether frames of ``shape`` can come from this pyFAI detector, possibly binned."""
    full = detector.max_shape
    if full is None or tuple(full) == shape or (detector.shape is not None and tuple(detector.shape) == shape):
        return True
    return bool(detector.force_pixel and min(shape) > 0 and full[0] % shape[0] == full[1] % shape[1] == 0)
