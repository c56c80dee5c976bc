"""Control points: positions on rings, measured with less than a pixel's error where the geometry is nearly known."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..model.cores import available_cores
from .cone import LEAST, Cone, line_gaps, nearest_line
from .peaks import Profile, SectorFits, fit_sectors, mean_profile

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.intp]

REACH = 12.0  # pixels around a ring that are looked at, at most
CORE = 3.0  # standard deviations of a peak that are looked at where other rings are near
TAIL = 4.5  # standard deviations within which a peak is taken off the other rings
PASSES = 3  # over rings that reach each other
COMPARED, VARIED = 12, 1.1  # rings whose widths are compared along them, where the slope varies by this factor
ALIKE = 1.4  # width of a peak over that of others, at most
CLEAN, ENOUGH = 5.0, 6  # standard deviations between rings that are measured alone if there are so many
MERGED = 2.5  # standard deviations between rings that are one peak
LENGTH = 30.0  # pixels of a ring that make one control point, at least
SECTORS, FEW = 120, 8  # control points of a ring, at most; sectors that are not made longer
CLEAR = 4.0  # standard deviations by which a peak rises in half of the sectors; if not, they are made longer
THERE = 6.0  # standard deviations by which all of a ring has to rise above its surroundings
ROWS = 64  # of the frame that are looked at together, for the memory's sake
THREADS = 4  # that look at rows, at most
FLOOR = 0.03  # pixels: no control point is trusted more
SURE = 0.5  # pixels, error of a shift up to which the peak is taken off its neighbours there
WORST = 1.0  # pixels, error beyond which a point is left out
SMALL = 0.03  # height over that of a ring, up to which another one does not shift it
FEWEST = 50  # pixels of a ring
TYPICAL = 10_000  # pixels of a ring from which its typical slope is taken


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
    """Pixels near rings by increasing angle: place, counts, angle and azimuth (rad), slope and normal of the angle."""

    slow: Ints
    fast: Ints
    value: Floats
    angle: Floats
    azimuth: Floats
    slope: Floats  # rad a pixel
    normal: Floats  # (n, 2)
    radius: Floats  # pixels along the ring per rad of azimuth

    @cached_property
    def widest(self) -> float:
        """Largest slope."""
        return float(self.slope.max())


class _Ring:
    """A ring: the pixels that its peak reaches, and what the last fit made of them."""

    def __init__(self, near: _Near, number: int, lines: Floats, power: float) -> None:
        reach, line = REACH * near.widest, lines[number]
        window = slice(*np.searchsorted(near.angle, [line - reach, line + reach]))
        slope = near.slope[window]
        self.slope = float(np.median(slope[:: len(slope) // TYPICAL + 1])) if len(slope) else 1.0
        self.unit = self.slope**power  # of a width that is the same for all rings
        stretch = slope**power / self.unit
        distance = (near.angle[window] - line) / slope * stretch
        reached = np.abs(distance) < REACH
        self.number = number
        self.members: Ints = np.flatnonzero(reached) + window.start
        self.stretch: Floats = stretch[reached]  # over pixels, of the units in which the peak has one width
        self.distance: Floats = distance[reached]
        self.room: Floats = line_gaps(lines)[number] / slope[reached] * self.stretch
        self.peak = np.zeros(len(self.members))  # its counts in the pixels
        self.profile: Profile | None = None
        self.fits: SectorFits | None = None
        self.use: Ints = np.flatnonzero(np.abs(self.distance) < np.minimum(REACH, 0.45 * self.room))

    @property
    def height(self) -> float:
        """Of the mean peak, counts."""
        return 0.0 if self.profile is None else self.profile.height

    def look(self, value: Floats, width: float | None = None) -> None:
        """Find the peak in the counts of its pixels, where it is about as wide as other rings."""
        if width is not None:
            core = np.maximum(0.45 * self.room, CORE * width + 1)
            self.use = np.flatnonzero(np.abs(self.distance) < np.minimum(REACH, core))
        self.profile = mean_profile(self.distance[self.use], value[self.use]) if len(self.use) >= FEWEST else None
        if self.profile is not None and width is not None:
            alike = float(np.clip(self.profile.width, width / ALIKE, width * ALIKE))
            self.profile = Profile(self.profile.centre, alike, self.profile.height)

    def fit(self, near: _Near, value: Floats, scatter: float) -> None:
        """Fit the peak in sectors, to its counts without those of other rings."""
        if self.profile is None:
            self.peak[:] = 0
            return
        members = self.members[self.use]
        turn = (near.azimuth[self.members] + np.pi) / (2 * np.pi)
        radius = float(np.median(near.radius[members]))
        count = int(np.clip(2 * np.pi * radius / LENGTH, 1, SECTORS * 4))
        occupied = int((np.bincount((turn[self.use] * count).astype(np.intp)) > 0).sum())
        count = max(count * min(occupied, SECTORS) // occupied, 1)
        away = self.distance - self.profile.centre
        while True:
            place = np.minimum((turn * count).astype(np.intp), count - 1)
            filled = np.bincount(place[self.use], minlength=count) > 0
            places = np.flatnonzero(filled)
            self.sector = (np.cumsum(filled) - 1)[place[self.use]]
            self.fits = fit_sectors(
                away[self.use], value[self.use], near.value[members], self.sector, self.profile.width, scatter
            )
            if self.fits.clear > CLEAR or len(places) <= FEW:
                break
            count = (count + 1) // 2
        heights, shifts = np.zeros(count), np.zeros(count)
        heights[places] = self.fits.heights
        shifts[places] = np.where(self.fits.errors < SURE, self.fits.shifts, 0.0)
        x = (away - shifts[place]) / self.profile.width
        self.peak = np.where(np.abs(x) < TAIL, heights[place] * np.exp(-(x**2) / 2), 0.0)

    def control_points(self, near: _Near) -> ControlPoints:
        """Return the control points."""
        fits, profile = self.fits, self.profile
        if fits is None or profile is None or fits.total < THERE:
            return NO_POINTS
        middle = _middles(near, self.members[self.use], self.distance[self.use], self.sector)
        members, stretch = self.members[self.use][middle], self.stretch[self.use][middle]
        points = np.stack([near.slow[members], near.fast[members]], axis=1).astype(np.float64) + 0.5
        away = (fits.shifts + profile.centre - self.distance[self.use][middle]) / stretch
        errors = fits.errors / stretch
        kept = (errors < WORST) & (np.abs(fits.shifts) < profile.width + 0.5)
        points += away[:, None] * near.normal[members]
        return ControlPoints(points[kept], np.full(int(kept.sum()), self.number), errors[kept])


NO_POINTS = ControlPoints(np.zeros((0, 2)), np.zeros(0, np.intp), np.zeros(0))


def control_points(
    image: NDArray[np.floating], good: Bools, cone: Cone, lines: Floats, scatter: float
) -> ControlPoints:
    """Measure where the rings are, in sectors of each ring.

    In a sector, the counts without those of other rings are fitted by a line and a Gaussian.

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
    if not len(near.value):
        return NO_POINTS
    rings = _rings(near, lines, 0.0)
    if power := _power(near, rings):
        rings = _rings(near, lines, power)
    rings = [ring for ring in rings if ring.profile is not None]
    widths = _widths(rings, lines)
    wanted = _wanted(rings, lines, widths)

    def reached(ring: _Ring, other: _Ring) -> bool:
        return _reach(ring, other, lines, widths, CORE + TAIL)

    fitted = [ring for ring in rings if any(reached(ring, other) for other in wanted)]
    fitted.sort(key=lambda ring: -ring.height)
    crowded = {ring.number for ring in fitted for other in rings if other is not ring and reached(ring, other)}
    _fit(fitted, crowded, near, widths, scatter)
    found = [NO_POINTS, *(ring.control_points(near) for ring in wanted)]
    return ControlPoints(
        *(np.concatenate([getattr(each, key.name) for each in found]) for key in fields(ControlPoints))
    )


