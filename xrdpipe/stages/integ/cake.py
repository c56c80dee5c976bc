"""Cake: intensity over radial and azimuthal angle, with pyFAI's pixel splitting in both."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...geometry.geometry import Geometry
from ...model.cake import Cake
from ...model.errors import ConfigError, FrameError, require
from ...model.frame import Frame
from ..stage import Makes, Setup, Step
from .correlation import Correlations, correlation
from .integ import Integ
from .methods import integration_method, radial_unit

ROUNDING = 1e-5  # shares of a pixel up to this are rounding errors
MAX_CELLS = 1 << 24  # 40 bytes each while a frame is summed


@dataclass(frozen=True)
class Regroup(Integ):
    """Regroup to radial and azimuthal bins, as pyFAI's ``integrate2d`` does, and integrate the pattern as well.

    The keys not listed here are those of `Integ`. Masked and non-finite pixels do not count.

    Attributes
    ----------
    npt
        Number of radial bins.
    npt_azim
        Number of azimuthal bins.
    azimuth_range
        First and last azimuth, degrees, between -180 and 180 or between 0 and 360; None takes the turn from -180.
    """

    npt: int = 1000
    npt_azim: int = 360

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.npt_azim >= 1, "npt_azim", self.npt_azim, "at least one bin expected")
        require(self.npt * self.npt_azim <= MAX_CELLS, "npt_azim", self.npt_azim, f"at most {MAX_CELLS} cells expected")
        require(self.edges is None, "edges", self.edges, "not for a cake, whose bins are uniform")
        require(self.error_model != "hybrid", "error_model", self.error_model, "poisson or azimuthal in a cake")
        first, last = self.azimuth_limits
        good = first >= -180 and last <= 360 and (last <= 180 or first >= 0)
        expected = "for a cake between -180 and 180, or between 0 and 360"
        require(good, "azimuth_range", self.azimuth_range, expected)

    @property
    def azimuth_limits(self) -> tuple[float, float]:
        """First and last azimuth of the cake, degrees."""
        first, last = self.azimuth_range or (-180.0, 180.0)
        return first, last

    @property
    def makes(self) -> Makes:
        """The columns of the pattern, and the cake."""
        return Makes(super().makes.columns, {"cake": ["cake"]})

    def _integrator(self, setup: Setup) -> Step:
        pattern, geometry = super()._integrator(setup), setup.geometry
        cached = geometry.cached("cake", self._settings(), lambda: self._make_cells(geometry))
        about = json.loads(cached["about"].tobytes())
        shape = self.npt, self.npt_azim
        sum_cells = self._summation(setup, cached, self.npt * self.npt_azim)
        correlate = correlation(cached, (1, self.npt * self.npt_azim), self.needs.variance, self.npt_azim)

        def to_image(cells: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.ascontiguousarray(cells.reshape(shape).T)

        def integrate(frame: Frame) -> Frame:
            frame, sums = pattern(frame), sum_cells(frame)[2]
            if not sums[1].any():
                raise FrameError("no good pixel in the range of the cake")
            intensity, sigma = self._means(sums)
            intensity = np.where(sums[1] == 0, np.nan if self.empty is None else self.empty, intensity)
            axes = cached["radial"], cached["azimuthal"]
            values = to_image(intensity), None if sigma is None else to_image(sigma)
            cake = Cake(*axes, *values, self.unit, about["label"], about["method"])
            if self.error_model is None:
                return frame.with_results(cake=cake)

            def correlations() -> Correlations:
                return np.moveaxis(correlate(frame).reshape(-1, *shape), 2, 1)

            return frame.with_results(cake=cake, correlations={**frame.results.correlations, "cake": correlations})

        return integrate

    def _make_cells(self, geometry: Geometry) -> dict[str, NDArray[Any]]:
        """Return the axes and the matrix of the cells; the azimuth runs fastest."""
        from ...numerics.sparse_matrix import Matrix

        unit, method = radial_unit(self.unit), integration_method(self.method, dim=2)
        if not (method.algo_is_sparse and method.impl_lower == "cython"):
            raise ConfigError(
                f"integ.method={self.method}: for a cake a sparse one expected, such as [full,csr,cython]"
            )
        if self.azimuth_limits[1] > 180 and method.split_lower == "full":  # wrong by up to 1 % in pyFAI 2026.9
            raise ConfigError(f"integ.azimuth_range={self.azimuth_range}: beyond 180 with [bbox,csr,cython] alone")
        self._check_range(geometry, unit)
        integrator, shape = geometry.integrator, geometry.shape
        if self.azimuth_limits[1] > 180:
            integrator.setChiDiscAtZero()
        used = integration_method([method.split_lower, "csr", "cython"], dim=2)
        keys = self._keywords(used) | {"azimuth_range": self.azimuth_limits}
        result = integrator.integrate2d(np.ones(shape, np.float32), self.npt, self.npt_azim, **keys)
        radial = np.asarray(result.radial, float)
        first, last = self.azimuth_limits
        azimuthal = first + (np.arange(self.npt_azim) + 0.5) * (last - first) / self.npt_azim
        if not np.isfinite(radial).all():
            raise ConfigError(f"integ.unit={self.unit}: infinite somewhere on the detector; give integ.radial_range")
        matrix = Matrix.of(integrator.engines[result.method].engine, shape[0] * shape[1], self.npt * self.npt_azim)
        # Full splitting in pyFAI 2026.9 leaves weights that are rounding errors, and random weights of the first pixel,
        # even NaN, that differ from run to run. A cell must not depend on them.
        matrix.coefs[~(matrix.coefs > ROUNDING)] = 0
        if method.split_lower == "full":
            matrix.coefs[: matrix.starts[1]] = 0
        about = json.dumps({"method": str(method), "label": unit.label}).encode()
        arrays = {"radial": radial, "azimuthal": azimuthal, "about": np.frombuffer(about, np.uint8)}
        return arrays | matrix._asdict() | {"norm": self.pixel_norm(integrator, shape)}
