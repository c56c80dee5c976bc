"""Integ: from the masked frame to the pattern, with pyFAI's geometry, splitting and corrections."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .frame import Frame, FrameError, Pattern
from .geometry import Geometry
from .stage import ConfigError, Setup, Stage, Step, choice, nearest, require

ERROR_MODELS = ("poisson", "azimuthal", "hybrid")


@dataclass(frozen=True)
class Integ(Stage):
    """Integrate azimuthally: pyFAI's ``integrate1d``, with its names.

    ``npt`` bins of ``unit`` over ``radial_range`` (in that unit; default: all the detector sees, whatever is masked,
    so that one run has one axis) and ``azimuth_range`` (degrees). Masked and non-finite pixels do not count.
    ``error_model``: poisson (the variance that travels with the frame), azimuthal or hybrid (scatter in the ring, as
    pyFAI has them), null for no sigma.
    """

    npt: int = 1480
    unit: str = "q_A^-1"
    method: Any = field(default_factory=lambda: ["full", "csr", "cython"])
    radial_range: list[float] | None = None
    azimuth_range: list[float] | None = None
    correctSolidAngle: bool = False  # noqa: N815 - pyFAI's name
    polarization_factor: float | None = None
    error_model: str | None = None

    def __post_init__(self) -> None:
        require(self.npt >= 1, "npt", self.npt, "at least one bin expected")
        for key in ("radial_range", "azimuth_range"):
            limits = getattr(self, key)
            if limits is not None:
                good = len(limits) == 2 and bool(np.isfinite(limits).all()) and limits[0] < limits[1]
                require(good, key, limits, "two numbers expected, the smaller one first")
        if self.polarization_factor is not None:
            good = -1 <= self.polarization_factor <= 1
            require(good, "polarization_factor", self.polarization_factor, "a number from -1 to 1 expected")
        if self.error_model is not None:
            choice("error_model", self.error_model, ERROR_MODELS)

    @property
    def wants_variance(self) -> bool:
        return self.error_model == "poisson"

    def prepare(self, setup: Setup) -> Step:
        unit = radial_unit(self.unit)
        method = integration_method(self.method)
        geometry = setup.geometry
        self._check_range(geometry, unit)
        integrator = geometry.integrator
        settings = {
            "unit": unit,
            "method": method,
            "radial_range": self.radial_range,
            "azimuth_range": self.azimuth_range,
            "correctSolidAngle": self.correctSolidAngle,
            "polarization_factor": self.polarization_factor,
            "dummy": np.nan,
        }

        def integrate(frame: Frame) -> Frame:
            image = np.where(frame.masked, np.float32(np.nan), frame.image)
            errors: dict[str, Any] = {"error_model": self.error_model}
            if self.wants_variance:
                errors = {"variance": frame.variance}
            result = integrator.integrate1d(image, self.npt, **settings, **errors)
            empty = result.sum_normalization == 0
            if empty.all():
                raise FrameError("no good pixel in the range of the pattern")
            sigma = None if result.sigma is None else np.where(empty, np.nan, result.sigma)
            intensity = np.where(empty, np.nan, result.intensity)
            return replace(
                frame, pattern=Pattern(np.asarray(result.radial, float), intensity, sigma, self.unit, str(method))
            )

        return integrate

    def _check_range(self, geometry: Geometry, unit: Any) -> None:
        if self.npt > geometry.shape[0] * geometry.shape[1]:
            raise ConfigError(
                f"integ.npt={self.npt}: more bins than pixels ({geometry.shape[0]} x {geometry.shape[1]})"
            )
        if geometry.poni.wavelength is None and needs_wavelength(unit):
            raise ConfigError(f"integ.unit={self.unit}: needs a wavelength, which {geometry.poni.path} does not have")
        if self.radial_range is not None:
            seen = geometry.integrator.center_array(geometry.shape, unit=unit, scale=True)
            first, last = float(np.nanmin(seen)), float(np.nanmax(seen))
            if self.radial_range[1] < first or self.radial_range[0] > last:
                raise ConfigError(
                    f"integ.radial_range={self.radial_range}: outside the detector, which sees {first:.4g} to "
                    f"{last:.4g} {self.unit}"
                )


def radial_unit(name: str) -> Any:
    """pyFAI's unit of that name; ConfigError with the nearest one where pyFAI has none."""
    from pyFAI.units import RADIAL_UNITS

    if name not in RADIAL_UNITS:
        raise ConfigError(f"integ.unit={name}: pyFAI has no such radial unit; {nearest(name, RADIAL_UNITS)}")
    return RADIAL_UNITS[name]


def needs_wavelength(unit: Any) -> bool:
    """Whether values in this unit depend on the wavelength."""
    return "λ" in (unit.formula or "") or "q" in unit.name or unit.name.startswith("d")


def integration_method(name: Any) -> Any:
    """pyFAI's IntegrationMethod for a name or a [split, algorithm, implementation] list.

    ConfigError where pyFAI has none or would quietly take another one.
    """
    from pyFAI.method_registry import IntegrationMethod

    key = f"integ.method={name if isinstance(name, str) else '[' + ','.join(map(str, name)) + ']'}"
    registry = [method for method in IntegrationMethod._registry.values() if method.dimension == 1]
    if isinstance(name, str):
        names = sorted({method.old_method_name for method in registry if method.old_method_name})
        known = {"no", "nosplit", "bbox", "splitbbox", "full", "lut", "csr", "csc", "ocl", "opencl", "cython", "python"}
        words = re.split(r"[_,]", name.lower())
        if name.lower() not in names and not set(words) <= known | {"numpy", "cpu", "gpu"}:
            raise ConfigError(f"{key}: pyFAI has no such method; {nearest(name, names)}")
        method = IntegrationMethod.select_one_available(name.lower(), dim=1, default=None, degradable=False)
        wanted = {word for word in words if word in ("lut", "csr", "csc", "cython", "python", "bbox", "full", "no")}
        wanted |= {"opencl"} & set(words) or ({"opencl"} if "ocl" in words else set())
        if method is None or not wanted <= {method.split_lower, method.algo_lower, method.impl_lower}:
            raise ConfigError(f"{key}: not available here; pyFAI would quietly take {method}")
        return method
    if not isinstance(name, (list, tuple)) or len(name) not in (3, 4):
        raise ConfigError(f"{key}: a name, or [split, algorithm, implementation] expected")
    positions = {"split": "AVAILABLE_SPLITS", "algorithm": "AVAILABLE_ALGOS", "implementation": "AVAILABLE_IMPLS"}
    for part, (position, allowed) in zip(name, positions.items(), strict=False):
        options = getattr(IntegrationMethod, allowed)
        if str(part).lower() not in (*options, "*", "any", "numpy", "histo"):
            raise ConfigError(f"{key}: {part} is no {position}; {nearest(str(part), options)}")
    method = IntegrationMethod.select_one_available(tuple(name), dim=1, default=None, degradable=False)
    if method is None:
        raise ConfigError(f"{key}: not available here; pyFAI would quietly take another one")
    return method
