"""From the frame of a calibrant to a geometry, or to the reason why the frame does not decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.errors import FrameError
from .cone import Cone, nearest_line
from .control_points import ControlPoints
from .decision import apart, check_evidence, check_parameters, evidence_of
from .others import better_calibrant
from .refine import Refined, cone_of, geometry_of, refine_geometry, values_of
from .ridges import Ridges, find_ridges, good_pixels, scatter_of
from .search import Hypothesis, judge, refine, search
from .starts import same

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FIXED = ("rot3", "wavelength")  # by default
FEWEST = 40  # points on rings that a search needs
RINGS, RINGS_FROM_START = 3, 2  # with control points, at least
ALIKE = 0.7  # of the best score, from which on another geometry may be the right one
RIVALS, RIVAL = 4, 2.0  # how many of them are looked at; pixels between the rings of two that are not the same
MANY = 50_000  # points on rings, from which on most may lie among rings that touch
CLEARLY = 15.0  # chi-square by which a geometry has to be worse than another
POINTS = 3  # control points of a ring that counts
START = (20.0, 6.0)  # pixels between a start and the rings that are tried


@dataclass(frozen=True)
class Calibrated:
    """A geometry that the frame decides.

    Attributes
    ----------
    refined
        Geometry, control points, residuals and covariance.
    rings
        Numbers of the rings with control points, from 0.
    score
        Logarithm of the odds against chance.
    """

    refined: Refined
    rings: tuple[int, ...]
    score: float

    @property
    def values(self) -> dict[str, float]:
        """Parameters by their names in pyFAI, m and rad."""
        return values_of(self.refined.geometry)


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
    task = _Task.of(image, bad, detector, calibrant, start, tuple(fix))
    if start is not None:
        return _decide_from_start(task)
    refusal: FrameError | None = None
    for found in _searches(task):
        try:
            if found:
                return _decide(found, found, task)
        except FrameError as error:
            refusal = refusal or error
    raise refusal or FrameError(
        "no geometry puts the rings of this calibrant on those of the frame; check calibrant and wavelength"
    )


@dataclass(frozen=True)
class _Task:
    """A frame, what is seen in it, and what is known of its geometry."""

    image: Floats
    good: Bools
    scatter: float
    ridges: Ridges
    lines: Floats
    detector: Any
    calibrant: Any
    start: Any
    fix: tuple[str, ...]

    @classmethod
    def of(
        cls, image: NDArray[np.floating], bad: Bools, detector: Any, calibrant: Any, start: Any, fix: tuple[str, ...]
    ) -> _Task:
        """Find points on rings; FrameError if there are too few."""
        counts: Floats = image.astype(np.float64)
        good = good_pixels(counts, bad)
        ridges = find_ridges(counts, good)
        if len(ridges.points) < FEWEST:
            raise FrameError("no rings stand out of the noise; take a longer exposure, or mask what hides them")
        lines = np.array(calibrant.get_2th())
        return cls(counts, good, scatter_of(counts, good), ridges, lines, detector, calibrant, start, fix)

    @property
    def shape(self) -> tuple[int, int]:
        """Of the frame, (slow, fast)."""
        return self.image.shape[0], self.image.shape[1]

    def refined(self, found: Hypothesis) -> Refined | None:
        """Return the refined geometry of a hypothesis; None if there are too few control points."""
        geometry = geometry_of(found.cone, self.detector, self.calibrant.wavelength)
        geometry.rot3 = 0.0 if self.start is None else self.start.rot3
        if self.start is not None:
            for name in self.fix:
                setattr(geometry, name, getattr(self.start, name))
        return refine_geometry(self.image, self.good, geometry, self.calibrant, self.scatter, self.fix)


def _decide_from_start(task: _Task) -> Calibrated:
    started = _from_start(task.start, task.ridges, task.lines)
    if not started:
        raise FrameError("the rings lie too far from those of poni=; leave it out, or correct its distance and centre")
    return _decide(started, next(_searches(task)) if set(task.fix) <= set(FIXED) else [], task)


def _searches(task: _Task) -> Iterator[list[Hypothesis]]:
    """Yield the geometries found, the best first: with all points on rings, and with the half that stands out too.

    Most points may lie among rings that touch, so of many points the half comes first.
    """
    halves = [task.ridges, task.ridges.stronger()]
    if len(task.ridges.points) > MANY:
        halves.reverse()
    found: list[Hypothesis] = []
    for ridges in halves:
        found = sorted(found + search(ridges, task.lines, task.shape), key=lambda each: -each.score)
        yield found


def _decide(found: Sequence[Hypothesis], searched: Sequence[Hypothesis], task: _Task) -> Calibrated:
    """Return the geometry that passes, if it is one alone; FrameError says what is wrong with the best one."""
    least = found[0].score - (1 - ALIKE) * abs(found[0].score)
    others = [each for each in searched if each.score > least and not same(each.cone, found[0].cone, task.shape)]
    passed: list[Calibrated] = []
    refusal: FrameError | None = None
    for each in [found[0], *others[:RIVALS]]:
        if any(_same_rings(each.cone, other.refined.points, task.lines) for other in passed):
            continue
        try:
            passed.append(_judged(each, task))
        except FrameError as error:
            refusal = refusal or error
    if not passed:
        raise refusal or FrameError("no geometry fits")
    highest = max(each.score for each in passed)
    least = highest - (1 - ALIKE) * abs(highest)
    alike = sorted((each for each in passed if each.score >= least), key=lambda each: each.refined.excess)
    best = alike[0]
    for rival in alike[1:]:
        worse = len(rival.refined.residuals) * ((rival.refined.excess / best.refined.excess) ** 2 - 1)  # in chi-square
        if worse < CLEARLY and apart(rival.refined, best.refined, task.shape) > RIVAL:
            raise FrameError(
                "two geometries fit alike: take a frame with more rings, or longer arcs of them, or start from a "
                "geometry that is nearly right, poni="
            )
    return best


def _same_rings(cone: Cone, points: ControlPoints, lines: Floats) -> bool:
    """Return whether a geometry puts the control points of another one on the same rings, so that it refines to it."""
    return bool((nearest_line(cone.two_theta(points.points), lines) == points.rings).all())


def _judged(found: Hypothesis, task: _Task) -> Calibrated:
    """Return the refined geometry; FrameError unless it explains the rings and is determined by them."""
    best = task.refined(found)
    rings = () if best is None else _rings(best)
    least = RINGS if task.start is None else RINGS_FROM_START
    if best is None or len(rings) < least:
        raise FrameError(
            f"{len(rings)} rings can be measured, {least} are needed: take a frame with more rings (a larger angle, a "
            f"shorter distance) or more counts{'' if task.start else ', or start from a geometry, poni='}"
        )
    final = judge(cone_of(best.geometry), task.ridges, task.lines)
    evidence = evidence_of(best, final, task.ridges, task.lines, task.image, task.good, task.scatter)
    check_evidence(evidence)
    check_parameters(best, task.shape)
    if evidence.doubtful and (name := better_calibrant(final.cone, task.ridges, task.calibrant)):
        raise FrameError(f"the rings are rather those of another calibrant, such as {name}: check calibrant")
    return Calibrated(best, rings, final.score)


def _from_start(start: Any, ridges: Ridges, lines: Floats) -> list[Hypothesis]:
    """Return what the points on rings make of a start, the best first."""
    cones = [refine(cone_of(start), width, ridges, lines) for width in START]
    return sorted((judge(cone, ridges, lines) for cone in cones if cone is not None), key=lambda each: -each.score)


def _rings(refined: Refined) -> tuple[int, ...]:
    numbers, counts = np.unique(refined.points.rings, return_counts=True)
    return tuple(map(int, numbers[counts >= POINTS]))
