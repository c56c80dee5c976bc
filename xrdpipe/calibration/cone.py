"""A tilted detector in a cone of rays: the geometry in the form in which it is searched for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST = 1e-12  # rad a pixel: where the beam meets the detector, the angle changes by nothing
STEP = 1e-5  # rad, of the tilt in the differences that are its derivatives


@dataclass(frozen=True)
class Cone:
    """Where the beam meets the detector, and how the detector stands; lengths in pixels.

    Attributes
    ----------
    slow, fast
        Point where the direct beam meets the plane of the detector; the centre of the first pixel is (0.5, 0.5).
    length
        From the sample to that point.
    tilt_slow, tilt_fast
        Tilt of the detector in rad, as a vector in the plane of the detector that points away from the sample.
    """

    slow: float
    fast: float
    length: float
    tilt_slow: float = 0.0
    tilt_fast: float = 0.0

    @property
    def vector(self) -> Floats:
        """The five numbers; the length as its logarithm."""
        return np.array([self.slow, self.fast, np.log(self.length), self.tilt_slow, self.tilt_fast])

    @classmethod
    def of(cls, vector: Floats) -> Cone:
        """Return the cone of five numbers, see `vector`."""
        slow, fast, length, tilt_slow, tilt_fast = map(float, vector)
        return cls(slow, fast, float(np.exp(length)), tilt_slow, tilt_fast)

    @property
    def tilt(self) -> float:
        """Angle between the beam and the normal of the detector, rad."""
        return float(np.hypot(self.tilt_slow, self.tilt_fast))

    def axes(self) -> tuple[Floats, Floats]:
        """Return the unit vectors along rows' numbers (slow) and columns' (fast), as (x, y, z), z along the beam."""
        tilt = self.tilt
        if tilt == 0:
            return np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])
        a, b = self.tilt_slow / tilt, self.tilt_fast / tilt  # direction that leans away from the sample
        cos, sin = np.cos(tilt), np.sin(tilt)
        slow = np.array([a * a * cos + b * b, a * b * (cos - 1), a * sin])
        fast = np.array([a * b * (cos - 1), b * b * cos + a * a, b * sin])
        return slow, fast

    def rays(self, points: Floats) -> Floats:
        """Return the vectors from the sample to points (n, 2) of the detector, (n, 3)."""
        slow, fast = self.axes()
        offset = points - [self.slow, self.fast]
        rays: Floats = offset[:, :1] * slow + offset[:, 1:] * fast
        rays[:, 2] += self.length
        return rays

    def two_theta(self, points: Floats) -> Floats:
        """Return the scattering angle at points (n, 2), rad."""
        rays = self.rays(points)
        return np.arctan2(np.hypot(rays[:, 0], rays[:, 1]), rays[:, 2])

    def gradient(self, points: Floats) -> Floats:
        """Return the change of the scattering angle per pixel along (slow, fast), (n, 2)."""
        rays = self.rays(points)
        across = np.maximum(np.hypot(rays[:, 0], rays[:, 1]), 1e-9)
        square = across**2 + rays[:, 2] ** 2
        result = []
        for axis in self.axes():
            change = (rays[:, 0] * axis[0] + rays[:, 1] * axis[1]) / across
            result.append((change * rays[:, 2] - across * axis[2]) / square)
        return np.stack(result, axis=1)

    def derivatives(self, points: Floats) -> Floats:
        """Return the change of the scattering angle at points (n, 2) with the five numbers of `vector`, (n, 5)."""
        rays = self.rays(points)
        across = np.maximum(np.hypot(rays[:, 0], rays[:, 1]), 1e-9)
        square = across**2 + rays[:, 2] ** 2
        turn = np.stack([rays[:, 0] * rays[:, 2] / across, rays[:, 1] * rays[:, 2] / across, -across], axis=1)
        turn /= square[:, None]
        slow, fast = self.axes()
        columns = [-(turn @ slow), -(turn @ fast), turn[:, 2] * self.length]
        offset = points - [self.slow, self.fast]
        for step in np.eye(2) * STEP:
            ends = [replace(self, tilt_slow=self.tilt_slow + a, tilt_fast=self.tilt_fast + b) for a, b in (step, -step)]
            change = (np.array(ends[0].axes()) - np.array(ends[1].axes())) / (2 * STEP)
            columns.append(offset[:, 0] * (turn @ change[0]) + offset[:, 1] * (turn @ change[1]))
        return np.stack(columns, axis=1)

    def slope(self, points: Floats) -> Floats:
        """Return the change of the scattering angle per pixel across the rings at points (n, 2), (n,)."""
        return np.asarray(np.maximum(np.hypot(*self.gradient(points).T), LEAST))


def nearest_line(angles: Floats, lines: Floats) -> NDArray[np.intp]:
    """Return the number of the line, of two or more that increase, that is nearest to each angle."""
    place = np.clip(np.searchsorted(lines, angles), 1, len(lines) - 1)
    return np.where(angles - lines[place - 1] < lines[place] - angles, place - 1, place)


def ring_shift(one: Cone, other: Cone, points: Floats) -> Floats:
    """Return how far the rings of another geometry lie from those of one at points (n, 2), pixels, (n,)."""
    return np.asarray(np.abs(one.two_theta(points) - other.two_theta(points)) / one.slope(points))


def ring_angles(spacings: Floats, wavelength: float) -> Floats:
    """Return the scattering angles (rad) of d-spacings (angstrom, decreasing) that a wavelength (m) reaches."""
    sines = 1e10 * wavelength / (2 * spacings)
    return np.asarray(2 * np.arcsin(sines[sines < 1]))


def line_gaps(lines: Floats) -> Floats:
    """Return the distance of each line from the nearest other one."""
    gaps = np.diff(lines)
    return np.asarray(np.minimum(np.concatenate([[np.inf], gaps]), np.concatenate([gaps, [np.inf]])))


def line_room(lines: Floats) -> Floats:
    """Return the width of the range of angles in which each line is the nearest; at the ends, the gap to the next."""
    gaps = np.diff(lines)
    return np.concatenate([gaps[:1], (gaps[:-1] + gaps[1:]) / 2, gaps[-1:]])
