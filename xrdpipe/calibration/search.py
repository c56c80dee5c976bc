"""Search for the geometry of a frame of a calibrant without start values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from .cone import Cone, line_room, nearest_line
from .ridges import Ridges
from .starts import fit_chains, from_centres, long_chains, same, steep

Floats = NDArray[np.float64]

SCALES = np.geomspace(0.88, 1.14, 180)  # of a distance: between two of these there is less than a pixel
TOLERANCES = (1.2, 3.0, 8.0, 20.0)  # pixels between a point and its ring
FINE = 1.2
MISSING = 0.35  # chance that a ring of the calibrant is not seen
TRIED_FIRST, TRIED = 8, 30  # best geometries that are refined, without strong tilts and with them
CERTAIN, MOST = 12.0, 0.8  # score, and share of the points on rings, from which on no other geometry is looked for
SHARES = 800  # points that a search uses
CROWDED = 4.0  # pixels between lines that are so close that a point near one of them says nothing
SILENCE = 5.0  # score that is lost where all points are among crowded lines
NONE, MUTE = -1, -2  # labels of points that lie on no line, and of those among crowded lines


@dataclass(frozen=True)
class Hypothesis:
    """A geometry, and how well it explains the rings.

    Attributes
    ----------
    cone
        The geometry.
    score
        Logarithm of the odds against chance.
    labels
        Ring of each point, `NONE` or `MUTE`, (n,).
    misfit
        Root mean square distance of the points from their rings, pixels.
    """

    cone: Cone
    score: float
    labels: NDArray[np.intp]
    misfit: float

    @property
    def share(self) -> float:
        """Share of the points that lie on rings, of those that are not among crowded rings."""
        return float((self.labels >= 0).sum() / max((self.labels != MUTE).sum(), 1))


def search(ridges: Ridges, lines: Floats, shape: tuple[int, int]) -> list[Hypothesis]:
    """Return the geometries that explain the rings, the best one first.

    Parameters
    ----------
    ridges
        Points on rings.
    lines
        Scattering angles of the calibrant's rings, rad, increasing.
    shape
        Of the frame, (slow, fast).
    """
    some, chains = _share(ridges), long_chains(ridges)
    few = some.part(np.arange(0, len(some.points), 2))
    found: list[tuple[float, float, Cone]] = []
    refined: list[Hypothesis] = []
    for cones, tried in ((from_centres(some, chains, shape), TRIED_FIRST), (steep(some, chains, shape), TRIED)):
        for cone in cones:
            found.extend(_scales(cone, few, lines))
        found.sort(key=lambda each: -each[0])
        for _, width, scaled in found[:tried]:
            starts = [scaled]
            if len(chains.points):  # chains of grains may run across rings: both ways
                starts.append(fit_chains(scaled, chains, float(max(shape))))
            for start in starts:
                fitted = refine(start, width, some, lines)
                if fitted is not None and not any(same(fitted, other.cone, shape) for other in refined):
                    refined.append(judge(fitted, some, lines))
        refined.sort(key=lambda each: -each.score)
        if refined and refined[0].score > CERTAIN and refined[0].share > MOST:
            break
    return refined


def _share(ridges: Ridges) -> Ridges:
    count = len(ridges.points)
    if count <= SHARES:
        return ridges
    return ridges.part(np.random.default_rng(1).permutation(count)[:SHARES])


def _scales(cone: Cone, ridges: Ridges, lines: Floats) -> list[tuple[float, float, Cone]]:
    """Return score, tolerance (pixels) and cone of the distances near this one at which most points lie on rings."""
    angles = cone.two_theta(ridges.points)
    slopes = cone.slope(ridges.points)
    tangents = np.tan(np.minimum(angles, 1.55))
    results = list[tuple[float, float, float]]()
    table = _scores(np.arctan(tangents / SCALES[:, None]), slopes / SCALES[:, None], lines, TOLERANCES)
    scores, widths = table.max(axis=1), np.take(TOLERANCES, table.argmax(axis=1))
    for number in np.argsort(scores)[::-1]:
        if all(abs(np.log(SCALES[number] / each)) > 0.02 for each, _, _ in results):
            results.append((SCALES[number], scores[number], widths[number]))
        if len(results) == 2:
            break
    return [  # the ridges tell the tilt over the distance
        (score, width, Cone(cone.slow, cone.fast, cone.length * scale, cone.tilt_slow * scale, cone.tilt_fast * scale))
        for scale, score, width in results
    ]


def best_score(cone: Cone, ridges: Ridges, lines: Floats) -> float:
    """Return the best score at distances near that of a cone, from 0.88 to 1.14 times it."""
    return max(score for score, _, _ in _scales(cone, ridges, lines))


def _scores(angles: Floats, slopes: Floats, lines: Floats, tolerances: Sequence[float]) -> Floats:
    """Return the log of the odds that points lie on the lines not by chance.

    Parameters
    ----------
    angles, slopes
        Of the points in each of several geometries, rad and rad a pixel, (geometries, points).
    lines
        Scattering angles of the rings, rad, increasing.
    tolerances
        Pixels between a point and its line.

    Returns
    -------
    array
        One score for each geometry and tolerance, (geometries, tolerances).
    """
    lines = lines[: max(int(np.searchsorted(lines, angles.max())) + 2, 3)]
    nearest = nearest_line(angles, lines)
    distance = np.abs(angles - lines[nearest]) / slopes
    room = line_room(lines)
    closeness = 2 * slopes / room[nearest]
    outside = (angles < lines[0] - room[0]) | (angles > lines[-1] + room[-1])
    telling = outside | (closeness < 2 / CROWDED)
    number = angles.shape[1]
    told = np.maximum(telling.sum(axis=1), 1)
    ends = [number // 100, number - 1 - number // 100]
    low, high = np.partition(angles, ends, axis=1)[:, ends].T
    slope = slopes.mean(axis=1)
    every, column = np.arange(len(angles)), np.arange(len(lines))
    row = every[:, None] * len(lines)
    clear = room > CROWDED * slope[:, None]  # (geometries, lines)
    before = np.concatenate([np.zeros((len(angles), 1), np.intp), clear.cumsum(axis=1)], axis=1)
    results = np.empty((len(angles), len(tolerances)))
    for place, tolerance in enumerate(tolerances):
        hit = distance < tolerance
        chances = np.clip(np.where(outside, 0.05, tolerance * closeness), 0.02, 0.98)
        share, chance = (np.where(telling, each, 0).sum(axis=1) / told for each in (hit, chances))
        first = np.searchsorted(lines, low - tolerance * slope)
        last = np.searchsorted(lines, high + tolerance * slope)
        expected = before[every, last] - before[every, first]
        seen = np.bincount((row + nearest)[hit], minlength=len(angles) * len(lines)).reshape(len(angles), -1)
        enough = clear & (seen >= np.maximum(3.0, 0.1 * told / np.maximum(expected, 1))[:, None])
        present = (enough & (column >= first[:, None]) & (column < last[:, None])).sum(axis=1)
        # gain of every ring that is there, by how much the points that may tell prefer lines to chance
        gain = _information(share, np.maximum(chance, 0.02)) * np.maximum(present, 1) * told / number
        results[:, place] = gain + (expected - present) * np.log(1 - MISSING) * 0.5 - SILENCE * (1 - told / number)
    return results


def _labels(cone: Cone, points: Floats, lines: Floats, tolerance: float) -> tuple[NDArray[np.intp], Floats]:
    """Return the line of each point within the tolerance, `NONE` or `MUTE`, and its distance in pixels."""
    angles, slopes = cone.two_theta(points), cone.slope(points)
    nearest = nearest_line(angles, lines)
    distance = (angles - lines[nearest]) / slopes
    labels = np.where(np.abs(distance) < tolerance, nearest, NONE)
    inside = (angles > lines[0]) & (angles < lines[-1])
    return np.where(inside & (line_room(lines)[nearest] < CROWDED * slopes), MUTE, labels), distance


def _information(share: Floats, chance: Floats) -> Floats:
    """Return the mean gain per ring, in nats, of points of which a share lies on lines that chance reaches less."""
    share = np.clip(share, 1e-3, 1 - 1e-3)
    gain = share * np.log(share / chance) + (1 - share) * np.log((1 - share) / (1 - chance))
    return np.asarray(np.where(share > chance, gain, 0.0))


def refine(cone: Cone, width: float, ridges: Ridges, lines: Floats) -> Cone | None:
    """Fit all five numbers to the points on rings; None if the fit runs away."""
    for tolerance in np.geomspace(width, FINE, 3 + int(np.log2(width / FINE))):
        labels, _ = _labels(cone, ridges.points, lines, tolerance)
        used = labels >= 0
        if used.sum() < 20:
            return None
        points, target = ridges.points[used], lines[labels[used]]

        def residuals(vector: Floats, points: Floats = points, target: Floats = target) -> Floats:
            trial = Cone.of(vector)
            return (trial.two_theta(points) - target) / trial.slope(points)

        def derivatives(vector: Floats, points: Floats = points) -> Floats:
            trial = Cone.of(vector)
            return trial.derivatives(points) / trial.slope(points)[:, None]

        result = least_squares(
            residuals,
            cone.vector,
            jac=derivatives,
            loss="soft_l1",
            f_scale=0.5,
            x_scale=[10, 10, 0.02, 0.02, 0.02],
            max_nfev=20,
        )
        cone = Cone.of(result.x)
        if not np.isfinite(result.x).all() or cone.tilt > 1.2:
            return None
    return cone


def judge(cone: Cone, ridges: Ridges, lines: Floats) -> Hypothesis:
    """Return how well a geometry explains the points."""
    angles = cone.two_theta(ridges.points)
    slopes = cone.slope(ridges.points)
    score = float(_scores(angles[None], slopes[None], lines, (FINE,))[0, 0])
    labels, distance = _labels(cone, ridges.points, lines, FINE)
    used = labels >= 0
    misfit = float(np.sqrt(np.mean(distance[used] ** 2))) if used.any() else np.inf
    return Hypothesis(cone, score, labels, misfit)
