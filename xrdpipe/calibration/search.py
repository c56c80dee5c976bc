"""Search for the geometry of a frame of a calibrant without start values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from .cone import Cone
from .ridges import Ridges

Floats = NDArray[np.float64]

LENGTHS = np.geomspace(0.15, 40, 26)  # of the detector's side, tried as distances
LARGEST_TILT = 0.9  # rad
ANGLE = 0.05  # rad, error of a normal beyond which it counts less
TOLERANCES = (1.2, 3.0, 8.0, 20.0)  # pixels between a point and its ring
FINE = 1.2
EXTRA, MISSING = 0.1, 0.35  # chances that a ring is none of the calibrant, and that one of the calibrant is not seen
PRIOR = 1.0  # pixels a rad: a tilt that the ridges do not tell is none
SHARES = 800  # points that a search uses
CHAINS, LINKS, SHORTEST = 60, 25, 12  # most chains, most points of each, fewest points of one


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
        Ring of each point, -1 for points that lie on none, (n,).
    misfit
        Root mean square distance of the points from their rings, pixels.
    """

    cone: Cone
    score: float
    labels: NDArray[np.intp]
    misfit: float


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
    some, chains = _share(ridges), _long_chains(ridges)
    found: list[Hypothesis] = []
    for cone in cones_of_directions(some, chains, shape):
        for scaled in _scales(cone, some, lines):
            found.append(scaled)
    found.sort(key=lambda each: -each.score)
    refined: list[Hypothesis] = []
    for each in found[:24]:
        cone = _fit_chains(each.cone, chains, float(max(shape))) if len(chains.points) else each.cone
        refined_cone = refine(cone, each.misfit, some, lines)
        if refined_cone is not None and not any(_same(refined_cone, other.cone, shape) for other in refined):
            refined.append(judge(refined_cone, some, lines))
    refined.sort(key=lambda each: -each.score)
    return refined


def _share(ridges: Ridges) -> Ridges:
    count = len(ridges.points)
    if count <= SHARES:
        return ridges
    return ridges.part(np.random.default_rng(1).permutation(count)[:SHARES])


