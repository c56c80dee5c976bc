"""Cake: the frame over radial and azimuthal angle, with pyFAI's splitting of pixels in both."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...geometry.geometry import Geometry
from ...model.cake import Cake
from ...model.errors import ConfigError, FrameError, require
from ...model.frame import Frame
from ..stage import Makes, Setup, Step
from .integ import Integ
from .methods import integration_method, radial_unit

ROUNDING = 1e-5  # of a pixel: no share


MOST = 1 << 24  # cells: 40 bytes each while a frame is summed


@dataclass(frozen=True)
class Regroup(Integ):
    """Regroup to ``npt`` radial times ``npt_azim`` azimuthal bins: pyFAI's ``integrate2d``; and the pattern as usual.

    The azimuthal axis spans ``azimuth_range`` (degrees, between -180 and 180 or between 0 and 360; default: the turn
    from -180), the radial one what that of a pattern spans. Masked and non-finite pixels do not count.
    """

    npt: int = 1000
    npt_azim: int = 360

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.npt_azim >= 1, "npt_azim", self.npt_azim, "at least one bin expected")
        require(self.npt * self.npt_azim <= MOST, "npt_azim", self.npt_azim, f"at most {MOST} cells expected")
        require(self.edges is None, "edges", self.edges, "not for a cake, whose bins are uniform")
        require(self.error_model != "hybrid", "error_model", self.error_model, "poisson or azimuthal in a cake")
        first, last = self.limits_azim
        good = first >= -180 and last <= 360 and (last <= 180 or first >= 0)
        told = "for a cake between -180 and 180, or between 0 and 360"
        require(good, "azimuth_range", self.azimuth_range, told)

    @property
    def limits_azim(self) -> tuple[float, float]:
        """First and last azimuth, degrees."""
        first, last = self.azimuth_range or (-180.0, 180.0)
        return first, last

    @property
    def makes(self) -> Makes:
        return Makes(super().makes.columns, {"cake": ["cake"]})

    def _integrator(self, setup: Setup) -> Step:
        pattern, geometry = super()._integrator(setup), setup.geometry
        kept = geometry.kept("cake", self._settings(), lambda: self._cells(geometry))
        about = json.loads(kept["about"].tobytes())
        shape = self.npt, self.npt_azim
        add = self._adding(kept, self.npt * self.npt_azim)

        def turn(cells: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.ascontiguousarray(cells.reshape(shape).T)

        def integrate(frame: Frame) -> Frame:
            frame, sums = pattern(frame), add(frame)[2]
            if not sums[1].any():
                raise FrameError("no good pixel in the range of the cake")
            intensity, sigma = self._means(sums)
            intensity = np.where(sums[1] == 0, np.nan if self.empty is None else self.empty, intensity)
            axes = kept["radial"], kept["azimuthal"]
            values = turn(intensity), None if sigma is None else turn(sigma)
            cake = Cake(*axes, *values, self.unit, about["label"], about["method"])
            return replace(frame, cake=cake)

        return integrate

    def _cells(self, geometry: Geometry) -> dict[str, NDArray[Any]]:
        """Axes and matrix of the cells, the azimuth running fastest."""
        from ...numerics.sparse_matrix import Matrix

        unit, method = radial_unit(self.unit), integration_method(self.method, dim=2)
        if not (method.algo_is_sparse and method.impl_lower == "cython"):
            raise ConfigError(
                f"integ.method={self.method}: for a cake a sparse one expected, such as [full,csr,cython]"
            )
        if self.limits_azim[1] > 180 and method.split_lower == "full":  # off by up to 1 % there in pyFAI 2026.9
            raise ConfigError(f"integ.azimuth_range={self.azimuth_range}: beyond 180 with [bbox,csr,cython] alone")
        self._check_range(geometry, unit)
        integrator, shape = geometry.integrator, geometry.shape
        if self.limits_azim[1] > 180:
            integrator.setChiDiscAtZero()
        used = integration_method([method.split_lower, "csr", "cython"], dim=2)
        keys = self._keywords(used) | {"azimuth_range": self.limits_azim}
        result = integrator.integrate2d(np.ones(shape, np.float32), self.npt, self.npt_azim, **keys)
        radial = np.asarray(result.radial, float)
        first, last = self.limits_azim
        azimuthal = first + (np.arange(self.npt_azim) + 0.5) * (last - first) / self.npt_azim
        if not np.isfinite(radial).all():
            raise ConfigError(f"integ.unit={self.unit}: infinite somewhere on the detector; give integ.radial_range")
        matrix = Matrix.of(integrator.engines[result.method].engine, shape[0] * shape[1], self.npt * self.npt_azim)
        # In pyFAI 2026.9 full splitting leaves weights that are rounding errors, and those of the first pixel to
        # chance (not the same in every run, even NaN): a cell must not hang on them.
        matrix.coefs[~(matrix.coefs > ROUNDING)] = 0
        if method.split_lower == "full":
            matrix.coefs[: matrix.starts[1]] = 0
        about = json.dumps({"method": str(method), "label": unit.label}).encode()
        arrays = {"radial": radial, "azimuthal": azimuthal, "about": np.frombuffer(about, np.uint8)}
        return arrays | matrix._asdict() | {"norm": self._norm(integrator, shape)}
