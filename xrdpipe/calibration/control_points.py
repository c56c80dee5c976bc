"""Control points: positions on rings, measured with less than a pixel's error where the geometry is nearly known."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from ..model.cores import available_cores
from .cone import LEAST, Cone, line_gaps, nearest_line

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.intp]

REACH = 12.0  # pixels around a ring that are looked at, at most
STEP = 0.5  # pixels of a bin of the mean profile
LENGTH = 30.0  # pixels of a ring that make one control point, at least
SECTORS = 120  # control points of a ring, at most
MOST, FEW = 0.4, 8  # share of the sectors in which a ring has to be clear, unless these are few
CLEAR = 5.0  # standard deviations by which a ring has to rise above its surroundings
ROWS = 256  # of the frame that are looked at together, for the memory's sake
THREADS = 4  # that look at rows, at most
FLOOR = 0.03  # pixels: no control point is trusted more
WORST = 1.0  # pixels, error beyond which a point is left out
ALONE, ENOUGH = 6.0, 6  # pixels between rings that do not bias each other, which are taken alone if there are so many


@dataclass(frozen=True)
class ControlPoints:
    """Control points of a frame.

    Attributes
    ----------
    points
        Positions (slow, fast) in pixels, (n, 2); the centre of the first pixel is (0.5, 0.5).
    rings
        Number of the ring of each point, from 0, (n,).
    errors
        Standard deviation across the ring from the counts, pixels, (n,).
    """

    points: Floats
    rings: Ints
    errors: Floats

    @property
    def sigma(self) -> Floats:
        """Errors, but at least `FLOOR`, (n,)."""
        return np.asarray(np.hypot(self.errors, FLOOR))

    def part(self, which: NDArray[np.generic]) -> ControlPoints:
        """Return the points of an index array."""
        return ControlPoints(self.points[which], self.rings[which], self.errors[which])


@dataclass(frozen=True)
class _Near:
    """Pixels near rings: their row and column, value, ring, distance from it (pixels) and azimuth (rad)."""

    slow: Ints
    fast: Ints
    value: Floats
    ring: Ints
    distance: Floats
    azimuth: Floats
    normal: Floats  # unit vector of increasing angle, (n, 2)
    radius: Floats  # pixels along the ring per rad of azimuth
    room: Floats  # pixels to the next ring


def control_points(
    image: NDArray[np.floating], good: Bools, cone: Cone, lines: Floats, scatter: float
) -> ControlPoints:
    """Measure where the rings are, in sectors of each ring.

    In a sector, the counts are fitted by a line and the mean profile of the ring, moved: for small shifts a linear
    problem, whose solution has a known error.

    Parameters
    ----------
    image
        Counts, (slow, fast).
    good
        True for pixels to use.
    cone
        The geometry, right to a few pixels.
    lines
        Scattering angles of the rings, rad, increasing.
    scatter
        Variance per count.
    """
    near = _near(image, good, cone, lines)
    found = _measured(near, np.flatnonzero(near.room > ALONE), scatter)
    return found if len(np.unique(found.rings)) >= ENOUGH else _measured(near, np.arange(len(near.room)), scatter)


def _measured(near: _Near, which: Ints, scatter: float) -> ControlPoints:
    """Return the control points of the rings that these pixels belong to."""
    ordered = which[np.argsort(near.ring[which], kind="stable")]
    rings, starts = np.unique(near.ring[ordered], return_index=True)
    results = [ControlPoints(np.zeros((0, 2)), np.zeros(0, np.intp), np.zeros(0))]
    for ring, mine in zip(rings, np.split(ordered, starts[1:]), strict=False):
        if (measured := _of_ring(near, mine, scatter)) is not None:
            points, errors = measured
            results.append(ControlPoints(points, np.full(len(points), ring), errors))
    return ControlPoints(
        *(np.concatenate([getattr(each, key.name) for each in results]) for key in fields(ControlPoints))
    )


def _near(image: NDArray[np.floating], good: Bools, cone: Cone, lines: Floats) -> _Near:
    with ThreadPoolExecutor(min(THREADS, available_cores())) as threads:
        parts = list(threads.map(lambda row: _near_rows(image, good, cone, lines, row), range(0, len(image), ROWS)))
    return _Near(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(_Near)))


def _near_rows(image: NDArray[np.floating], good: Bools, cone: Cone, lines: Floats, row: int) -> _Near:
    slow, fast = np.nonzero(good[row : row + ROWS])
    slow += row
    points = np.stack([slow, fast], axis=1).astype(np.float64) + 0.5
    rays = cone.rays(points)
    across = np.hypot(rays[:, 0], rays[:, 1])
    angles = np.arctan2(across, rays[:, 2])
    ring = nearest_line(angles, lines)
    apart = angles - lines[ring]
    # a pixel is seen under an angle of one over the length of its ray, at most
    maybe = np.abs(apart) * np.hypot(across, rays[:, 2]) < REACH
    slow, fast, ring = slow[maybe], fast[maybe], ring[maybe]
    points, rays, across, apart = points[maybe], rays[maybe], across[maybe], apart[maybe]
    gradient = cone.gradient(points)
    slope = np.maximum(np.hypot(*gradient.T), LEAST)
    distance = apart / slope
    room = line_gaps(lines)[ring] / slope
    use = np.abs(distance) < np.minimum(REACH, 0.45 * room)
    slow, fast = slow[use], fast[use]
    return _Near(
        slow,
        fast,
        image[slow, fast].astype(np.float64),
        ring[use],
        distance[use],
        np.arctan2(rays[use, 1], rays[use, 0]),
        gradient[use] / slope[use, None],
        across[use],
        room[use],
    )


def _of_ring(near: _Near, mine: Ints, scatter: float) -> tuple[Floats, Floats] | None:
    """Return control points of one ring and their errors; None if the ring is not there."""
    distance, value, azimuth = near.distance[mine], near.value[mine], near.azimuth[mine]
    if len(value) < 50:
        return None
    profile = _profile(distance, value)
    if profile is None:
        return None
    centre, width = profile
    radius = float(np.median(near.radius[mine]))
    count = int(np.clip(2 * np.pi * radius / LENGTH, 1, SECTORS * 4))
    turn = (azimuth + np.pi) / (2 * np.pi)
    occupied = len(np.unique((turn * count).astype(np.intp)))
    count = max(count * min(occupied, SECTORS) // occupied, 1)
    while True:
        sector = np.unique(np.minimum((turn * count).astype(np.intp), count - 1), return_inverse=True)[1]
        shifts, errors, clear = _fit(distance - centre, value, sector, width, scatter)
        if clear.mean() > MOST or len(clear) <= FEW:
            break
        count = (count + 1) // 2  # longer sectors of a faint ring
    shifts = shifts + centre
    points, normals, at = _middles(near, mine, sector)
    kept = clear & (errors < WORST) & (np.abs(shifts - centre) < width + 0.5)
    result = points + (shifts - at)[:, None] * normals
    return (result[kept], errors[kept]) if kept.any() else None


def _profile(distance: Floats, value: Floats) -> tuple[float, float] | None:
    """Return the position and the standard deviation of the peak of the mean profile, pixels; None without one."""
    reach = np.abs(distance).max()
    number = max(int(2 * reach / STEP), 3)
    place = np.minimum(((distance + reach) / (2 * reach) * number).astype(np.intp), number - 1)
    counts = np.bincount(place, minlength=number)
    if (counts < 3).any():
        return None
    mean = np.bincount(place, value, number) / counts
    error = np.sqrt(np.maximum(np.bincount(place, value**2, number) / counts - mean**2, 1e-9) / counts)
    x = (np.arange(number) + 0.5) / number * 2 * reach - reach
    edge = max(number // 6, 1)
    ends = np.array([mean[:edge].mean(), mean[-edge:].mean()])
    base = np.interp(x, [x[:edge].mean(), x[-edge:].mean()], ends)
    net = mean - base
    top = int(np.argmax(np.convolve(net, np.ones(3) / 3, mode="same")))
    if net[top] < 3 * error[top]:
        return None
    above = net > net[top] / 2
    low, high = top, top
    while low > 0 and above[low - 1]:
        low -= 1
    while high < number - 1 and above[high + 1]:
        high += 1
    weights = np.clip(net[low : high + 1], 0, None)
    centre = float((weights * x[low : high + 1]).sum() / weights.sum())
    width = max((high - low + 1) * STEP / 2.355, 0.5)
    return centre, width


def _fit(distance: Floats, value: Floats, sector: Ints, width: float, scatter: float) -> tuple[Floats, Floats, Bools]:
    """Return for each sector the shift of the peak, its error (pixels), and whether the peak is clear."""
    number = int(sector.max()) + 1
    shift = np.zeros(number)
    for _ in range(3):
        x = distance - shift[sector]
        bell = np.exp(-(x**2) / (2 * width**2))
        columns = np.stack([np.ones_like(x), distance, bell, bell * x / width**2])  # the last: change with the shift
        variance = scatter * np.maximum(_smooth(value, sector, x, width), 0.05)
        weights = 1 / variance
        matrix = np.empty((number, 4, 4))
        right = np.empty((number, 4))
        for i in range(4):
            right[:, i] = np.bincount(sector, weights * columns[i] * value, number)
            for j in range(i, 4):
                matrix[:, i, j] = matrix[:, j, i] = np.bincount(sector, weights * columns[i] * columns[j], number)
        scale = np.maximum(np.trace(matrix, axis1=1, axis2=2), 1e-12)
        regular = np.linalg.cond(matrix) < 1e10
        matrix[~regular] = np.eye(4) * scale[~regular, None, None]
        inverse = np.linalg.inv(matrix)
        solution = np.einsum("nij,nj->ni", inverse, right)
        height = solution[:, 2]
        clear = regular & (height > CLEAR * np.sqrt(np.maximum(inverse[:, 2, 2], 0)))
        change = np.divide(solution[:, 3], height, out=np.zeros(number), where=clear)
        shift = np.clip(shift + np.clip(change, -width, width), -3 * width, 3 * width)
        error = np.divide(np.sqrt(np.maximum(inverse[:, 3, 3], 0)), height, out=np.full(number, np.inf), where=clear)
    return shift, error, clear


def _smooth(value: Floats, sector: Ints, x: Floats, width: float) -> Floats:
    """Return the mean count of the pixels at about this distance in this sector, for the variance."""
    place = np.clip((x / width + 4).astype(np.intp), 0, 8)
    key = sector * 9 + place
    number = np.maximum(np.bincount(key), 1)
    return np.asarray((np.bincount(key, np.abs(value)) / number)[key])


def _middles(near: _Near, members: Ints, sector: Ints) -> tuple[Floats, Floats, Floats]:
    """Return for each sector the pixel in its middle that is nearest to the ring: position, normal and distance."""
    azimuth = near.azimuth[members]
    number = int(sector.max()) + 1
    # weights of the peak alone: the middle of where the counts are
    weight = np.exp(-(near.distance[members] ** 2) / 8)
    middle = np.bincount(sector, weight * azimuth, number) / np.maximum(np.bincount(sector, weight, number), 1e-12)
    away = np.hypot((azimuth - middle[sector]) * near.radius[members], near.distance[members])
    order = np.lexsort([away, sector])
    first = order[np.searchsorted(sector[order], np.arange(number))]
    chosen = members[first]
    points = np.stack([near.slow[chosen], near.fast[chosen]], axis=1).astype(np.float64) + 0.5
    return points, near.normal[chosen], near.distance[chosen]
