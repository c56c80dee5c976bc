"""Robust patterns, which single strong pixels do not affect: pyFAI's sigma clipping and its median."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from ...model.errors import ConfigError, choice, require
from ..stage import Setup, Step
from .integ import Integ
from .methods import integration_method, radial_unit


@dataclass(frozen=True)
class RobustInteg(Integ):
    """Base class of the robust integrations: calls pyFAI for every frame, which keeps its CSR matrix in between."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.edges is None, "edges", self.edges, "not here: the bins of pyFAI's own functions are uniform")

    def _integrator(self, setup: Setup) -> Step:
        unit, method = radial_unit(self.unit), integration_method(self.method)
        self._check_method(method)
        self._check_range(setup.geometry, unit)
        return self._with_pyfai(setup, {"method": f"{self.function}, {method}", "label": unit.label})

    def _check_method(self, method: Any) -> None:
        if method.algo_lower != "csr":
            raise ConfigError(f"integ.method={method.algo_lower}: pyFAI's {self.function} knows csr alone")


@dataclass(frozen=True)
class SigmaClip(RobustInteg):
    """Average each bin without its outliers, as pyFAI's ``sigma_clip_ng`` does.

    The keys not listed here are those of `Integ`.

    Attributes
    ----------
    error_model
        Standard deviation of a pixel. "azimuthal": the scatter in the ring. "poisson": the variance of the frame.
        "hybrid": as in pyFAI.
    thresh
        Standard deviations from the mean from which on a pixel is an outlier.
    max_iter
        Largest number of rounds; each takes mean and standard deviation anew.
    """

    function: ClassVar[str] = "sigma_clip_ng"

    method: Any = field(default_factory=lambda: ["no", "csr", "cython"])
    error_model: str | None = "azimuthal"
    thresh: float = 5.0
    max_iter: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        choice("error_model", self.error_model, ("azimuthal", "poisson", "hybrid"))
        require(self.thresh > 0, "thresh", self.thresh, "a number of standard deviations > 0 expected")
        require(self.max_iter >= 1, "max_iter", self.max_iter, "one round at least expected")

    def _check_method(self, method: Any) -> None:
        super()._check_method(method)
        if method.split_lower != "no":
            raise ConfigError(f"integ.method: with split pixels ({method.split_lower}) pyFAI clips wrongly; say no")

    def _extra_arguments(self) -> dict[str, Any]:
        return {"thres": self.thresh, "max_iter": self.max_iter}


@dataclass(frozen=True)
class Median(RobustInteg):
    """Take the median of each bin, or the mean between two percentiles, as pyFAI's ``medfilt1d_ng`` does.

    The keys not listed here are those of `Integ`.

    Attributes
    ----------
    percentile
        One number, where 50 is the median, or [low, high].
    error_model
        "poisson": sigma is that of the mean of the pixels between the percentiles. None: no sigma.
    """

    function: ClassVar[str] = "medfilt1d_ng"

    method: Any = field(default_factory=lambda: ["no", "csr", "python"])
    percentile: Any = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.error_model is not None:
            choice("error_model", self.error_model, ("poisson",))
        limits = self.percentile if isinstance(self.percentile, (list, tuple)) else [self.percentile] * 2
        numbers = all(isinstance(limit, (int, float)) and not isinstance(limit, bool) for limit in limits)
        good = numbers and len(limits) == 2 and 0 <= limits[0] <= limits[1] <= 100
        require(good, "percentile", self.percentile, "a number from 0 to 100, or [low,high] expected")

    def _check_method(self, method: Any) -> None:
        super()._check_method(method)
        if method.impl_lower != "python":  # in pyFAI 2026.9 they sort masked pixels with the others
            raise ConfigError(f"integ.method={method.impl_lower}: its median counts masked pixels; say [no,csr,python]")

    def _extra_arguments(self) -> dict[str, Any]:
        return {"percentile": tuple(self.percentile) if isinstance(self.percentile, list) else self.percentile}
