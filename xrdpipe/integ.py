"""Integ: from the masked frame to the pattern, with pyFAI's geometry, splitting and corrections."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .frame import Frame, FrameError, Pattern, locked
from .geometry import Geometry, Poni
from .number import Number, inputs
from .stage import ConfigError, Setup, Stage, Step, choice, nearest, require

SAMPLE = 1 << 18  # pixels that are looked at again for the scatter in the rings
USUAL_UNITS = {"q_A^-1": True, "q_nm^-1": True, "2th_deg": False, "2th_rad": False, "r_mm": False}  # wavelength?
USUAL_METHODS = [[split, "csr", "cython"] for split in ("full", "bbox", "no")]
MEANING = {
    word: word for word in ("no", "bbox", "full", "lut", "csr", "csc", "histogram", "cython", "python", "opencl")
}
MEANING |= {"numpy": "python", "ocl": "opencl", "cpu": "opencl", "gpu": "opencl"}
ERROR_MODELS = ("poisson", "azimuthal", "hybrid")


@dataclass(frozen=True)
class Integ(Stage):
    """Integrate azimuthally: pyFAI's ``integrate1d``, with its names.

    ``npt`` bins of ``unit`` over ``radial_range`` (in that unit; default: all the detector sees, whatever is masked,
    so that one run has one axis) and ``azimuth_range`` (degrees). Masked and non-finite pixels do not count.
    ``error_model``: poisson (the variance that travels with the frame), azimuthal or hybrid (scatter in the ring, as
    pyFAI has them), null for no sigma. ``monitor`` and ``exposure`` (see `Number`) divide the pattern, intensity and
    sigma alike, so that everything before is in counts.
    """

    npt: int = 1480
    unit: str = "q_A^-1"
    method: Any = field(default_factory=lambda: ["full", "csr", "cython"])
    radial_range: list[float] | None = None
    azimuth_range: list[float] | None = None
    correctSolidAngle: bool = False  # noqa: N815 - pyFAI's name
    polarization_factor: float | None = None
    error_model: str | None = None
    monitor: Any = None
    exposure: Any = None

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
        for key in ("monitor", "exposure"):
            if getattr(self, key) is not None:
                Number(key, getattr(self, key))

    @property
    def pattern_columns(self) -> tuple[str, ...]:
        return (self.unit, "intensity") if self.error_model is None else (self.unit, "intensity", "sigma")

    @property
    def wants_variance(self) -> bool:
        return self.error_model == "poisson"

    def check(self, poni: Poni) -> None:
        usual = self.unit in USUAL_UNITS and self.method in USUAL_METHODS  # known without asking pyFAI, which takes 1 s
        wavelength = USUAL_UNITS[self.unit] if usual else needs_wavelength(radial_unit(self.unit))
        if not usual:
            integration_method(self.method)
        if wavelength and poni.wavelength is None:
            raise ConfigError(f"integ.unit={self.unit}: needs a wavelength, which {poni.path} does not have")
        for number in self._numbers().values():
            number.check()

    def inputs(self) -> dict[str, str]:
        return inputs(self._numbers())

    def _numbers(self) -> dict[str, Number]:
        """What the pattern is divided by: name -> where it is found."""
        given = {"monitor": self.monitor, "exposure": self.exposure}
        return {key: Number(f"integ.{key}", where) for key, where in given.items() if where is not None}

    def prepare(self, setup: Setup) -> Step:
        return normalized(self._integrator(setup), self._numbers())

    def _integrator(self, setup: Setup) -> Step:
        from . import kernels
        from .bias import ring_bias

        geometry = setup.geometry
        kept = geometry.kept("pattern", self._settings(), lambda: self._make(geometry))
        about = json.loads(kept["about"].tobytes())
        if "bins" not in kept or self.error_model == "hybrid":
            return self._with_pyfai(geometry, about)
        norm, starts, bins, coefs = (kept[name] for name in ("norm", "starts", "bins", "coefs"))
        nothing = locked(np.empty(0, np.float32))
        good = locked(np.zeros(starts.size - 1, np.uint8))
        azimuthal = self.error_model == "azimuthal"
        stride = -(-good.size // SAMPLE) | 1  # odd, so that it walks through all columns

        def integrate(frame: Frame) -> Frame:
            image = locked(frame.image.ravel())
            mask = good if frame.mask is None else locked(frame.mask.ravel())
            variance = nothing
            if self.wants_variance and frame.variance is not None:
                variance = locked(frame.variance.ravel())
            sums = np.zeros((5, self.npt))
            kernels.integrate(image, mask, norm, variance, azimuthal, starts, bins, coefs, sums)
            signal, total, scatter = sums[:3]
            with np.errstate(invalid="ignore", divide="ignore"):
                intensity = signal / total
                sigma = None if self.error_model is None else np.sqrt(scatter) / total
                if sigma is not None:  # no scatter where all pixels are alike: then as if it were counts, never 0
                    sigma = np.where(sigma == 0, np.sqrt(np.maximum(intensity, 1) * sums[4]) / total, sigma)
            pattern = self._pattern(kept["radial"], intensity, sigma, total, about)
            found = np.zeros((3, self.npt))
            kernels.scatter(image, mask, norm, starts, bins, coefs, intensity, stride, found)
            told = {**quality(sums, found, stride), "ring_bias": ring_bias(image, mask, pattern.intensity, kept)}
            return replace(frame, pattern=replace(pattern, quality=told))

        return integrate

    def _settings(self) -> dict[str, Any]:
        """What decides the matrix: all but the error model and what is done to the pattern afterwards."""
        after = ("error_model", "monitor", "exposure")
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in after}

    def _make(self, geometry: Geometry) -> dict[str, NDArray[Any]]:
        # One integration by pyFAI checks the settings and makes axis and matrix; where its method works with a sparse
        # matrix, ours is that matrix, pixel by pixel.
        from .bias import sampled
        from .kernels import transpose

        unit, method = radial_unit(self.unit), integration_method(self.method)
        self._check_range(geometry, unit)
        integrator, shape = geometry.integrator, geometry.shape
        sparse = method.algo_is_sparse and method.impl_lower == "cython"
        used = (method.split_lower, "csr", "cython") if sparse else method
        result = integrator.integrate1d(np.ones(shape, np.float32), self.npt, **self._keywords(used))
        radial = np.asarray(result.radial, float)
        if not np.isfinite(radial).all():
            raise ConfigError(f"integ.unit={self.unit}: infinite somewhere on the detector; give integ.radial_range")
        about = {"method": str(method), "label": unit.label}
        arrays = {"radial": radial, "about": np.frombuffer(json.dumps(about).encode(), np.uint8)}
        if sparse:
            engine = integrator.engines[result.method].engine
            starts = np.empty(shape[0] * shape[1] + 1, np.uint32)
            bins = np.empty(engine.data.size, np.uint16 if self.npt <= 1 << 16 else np.uint32)
            coefs = np.empty(engine.data.size, np.float32)
            transpose(engine.indptr, engine.indices, engine.data, starts, bins, coefs)
            arrays |= {"starts": starts, "bins": bins, "coefs": coefs, "norm": self._norm(integrator, shape)}
            arrays |= sampled(engine.indptr, engine.indices, engine.data, arrays["norm"], starts.size - 1)
        return arrays

    def _norm(self, integrator: Any, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Solid angle times polarization of every pixel, flat; empty where neither is corrected."""
        norm = np.ones(shape)
        if self.correctSolidAngle:
            norm *= integrator.solidAngleArray(shape)
        if self.polarization_factor is not None:
            norm *= integrator.polarization(shape, self.polarization_factor)
        needed = self.correctSolidAngle or self.polarization_factor is not None
        return norm.astype(np.float32).ravel() if needed else np.empty(0, np.float32)

    def _with_pyfai(self, geometry: Geometry, about: Mapping[str, str]) -> Step:
        method, integrator = integration_method(self.method), geometry.integrator

        def integrate(frame: Frame) -> Frame:
            image = np.where(frame.masked, np.float32(np.nan), frame.image)
            errors = {"variance": frame.variance} if self.wants_variance else {"error_model": self.error_model}
            result = integrator.integrate1d(image, self.npt, **self._keywords(method), **errors)
            arrays = (np.asarray(result.radial, float), np.asarray(result.intensity, float))
            sigma = None if result.sigma is None else np.asarray(result.sigma, float)
            return replace(frame, pattern=self._pattern(*arrays, sigma, result.sum_normalization, about))

        return integrate

    def _keywords(self, method: Any) -> dict[str, Any]:
        return {
            "unit": radial_unit(self.unit),
            "method": method,
            "radial_range": self.radial_range,
            "azimuth_range": self.azimuth_range,
            "correctSolidAngle": self.correctSolidAngle,
            "polarization_factor": self.polarization_factor,
            "dummy": np.nan,
        }

    def _pattern(
        self,
        radial: NDArray[np.float64],
        intensity: NDArray[np.float64],
        sigma: NDArray[np.float64] | None,
        normalization: NDArray[np.float64],
        about: Mapping[str, str],
    ) -> Pattern:
        empty = normalization == 0
        if empty.all():
            raise FrameError("no good pixel in the range of the pattern")
        intensity = np.where(empty, np.nan, intensity)
        sigma = None if sigma is None else np.where(empty, np.nan, sigma)
        return Pattern(radial, intensity, sigma, self.unit, about["label"], about["method"])

    def _check_range(self, geometry: Geometry, unit: Any) -> None:
        if self.npt > geometry.shape[0] * geometry.shape[1]:
            raise ConfigError(
                f"integ.npt={self.npt}: more bins than pixels ({geometry.shape[0]} x {geometry.shape[1]})"
            )
        if self.radial_range is not None:
            seen = geometry.integrator.center_array(geometry.shape, unit=unit, scale=True)
            first, last = float(np.nanmin(seen)), float(np.nanmax(seen))
            if self.radial_range[1] < first or self.radial_range[0] > last:
                raise ConfigError(
                    f"integ.radial_range={self.radial_range}: outside the detector, which sees {first:.4g} to "
                    f"{last:.4g} {self.unit}"
                )


