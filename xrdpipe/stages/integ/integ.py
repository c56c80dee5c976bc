"""Integ: from the masked frame to the pattern, with pyFAI's geometry, splitting and corrections."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...geometry.cache import Arrays
from ...geometry.geometry import Geometry
from ...geometry.poni import Poni
from ...model.arrays import read_only
from ...model.cake import Cake
from ...model.errors import ConfigError, FrameError, choice, require
from ...model.frame import Frame
from ...model.pattern import Pattern
from ..scalar_lookup import Number, table_files
from ..stage import NOTHING, Makes, Needs, Setup, Stage, Step
from .methods import MEANING, ascending_edges, integration_method, needs_wavelength, radial_unit, sector_pixels
from .quality import pattern_quality

SAMPLE = 1 << 15  # pixels that are looked at again for the scatter in the rings


USUAL_UNITS = {"q_A^-1": True, "q_nm^-1": True, "2th_deg": False, "2th_rad": False, "r_mm": False}  # wavelength?


USUAL_METHODS = [[split, "csr", "cython"] for split in ("full", "bbox", "no")]


MEANING |= {"numpy": "python", "ocl": "opencl", "cpu": "opencl", "gpu": "opencl"}


ERROR_MODELS = ("poisson", "azimuthal", "hybrid")


Result = TypeVar("Result", Pattern, Cake)


Sums = tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.float64]]


@dataclass(frozen=True)
class Integ(Stage):
    """Integrate azimuthally: pyFAI's ``integrate1d``, with its names.

    ``npt`` bins of ``unit`` over ``radial_range`` (in that unit; default: all the detector sees, whatever is masked,
    so that one run has one axis) and ``azimuth_range`` (degrees). Masked and non-finite pixels do not count.
    ``error_model``: poisson (the variance that travels with the frame), azimuthal or hybrid (scatter in the ring, as
    pyFAI has them), null for no sigma. ``edges``: the edges of the bins, any widths, or a file of numbers, in place of
    ``npt`` and ``radial_range``. ``empty``: the intensity of a bin without a pixel (null: NaN, and no row in a file).
    ``monitor`` and ``exposure`` (see `Number`) divide what comes out, intensity and sigma alike, so that everything
    before is in counts.
    """

    function: ClassVar[str] = "integrate1d"  # pyFAI's, where pyFAI is called for every frame

    npt: int = 1480
    unit: str = "q_A^-1"
    method: Any = field(default_factory=lambda: ["full", "csr", "cython"])
    radial_range: list[float] | None = None
    azimuth_range: list[float] | None = None
    correctSolidAngle: bool = False  # noqa: N815 - pyFAI's name
    polarization_factor: float | None = None
    error_model: str | None = None
    edges: Any = None
    empty: float | None = None
    monitor: Any = None
    exposure: Any = None

    def __post_init__(self) -> None:
        require(self.npt >= 1, "npt", self.npt, "at least one bin expected")
        for key in ("radial_range", "azimuth_range"):
            limits = getattr(self, key)
            if limits is not None:
                good = len(limits) == 2 and bool(np.isfinite(limits).all()) and limits[0] < limits[1]
                require(good, key, limits, "two numbers expected, the smaller one first")
        if self.edges is not None:
            require(self.radial_range is None, "edges", self.edges, "together with radial_range; choose one")
            require(self.error_model != "hybrid", "edges", self.edges, "not with error_model=hybrid, which is pyFAI's")
            if not isinstance(self.edges, str):
                ascending_edges(self.edges, f"edges={self.edges}")
        if self.polarization_factor is not None:
            good = -1 <= self.polarization_factor <= 1
            require(good, "polarization_factor", self.polarization_factor, "a number from -1 to 1 expected")
        if self.error_model is not None:
            choice("error_model", self.error_model, ERROR_MODELS)
        for key in ("monitor", "exposure"):
            if getattr(self, key) is not None:
                Number(key, getattr(self, key))

    @property
    def makes(self) -> Makes:
        return Makes((self.unit, "intensity") if self.error_model is None else (self.unit, "intensity", "sigma"))

    def check(self, poni: Poni, line: Makes = NOTHING) -> None:
        usual = self.unit in USUAL_UNITS and self.method in USUAL_METHODS  # known without asking pyFAI, which takes 1 s
        self.limits()
        wavelength = USUAL_UNITS[self.unit] if usual else needs_wavelength(radial_unit(self.unit))
        if not usual:
            integration_method(self.method)
        if wavelength and poni.wavelength is None:
            raise ConfigError(f"integ.unit={self.unit}: needs a wavelength, which {poni.path} does not have")
        for number in self._numbers().values():
            number.check()

    @property
    def needs(self) -> Needs:
        edges = {"edges": self.edges} if isinstance(self.edges, str) else {}
        return Needs(edges | table_files(self._numbers()), variance=self.error_model == "poisson")

    def _numbers(self) -> dict[str, Number]:
        """What the pattern is divided by: name -> where it is found."""
        given = {"monitor": self.monitor, "exposure": self.exposure}
        return {key: Number(f"integ.{key}", where) for key, where in given.items() if where is not None}

    def prepare(self, setup: Setup) -> Step:
        return normalized(self._integrator(setup), self._numbers())

    def _integrator(self, setup: Setup) -> Step:
        from ...numerics import integration
        from ...numerics.pattern_error import pattern_error

        geometry = setup.geometry
        kept = geometry.kept("pattern", self._settings(), lambda: self._make(geometry))
        about = json.loads(kept["about"].tobytes())
        if "bins" not in kept or self.error_model == "hybrid":
            return self._with_pyfai(geometry, about)
        norm, starts, bins, coefs = (kept[name] for name in ("norm", "starts", "bins", "coefs"))
        npt = kept["radial"].size
        add = self._adding(kept, npt)
        stride = -(-(starts.size - 1) // SAMPLE) | 1  # odd, so that the runs walk through all columns

        def integrate(frame: Frame) -> Frame:
            image, mask, sums = add(frame)
            intensity, sigma = self._means(sums)
            pattern = self._pattern(kept["radial"], intensity, sigma, sums[1], about)
            found = np.zeros((3, npt))
            integration.scatter(image, mask, norm, starts, bins, coefs, intensity, stride, found)
            raw = image if frame.raw is None else read_only(frame.raw.ravel())
            error = pattern_error(image, raw, mask, frame.image.shape[1], intensity, kept)
            told = {**pattern_quality(sums, found, stride), "pattern_error": error.total, **pattern.quality}
            return replace(frame, pattern=replace(pattern, quality=told, error_parts=error.parts))

        return integrate

    def _adding(self, kept: Arrays, bins: int) -> Callable[[Frame], Sums]:
        """What takes a frame to its flat image and mask, and to the sums of `kernels.integrate`, (5, bins)."""
        from ...numerics import integration

        matrix = kept["norm"], kept["starts"], kept["bins"], kept["coefs"]
        nothing = read_only(np.empty(0, np.float32))
        good = read_only(np.zeros(kept["starts"].size - 1, np.uint8))
        azimuthal = self.error_model == "azimuthal"

        def add(frame: Frame) -> Sums:
            image = read_only(frame.image.ravel())
            mask = good if frame.mask is None else read_only(frame.mask.ravel())
            variance = nothing
            if self.needs.variance and frame.variance is not None:
                variance = read_only(frame.variance.ravel())
            sums = np.zeros((5, bins))
            integration.integrate(image, mask, matrix[0], variance, azimuthal, *matrix[1:], sums)
            return image, mask, sums

        return add

    def _means(self, sums: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Intensity and sigma of the sums; NaN where there is no pixel."""
        signal, total, scatter = sums[:3]
        with np.errstate(invalid="ignore", divide="ignore"):
            intensity = signal / total
            sigma = None if self.error_model is None else np.sqrt(scatter) / total
            if sigma is not None:  # no scatter where all pixels are alike: then as if it were counts, never 0
                sigma = np.where(sigma == 0, np.sqrt(np.maximum(intensity, 1) * sums[4]) / total, sigma)
        return intensity, sigma

    def _settings(self) -> dict[str, Any]:
        """What decides the matrix: all but the error model and what is done to the pattern afterwards."""
        after = ("error_model", "empty", "monitor", "exposure")
        keys = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in after}
        limits = self.limits()
        return {**keys, "edges": None if limits is None else limits.tolist()}

    def limits(self) -> NDArray[np.float64] | None:
        """The edges of the bins, where they are given; ConfigError where the file of them cannot be used."""
        if self.edges is None or not isinstance(self.edges, str):
            return None if self.edges is None else np.asarray(self.edges, float)
        try:
            numbers = np.loadtxt(self.edges, ndmin=1)
        except (OSError, ValueError) as error:
            raise ConfigError(f"integ.edges={self.edges}: not a file of numbers ({error})") from error
        return ascending_edges(numbers.ravel().tolist(), f"integ.edges={self.edges}")

    def _make(self, geometry: Geometry) -> dict[str, NDArray[Any]]:
        # One integration by pyFAI checks the settings and makes axis and matrix; where its method works with a sparse
        # matrix, ours is that matrix, pixel by pixel.
        from ...numerics.pattern_error import sampled
        from ...numerics.sparse_matrix import Matrix, on_edges

        unit, method, limits = radial_unit(self.unit), integration_method(self.method), self.limits()
        self._check_range(geometry, unit)
        integrator, shape = geometry.integrator, geometry.shape
        sparse = method.algo_is_sparse and method.impl_lower == "cython"
        used = (method.split_lower, "csr", "cython") if sparse else method
        npt = self.npt if limits is None else 1
        result = integrator.integrate1d(np.ones(shape, np.float32), npt, **self._keywords(used))
        radial = np.asarray(result.radial, float) if limits is None else (limits[1:] + limits[:-1]) / 2
        if not np.isfinite(result.radial).all():
            raise ConfigError(f"integ.unit={self.unit}: infinite somewhere on the detector; give integ.radial_range")
        about = {"method": str(method), "label": unit.label}
        arrays = {"radial": radial, "about": np.frombuffer(json.dumps(about).encode(), np.uint8)}
        if not sparse:
            require(limits is None, "integ.edges", self.edges, "for sparse methods, such as [full,csr,cython], alone")
            return arrays
        if limits is not None:
            matrix = on_edges(geometry.integrator, shape, unit, method.split_lower, limits)
        else:
            matrix = Matrix.of(integrator.engines[result.method].engine, shape[0] * shape[1], self.npt)
        if self.azimuth_range is not None:
            matrix = matrix.sectors(sector_pixels(geometry, method, self.azimuth_range)[np.newaxis], radial.size)
        norm = self._norm(integrator, shape)
        chi = geometry.integrator.center_array(shape, unit="chi_rad", scale=False).ravel()
        return arrays | matrix._asdict() | {"norm": norm} | sampled(matrix, norm, radial.size, chi)

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
        outside: Any = False
        if self.azimuth_range is not None:
            outside = ~sector_pixels(geometry, method, self.azimuth_range).reshape(geometry.shape)

        def integrate(frame: Frame) -> Frame:
            image = np.where(frame.masked | outside, np.float32(np.nan), frame.image)
            errors = {"variance": frame.variance} if self.needs.variance else {"error_model": self.error_model}
            call = getattr(integrator, self.function)
            with np.errstate(invalid="ignore", divide="ignore"):  # pyFAI in Python divides by 0 for masked pixels
                result = call(image, self.npt, **self._keywords(method), **self._of_its_own(), **errors)
            arrays = (np.asarray(result.radial, float), np.asarray(result.intensity, float))
            sigma = None if self.error_model is None or result.sigma is None else np.asarray(result.sigma, float)
            return replace(frame, pattern=self._pattern(*arrays, sigma, result.sum_normalization, about))

        return integrate

    def _of_its_own(self) -> dict[str, Any]:
        """Arguments that pyFAI's `function` takes and ``integrate1d`` does not."""
        return {}

    def _keywords(self, method: Any) -> dict[str, Any]:
        return {
            "unit": radial_unit(self.unit),
            "method": method,
            "radial_range": self.radial_range,
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
        intensity = np.where(empty, np.nan if self.empty is None else self.empty, intensity)
        sigma = None if sigma is None else np.where(empty, np.nan, sigma)
        told = {} if self.empty is None else {"empty_bins": float(empty.sum())}  # nobody could count them any more
        return Pattern(radial, intensity, sigma, self.unit, about["label"], about["method"], told)

    def _check_range(self, geometry: Geometry, unit: Any) -> None:
        if self.npt > geometry.shape[0] * geometry.shape[1]:
            raise ConfigError(
                f"integ.npt={self.npt}: more bins than pixels ({geometry.shape[0]} x {geometry.shape[1]})"
            )
        limits = self.limits()
        key, wanted = ("radial_range", self.radial_range) if limits is None else ("edges", limits.tolist())
        if wanted is not None:
            there = geometry.integrator.center_array(geometry.shape, unit=unit, scale=True)
            first, last = float(np.nanmin(there)), float(np.nanmax(there))
            if wanted[-1] < first or wanted[0] > last:
                raise ConfigError(
                    f"integ.{key}={getattr(self, key)}: outside the detector, which sees {first:.4g} to "
                    f"{last:.4g} {self.unit}"
                )


def normalized(integrate: Step, numbers: Mapping[str, Number]) -> Step:
    """Integrate, then divide intensity and sigma by these numbers of the frame; FrameError where one is missing."""
    if not numbers:
        return integrate

    def divide(frame: Frame) -> Frame:
        factors = {name: number.of(frame) for name, number in numbers.items()}
        factor = float(np.prod(list(factors.values())))
        frame = integrate(frame)
        return replace(
            frame,
            pattern=None if frame.pattern is None else _divided(frame.pattern, factor),
            sectors={name: _divided(pattern, factor) for name, pattern in frame.sectors.items()},
            cake=None if frame.cake is None else _divided(frame.cake, factor),
            factors={**frame.factors, **factors},
        )

    return divide


def _divided(result: Result, factor: float) -> Result:
    sigma = None if result.sigma is None else result.sigma / factor
    return replace(result, intensity=result.intensity / factor, sigma=sigma)