def _fit(rings: list[_Ring], crowded: set[int], near: _Near, widths: Floats, scatter: float) -> None:
    """Fit the rings in turn, each to the counts without the peaks of the others; those that are crowded, again."""
    model = np.zeros(len(near.value))
    for number in range(PASSES):
        for ring in rings:
            if number and ring.number not in crowded:
                continue
            model[ring.members] -= ring.peak
            rest = near.value[ring.members] - model[ring.members]
            if ring.number in crowded:
                ring.look(rest, widths[ring.number])
            ring.fit(near, rest, scatter)
            model[ring.members] += ring.peak


def _wanted(rings: list[_Ring], lines: Floats, widths: Floats) -> list[_Ring]:
    """Return the rings that stand clear of others; if they are few, all that can be told apart."""

    def hidden(ring: _Ring, distance: float) -> bool:
        others = (other for other in rings if other is not ring and other.height > SMALL * ring.height)
        return any(_reach(ring, other, lines, widths, distance) for other in others)

    clean = [ring for ring in rings if not hidden(ring, CLEAN)]
    return clean if len(clean) >= ENOUGH else [ring for ring in rings if not hidden(ring, MERGED)]


def _reach(ring: _Ring, other: _Ring, lines: Floats, widths: Floats, distance: float) -> bool:
    """Return whether two rings lie nearer to each other than a distance in standard deviations of their peaks."""
    apart = abs(lines[other.number] - lines[ring.number]) / ring.slope
    return bool(apart < distance * widths[ring.number])