def normalized(integrate: Step, numbers: Mapping[str, Number]) -> Step:
    """Integrate, then divide intensity and sigma by these numbers of the frame; FrameError where one is missing."""
    if not numbers:
        return integrate

    def divide(frame: Frame) -> Frame:
        factors = {name: number.of(frame) for name, number in numbers.items()}
        frame = integrate(frame)
        pattern, factor = frame.pattern, float(np.prod(list(factors.values())))
        assert pattern is not None
        sigma = None if pattern.sigma is None else pattern.sigma / factor
        pattern = replace(pattern, intensity=pattern.intensity / factor, sigma=sigma)
        return replace(frame, pattern=pattern, factors={**frame.factors, **factors})

    return divide


def quality(sums: NDArray[np.float64], found: NDArray[np.float64], stride: int) -> dict[str, float]:
    """What the sums of `kernels.integrate` and `kernels.scatter` say of a frame.

    ``total_intensity``: all good pixels, counts; ``ring_scatter``: standard deviation of the pixels in a bin over its
    intensity, median over the bins; ``spottiness``: pyFAI's ``calc_spottiness`` (after doi:10.1107/S1600576713029713:
    below 0.05 smooth, above 0.15 spotty). The latter two from every ``stride``-th pixel.
    """
    signal, total = sums[0], sums[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.sqrt(found[1] / found[0]) / np.abs(signal / total)
        proportion = stride * found[2] / np.maximum(signal, 1) ** 2
    relative = relative[np.isfinite(relative)]
    return {
        "total_intensity": float(signal.sum()),
        "ring_scatter": float(np.median(relative)) if relative.size else np.nan,
        "spottiness": float(np.sqrt(proportion.mean())),
    }


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
    """pyFAI's IntegrationMethod for a name or a [split, algorithm, implementation] list, with OpenCL also a device.

    ConfigError where pyFAI has none or would quietly take another one.
    """
    import pyFAI.integrator.azimuthal  # noqa: F401 - fills the registry
    from pyFAI.method_registry import IntegrationMethod

    if not isinstance(name, (str, list, tuple)):
        raise ConfigError(f"integ.method={name}: a name, or [split, algorithm, implementation] expected")
    key = f"integ.method={name if isinstance(name, str) else '[' + ','.join(map(str, name)) + ']'}"
    words = re.split(r"[_,]", name.lower()) if isinstance(name, str) else [str(word).lower() for word in name]
    if isinstance(name, str):
        registry = [method for method in IntegrationMethod._registry.values() if method.dimension == 1]
        names = sorted({method.old_method_name for method in registry if method.old_method_name})
        if name.lower() not in names and not set(words) <= {*MEANING, "nosplit", "splitbbox"}:
            raise ConfigError(f"{key}: pyFAI has no such method; {nearest(name, names)}")
        asked: Any = name.lower()
    else:
        options = (("no", "bbox", "pseudo", "full"), ("histogram", "lut", "csr", "csc"), ("python", "cython", "opencl"))
        if not 3 <= len(words) <= 3 + (words[2:3] == ["opencl"]):
            raise ConfigError(f"{key}: [split, algorithm, implementation] expected, with opencl also a device")
        for word, allowed in zip(words, options, strict=False):
            if word not in (*allowed, "*", "any"):
                raise ConfigError(f"{key}: {nearest(word, allowed)}")
        asked = tuple(name)
    try:
        method = IntegrationMethod.select_one_available(asked, dim=1, default=None, degradable=False)
    except (ValueError, AttributeError):  # so says pyFAI of some that it does not have
        method = None
    wanted = {MEANING[word] for word in words if word in MEANING}
    if method is None or not wanted <= {method.split_lower, method.algo_lower, method.impl_lower}:
        raise ConfigError(f"{key}: not available here; pyFAI would quietly take another one")
    return method
