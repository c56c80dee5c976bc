"""Integ: azimuthal integration with pyFAI's geometry, pixel splitting and corrections."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...geometry.cache import Arrays
from ...geometry.geometry import Geometry
from ...geometry.poni import Poni
from ...model.arrays import read_only
from ...model.errors import ConfigError, FrameError, choice, require
from ...model.frame import Frame
from ...model.pattern import Pattern
from ..scalar_lookup import ScalarLookup, table_files
from ..stage import NOTHING, Makes, Needs, Setup, Stage, Step
from .correlation import correlation
from .methods import (
    MEANING,
    ascending_edges,
    integration_method,
    needs_wavelength,
    radial_unit,
    radial_units,
    sector_pixels,
)
from .normalize import normalize
from .quality import noise_quality, pattern_quality
from .ring_sums import Sums, by_ring, ring_summation, scatter_summation

if TYPE_CHECKING:
    from ...numerics.sparse_matrix import Matrix

SAMPLE = 1 << 15  # pixels from which the scatter in the rings is estimated
WAYS = "say geometry.wavelength=... (m), or a unit without one, integ.unit=2th_deg"
USUAL_UNITS = {
    "q_A^-1": True,
    "q_nm^-1": True,
    "2th_deg": False,
    "2th_rad": False,
    "r_mm": False,
}  # True: needs a wavelength
USUAL_METHODS = [[split, "csr", "cython"] for split in ("full", "bbox", "no")]
MEANING |= {"numpy": "python", "ocl": "opencl", "cpu": "opencl", "gpu": "opencl"}
ERROR_MODELS = ("poisson", "azimuthal", "hybrid")


@dataclass(frozen=True)
class Integ(Stage):
    """Integrate azimuthally, as pyFAI's ``integrate1d`` does; the keys have pyFAI's names.

    Masked and non-finite pixels do not count.

    Attributes
    ----------
    npt
        Number of bins.
    unit
        Radial unit, any of pyFAI's.
    method
        Integration method of pyFAI: a name, or [split, algorithm, implementation].
    radial_range
        First and last value of the radial axis, in ``unit``. None takes the range of the whole detector, masked pixels
        included, so that all frames of a run share one axis.
    azimuth_range
        First and last azimuth, degrees; the range may cross 180. None takes the whole turn.
    correctSolidAngle
        Correct for the solid angle of each pixel.
    polarization_factor
        Polarization, from -1 (vertical) to 1 (horizontal); None for no correction.
    error_model
        How sigma is computed. "poisson": from the variance of the frame. "azimuthal", "hybrid": from the scatter in
        the ring, as pyFAI does. None: no sigma.
    edges
        Edges of the bins, of any width, or a file of numbers; they replace ``npt`` and ``radial_range``.
    empty
        Intensity of a bin without a pixel. None: NaN, and no row in a file.
    monitor, exposure
        Where to find the monitor and the exposure time, see `ScalarLookup`. Both divide intensity and sigma after the
        integration; everything before is in counts.
    """

    keeps_sums: ClassVar[bool] = False  # patterns carry their sums
    function: ClassVar[str] = "integrate1d"  # pyFAI's function, for methods that call pyFAI for every frame

    npt: int = field(default=1480, metadata={"low": 1})
    unit: str = field(default="q_A^-1", metadata={"choices": radial_units})
    method: Any = field(default_factory=lambda: ["full", "csr", "cython"])
    radial_range: list[float] | None = None
    azimuth_range: list[float] | None = None
    correctSolidAngle: bool = False  # noqa: N815 - pyFAI's name
    polarization_factor: float | None = field(default=None, metadata={"low": -1, "high": 1})
    error_model: str | None = field(default=None, metadata={"choices": ERROR_MODELS})
    edges: Any = field(default=None, metadata={"kind": "list"})
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
                ScalarLookup(key, getattr(self, key))

    @property
    def makes(self) -> Makes:
        """The columns of the pattern."""
        return Makes((self.unit, "intensity") if self.error_model is None else (self.unit, "intensity", "sigma"))

    def check(self, poni: Poni, line: Makes = NOTHING) -> None:
        """Raise ConfigError for an unknown unit or method, a missing wavelength, or unusable edges or tables."""
        usual = self.unit in USUAL_UNITS and self.method in USUAL_METHODS  # known without the import of pyFAI: 1 s
        self.bin_edges()
        wavelength = USUAL_UNITS[self.unit] if usual else needs_wavelength(radial_unit(self.unit))
        if not usual:
            integration_method(self.method)
        if wavelength and not poni.has_wavelength:
            raise ConfigError(f"integ.unit={self.unit}: needs a wavelength, which {poni.path} does not have; {WAYS}")
        for lookup in self.divisors().values():
            lookup.check()

    @property
    def needs(self) -> Needs:
        """The file of edges, the tables of monitor and exposure, and the variance for ``error_model=poisson``."""
        edges = {"edges": self.edges} if isinstance(self.edges, str) else {}
        return Needs(edges | table_files(self.divisors()), variance=self.error_model == "poisson")

    def divisors(self) -> dict[str, ScalarLookup]:
        """Return the lookups of the numbers by which the pattern is divided, by name."""
        sources = {"monitor": self.monitor, "exposure": self.exposure}
        return {key: ScalarLookup(f"integ.{key}", where) for key, where in sources.items() if where is not None}

    def prepare(self, setup: Setup) -> Step:
        """Make or load the matrix of the integration and return the step that applies it."""
        return normalize(self._integrator(setup), self.divisors())

    def _integrator(self, setup: Setup) -> Step:
        from ...numerics.pattern_error import pattern_error

        geometry = setup.geometry
        stride = -(-geometry.shape[0] * geometry.shape[1] // SAMPLE) | 1  # odd: the sampled runs reach all columns
        if self.error_model is None and not self.corrects and setup.device is None:
            make = lambda: by_ring(self._make_arrays(geometry), geometry, stride)  # noqa: E731
            cached = geometry.cached("pattern_by_ring", self._settings(), make)
        else:
            cached = geometry.cached("pattern", self._settings(), lambda: self._make_arrays(geometry))
        about = json.loads(cached["about"].tobytes())
        if "bins" not in cached or self.error_model == "hybrid":
            return self._with_pyfai(setup, about)
        by_rings, npt = "ring_weights" in cached, cached["radial"].size
        sum_bins = ring_summation(cached, geometry) if by_rings else self._summation(setup, cached, npt)
        sum_scatter = scatter_summation(cached, stride)
        noise = noise_quality(setup, cached, stride)
        correlate = None if self.error_model is None else correlation(cached, (1, npt), self.needs.variance)

        def integrate(frame: Frame) -> Frame:
            image, mask, sums = sum_bins(frame)
            intensity, sigma = self._means(sums)
            pattern = self._pattern(cached["radial"], intensity, sigma, sums[1], about)
            scatter = sum_scatter(image, mask, intensity)
            raw = image if frame.info.raw is None else read_only(frame.info.raw.ravel())
            error = partial(pattern_error, image, raw, mask, frame.image.shape[1], intensity, cached)
            quality = {**pattern_quality(sums, scatter, stride), **pattern.quality}
            quality |= noise(frame, intensity, sigma)
            kept = sums[[0, 1, 2, 4]] if self.keeps_sums else None
            pattern = replace(pattern, quality=quality, sums=kept)
            correlations = {} if correlate is None else {"": partial(correlate, frame)}
            return frame.with_results(
                pattern=pattern, weights={"": sums[1]}, pattern_error=error, correlations=correlations
            )

        return integrate

    def _summation(self, setup: Setup, cached: Arrays, bins: int) -> Callable[[Frame], Sums]:
        """Return a function from a frame to its flat image, flat mask and sums of `kernels.integrate`, (5, bins)."""
        from ...numerics import integration

        if setup.device is not None:
            if self.error_model == "azimuthal":
                raise ConfigError(
                    "integ.error_model=azimuthal: parallel=cuda knows poisson alone; leave out one of them"
                )
            return setup.device.summation(cached, bins, self.needs.variance)
        matrix = cached["norm"], cached["starts"], cached["bins"], cached["coefs"]
        no_variance = read_only(np.empty(0, np.float32))
        no_mask = read_only(np.zeros(cached["starts"].size - 1, np.uint8))
        azimuthal, with_variance = self.error_model == "azimuthal", self.needs.variance

        def sum_bins(frame: Frame) -> Sums:
            image = read_only(frame.image.ravel())
            mask = no_mask if frame.mask is None else read_only(frame.mask.ravel())
            variance = no_variance
            if with_variance and frame.variance is not None:
                variance = read_only(frame.variance.ravel())
            sums = np.zeros((5, bins))
            integration.integrate(image, mask, matrix[0], variance, azimuthal, *matrix[1:], sums)
            return image, mask, sums

        return sum_bins

    def _means(self, sums: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Return intensity and sigma of the sums; NaN in bins without a pixel."""
        signal, total, scatter = sums[:3]
        with np.errstate(invalid="ignore", divide="ignore"):
            intensity = signal / total
            sigma = None if self.error_model is None else np.sqrt(scatter) / total
            if sigma is not None:  # sigma is never 0: equal pixels have no scatter and get that of counts
                sigma = np.where(sigma == 0, np.sqrt(np.maximum(intensity, 1) * sums[4]) / total, sigma)
        return intensity, sigma

    def _settings(self) -> dict[str, Any]:
        """Return the keys that determine the matrix: all but the error model and what applies after the sums."""
        after = ("error_model", "empty", "monitor", "exposure")
        keys = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in after}
        edges = self.bin_edges()
        return {**keys, "edges": None if edges is None else edges.tolist()}

    def bin_edges(self) -> NDArray[np.float64] | None:
        """Return the edges of the bins in ``unit``, (bins + 1,); None for uniform bins.

        Raises
        ------
        ConfigError
            The file of edges cannot be used.
        """
        if self.edges is None or not isinstance(self.edges, str):
            return None if self.edges is None else np.asarray(self.edges, float)
        try:
            numbers = np.loadtxt(self.edges, ndmin=1)
        except (OSError, ValueError) as error:
            raise ConfigError(f"integ.edges={self.edges}: not a file of numbers ({error})") from error
        return ascending_edges(numbers.ravel().tolist(), f"integ.edges={self.edges}")

    def _make_arrays(self, geometry: Geometry) -> dict[str, NDArray[Any]]:
        # One integration by pyFAI checks the settings and makes the axis and the matrix. For methods with a sparse
        # matrix, this matrix is pyFAI's, pixel by pixel.
        from ...numerics.pattern_error import sample_bins

        unit, method, edges = radial_unit(self.unit), integration_method(self.method), self.bin_edges()
        self._check_range(geometry, unit)
        sparse = method.algo_is_sparse and method.impl_lower == "cython"
        used = (method.split_lower, "csr", "cython") if sparse else method
        kind: dict[str, Any] = {"unit": self.unit, "method": str(used)}
        integrator, shape = geometry.shared("integrator", kind, lambda: geometry.integrator), geometry.shape
        bins = kind | {"npt": self.npt, "radial_range": self.radial_range, "edges": edges is None or edges.tolist()}
        radial, matrix = geometry.shared("matrix", bins, lambda: self._axis_and_matrix(geometry, integrator, used))
        about = {"method": str(method), "label": unit.label}
        arrays: dict[str, NDArray[Any]] = {
            "radial": radial,
            "about": np.frombuffer(json.dumps(about).encode(), np.uint8),
        }
        if matrix is None:
            return arrays
        if self.azimuth_range is not None:
            matrix = matrix.sectors(sector_pixels(geometry, method, self.azimuth_range)[np.newaxis], radial.size)
        norm = self.pixel_norm(integrator, shape)
        azimuth = lambda: geometry.integrator.center_array(shape, unit="chi_rad", scale=False).ravel()  # noqa: E731
        chi = geometry.shared("chi", {}, azimuth)
        return arrays | matrix._asdict() | {"norm": norm} | sample_bins(matrix, norm, radial.size, chi)

    def _axis_and_matrix(
        self, geometry: Geometry, integrator: Any, method: Any
    ) -> tuple[NDArray[np.float64], Matrix | None]:
        """Return the radial axis and the matrix, which depend on no correction; no matrix if the method has none."""
        from ...numerics.sparse_matrix import Matrix, matrix_on_edges

        unit, edges, shape = radial_unit(self.unit), self.bin_edges(), geometry.shape
        keys = self._keywords(method) | {"correctSolidAngle": False, "polarization_factor": None}
        result = integrator.integrate1d(np.ones(shape, np.float32), self.npt if edges is None else 1, **keys)
        radial = np.asarray(result.radial, float) if edges is None else (edges[1:] + edges[:-1]) / 2
        if not np.isfinite(result.radial).all():
            raise ConfigError(f"integ.unit={self.unit}: infinite somewhere on the detector; give integ.radial_range")
        if not isinstance(method, tuple):
            require(edges is None, "integ.edges", self.edges, "for sparse methods, such as [full,csr,cython], alone")
            return radial, None
        if edges is not None:
            return radial, matrix_on_edges(geometry.integrator, shape, unit, method[0], edges)
        return radial, Matrix.of(integrator.engines[result.method].engine, shape[0] * shape[1], self.npt)

    def pixel_norm(self, integrator: Any, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Return solid angle times polarization of every pixel, flat; empty if neither is corrected."""
        norm = np.ones(shape)
        if self.correctSolidAngle:
            norm *= integrator.solidAngleArray(shape)
        if self.polarization_factor is not None:
            norm *= integrator.polarization(shape, self.polarization_factor)
        return norm.astype(np.float32).ravel() if self.corrects else np.empty(0, np.float32)

    @property
    def corrects(self) -> bool:
        """Whether solid angle or polarization is corrected."""
        return self.correctSolidAngle or self.polarization_factor is not None

    def _with_pyfai(self, setup: Setup, about: Mapping[str, str]) -> Step:
        if setup.device is not None:
            raise ConfigError(
                f"integ: pyFAI itself integrates ({about['method']}, error_model={self.error_model}), not on the GPU; "
                "leave out parallel=cuda, or say integ=default, with a sparse method and error_model=poisson or null"
            )
        method, geometry = integration_method(self.method), setup.geometry
        integrator = geometry.integrator
        outside: Any = False
        if self.azimuth_range is not None:
            outside = ~sector_pixels(geometry, method, self.azimuth_range).reshape(geometry.shape)

        def integrate(frame: Frame) -> Frame:
            image = np.where(frame.masked | outside, np.float32(np.nan), frame.image)
            errors = {"variance": frame.variance} if self.needs.variance else {"error_model": self.error_model}
            call = getattr(integrator, self.function)
            with np.errstate(invalid="ignore", divide="ignore"):  # pyFAI in Python divides by 0 for masked pixels
                result = call(image, self.npt, **self._keywords(method), **self._extra_arguments(), **errors)
            arrays = (np.asarray(result.radial, float), np.asarray(result.intensity, float))
            sigma = None if self.error_model is None or result.sigma is None else np.asarray(result.sigma, float)
            weights = np.asarray(result.sum_normalization, float)
            return frame.with_results(pattern=self._pattern(*arrays, sigma, weights, about), weights={"": weights})

        return integrate

    def _extra_arguments(self) -> dict[str, Any]:
        """Return the arguments of pyFAI's `function` that ``integrate1d`` does not have."""
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
        # A fixed value hides the empty bins, so the quality counts them.
        quality = {} if self.empty is None else {"empty_bins": float(empty.sum())}
        return Pattern(radial, intensity, sigma, self.unit, about["label"], about["method"], quality)

    def _check_range(self, geometry: Geometry, unit: Any) -> None:
        if self.npt > geometry.shape[0] * geometry.shape[1]:
            raise ConfigError(
                f"integ.npt={self.npt}: more bins than pixels ({geometry.shape[0]} x {geometry.shape[1]}); "
                "say fewer, as in integ.npt=1000"
            )
        edges = self.bin_edges()
        key, limits = ("radial_range", self.radial_range) if edges is None else ("edges", edges.tolist())
        if limits is not None:
            radial = geometry.integrator.center_array(geometry.shape, unit=unit, scale=True)
            first, last = float(np.nanmin(radial)), float(np.nanmax(radial))
            if limits[-1] < first or limits[0] > last:
                raise ConfigError(
                    f"integ.{key}={getattr(self, key)}: outside the detector, which sees {first:.4g} to "
                    f"{last:.4g} {self.unit}"
                )
