"""From the frame of a calibrant to a geometry, or to the reason why the frame does not decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.errors import FrameError
from .cone import Cone
from .refine import FLOOR, NAMES, Refined, cone_of, geometry_of, refine_geometry
from .ridges import Ridges, find_ridges, good_pixels, scatter_of
from .search import FINE, Hypothesis, judge, refine, same, search

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FIXED = ("rot3", "wavelength")  # by default
FEWEST = 40  # points on rings that a search needs
RINGS, RINGS_FROM_START = 3, 2  # with control points, at least
POINTS = 3  # control points of a ring that counts
ALIKE = 0.8  # of the best score, from which on another geometry fits alike
SHARE = 0.5  # of the points on ridges that lie on rings of the calibrant, at least
CHANCE = 0.4  # of the points that chance would not put on rings, share that has to lie there, at least
PRESENT = 0.7  # of the calibrant's rings between the first and the last one seen that are there, at least
SHORT = 100  # pixels on and beside a ring without which nothing is said about it
NEAR, APART = 1.5, 4.0  # pixels: the ring itself, and its surroundings
LARGE, SMALL = 1.0, 0.3  # pixels: residual that is too large, and that is small whatever the counts say
NOISY = 3.0  # times the error of the counts, residual that the counts do not explain
UNSURE = 1.0  # pixels: error of a ring's place anywhere on the detector that is too large
LOOSE = 0.01  # relative error of distance or wavelength that is too large
START = (20.0, 6.0)  # pixels between a start and the rings that are tried


@dataclass(frozen=True)
class Ring:
    """A ring with control points: its number from 1, d (angstrom), 2theta (rad), points and residual (pixels)."""

    number: int
    d: float
    two_theta: float
    points: int
    rms: float


@dataclass(frozen=True)
class Calibrated:
    """A geometry that the frame decides.

    Attributes
    ----------
    refined
        Geometry, control points, residuals and covariance.
    rings
        Rings with control points.
    share
        Share of the points on ridges that lie on rings of the calibrant.
    present
        Share of the calibrant's rings, between the first and the last one seen, that are there.
    """

    refined: Refined
    rings: tuple[Ring, ...]
    share: float
    present: float

    @property
    def values(self) -> dict[str, float]:
        """Parameters by their names in pyFAI, m and rad."""
        return {name: float(getattr(self.refined.geometry, name)) for name in NAMES}

    @property
    def errors(self) -> dict[str, float]:
        """Standard deviations of the refined parameters, m and rad."""
        diagonal = np.sqrt(np.maximum(np.diag(self.refined.covariance), 0))
        return dict(zip(self.refined.free, map(float, diagonal), strict=True))

    def correlations(self, least: float) -> list[tuple[str, str, float]]:
        """Return the pairs of parameters whose correlation is at least ``least``, up to its sign."""
        sigma = np.sqrt(np.maximum(np.diag(self.refined.covariance), 1e-300))
        matrix = self.refined.covariance / np.outer(sigma, sigma)
        free = self.refined.free
        pairs = [(i, j) for i in range(len(free)) for j in range(i + 1, len(free))]
        return [(free[i], free[j], float(matrix[i, j])) for i, j in pairs if abs(matrix[i, j]) >= least]


def calibrate(
    image: NDArray[np.floating],
    bad: Bools,
    detector: Any,
    calibrant: Any,
    start: Any = None,
    fix: Sequence[str] = FIXED,
) -> Calibrated:
    """Find the geometry of a frame.

    Parameters
    ----------
    image
        Counts, (slow, fast).
    bad
        True for pixels without a value.
    detector
        Detector of pyFAI with square pixels, a plane, and orientation 3.
    calibrant
        Calibrant of pyFAI with its wavelength.
    start
        Geometry of pyFAI with the same detector, from which the refinement starts; None finds one.
    fix
        Names of the parameters that keep their values.

    Returns
    -------
    Calibrated
        The geometry.

    Raises
    ------
    FrameError
        The frame does not decide; the message says what is missing.
    """
    image = image.astype(np.float64)
    good = good_pixels(image, bad)
    lines = np.array(calibrant.get_2th())
    ridges = find_ridges(image, good)
    if len(ridges.points) < FEWEST:
        raise FrameError("no rings stand out of the noise; take a longer exposure, or mask what hides them")
    shape = (image.shape[0], image.shape[1])
    started = [] if start is None else _from_start(start, ridges, lines)
    searched = search(ridges, lines, shape) if start is None or set(fix) <= set(FIXED) else []
    if start is not None and not started:
        raise FrameError("the rings lie too far from those of poni=; leave it out, or correct its distance and centre")
    found = started or searched
    if not found:
        raise FrameError("no geometry puts the rings of this calibrant on those of the frame; check calibrant")
    scatter = scatter_of(image, good)
    rot3 = 0.0 if start is None else start.rot3

    def refined_of(each: Hypothesis) -> Refined | None:
        geometry = geometry_of(each.cone, detector, calibrant.wavelength)
        geometry.rot3 = rot3
        if start is not None:
            for name in fix:
                setattr(geometry, name, getattr(start, name))
        return refine_geometry(image, good, geometry, calibrant, scatter, fix)

    best = refined_of(found[0])
    if best is None:
        raise FrameError(f"only {_seen(found[0])} of the calibrant's rings can be measured; {RINGS} are needed")
    final = judge(cone_of(best.geometry), ridges, lines)
    rings = _rings(best, calibrant, lines)
    least = RINGS if start is None else RINGS_FROM_START
    if len(rings) < least:
        raise FrameError(
            f"{len(rings)} rings can be measured, {least} are needed: take a frame with more rings (a larger angle, a "
            f"shorter distance) or more counts{'' if start else ', or start from a geometry, poni='}"
        )
    _check_agreement(final, best, ridges, lines)
    present = _present(image, good, cone_of(best.geometry), lines, [ring.number - 1 for ring in rings], scatter)
    if present < PRESENT:
        raise FrameError(
            f"{100 * (1 - present):.0f} % of the calibrant's rings are missing between the first and the last one "
            "seen: check calibrant and wavelength"
        )
    _check_parameters(best, shape)
    for other in searched:
        if other.score < ALIKE * final.score or same(other.cone, final.cone, shape):
            continue
        rival = refined_of(other)
        if rival is not None and _apart(rival, best, shape) > 2 and _as_good(rival, best, final, ridges, lines):
            raise FrameError(
                "two geometries fit alike: take a frame with more rings, or longer arcs of them, or start from a "
                "geometry that is nearly right, poni="
            )
    return Calibrated(best, rings, final.share, present)


def _from_start(start: Any, ridges: Ridges, lines: Floats) -> list[Hypothesis]:
    """Return what the points on rings make of a start, the best first."""
    cones = [refine(cone_of(start), width, ridges, lines) for width in START]
    return sorted((judge(cone, ridges, lines) for cone in cones if cone is not None), key=lambda each: -each.score)


def _seen(found: Hypothesis) -> int:
    return len(np.unique(found.labels[found.labels >= 0]))


def _rings(refined: Refined, calibrant: Any, lines: Floats) -> tuple[Ring, ...]:
    rings = []
    for number in np.unique(refined.points.rings):
        residuals = refined.residuals[refined.points.rings == number]
        if len(residuals) >= POINTS:
            rms = float(np.sqrt(np.mean(residuals**2)))
            d = float(calibrant.dspacing[number])
            rings.append(Ring(int(number) + 1, d, float(lines[number]), len(residuals), rms))
    return tuple(rings)


def _check_agreement(final: Hypothesis, refined: Refined, ridges: Ridges, lines: Floats) -> None:
    """Raise FrameError unless the rings are those of the calibrant, to the error of the counts."""
    share = final.share
    cone = cone_of(refined.geometry)
    slope = cone.slope(ridges.points)
    place = np.clip(np.searchsorted(lines, cone.two_theta(ridges.points)), 1, len(lines) - 1)
    chance = float(np.clip(2 * FINE * slope / (lines[place] - lines[place - 1]), 0, 1).mean())
    if share < max(SHARE, chance + CHANCE * (1 - chance)):
        raise FrameError(
            f"the rings do not agree with the calibrant: {100 * share:.0f} % of their points lie on its rings, "
            f"{100 * chance:.0f} % would by chance; check calibrant and wavelength, mask what is no ring"
        )
    errors = np.hypot(refined.points.errors, FLOOR)
    excess = float(np.sqrt(np.mean((refined.residuals / errors) ** 2)))
    if refined.rms > LARGE or (refined.rms > SMALL and excess > NOISY):
        raise FrameError(
            f"the rings do not fit to better than {refined.rms:.2f} pixels, {excess:.1f} times the error of the "
            "counts: check calibrant and wavelength; a bent or distorted detector needs its own description"
        )


def _present(image: Floats, good: Bools, cone: Cone, lines: Floats, seen: Sequence[int], scatter: float) -> float:
    """Return the share of rings, between the first and the last one seen, that rise above their surroundings."""
    slow, fast = np.nonzero(good)
    points = np.stack([slow, fast], axis=1) + 0.5
    angles, slope = cone.two_theta(points), cone.slope(points)
    value = image[slow, fast]
    there = total = 0
    for number in range(min(seen), max(seen) + 1):
        window = np.flatnonzero(np.abs(angles - lines[number]) < APART * slope.max())
        away = np.abs(angles[window] - lines[number]) / slope[window]
        others = np.delete(lines, number)
        gap = np.abs(others - lines[number]).min() / np.median(slope[window]) if len(window) else 0.0
        on, off = value[window[away < NEAR]], value[window[(away > APART - NEAR) & (away < APART)]]
        if number in seen:
            there, total = there + 1, total + 1
        elif gap > 2 * APART and min(len(on), len(off)) >= SHORT:
            error = np.sqrt(scatter * max(abs(float(off.mean())), 0.05) * (1 / len(on) + 1 / len(off)))
            total += 1
            there += int(on.mean() - off.mean() > 3 * error)
    return there / max(total, 1)


def _grid(shape: tuple[int, int]) -> Floats:
    sides = [np.linspace(0.5, size - 0.5, 9) for size in shape]
    return np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 2)


def _apart(one: Refined, other: Refined, shape: tuple[int, int]) -> float:
    """Return the largest distance of the rings of two geometries on the detector, pixels."""
    points = _grid(shape)
    cones = [cone_of(each.geometry) for each in (one, other)]
    step = np.abs(cones[0].two_theta(points) - cones[1].two_theta(points))
    return float((step / cones[1].slope(points)).max())


def _as_good(rival: Refined, best: Refined, final: Hypothesis, ridges: Ridges, lines: Floats) -> bool:
    score = judge(cone_of(rival.geometry), ridges, lines).score
    return score > ALIKE * final.score and rival.rms < max(2 * best.rms, SMALL)


def _check_parameters(refined: Refined, shape: tuple[int, int]) -> None:
    """Raise FrameError unless the control points determine distance, wavelength and the place of every ring."""
    from copy import copy

    geometry, points = refined.geometry, _grid(shape)
    sigma = np.sqrt(np.maximum(np.diag(refined.covariance), 0))
    for name, error in zip(refined.free, sigma, strict=True):
        if name in ("dist", "wavelength") and error > LOOSE * getattr(geometry, name):
            what = "distance" if name == "dist" else name
            share = 100 * error / getattr(geometry, name)
            raise FrameError(
                f"the {what} is not determined (to {share:.2g} % only): take a frame with more rings at larger angles"
                f"{', or fix the wavelength' if 'wavelength' in refined.free else ''}"
            )
    columns = []
    for name, error in zip(refined.free, sigma, strict=True):
        if name == "wavelength":
            continue
        ends = []
        for sign in (1, -1):
            other = copy(geometry)
            setattr(other, name, getattr(geometry, name) + sign * 0.1 * error)
            ends.append(other.tth(points[:, 0] - 0.5, points[:, 1] - 0.5))
        columns.append((ends[0] - ends[1]) / max(0.2 * float(error), 1e-300))
    moved = [number for number, name in enumerate(refined.free) if name != "wavelength"]
    jacobian = np.stack(columns, axis=1)
    variance = np.einsum("ni,ij,nj->n", jacobian, refined.covariance[np.ix_(moved, moved)], jacobian)
    slope = cone_of(geometry).slope(points)
    worst = float((np.sqrt(np.maximum(variance, 0)) / slope).max())
    if worst > UNSURE:
        raise FrameError(
            f"tilt and centre are not determined: a ring may lie {worst:.1f} pixels off at the edge of the detector; "
            "take a frame with more rings or longer arcs, or fix=[rot1,rot2] with poni="
        )
