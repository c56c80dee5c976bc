"""Calibration of random frames whose geometry is known: how often it is found, and how right it is.

python -m benchmarks.calibration [--half even|odd] [--from A --to B] [--hostile] [--sides 2000 2200]

A wrong wavelength is largely absorbed by the distance: at small angles the rings of a wavelength 5 % off fit to 0.01
pixels, and nobody can see the error without another source. With --hostile, the geometry that fits the true rings best
with the wrong wavelength is made; only where its misfit exceeds DETECTABLE is a geometry that is presented wrong.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from xrdpipe.calibration.calibrate import calibrate
from xrdpipe.calibration.cone import Cone
from xrdpipe.calibration.refine import cone_of
from xrdpipe.calibration.ridges import good_pixels
from xrdpipe.model.errors import FrameError

from .calibration_scenes import SIDES, CalibrationScene, HostileScene, hostile, scene

Floats = NDArray[np.float64]

WIDER = 1.02  # width of the peaks over that with the true geometry, at most
SHIFTED = 2e-4  # relative error of the rings' positions, at most
DARK = 0.05  # counts of a pixel whose variance is not known better
ISOLATED = 6  # FWHM around a ring without another one
REACH = 2.5  # FWHM on both sides of a ring that its profile shows
BIN = 0.25  # pixels of a bin of a profile
SAMPLED = 1.5  # pixels of the FWHM of a ring, without which pixels are wider than its peak
ON_RING = 60  # pixels of a ring from which its place is judged
WRONG = 1.0  # pixels: a geometry that is off by more than this in the median is another one
DETECTABLE = 0.3  # pixels: misfit of the best geometry with a wrong wavelength from which it can be seen


@dataclass(frozen=True)
class Outcome:
    """What became of a scene: solved, refused or WRONG; width and shift against the true geometry; seconds.

    ``allowed`` is the shift that the counts allow, see `least_shift`.
    """

    verdict: str
    seconds: float
    error: float = np.nan
    width: float = np.nan
    shift: float = np.nan
    allowed: float = np.nan
    reason: str = ""

    @property
    def right(self) -> bool:
        """Whether widths and positions are within the limits; frames without a peak that is clear have no width."""
        return self.verdict == "solved" and not self.width > WIDER and self.shift <= SHIFTED


def main() -> None:
    """Calibrate the scenes of the command line, and print each outcome and their sum."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--half", choices=("even", "odd"), default="even", help="even seeds are those of development")
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--to", dest="last", type=int, default=199)
    parser.add_argument("--hostile", action="store_true", help="frames that decide no geometry, or another one")
    parser.add_argument("--sides", nargs=2, type=int, default=SIDES, help="least and largest side of a frame, pixels")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    parity = ("even", "odd").index(options.half)
    seeds = [seed for seed in range(options.first, options.last + 1) if seed % 2 == parity]
    outcomes = []
    for seed in seeds:
        if options.hostile:
            case = hostile(seed)
            outcomes.append(outcome_of_hostile(case))
            print(f"{_line(case.scene, outcomes[-1])}  [{case.kind}]", flush=True)
        else:
            drawn = scene(seed, tuple(options.sides))
            outcomes.append(outcome_of(drawn))
            print(_line(drawn, outcomes[-1]), flush=True)
    print(_sum(outcomes))


def outcome_of(drawn: CalibrationScene) -> Outcome:
    """Calibrate a scene and compare the result with the truth."""
    geometry, seconds, reason = _calibrated(drawn, drawn.calibrant, drawn.geometry.wavelength)
    if geometry is None:
        return Outcome("refused", seconds, reason=reason)
    shape = drawn.image.shape
    truth, ours = (each.center_array(shape, unit="2th_rad").astype(np.float64) for each in (drawn.geometry, geometry))
    slope = np.hypot(*np.gradient(truth))
    error = float(np.median(np.abs(ours - truth) / slope))
    shift, width = _compare(drawn, truth, ours, slope)
    return Outcome("solved" if error < WRONG else "WRONG", seconds, error, width, shift, least_shift(drawn))


