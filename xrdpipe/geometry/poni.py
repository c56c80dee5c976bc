"""A PONI file, or another calibration, read and checked."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ..model.errors import ConfigError, nearest
from .calibration import Calibration, content, from_fit2d, parsed, split_poni_path, with_changes
from .rings import FARTHEST

_NUMBERS = ("distance", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength", "pixelsize1", "pixelsize2")


@dataclass(frozen=True)
class Poni:
    """A calibration, checked; lengths in m, angles in rad.

    ``text``: of a PONI file (versions 1 to 3, pyFAI's ``PoniFile``) or of a JSON configuration of pyFAI; ``changes``:
    the values that the user gave in place of its own (name in `poni.Calibration` -> value, JSON).
    """

    path: str
    text: str = field(repr=False)
    changes: str = "{}"

    @classmethod
    def read(cls, path: str) -> Poni:
        """Read and check what `poni.content` reads; ConfigError says what is missing or wrong in it."""
        return cls(path, content(path)).checked()

    @classmethod
    def of(cls, path: str | None, calibration: Calibration) -> Poni:
        """The geometry of a file with the values of ``calibration``; without a file, of Fit2D's numbers alone."""
        poni = None if path is None else cls.read(path)
        if numbers := calibration.numbers:
            # The numbers are in the text, and its hash; of the file only detector and wavelength still count.
            poni = cls(path or "geometry.fit2d", from_fit2d(numbers, poni.values if poni else {}))
        assert poni is not None
        return replace(poni, changes=json.dumps(calibration.changed)).checked()

    @property
    def name(self) -> str:
        """Its file by base name, with the place in it."""
        file, inside = split_poni_path(self.path)
        return f"{file.name}::{inside}" if inside else file.name

    @property
    def changed(self) -> dict[str, float]:
        """The values that are not the file's."""
        return dict(json.loads(self.changes))

    @cached_property
    def values(self) -> Mapping[str, str]:
        """Key of a PONI file (lower case) -> value."""
        try:
            return with_changes(parsed(self.text), self.changed)
        except (ValueError, AttributeError) as error:
            raise ConfigError(f"poni={self.path}: {error}") from error

    def checked(self) -> Poni:
        """Itself; ConfigError says what is missing or wrong."""
        self._check()
        return self

    def _check(self) -> None:
        if not self.text.strip():
            raise ConfigError(f"poni={self.path}: the file is empty")
        values = self.values
        missing = [key for key in ("distance", "poni1", "poni2") if values.get(key, "None") == "None"]
        if missing:
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
        full = config.get("max_shape")
        pair = isinstance(full, list) and len(full) == 2 and all(type(side) is int and side > 0 for side in full)
        if full is not None and not pair:
            raise ConfigError(f"poni={self.path}: max_shape is {full!r}, two numbers of pixels are expected")
        if version >= 2 and not {"detector", "detector_config"} <= set(values):
            raise ConfigError(f"poni={self.path}: version {version:g} needs Detector and Detector_config")
        spline = values.get("splinefile", "None")
        if spline != "None" and not os.path.isfile(spline):
            raise ConfigError(f"poni={self.path}: its distortion file (SplineFile) {spline} is not there")

    @property
    def wavelength(self) -> float | None:
        """In m; None where the file has none."""
        value = self.values.get("wavelength", "None")
        return None if value == "None" else float(value)

    @property
    def fixed_shape(self) -> bool:
        """Whether its detector may have a shape of its own."""
        config = json.loads(self.values.get("detector_config", "{}"))
        return self.values.get("detector", "Detector") != "Detector" or config.get("max_shape") is not None

    @property
    def alone(self) -> bool:
        """Whether it says everything itself, naming no other file (distortion, detector)."""
        spline = self.values.get("splinefile", "None")
        return spline == "None" and "file" not in self.values.get("detector_config", "").lower()

    def integrator(self) -> Any:
        """A new pyFAI AzimuthalIntegrator of this geometry, with neither mask nor dummy of its own."""
        import pyFAI
        from pyFAI.io.ponifile import PoniFile

        try:
            integrator = pyFAI.load(PoniFile(dict(self.values)))
        except Exception as error:  # whatever pyFAI says of a stranger's file
            raise ConfigError(f"poni={self.path}: {self._reason(error)}") from error
        if not integrator.detector.pixel1 or not integrator.detector.pixel2:
            raise ConfigError(f"poni={self.path}: the size of a pixel is missing (PixelSize1, or Detector_config)")
        return integrator

    def _reason(self, error: Exception) -> str:
        from pyFAI.detectors import ALL_DETECTORS

        detector = self.values.get("detector", "Detector")
        if detector.lower() not in ALL_DETECTORS:
            return f"no detector is called {detector!r}; {nearest(detector.lower(), ALL_DETECTORS)}"[:300]
        return f"pyFAI cannot use it ({error})"


def fits(detector: Any, shape: tuple[int, int]) -> bool:
    """Whether frames of ``shape`` can come from this pyFAI detector, perhaps binned."""
    full = detector.max_shape
    if full is None or tuple(full) == shape or (detector.shape is not None and tuple(detector.shape) == shape):
        return True
    return bool(detector.force_pixel and min(shape) > 0 and full[0] % shape[0] == full[1] % shape[1] == 0)