def _long_chains(ridges: Ridges) -> Ridges:
    """Return the longest chains of the ridges, with evenly spaced points."""
    lengths = np.bincount(ridges.chains)
    longest = [chain for chain in np.argsort(lengths)[::-1][:CHAINS] if lengths[chain] >= SHORTEST]
    rows = []
    for number in longest:
        members = np.flatnonzero(ridges.chains == number)
        along = ridges.points[members] @ _direction(ridges.points[members])
        ordered = members[np.argsort(along)]
        rows.append(ordered[:: max(1, len(ordered) // LINKS)])
    chosen = ridges.part(np.concatenate(rows) if rows else np.zeros(0, np.intp))
    chains = np.unique(chosen.chains, return_inverse=True)[1]
    return Ridges(chosen.points, chosen.normals, chosen.weights, chains)


def _direction(points: Floats) -> Floats:
    offset = points - points.mean(axis=0)
    return np.asarray(np.linalg.svd(offset, full_matrices=False)[2][0])


def _same(one: Cone, other: Cone, shape: tuple[int, int], limit: float = 3.0) -> bool:
    corners = np.array([[0, 0], [0, shape[1]], [shape[0], 0], shape, [shape[0] / 2, shape[1] / 2]], np.float64)
    step = np.abs(one.two_theta(corners) - other.two_theta(corners)) / np.hypot(*one.gradient(corners).T)
    return bool(step.max() < limit)


def cones_of_directions(ridges: Ridges, chains: Ridges, shape: tuple[int, int]) -> Iterator[Cone]:
    """Yield for each of many distances the geometries whose rings run as the ridges do, whatever the ring is."""
    side = float(max(shape))
    known: dict[float, list[Cone]] = {}
    for centre in _centres(ridges, side):
        lean = np.zeros(2)  # tilt over length: what the directions tell of a small tilt, whatever the length
        for length in LENGTHS[::-1] * side:
            tilt = np.clip(lean * length, -LARGEST_TILT, LARGEST_TILT)
            cone = _fit_directions(Cone(*centre, length, *tilt), ridges, side)
            if len(chains.points):
                cone = _fit_chains(cone, chains, side)
            if not any(_same(cone, other, shape, 0.3) for other in known.get(length, ())):
                known.setdefault(length, []).append(cone)
                yield cone
            centre = np.array([cone.slow, cone.fast])
            lean = np.array([cone.tilt_slow, cone.tilt_fast]) / length


def _centres(ridges: Ridges, side: float) -> list[Floats]:
    """Return points where the normals of many ridges meet."""
    rng = np.random.default_rng(2)
    points, normals = ridges.points, ridges.normals
    first, second = rng.integers(len(points), size=(2, 3000))
    cross = normals[first, 0] * normals[second, 1] - normals[first, 1] * normals[second, 0]
    apart = points[second] - points[first]
    usable = np.abs(cross) > 0.05
    along = (apart[:, 0] * normals[second, 1] - apart[:, 1] * normals[second, 0])[usable] / cross[usable]
    meeting = points[first[usable]] + along[:, None] * normals[first[usable]]
    meeting = meeting[np.abs(meeting - side / 2).max(axis=1) < 6 * side][:600]
    if not len(meeting):
        return [np.array([side / 2, side / 2])]
    offset = points[None] - meeting[:, None]
    distance = np.linalg.norm(offset, axis=2)
    sine = (offset[..., 0] * normals[:, 1] - offset[..., 1] * normals[:, 0]) / np.maximum(distance, 1e-9)
    support = (1 / (1 + (sine / (2 * ANGLE)) ** 2) * np.minimum(distance / 20, 1)).sum(axis=1)
    order = np.argsort(support)[::-1]
    chosen = [meeting[order[0]]]
    for number in order[1:]:
        near = min(np.linalg.norm(meeting[number] - each) for each in chosen)
        if near > 0.5 * side:
            chosen.append(meeting[number])
        if len(chosen) == 2:
            break
    return chosen


def _fit_directions(start: Cone, ridges: Ridges, side: float) -> Cone:
    """Fit centre and tilt, for a given distance, to the directions of the ridges."""

    def residuals(vector: Floats) -> Floats:
        cone = Cone(vector[0] * side, vector[1] * side, start.length, vector[2], vector[3])
        gradient = cone.gradient(ridges.points)
        norm = np.maximum(np.hypot(gradient[:, 0], gradient[:, 1]), 1e-12)
        sine: Floats = (gradient[:, 0] * ridges.normals[:, 1] - gradient[:, 1] * ridges.normals[:, 0]) / norm
        return sine

    # a small tilt is not told from none where the distance is large: its scale is that of its effect
    first = [start.slow / side, start.fast / side, start.tilt_slow, start.tilt_fast]
    bound = [np.inf, np.inf, LARGEST_TILT, LARGEST_TILT]
    result = least_squares(
        residuals,
        np.clip(first, np.negative(bound) * 0.999, np.multiply(bound, 0.999)),
        bounds=(np.negative(bound), bound),
        loss="cauchy",
        f_scale=ANGLE,
        x_scale=[0.1, 0.1, 0.1, 0.1],
        max_nfev=25,
    )
    slow, fast, tilt_slow, tilt_fast = result.x
    return Cone(slow * side, fast * side, start.length, tilt_slow, tilt_fast)


def _fit_chains(start: Cone, chains: Ridges, side: float) -> Cone:
    """Fit centre and tilt, for a given distance, so that each chain lies on one ring, whatever the ring is."""
    counts = np.maximum(np.bincount(chains.chains), 1)

    def residuals(vector: Floats) -> Floats:
        cone = Cone(vector[0] * side, vector[1] * side, start.length, vector[2], vector[3])
        angles = cone.two_theta(chains.points)
        slopes = np.maximum(np.hypot(*cone.gradient(chains.points).T), 1e-12)
        means = (np.bincount(chains.chains, angles) / counts)[chains.chains]
        return np.concatenate([(angles - means) / slopes, vector[2:] * PRIOR])

    first = [start.slow / side, start.fast / side, start.tilt_slow, start.tilt_fast]
    bound = [np.inf, np.inf, LARGEST_TILT, LARGEST_TILT]
    result = least_squares(
        residuals,
        np.clip(first, np.negative(bound) * 0.999, np.multiply(bound, 0.999)),
        bounds=(np.negative(bound), bound),
        loss="soft_l1",
        f_scale=0.5,
        x_scale=[0.1, 0.1, 0.1, 0.1],
        max_nfev=25,
    )
    slow, fast, tilt_slow, tilt_fast = result.x
    return Cone(slow * side, fast * side, start.length, tilt_slow, tilt_fast)


def _scales(cone: Cone, ridges: Ridges, lines: Floats) -> list[Hypothesis]:
    """Return the changes of the distance, up to a tenth, at which most points lie on rings."""
    angles = cone.two_theta(ridges.points)
    slopes = np.hypot(*cone.gradient(ridges.points).T)
    tangents = np.tan(np.minimum(angles, 1.55))
    results = []
    scales = np.geomspace(0.88, 1.14, 180)
    table = np.array([_scores(np.arctan(tangents / each), slopes / each, lines, TOLERANCES) for each in scales])
    scores, widths = table.max(axis=1), np.take(TOLERANCES, table.argmax(axis=1))
    for number in np.argsort(scores)[::-1]:
        if all(abs(np.log(scales[number] / each)) > 0.02 for each, _, _ in results):
            results.append((scales[number], scores[number], widths[number]))
        if len(results) == 2:
            break
    none = np.full(len(angles), -1)
    return [
        # the ridges tell the tilt over the distance
        Hypothesis(
            Cone(cone.slow, cone.fast, cone.length * scale, cone.tilt_slow * scale, cone.tilt_fast * scale),
            score,
            none,
            width,
        )
        for scale, score, width in results
    ]


def _nearest(angles: Floats, lines: Floats) -> NDArray[np.intp]:
    place = np.clip(np.searchsorted(lines, angles), 1, len(lines) - 1)
    return np.where(angles - lines[place - 1] < lines[place] - angles, place - 1, place)


def _scores(angles: Floats, slopes: Floats, lines: Floats, tolerances: Sequence[float]) -> list[float]:
    """Return for each tolerance (pixels) the log of the odds that points lie on the lines not by chance."""
    nearest = _nearest(angles, lines)
    distance = np.abs(angles - lines[nearest]) / slopes
    gaps = np.diff(lines)
    room = np.concatenate([gaps[:1], (gaps[:-1] + gaps[1:]) / 2, gaps[-1:]])  # of which a line is the nearest
    around = room[nearest] / slopes
    outside = (angles < lines[0] - gaps[0]) | (angles > lines[-1] + gaps[-1])
    low, high = np.partition(angles, [len(angles) // 100, -1 - len(angles) // 100])[[len(angles) // 100, -1 - len(angles) // 100]]
    slope = slopes.mean()
    results = []
    for tolerance in tolerances:
        hit = distance < tolerance
        chance = np.clip(np.where(outside, 0.05, 2 * tolerance / around), 0.02, 0.98).mean()
        first, last = np.searchsorted(lines, [low - tolerance * slope, high + tolerance * slope])
        expected = last - first
        seen = np.bincount(nearest[hit], minlength=len(lines))[first:last]
        present = int((seen >= max(3.0, 0.1 * len(angles) / max(expected, 1))).sum())
        # gain of every ring that is there, by how much the points prefer lines to chance
        gain = _information(float(hit.mean()), float(chance)) * max(present, 1)
        results.append(float(gain + (expected - present) * np.log(1 - MISSING) * 0.5))
    return results


def _labels(cone: Cone, points: Floats, lines: Floats, tolerance: float) -> tuple[NDArray[np.intp], Floats]:
    """Return the line of each point, -1 for none within the tolerance, and its distance in pixels."""
    angles, slopes = cone.two_theta(points), np.hypot(*cone.gradient(points).T)
    nearest = _nearest(angles, lines)
    distance = (angles - lines[nearest]) / slopes
    return np.where(np.abs(distance) < tolerance, nearest, -1), distance


def _information(share: float, chance: float) -> float:
    """Return the mean gain per ring, in nats, of points of which a share lies on lines that chance reaches less."""
    share = min(max(share, 1e-3), 1 - 1e-3)
    if share <= chance:
        return 0.0
    return float(share * np.log(share / chance) + (1 - share) * np.log((1 - share) / (1 - chance)))


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
            slope = np.maximum(np.hypot(*trial.gradient(points).T), 1e-9)
            result: Floats = (trial.two_theta(points) - target) / slope
            return result

        start = cone.vector
        result = least_squares(
            residuals, start, loss="soft_l1", f_scale=0.5, x_scale=[10, 10, 0.02, 0.02, 0.02], max_nfev=20
        )
        cone = Cone.of(result.x)
        if not np.isfinite(result.x).all() or cone.tilt > 1.2:
            return None
    return cone


def judge(cone: Cone, ridges: Ridges, lines: Floats) -> Hypothesis:
    """Return how well a geometry explains the points."""
    angles = cone.two_theta(ridges.points)
    slopes = np.hypot(*cone.gradient(ridges.points).T)
    (score,) = _scores(angles, slopes, lines, (FINE,))
    labels, distance = _labels(cone, ridges.points, lines, FINE)
    used = labels >= 0
    misfit = float(np.sqrt(np.mean(distance[used] ** 2))) if used.any() else np.inf
    return Hypothesis(cone, score, labels, misfit)


def best_of(found: Sequence[Hypothesis]) -> Hypothesis | None:
    """Return the best hypothesis, or None."""
    return found[0] if found else None
