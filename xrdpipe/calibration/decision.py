"""Whether a frame decides its geometry, and the reason why it does not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..model.errors import FrameError
from .cone import Cone, line_gaps, nearest_line, ring_shift
from .refine import Refined, cone_of, geometry_at, values_of
from .ridges import Ridges
from .search import FINE, MUTE, Hypothesis

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Limits of the evidence, with what `benchmarks/calibration.py` measures on its even seeds (about 90 frames of which the
# right geometry is found, and 56 of which something wrong is said; see its --hostile)
SHARE = 0.37  # of the points on ridges on rings of the calibrant, at least; right 0.46 to 1, wrong to 0.29
CHANCE = 0.3  # of the points that chance would not put on rings, share that has to lie there, at least
EXTRA = 0.2  # of the points on ridges on rings that are not the calibrant's, at most; right to 0.16
PRESENT = 0.8  # of the rings from the first seen to the last that are there, at least; right 1, but for shadows
DOUBTFUL = 0.03, 0.999  # extra and present beyond which other calibrants are compared
OFFSET = 0.25  # pixels: root mean square of the rings' mean residuals, at most; right to 0.10, wrong from 0.28
TRUSTED = 0.05  # pixels: rings whose mean is known better than this count alike
LARGE, SMALL = 1.0, 0.3  # pixels: residual that is too large, and that is small whatever the counts say (real: 0.2)
NOISY = 1.6  # times the error of the counts, a residual beyond SMALL, at most; right ones to 1.2, wrong ones from 2.2
UNSURE = 1.0  # pixels: error of a ring's place anywhere on the detector that is too large
LOOSE = 0.01  # relative error of distance or wavelength that is too large

SHORT = 100  # pixels on and beside a ring without which nothing is said about it
NEAR, BASE, APART = 1.5, 4.0, 6.0  # pixels: the ring itself, and where its surroundings begin and end
ALONE = 8.0  # pixels to the next ring without which nothing is said about one
FAINT = 0.1  # of the median of the rings that are seen: a ring that is weaker is not there
BESIDE = 4.0  # pixels from all rings of the calibrant, from which on a point may lie on another ring
CROWD, CROWDED = 0.04, 3.0  # of all points, and times the points around it: what lies on one other ring


@dataclass(frozen=True)
class Evidence:
    """What speaks for a geometry.

    Attributes
    ----------
    share, chance
        Share of the points on ridges that lie on rings of the calibrant, and that would by chance; without points
        among crowded rings.
    extra
        Share of the points on ridges that lie on rings that the calibrant does not have.
    present
        Share of the calibrant's rings, between the first and the last one seen, that are there.
    rms, excess
        Root mean square of the residuals of the control points: pixels, and times the error of the counts.
    offset
        Root mean square of the rings' mean residuals beyond their errors, pixels.
    """

    share: float
    chance: float
    extra: float
    present: float
    rms: float
    excess: float
    offset: float

    @property
    def doubtful(self) -> bool:
        """There are rings that the calibrant does not have, or some of its rings are missing."""
        return self.extra > DOUBTFUL[0] or self.present < DOUBTFUL[1]


def evidence_of(
    refined: Refined, found: Hypothesis, ridges: Ridges, lines: Floats, image: Floats, good: Bools, scatter: float
) -> Evidence:
    """Return what speaks for a geometry; ``found`` is what it makes of the points on ridges."""
    cone, points = cone_of(refined.geometry), refined.points
    angles, slope = cone.two_theta(ridges.points), cone.slope(ridges.points)
    telling = found.labels != MUTE
    place = np.clip(np.searchsorted(lines, angles[telling]), 1, len(lines) - 1)
    chance = float(np.clip(2 * FINE * slope[telling] / (lines[place] - lines[place - 1]), 0, 1).mean())
    errors = points.sigma
    rings = np.unique(points.rings)
    each = points.rings == rings[:, None]
    means = np.array([np.average(refined.residuals[mine], weights=errors[mine] ** -2) for mine in each])
    known = 1 / np.array([(errors[mine] ** -2).sum() for mine in each])  # their variance
    offset = float(np.average(means**2 - known, weights=1 / (known + TRUSTED**2)))
    return Evidence(
        found.share,
        chance,
        _extra(angles, slope, lines),
        _present(image, good, cone, lines, rings, scatter),
        refined.rms,
        refined.excess,
        float(np.sqrt(max(offset, 0.0))),
    )


def _extra(angles: Floats, slope: Floats, lines: Floats) -> float:
    """Return the share of points that lie on rings without a line."""
    away = np.abs(angles - lines[nearest_line(angles, lines)]) / slope > BESIDE
    step = 2 * float(np.median(slope))
    place = (angles / step).astype(np.intp)
    every = np.bincount(place)
    others = np.bincount(place[away], minlength=len(every))
    pairs = others[:-1] + others[1:]
    around = np.convolve(others, np.ones(12) / 6, mode="same")[: len(pairs)]
    crowded = pairs > np.maximum(CROWD * len(angles), CROWDED * np.maximum(around - pairs / 6, 0))
    inside = np.zeros(len(every), np.bool_)
    inside[:-1] |= crowded
    inside[1:] |= crowded
    return float(others[inside].sum() / len(angles))


def _present(image: Floats, good: Bools, cone: Cone, lines: Floats, seen: NDArray[np.intp], scatter: float) -> float:
    """Return the share of rings, between the first and the last one seen, that rise above their surroundings."""
    slow, fast = np.nonzero(good)
    points: Floats = np.stack([slow, fast], axis=1).astype(np.float64) + 0.5
    angles = cone.two_theta(points)
    order = np.argsort(angles)
    angles, points, value = angles[order], points[order], image[slow, fast][order]
    widest = APART * float(cone.slope(points[:: max(len(points) // 10000, 1)]).max())
    gaps = line_gaps(lines)
    strengths: list[tuple[float, float]] = []
    known = []
    for number in range(seen.min(), seen.max() + 1):
        window = slice(*np.searchsorted(angles, [lines[number] - widest, lines[number] + widest]))
        slope = cone.slope(points[window])
        away = (angles[window] - lines[number]) / slope
        gap = gaps[number] / np.median(slope) if len(slope) else 0.0
        on = value[window][np.abs(away) < NEAR]
        sides = [value[window][(sign * away > BASE) & (sign * away < APART)] for sign in (1, -1)]
        if gap > ALONE and min(len(on), *map(len, sides)) >= SHORT:
            off = min(float(side.mean()) for side in sides)  # another ring may be near on one side
            error = np.sqrt(scatter * max(abs(off), 0.05) * (1 / len(on) + 1 / min(map(len, sides))))
            strengths.append((float(on.mean()) - off, float(error)))
            known.append(number in seen)
    height, error = np.array(strengths).reshape(-1, 2).T
    usual = np.median(height[known]) if any(known) else 0.0
    missing = ~np.array(known, np.bool_) & (height < 3 * error) & (height + 2 * error < FAINT * usual)
    return 1 - float(missing.sum()) / (len(seen) + float(missing.sum()))


def check_evidence(evidence: Evidence) -> None:
    """Raise FrameError unless the rings are those of the calibrant, to the error of the counts."""
    least = max(SHARE, evidence.chance + CHANCE * (1 - evidence.chance))
    if evidence.share < least:
        raise FrameError(
            f"the rings do not agree with the calibrant: {100 * evidence.share:.0f} % of their points lie on its "
            f"rings, {100 * evidence.chance:.0f} % would by chance; check calibrant and wavelength, mask what is no "
            "ring"
        )
    if evidence.extra > EXTRA:
        raise FrameError(
            f"{100 * evidence.extra:.0f} % of the points on rings lie on rings that the calibrant does not have: check "
            "calibrant and wavelength, mask what is not the calibrant's"
        )
    if evidence.rms > LARGE or (evidence.rms > SMALL and evidence.excess > NOISY):
        raise FrameError(
            f"the rings do not fit to better than {evidence.rms:.2f} pixels, {evidence.excess:.1f} times the error of "
            "the counts: check calibrant and wavelength; a bent or distorted detector needs its own description"
        )
    if evidence.offset > OFFSET:
        raise FrameError(
            f"the rings lie {evidence.offset:.2f} pixels from those of the calibrant: check calibrant and wavelength"
        )
    if evidence.present < PRESENT:
        raise FrameError(
            f"{100 * (1 - evidence.present):.0f} % of the calibrant's rings are missing between the first and the last "
            "one seen: check calibrant and wavelength"
        )


def _grid(shape: tuple[int, int]) -> Floats:
    sides = [np.linspace(0.5, size - 0.5, 9) for size in shape]
    return np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 2)


def apart(one: Refined, other: Refined, shape: tuple[int, int]) -> float:
    """Return the largest distance of the rings of two geometries on the detector, pixels."""
    return float(ring_shift(cone_of(other.geometry), cone_of(one.geometry), _grid(shape)).max())


def check_parameters(refined: Refined, shape: tuple[int, int]) -> None:
    """Raise FrameError unless the control points determine distance, wavelength and the place of every ring."""
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
            values = values_of(geometry)
            values[name] += sign * 0.1 * error
            other = geometry_at(values, geometry.detector)
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