def _rings(near: _Near, lines: Floats, power: float) -> list[_Ring]:
    """Return the rings on the frame, with their mean profiles."""
    reach = REACH * near.widest
    first, last = np.searchsorted(lines, [near.angle[0] - reach, near.angle[-1] + reach])
    rings = [_Ring(near, number, lines, power) for number in range(first, last)]
    rings = [ring for ring in rings if len(ring.members) >= FEWEST]
    for ring in rings:
        ring.look(near.value[ring.members])
    return rings


def _power(near: _Near, rings: list[_Ring]) -> float:
    """Return how peaks grow along the rings of a tilted detector.

    Their width in pixels is that of the angle, which falls with the change of the angle with a power of 1, or of the
    detector, whose power is 0.
    """
    powers = []
    for ring in sorted(_alone(rings), key=lambda ring: -ring.height)[:COMPARED]:
        slope = near.slope[ring.members[ring.use]]
        low, high = np.quantile(slope, [0.25, 0.75])
        wide, narrow = (
            mean_profile(ring.distance[ring.use][half], near.value[ring.members[ring.use]][half])
            for half in (slope < low, slope > high)
        )
        if high > VARIED * low and wide and narrow:
            ratio = np.log(wide.width / narrow.width)
            powers.append(ratio / np.log(np.median(slope[slope > high]) / np.median(slope[slope < low])))
    return float(np.clip(np.median(powers), 0.0, 1.0)) if len(powers) > 1 else 0.0


def _alone(rings: list[_Ring]) -> list[_Ring]:
    """Return the rings whose peaks no other one reaches."""
    return [ring for ring in rings if ring.profile and np.median(ring.room) > 2 * TAIL * ring.profile.width]


def _widths(rings: list[_Ring], lines: Floats) -> Floats:
    """Return the width of the peak of every line, pixels, as those of rings that stand alone have it."""
    alone = sorted(_alone(rings), key=lambda ring: ring.number)
    if not alone:
        return np.full(len(lines), np.quantile([ring.profile.width for ring in rings if ring.profile] or [1.0], 0.25))
    widths = [ring.profile.width * ring.unit for ring in alone if ring.profile]
    units = np.interp(lines, lines[[ring.number for ring in rings]], [ring.unit for ring in rings])
    return np.asarray(np.interp(lines, lines[[ring.number for ring in alone]], widths) / units)


def _near(image: NDArray[np.floating], good: Bools, cone: Cone, lines: Floats) -> _Near:
    with ThreadPoolExecutor(min(THREADS, available_cores())) as threads:
        parts = list(threads.map(lambda row: _near_rows(image, good, cone, lines, row), range(0, len(image), ROWS)))
        order = np.argsort(np.concatenate([part.angle for part in parts]))
        columns = [[getattr(part, each.name) for part in parts] for each in fields(_Near)]
        return _Near(*threads.map(lambda column: np.concatenate(column)[order], columns))


def _near_rows(image: NDArray[np.floating], good: Bools, cone: Cone, lines: Floats, row: int) -> _Near:
    slow, fast = np.nonzero(good[row : row + ROWS])
    slow += row
    points = np.stack([slow, fast], axis=1).astype(np.float64) + 0.5
    rays = cone.rays(points)
    across = np.hypot(rays[:, 0], rays[:, 1])
    angles = np.arctan2(across, rays[:, 2])
    apart = np.abs(angles - lines[nearest_line(angles, lines)])
    # a pixel is seen under an angle of one over the length of its ray, at most
    near = np.flatnonzero(apart * np.hypot(across, rays[:, 2]) < REACH)
    gradient = cone.gradient(points[near])
    slope = np.maximum(np.hypot(*gradient.T), LEAST)
    use = apart[near] < REACH * slope
    near, gradient, slope = near[use], gradient[use], slope[use]
    return _Near(
        slow[near],
        fast[near],
        image[slow[near], fast[near]].astype(np.float64),
        angles[near],
        np.arctan2(rays[near, 1], rays[near, 0]),
        slope,
        gradient / slope[:, None],
        across[near],
    )


def _middles(near: _Near, members: Ints, distance: Floats, sector: Ints) -> Ints:
    """Return for each sector the pixel in its middle that is nearest to the ring."""
    azimuth = near.azimuth[members]
    number = int(sector.max()) + 1
    # weights of the peak alone: the middle of where the counts are
    weight = np.exp(-(distance**2) / 8)
    middle = np.bincount(sector, weight * azimuth, number) / np.maximum(np.bincount(sector, weight, number), 1e-12)
    away = np.hypot((azimuth - middle[sector]) * near.radius[members], distance)
    order = np.lexsort([away, sector])
    return np.asarray(order[np.searchsorted(sector[order], np.arange(number))])