def least_shift(drawn: CalibrationScene) -> float:
    """Return the largest relative standard deviation of a ring's place that the counts allow any method.

    It is the bound of Cramer and Rao for Poisson counts, whose mean is known but for the five numbers of the geometry.
    """
    expected, cone = drawn.expected, cone_of(drawn.geometry)
    truth = drawn.geometry.center_array(expected.shape, unit="2th_rad").astype(np.float64)
    good = good_pixels(drawn.image.astype(np.float64), drawn.image < 0)
    gradient = np.gradient(truth)
    slope = np.hypot(*gradient)
    change = sum(a * b for a, b in zip(gradient, np.gradient(expected), strict=True)) / slope**2  # with the angle
    points = np.stack(np.mgrid[: expected.shape[0], : expected.shape[1]], axis=-1).reshape(-1, 2) + 0.5
    columns = cone.derivatives(points).reshape(*expected.shape, 5) * [1, 1, 1e-3, 1e-3, 1e-3]
    weights = good * change**2 / np.maximum(expected, DARK)
    covariance = np.linalg.inv(np.einsum("ij,ijk,ijl->kl", weights, columns, columns))
    results = []
    for line in _lines(drawn.calibrant, drawn.geometry.wavelength):
        on = (np.abs(truth - line) < slope) & good
        if on.sum() >= ON_RING:
            mean = columns[on].mean(axis=0)
            results.append(float(np.sqrt(mean @ covariance @ mean)) / line)
    return max(results, default=np.nan)


def outcome_of_hostile(case: HostileScene) -> Outcome:
    """Calibrate a scene of which something wrong is said; a geometry is WRONG unless nobody could see that."""
    geometry, seconds, reason = _calibrated(case.scene, case.calibrant, case.wavelength)
    if geometry is None:
        return Outcome("refused", seconds, reason=reason)
    if case.wavelength == case.scene.geometry.wavelength:
        return Outcome("WRONG", seconds)
    misfit = least_misfit(case)
    return Outcome("WRONG" if misfit > DETECTABLE else "undetectable", seconds, misfit)


