"""Geometries whose rings run as the ridges of a frame do, whatever the rings are: where a search begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from .cone import Cone, ring_shift
from .ridges import Ridges

Floats = NDArray[np.float64]

# of the detector's side, tried as distances: close together where centre and tilt change with the distance
LENGTHS = np.concatenate([np.geomspace(0.15, 1.2, 19), np.geomspace(1.5, 40, 15)])
SHORT = np.array([0.2, 0.3, 0.45, 0.7, 1.1])  # of the side: distances at which strong tilts are tried from the start
STEEP = (0.15, 0.4, 0.7)  # rad, such tilts
AROUND = np.linspace(-0.75, 1.75, 11)  # of the side: centres of them, and
BRANCHES = 3  # how many are followed at each distance
LARGEST_TILT = 0.9  # rad
ANGLE = 0.05  # rad, error of a normal beyond which it counts less
PRIOR = 1.0  # pixels a rad: a tilt that the ridges do not tell is none
TURNED = 400  # of which this many tell directions
CENTRE, TILT_TOO, LENGTH_TOO = 2, 4, 5  # numbers that are fitted
CHAINS, LINKS, SHORTEST = 60, 25, 12  # most chains, most points of each, fewest points of one


def long_chains(ridges: Ridges) -> Ridges:
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
    return bool(ring_shift(one, other, corners).max() < limit)


def steep(ridges: Ridges, chains: Ridges, shape: tuple[int, int]) -> Iterator[Cone]:
    """Yield tilted geometries at short distances whose rings run as the ridges do, whatever the ring is."""
    side = float(max(shape))
    known: list[Cone] = []
    for start in _starts(ridges, side):
        cone = _fit_directions(start, ridges, side)
        if any(same(cone, other, shape, 0.5) for other in known):
            continue
        known.append(cone)
        if len(chains.points):
            cone = fit_chains(cone, chains, side)
            yield fit_chains(cone, chains, side, LENGTH_TOO)  # at large angles the rings' forms tell the distance
        yield cone


def from_centres(ridges: Ridges, chains: Ridges, shape: tuple[int, int]) -> Iterator[Cone]:
    """Yield for each of many distances the geometries whose rings run as the ridges do, whatever the ring is."""
    side = float(max(shape))
    known: dict[float, list[Cone]] = {}

    def new(cone: Cone) -> bool:
        others = known.setdefault(cone.length, [])
        fresh = not any(same(cone, other, shape, 0.3) for other in others)
        others.append(cone)
        return fresh

    for centre in _centres(ridges, side):
        yield from filter(new, _upright(centre, ridges, chains, side))
        lean = np.zeros(2)  # tilt over length: what the directions tell of a small tilt, whatever the length
        for length in LENGTHS[::-1] * side:
            tilt = np.clip(lean * length, -LARGEST_TILT, LARGEST_TILT)
            cone = _fit_directions(Cone(centre[0], centre[1], length, tilt[0], tilt[1]), ridges, side)
            if len(chains.points):
                cone = fit_chains(cone, chains, side)
            if new(cone):
                yield cone
            centre = np.array([cone.slow, cone.fast])
            lean = np.array([cone.tilt_slow, cone.tilt_fast]) / length


def _upright(centre: Floats, ridges: Ridges, chains: Ridges, side: float) -> Iterator[Cone]:
    """Yield the geometries without tilt: the rings are circles, and the ridges tell their centre for all distances."""
    centres = [_fit_directions(Cone(centre[0], centre[1], side), ridges, side, CENTRE)]
    if len(chains.points):
        centres.append(fit_chains(centres[0], chains, side, CENTRE))
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
    middles = AROUND * side
    for length in SHORT * side:
        grid = [Cone(slow, fast, length, *lean) for slow in middles for fast in middles for lean in leans]
        costs = [float(np.log1p((_sines(cone, some) / (2 * ANGLE)) ** 2).mean()) for cone in grid]
        chosen: list[Cone] = []
        for number in np.argsort(costs):
            if all(np.hypot(grid[number].slow - o.slow, grid[number].fast - o.fast) > 0.3 * side for o in chosen):
                chosen.append(grid[number])
            if len(chosen) == BRANCHES:
                break
        yield from chosen


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


def _fit_directions(start: Cone, ridges: Ridges, side: float, free: int = TILT_TOO) -> Cone:
    """Fit centre and tilt, for a given distance, to the directions of the ridges."""
    some = ridges.part(np.arange(0, len(ridges.points), max(1, len(ridges.points) // TURNED)))
    return _fit(start, lambda cone: _sines(cone, some), None, side, "cauchy", ANGLE, free)


def fit_chains(start: Cone, chains: Ridges, side: float, free: int = TILT_TOO) -> Cone:
    """Fit centre and tilt, for a given distance, so that each chain lies on one ring, whatever the ring is."""
    counts = np.maximum(np.bincount(chains.chains), 1)

    def from_mean(values: Floats) -> Floats:
        return np.asarray(values - (np.bincount(chains.chains, values) / counts)[chains.chains])

    def residuals(cone: Cone) -> Floats:
        prior = np.array([cone.tilt_slow, cone.tilt_fast]) * PRIOR
        return np.concatenate([from_mean(cone.two_theta(chains.points)) / cone.slope(chains.points), prior])

    def derivatives(cone: Cone) -> Floats:
        slopes = cone.slope(chains.points)
        columns = cone.derivatives(chains.points)[:, [0, 1, 3, 4, 2]].T
        prior = np.array([[0, 0, PRIOR, 0, 0], [0, 0, 0, PRIOR, 0]])
        return np.concatenate([np.stack([from_mean(column) / slopes for column in columns], axis=1), prior])

    return _fit(start, residuals, derivatives, side, "soft_l1", 0.5, free)


def _fit(
    start: Cone,
    residuals: Callable[[Cone], Floats],
    derivatives: Callable[[Cone], Floats] | None,
    side: float,
    loss: str,
    scale: float,
    free: int,
) -> Cone:
    """Return the cone with the least residuals; CENTRE: without a tilt, TILT_TOO: of the same length, or LENGTH_TOO."""
    bound = np.array([np.inf, np.inf, LARGEST_TILT, LARGEST_TILT, np.inf])[:free]
    units = np.array([side, side, 1.0, 1.0, 1.0])[:free]
    first = np.array([start.slow, start.fast, start.tilt_slow, start.tilt_fast, np.log(start.length)])[:free] / units

    def cone(vector: Floats) -> Cone:
        tilt = (float(vector[2]), float(vector[3])) if free > CENTRE else (0.0, 0.0)
        length = float(np.exp(np.clip(vector[4], -20, 30))) if free == LENGTH_TOO else start.length
        return Cone(float(vector[0]) * side, float(vector[1]) * side, length, *tilt)

    result = least_squares(
        lambda vector: residuals(cone(vector)),
        np.clip(first, -0.999 * bound, 0.999 * bound),
        jac="2-point" if derivatives is None else lambda vector: derivatives(cone(vector))[:, :free] * units,
        bounds=(-bound, bound),
        loss=loss,
        f_scale=scale,
        x_scale=np.full(free, 0.1),
        max_nfev=25 if derivatives is None else 40,
    )
    return cone(result.x)
