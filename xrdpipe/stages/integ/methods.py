"""Units, methods and pixel selections, as pyFAI names them."""

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


def sector_pixels(geometry: Geometry, method: Any, limits: list[float], integrator: Any = None) -> NDArray[np.bool_]:
    """Select the pixels that pyFAI counts in an azimuthal range.

    Parameters
    ----------
    geometry
        Geometry of the detector.
    method
        IntegrationMethod of pyFAI. If it splits pixels, a pixel that overlaps the range is selected as a whole.
    limits
        First and last azimuth, degrees; the range may cross 180.
    integrator
        Integrator of ``geometry`` that was used for nothing but this function; None takes a new one. It keeps the
        angles of the pixels, so that further ranges take less time.

    Returns
    -------
    ndarray
        True for selected pixels, (slow * fast,).

    Raises
    ------
    ConfigError
        The detector has no pixel in the range.
    """
    from ...numerics.sparse_matrix import Matrix, wrap_azimuth

    used = (split if (split := method.split_lower) != "pseudo" else "full", "csr", "cython")
    ones, unit = np.ones(geometry.shape, np.float32), radial_unit("r_m")
    selected = np.zeros(ones.size, np.bool_)
    integrator = geometry.integrator if integrator is None else integrator
    for piece in wrap_azimuth(limits):
        keys = {"unit": unit, "method": used, "correctSolidAngle": False, "azimuth_range": piece}
        engine = integrator.engines[integrator.integrate1d(ones, 1, **keys).method].engine
        selected |= Matrix.of(engine, ones.size, 1).used_pixels
    if not selected.any():
        raise ConfigError(f"integ.azimuth_range={limits}: no pixel of the detector is there")
    return selected


def ascending_edges(numbers: Any, setting: str) -> NDArray[np.float64]:
    """Return the edges of bins as an array.

    Parameters
    ----------
    numbers
        The edges.
    setting
        Key and value of the configuration, the beginning of the message.

    Raises
    ------
    ConfigError
        The edges are not two or more ascending finite numbers.
    """
    try:
        edges = np.asarray(numbers, float)
    except (ValueError, TypeError):
        edges = np.empty((0, 0))
    if edges.ndim != 1 or edges.size < 2 or not (np.isfinite(edges).all() and (np.diff(edges) > 0).all()):
        raise ConfigError(f"{setting}: two or more ascending numbers expected, or a file of them")
    return edges


def radial_units() -> list[str]:
    """Return the names of the radial units of pyFAI."""
    from pyFAI.units import RADIAL_UNITS

    return sorted(RADIAL_UNITS)


def radial_unit(name: str) -> Any:
    """Return the radial unit of pyFAI with this name.

    Raises
    ------
    ConfigError
        There is no such unit in pyFAI; the message names the nearest one.
    """
    from pyFAI.units import RADIAL_UNITS

    if name not in RADIAL_UNITS:
        raise ConfigError(f"integ.unit={name}: pyFAI has no such radial unit; {nearest(name, RADIAL_UNITS)}")
    return RADIAL_UNITS[name]


def needs_wavelength(unit: Any) -> bool:
    """Return True if values in this unit depend on the wavelength."""
    return "λ" in (unit.formula or "") or "q" in unit.name or unit.name.startswith("d")


def integration_method(name: Any, dim: int = 1) -> Any:
    """Return an IntegrationMethod of pyFAI.

    Parameters
    ----------
    name
        A name, or a list of split, algorithm and implementation; with OpenCL also a device.
    dim
        1 for patterns, 2 for cakes.

    Raises
    ------
    ConfigError
        The method is unknown or not available here, and pyFAI would silently take another one.
    """
    import pyFAI.integrator.azimuthal  # noqa: F401 - fills the registry
    from pyFAI.method_registry import IntegrationMethod

    if not isinstance(name, (str, list, tuple)):
        raise ConfigError(f"integ.method={name}: a name, or [split, algorithm, implementation] expected")
    if isinstance(name, (list, tuple)):
        name = ["no" if word is False else word for word in name]  # YAML reads a bare no as False
    key = f"integ.method={name if isinstance(name, str) else '[' + ','.join(map(str, name)) + ']'}"
    words = re.split(r"[_,]", name.lower()) if isinstance(name, str) else [str(word).lower() for word in name]
    if isinstance(name, str):
        registry = [method for method in IntegrationMethod._registry.values() if method.dimension == dim]
        names = sorted({method.old_method_name for method in registry if method.old_method_name})
        if name.lower() not in names and not set(words) <= {*MEANING, "nosplit", "splitbbox"}:
            raise ConfigError(f"{key}: pyFAI has no such method; {nearest(name, names)}")
        query: Any = name.lower()
    else:
        options = (("no", "bbox", "pseudo", "full"), ("histogram", "lut", "csr", "csc"), ("python", "cython", "opencl"))
        if not 3 <= len(words) <= 3 + (words[2:3] == ["opencl"]):
            raise ConfigError(f"{key}: [split, algorithm, implementation] expected, with opencl also a device")
        for word, allowed in zip(words, options, strict=False):
            if word not in (*allowed, "*", "any"):
                raise ConfigError(f"{key}: {nearest(word, allowed)}")
        query = tuple(name)
    try:
        method = IntegrationMethod.select_one_available(query, dim=dim, default=None, degradable=False)
    except (ValueError, AttributeError):  # pyFAI raises these for some methods that it does not have
        method = None
    expected = {MEANING[word] for word in words if word in MEANING}
    if method is None or not expected <= {method.split_lower, method.algo_lower, method.impl_lower}:
        raise ConfigError(f"{key}: not available here; pyFAI would quietly take another one")
    return method