def least_misfit(case: HostileScene) -> float:
    """Return the misfit (pixels) of the best geometry that puts the true rings at the angles of a wrong wavelength."""
    drawn = case.scene
    truth = drawn.geometry.center_array(drawn.image.shape, unit="2th_rad").astype(np.float64)
    gradient = np.gradient(truth)
    slope = np.hypot(*gradient)
    points, targets = [], []
    for line, wrong in zip(
        _lines(case.calibrant, drawn.geometry.wavelength), _lines(case.calibrant, case.wavelength), strict=False
    ):
        on = np.argwhere((np.abs(truth - line) < slope / 2) & (drawn.image >= 0))
        if len(on) >= ON_RING:
            at = tuple(on[:: max(len(on) // 100, 1)].T)
            # on the ring itself, not half a pixel beside it
            beside = (line - truth[at]) / slope[at] ** 2 * np.stack([each[at] for each in gradient])
            points.append(np.stack(at, axis=1) + 0.5 + beside.T)
            targets.append(np.full(len(at[0]), wrong))
    measured, target = np.concatenate(points), np.concatenate(targets)

    def residuals(vector: Floats) -> Floats:
        cone = Cone.of(vector)
        return (cone.two_theta(measured) - target) / cone.slope(measured)

    fitted = least_squares(residuals, cone_of(drawn.geometry).vector, x_scale=[10, 10, 0.02, 0.02, 0.02])
    return float(np.sqrt(np.mean(fitted.fun**2)))


def _calibrated(drawn: CalibrationScene, calibrant: str, wavelength: float) -> tuple[Any | None, float, str]:
    """Return the geometry that is presented as right, or None; seconds of the processor, and why there is none."""
    from pyFAI.calibrant import get_calibrant

    start = time.process_time()
    geometry, reason = None, ""
    try:
        found = calibrate(
            drawn.image.astype(np.float64),
            drawn.image < 0,
            drawn.geometry.detector,
            get_calibrant(calibrant, wavelength=wavelength),
        )
        geometry = found.refined.geometry
    except FrameError as error:
        reason = str(error)
    return geometry, time.process_time() - start, reason


def _lines(calibrant: str, wavelength: float) -> Floats:
    from pyFAI.calibrant import get_calibrant

    return np.array(get_calibrant(calibrant, wavelength=wavelength).get_2th())


def _compare(drawn: CalibrationScene, truth: Floats, ours: Floats, slope: Floats) -> tuple[float, float]:
    """Return the largest relative shift of a ring, and the largest ratio of widths of isolated rings.

    Widths are those of the expected counts, which have no noise that a geometry has no part in.
    """
    lines = _lines(drawn.calibrant, drawn.geometry.wavelength)
    gaps = np.diff(lines)
    room = np.minimum(np.concatenate([[np.inf], gaps]), np.concatenate([gaps, [np.inf]]))
    step = float(np.median(slope))
    fwhm = drawn.about["fwhm"] * step
    good = good_pixels(drawn.image.astype(np.float64), drawn.image < 0)
    shifts, widths = [], []
    for line, free in zip(lines, room, strict=True):
        on = (np.abs(truth - line) < slope) & good
        if on.sum() < ON_RING:
            continue
        shifts.append(abs(float(np.mean(ours[on] - truth[on]))) / line)
        if free > ISOLATED * fwhm and fwhm > SAMPLED * np.median(slope[on]):
            pair = [_width(drawn.expected[good], angles[good], line, fwhm, step) for angles in (ours, truth)]
            widths.append(pair[0] / pair[1])
    return max(shifts, default=np.nan), float(np.nanmax(widths)) if np.isfinite(widths).any() else np.nan


def _width(counts: Floats, angles: Floats, line: float, fwhm: float, step: float) -> float:
    """Return the standard deviation of a ring's peak (rad) in the integrated frame; nan if bins are missing."""
    near = np.abs(angles - line) < REACH * fwhm
    place = ((angles[near] - line + REACH * fwhm) / (BIN * step)).astype(int)
    number = np.bincount(place)
    bins = np.flatnonzero(number)
    if len(bins) < 8:
        return np.nan
    x = (bins + 0.5) * BIN * step / fwhm - REACH
    mean = np.bincount(place, counts[near])[bins] / number[bins]
    error = np.sqrt(np.maximum(mean, DARK) / number[bins])
    start = [np.ptp(mean), 0.0, 1 / 2.355, mean.min(), 0.0]

    def residuals(values: Sequence[float]) -> Floats:
        height, centre, sigma, base, slant = values
        return np.asarray((height * np.exp(-(((x - centre) / sigma) ** 2) / 2) + base + slant * x - mean) / error)

    return float(abs(least_squares(residuals, start).x[2])) * fwhm


def _line(drawn: CalibrationScene, outcome: Outcome) -> str:
    about = drawn.about
    what = f"{drawn.seed:4d} {drawn.calibrant:12s} {drawn.rings:2d} rings {about['counts']:6.1f} counts"
    if outcome.verdict == "refused":
        return f"{what}  refused  {outcome.seconds:5.1f} s  {outcome.reason}"
    if np.isnan(outcome.shift):
        return f"{what}  {outcome.verdict:7s}  {outcome.seconds:5.1f} s  misfit {outcome.error:.2f} px"
    ok = "" if outcome.right else f"  outside the limits; the counts allow {outcome.allowed:.1e}"
    return (
        f"{what}  {outcome.verdict:7s}  {outcome.seconds:5.1f} s  error {outcome.error:.4f} px"
        f"  width {outcome.width:.4f}  rings {outcome.shift:.1e}{ok}"
    )


def _sum(outcomes: Sequence[Outcome]) -> str:
    number = Counter(each.verdict for each in outcomes)
    right = sum(each.right for each in outcomes)
    seconds = [each.seconds for each in outcomes] or [0.0]
    undetectable = f"{number['undetectable']} with an error that nobody can see, " if number["undetectable"] else ""
    return (
        f"{len(outcomes)} scenes: {number['solved']} solved ({right} within the limits), {number['refused']} refused, "
        f"{undetectable}{number['WRONG']} wrong; {np.median(seconds):.1f} s in the median, {max(seconds):.1f} s at most"
    )


if __name__ == "__main__":
    main()
