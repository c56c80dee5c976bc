"""Units, methods and pixel selections as pyFAI names them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...geometry.geometry import Geometry
from ...model.errors import ConfigError, nearest

MEANING = {
    word: word for word in ("no", "bbox", "full", "lut", "csr", "csc", "histogram", "cython", "python", "opencl")
}


def sector_pixels(geometry: Geometry, method: Any, limits: list[float]) -> NDArray[np.bool_]:
    """The pixels that pyFAI counts in an azimuthal range (degrees), whole where they are split and overlap it; flat.

    Also where the range crosses 180 degrees. ConfigError where the detector has no pixel there.
    """
    from ...numerics.sparse_matrix import Matrix, turned

    used = (split if (split := method.split_lower) != "pseudo" else "full", "csr", "cython")
    ones, unit = np.ones(geometry.shape, np.float32), radial_unit("r_m")
    found = np.zeros(ones.size, np.bool_)
    for piece in turned(limits):
        integrator = geometry.integrator
        keys = {"unit": unit, "method": used, "correctSolidAngle": False, "azimuth_range": piece}
        engine = integrator.engines[integrator.integrate1d(ones, 1, **keys).method].engine
        found |= Matrix.of(engine, ones.size, 1).seen
    if not found.any():
        raise ConfigError(f"integ.azimuth_range={limits}: no pixel of the detector is there")
    return found


def ascending_edges(numbers: Any, told: str) -> NDArray[np.float64]:
    """The edges of bins as an array; ConfigError, beginning with ``told``, for what can be none."""
    try:
        limits = np.asarray(numbers, float)
    except (ValueError, TypeError):
        limits = np.empty((0, 0))
    if limits.ndim != 1 or limits.size < 2 or not (np.isfinite(limits).all() and (np.diff(limits) > 0).all()):
        raise ConfigError(f"{told}: two or more ascending numbers expected, or a file of them")
    return limits


def radial_unit(name: str) -> Any:
    """pyFAI's unit of that name; ConfigError with the nearest one where pyFAI has none."""
    from pyFAI.units import RADIAL_UNITS

    if name not in RADIAL_UNITS:
        raise ConfigError(f"integ.unit={name}: pyFAI has no such radial unit; {nearest(name, RADIAL_UNITS)}")
    return RADIAL_UNITS[name]


def needs_wavelength(unit: Any) -> bool:
    """Whether values in this unit depend on the wavelength."""
    return "λ" in (unit.formula or "") or "q" in unit.name or unit.name.startswith("d")


def integration_method(name: Any, dim: int = 1) -> Any:
    """pyFAI's IntegrationMethod for a name or a [split, algorithm, implementation] list, with OpenCL also a device.

    ``dim``: 1 for patterns, 2 for cakes.

    ConfigError where pyFAI has none or would quietly take another one.
    """
    import pyFAI.integrator.azimuthal  # noqa: F401 - fills the registry
    from pyFAI.method_registry import IntegrationMethod

    if not isinstance(name, (str, list, tuple)):
        raise ConfigError(f"integ.method={name}: a name, or [split, algorithm, implementation] expected")
    if isinstance(name, (list, tuple)):
        name = ["no" if word is False else word for word in name]  # which YAML makes of a bare no
    key = f"integ.method={name if isinstance(name, str) else '[' + ','.join(map(str, name)) + ']'}"
    words = re.split(r"[_,]", name.lower()) if isinstance(name, str) else [str(word).lower() for word in name]
    if isinstance(name, str):
        registry = [method for method in IntegrationMethod._registry.values() if method.dimension == dim]
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
        method = IntegrationMethod.select_one_available(asked, dim=dim, default=None, degradable=False)
    except (ValueError, AttributeError):  # so says pyFAI of some that it does not have
        method = None
    wanted = {MEANING[word] for word in words if word in MEANING}
    if method is None or not wanted <= {method.split_lower, method.algo_lower, method.impl_lower}:
        raise ConfigError(f"{key}: not available here; pyFAI would quietly take another one")
    return method
