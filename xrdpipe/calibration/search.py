"""Search for the geometry of a frame of a calibrant without start values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from .cone import Cone, nearest_line
from .ridges import Ridges

Floats = NDArray[np.float64]

LENGTHS = np.geomspace(0.15, 40, 26)  # of the detector's side, tried as distances
SCALES = np.geomspace(0.88, 1.14, 180)  # of a distance: between two of these there is less than a pixel
SHORT = np.array([0.2, 0.3, 0.45, 0.7, 1.1])  # of the side: distances at which strong tilts are tried from the start
STEEP = (0.3, 0.6)  # rad, such tilts
LARGEST_TILT = 0.9  # rad
ANGLE = 0.05  # rad, error of a normal beyond which it counts less
TOLERANCES = (1.2, 3.0, 8.0, 20.0)  # pixels between a point and its ring
FINE = 1.2
MISSING = 0.35  # chance that a ring of the calibrant is not seen
PRIOR = 1.0  # pixels a rad: a tilt that the ridges do not tell is none
TRIED_FIRST, TRIED = 8, 20  # best geometries that are refined, without strong tilts and with them
CERTAIN, MOST = 12.0, 0.8  # score, and share of the points on rings, from which on no other geometry is looked for
SHARES = 800  # points that a search uses
TURNED = 400  # of which this many tell directions
CHAINS, LINKS, SHORTEST = 60, 12, 12  # most chains, most points of each, fewest points of one


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

    @property
    def share(self) -> float:
        """Share of the points that lie on rings."""
        return float((self.labels >= 0).mean())


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
    few = some.part(np.arange(0, len(some.points), 2))
    found: list[tuple[float, float, Cone]] = []
    refined: list[Hypothesis] = []
    for cones, tried in ((_from_centres(some, chains, shape), TRIED_FIRST), (_steep(some, chains, shape), TRIED)):
        for cone in cones:
            found.extend(_scales(cone, few, lines))
        found.sort(key=lambda each: -each[0])
        for _, width, scaled in found[:tried]:
            starts = [scaled]
            if len(chains.points):  # chains of grains may run across rings: both ways
                starts.append(_fit_chains(scaled, chains, float(max(shape))))
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


def same(one: Cone, other: Cone, shape: tuple[int, int], limit: float = 3.0) -> bool:
    """Return whether the rings of two geometries are nowhere on the detector further apart than a limit, pixels."""
    corners = np.array([[0, 0], [0, shape[1]], [shape[0], 0], shape, [shape[0] / 2, shape[1] / 2]], np.float64)
    step = np.abs(one.two_theta(corners) - other.two_theta(corners)) / one.slope(corners)
    return bool(step.max() < limit)


def _steep(ridges: Ridges, chains: Ridges, shape: tuple[int, int]) -> Iterator[Cone]:
    """Yield strongly tilted geometries whose rings run as the ridges do, whatever the ring is."""
    side = float(max(shape))
    for start in _starts(ridges, side):
        cone = _fit_directions(start, ridges, side)
        yield _fit_chains(cone, chains, side) if len(chains.points) else cone


def _from_centres(ridges: Ridges, chains: Ridges, shape: tuple[int, int]) -> Iterator[Cone]:
    """Yield for each of many distances the geometries whose rings run as the ridges do, whatever the ring is."""
    side = float(max(shape))
    known: dict[float, list[Cone]] = {}
    for centre in _centres(ridges, side):
        yield from _upright(centre, ridges, chains, side)
        lean = np.zeros(2)  # tilt over length: what the directions tell of a small tilt, whatever the length
        for length in LENGTHS[::-1] * side:
            tilt = np.clip(lean * length, -LARGEST_TILT, LARGEST_TILT)
            cone = _fit_directions(Cone(centre[0], centre[1], length, tilt[0], tilt[1]), ridges, side)
            if len(chains.points):
                cone = _fit_chains(cone, chains, side)
            if not any(same(cone, other, shape, 0.3) for other in known.get(length, ())):
                known.setdefault(length, []).append(cone)
                yield cone
            centre = np.array([cone.slow, cone.fast])
            lean = np.array([cone.tilt_slow, cone.tilt_fast]) / length


def _upright(centre: Floats, ridges: Ridges, chains: Ridges, side: float) -> Iterator[Cone]:
    """Yield the geometries without tilt: the rings are circles, and the ridges tell their centre for all distances."""
    centres = [_fit_directions(Cone(centre[0], centre[1], side), ridges, side, upright=True)]
    if len(chains.points):
        centres.append(_fit_chains(centres[0], chains, side, upright=True))
        if np.hypot(centres[1].slow - centres[0].slow, centres[1].fast - centres[0].fast) < 1:
            del centres[0]
    for cone in centres:
        for length in LENGTHS * side:
            yield Cone(cone.slow, cone.fast, length)


def _starts(ridges: Ridges, side: float) -> Iterator[Cone]:
    """Yield strongly tilted geometries at short distances, where normals meet in no point, from a coarse grid."""
    some = ridges.part(np.arange(0, len(ridges.points), max(1, len(ridges.points) // 200)))
    turns = np.arange(8) * np.pi / 4
    leans = [(size * np.sin(turn), size * np.cos(turn)) for size in STEEP for turn in turns]
    middles = np.linspace(-0.25, 1.25, 7) * side
    for length in SHORT * side:
        grid = [Cone(slow, fast, length, *lean) for slow in middles for fast in middles for lean in leans]
        costs = [float(np.log1p((_sines(cone, some) / (2 * ANGLE)) ** 2).mean()) for cone in grid]
        yield from (grid[number] for number in np.argsort(costs)[:2])


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


def _sines(cone: Cone, ridges: Ridges) -> Floats:
    """Return the sine of the angle between each ridge and the ring through it."""
    gradient = cone.gradient(ridges.points)
    norm = np.maximum(np.hypot(gradient[:, 0], gradient[:, 1]), 1e-12)
    return np.asarray((gradient[:, 0] * ridges.normals[:, 1] - gradient[:, 1] * ridges.normals[:, 0]) / norm)


def _fit_directions(start: Cone, ridges: Ridges, side: float, upright: bool = False) -> Cone:
    """Fit centre and tilt, for a given distance, to the directions of the ridges."""
    some = ridges.part(np.arange(0, len(ridges.points), max(1, len(ridges.points) // TURNED)))
    return _fit(start, lambda cone: _sines(cone, some), None, side, "cauchy", ANGLE, upright)


def _fit_chains(start: Cone, chains: Ridges, side: float, upright: bool = False) -> Cone:
    """Fit centre and tilt, for a given distance, so that each chain lies on one ring, whatever the ring is."""
    counts = np.maximum(np.bincount(chains.chains), 1)

    def from_mean(values: Floats) -> Floats:
        return np.asarray(values - (np.bincount(chains.chains, values) / counts)[chains.chains])

    def residuals(cone: Cone) -> Floats:
        prior = np.array([cone.tilt_slow, cone.tilt_fast]) * PRIOR
        return np.concatenate([from_mean(cone.two_theta(chains.points)) / cone.slope(chains.points), prior])

    def derivatives(cone: Cone) -> Floats:
        slopes = cone.slope(chains.points)
        columns = cone.derivatives(chains.points)[:, [0, 1, 3, 4]].T
        prior = np.array([[0, 0, PRIOR, 0], [0, 0, 0, PRIOR]])
        return np.concatenate([np.stack([from_mean(column) / slopes for column in columns], axis=1), prior])

    return _fit(start, residuals, derivatives, side, "soft_l1", 0.5, upright)


def _fit(
    start: Cone,
    residuals: Callable[[Cone], Floats],
    derivatives: Callable[[Cone], Floats] | None,
    side: float,
    loss: str,
    scale: float,
    upright: bool,
) -> Cone:
    """Return the cone of the same length with the least residuals; without a tilt if upright."""
    count = 2 if upright else 4
    bound = np.array([np.inf, np.inf, LARGEST_TILT, LARGEST_TILT])[:count]
    units = np.array([side, side, 1.0, 1.0])[:count]
    first = np.array([start.slow, start.fast, start.tilt_slow, start.tilt_fast])[:count] / units

    def cone(vector: Floats) -> Cone:
        tilt = (0.0, 0.0) if upright else (float(vector[2]), float(vector[3]))
        return Cone(float(vector[0]) * side, float(vector[1]) * side, start.length, *tilt)

    result = least_squares(
        lambda vector: residuals(cone(vector)),
        np.clip(first, -0.999 * bound, 0.999 * bound),
        jac="2-point" if derivatives is None else lambda vector: derivatives(cone(vector))[:, :count] * units,
        bounds=(-bound, bound),
        loss=loss,
        f_scale=scale,
        x_scale=np.full(count, 0.1),
        max_nfev=25,
    )
    return cone(result.x)


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
    gaps = np.diff(lines)
    room = np.concatenate([gaps[:1], (gaps[:-1] + gaps[1:]) / 2, gaps[-1:]])  # of which a line is the nearest
    closeness = 2 * slopes / room[nearest]
    outside = (angles < lines[0] - gaps[0]) | (angles > lines[-1] + gaps[-1])
    number = angles.shape[1]
    ends = [number // 100, number - 1 - number // 100]
    low, high = np.partition(angles, ends, axis=1)[:, ends].T
    slope = slopes.mean(axis=1)
    row = np.arange(len(angles))[:, None] * len(lines)
    column = np.arange(len(lines))
    results = np.empty((len(angles), len(tolerances)))
    for place, tolerance in enumerate(tolerances):
        hit = distance < tolerance
        chance = np.clip(np.where(outside, 0.05, tolerance * closeness), 0.02, 0.98).mean(axis=1)
        first = np.searchsorted(lines, low - tolerance * slope)
        last = np.searchsorted(lines, high + tolerance * slope)
        expected = last - first
        seen = np.bincount((row + nearest)[hit], minlength=len(angles) * len(lines)).reshape(len(angles), -1)
        enough = seen >= np.maximum(3.0, 0.1 * number / np.maximum(expected, 1))[:, None]
        present = (enough & (column >= first[:, None]) & (column < last[:, None])).sum(axis=1)
        # gain of every ring that is there, by how much the points prefer lines to chance
        gain = _information(hit.mean(axis=1), chance) * np.maximum(present, 1)
        results[:, place] = gain + (expected - present) * np.log(1 - MISSING) * 0.5
    return results


def _labels(cone: Cone, points: Floats, lines: Floats, tolerance: float) -> tuple[NDArray[np.intp], Floats]:
    """Return the line of each point, -1 for none within the tolerance, and its distance in pixels."""
    angles, slopes = cone.two_theta(points), cone.slope(points)
    nearest = nearest_line(angles, lines)
    distance = (angles - lines[nearest]) / slopes
    return np.where(np.abs(distance) < tolerance, nearest, -1), distance


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
