"""Rings of a phase over a frame, and what the geometry says of one pixel."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...model.errors import ConfigError
from ..result import Result
from ..session import Session
from .phases import reflections
from .shapes import angle_at

SIDE = 400  # nodes of the grid on which rings are drawn, of the longer side
MOST = 60  # rings


def phase_rings(session: Session, phase: str) -> list[dict[str, Any]]:
    """Return the rings of a phase that are on the frame, see `phases.reflections`.

    Returns
    -------
    list of dict
        ``d`` (angstrom), ``hkl`` or None, ``two_theta`` (degrees), and ``lines``: lists of points (slow, fast).

    Raises
    ------
    ConfigError
        There is no such phase, or the geometry has no wavelength.
    """
    wavelength = session.plan.poni.wavelength
    if wavelength is None:
        raise ConfigError(f"phase={phase}: rings need a wavelength, which {session.plan.poni.path} does not have")
    first, last = float(session.two_theta.min()), float(session.two_theta.max())
    least = wavelength * 1e10 / 2 / math.sin(last / 2)
    lines_at = _contours(session.two_theta)
    found: list[dict[str, Any]] = []
    for spacing, indices in reflections(phase, session.phases, least):
        sine = wavelength * 1e10 / 2 / spacing
        two_theta = 2 * math.asin(sine) if sine < 1 else math.inf
        if first <= two_theta <= last and len(found) < MOST:
            about = {"d": spacing, "hkl": indices, "two_theta": math.degrees(two_theta)}
            found.append({**about, "lines": lines_at(two_theta)})
    return found


def rings_through(session: Session, points: list[tuple[float, float]]) -> list[dict[str, Any]]:
    """Return the lines of constant 2theta through some points (slow, fast), as `phase_rings` does."""
    lines_at = _contours(session.two_theta)
    wavelength, found = session.plan.poni.wavelength, []
    for point in points:
        angle = angle_at(session.two_theta, point)
        spacing = None if wavelength is None or not angle else wavelength * 1e10 / 2 / math.sin(angle / 2)
        about = {"d": spacing, "hkl": None, "two_theta": math.degrees(angle)}
        found.append({**about, "lines": lines_at(angle)})
    return found


def beam_centre(session: Session) -> list[float] | None:
    """Return where 2theta is 0 (slow, fast); None if that is not on the detector."""
    angles = session.two_theta
    slow, fast = np.unravel_index(int(np.argmin(angles)), angles.shape)
    near = angles[max(slow - 1, 0) : slow + 2, max(fast - 1, 0) : fast + 2]
    return [float(slow) + 0.5, float(fast) + 0.5] if angles[slow, fast] <= np.ptp(near) else None


def _contours(angles: NDArray[np.float32]) -> Callable[[float], list[list[list[float]]]]:
    """Return a function from 2theta (rad) to its lines: points (slow, fast)."""
    from contourpy import LineType, contour_generator

    step = max(1, max(angles.shape) // SIDE)
    slow, fast = (np.unique([*range(0, size, step), size - 1]) for size in angles.shape)
    grid = np.tan(angles[np.ix_(slow, fast)].astype(float) / 2)  # nearly linear along a radius
    generator = contour_generator(x=fast + 0.5, y=slow + 0.5, z=grid, line_type=LineType.Separate)

    def lines(angle: float) -> list[list[list[float]]]:
        return [np.asarray(line)[:, ::-1].round(2).tolist() for line in generator.lines(math.tan(angle / 2))]

    return lines


def describe_pixel(session: Session, result: Result, slow: float, fast: float) -> dict[str, Any]:
    """Return value, angles and reasons of the pixel at a position; nulls where there is none.

    Returns
    -------
    dict
        ``value`` (as read) and ``subtracted`` (after all stages), counts; ``q`` (1/angstrom), ``two_theta`` and
        ``azimuth`` (degrees), ``d`` (angstrom) at the very position; ``masked``: the reasons of its pixel.
    """
    from ...numerics.metrics import REASONS

    if not (math.isfinite(slow) and math.isfinite(fast)):
        raise ConfigError(f"slow={slow}, fast={fast}: numbers expected")
    at = math.floor(slow), math.floor(fast)
    if not all(0 <= place < size for place, size in zip(at, session.shape, strict=True)):
        names = ("value", "subtracted", "q", "two_theta", "d", "azimuth")
        return {**dict.fromkeys(names), "masked": [], "pixel": None}
    integrator = session.integrator
    where = np.array([slow - 0.5]), np.array([fast - 0.5])  # pyFAI counts from the centre of the first pixel
    two_theta, azimuth = float(integrator.tth(*where)[0]), float(integrator.chi(*where)[0])
    wavelength = session.plan.poni.wavelength
    q = None if wavelength is None else 4 * math.pi * math.sin(two_theta / 2) / (wavelength * 1e10)
    mask = result.frame.mask
    bits = 0 if mask is None else int(mask[at])
    return {
        "pixel": list(at),
        "value": _finite(result.raw.image[at]),
        "subtracted": _finite(result.frame.image[at]),
        "q": q,
        "two_theta": math.degrees(two_theta),
        "d": 2 * math.pi / q if q else None,
        "azimuth": math.degrees(azimuth),
        "masked": [reason for bit, reason in enumerate(REASONS) if bits & (1 << bit)],
    }


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
