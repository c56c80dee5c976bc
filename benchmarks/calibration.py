"""Calibration of random frames whose geometry is known: how often it is found, and how right it is.

python -m benchmarks.calibration [--half even|odd] [--from A --to B]
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xrdpipe.calibration.refine import geometry_of, refine_geometry
from xrdpipe.calibration.ridges import find_ridges, good_pixels, scatter_of
from xrdpipe.calibration.search import Hypothesis, search

from .calibration_scenes import CalibrationScene, scene

Floats = NDArray[np.float64]

WIDER = 1.02  # width of the peaks over that with the true geometry, at most
SHIFTED = 2e-4  # relative error of the rings' positions, at most
ISOLATED = 6  # FWHM around a ring without another one
WRONG = 1.0  # pixels: a geometry that is off by more than this in the median is another one


@dataclass(frozen=True)
class Outcome:
    """What became of a scene: solved, refused or WRONG; width and shift against the true geometry; seconds."""

    verdict: str
    seconds: float
    error: float = np.nan
    width: float = np.nan
    shift: float = np.nan

    @property
    def right(self) -> bool:
        """Whether widths and positions are within the limits."""
        return self.verdict == "solved" and self.width <= WIDER and self.shift <= SHIFTED


def main() -> None:
    """Calibrate the scenes of the command line, and print each outcome and their sum."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--half", choices=("even", "odd"), default="even", help="even seeds are those of development")
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--to", dest="last", type=int, default=199)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    parity = ("even", "odd").index(options.half)
    outcomes = []
    for seed in range(options.first, options.last + 1):
        if seed % 2 == parity:
            drawn = scene(seed)
            outcome = outcome_of(drawn)
            outcomes.append(outcome)
            print(_line(drawn, outcome), flush=True)
    print(_sum(outcomes))


def calibrated(drawn: CalibrationScene) -> Any | None:
    """Return the geometry that is presented as right, or None."""
    from pyFAI.calibrant import get_calibrant

    image = drawn.image.astype(np.float64)
    wavelength = drawn.geometry.wavelength
    calibrant = get_calibrant(drawn.calibrant, wavelength=wavelength)
    good = good_pixels(image, drawn.image < 0)
    found = search(find_ridges(image, good), np.array(calibrant.get_2th()), drawn.image.shape)
    if not _decided(found):
        return None
    start = geometry_of(found[0].cone, drawn.geometry.detector, wavelength)
    refined = refine_geometry(image, good, start, calibrant, scatter_of(image, good))
    return refined.geometry if refined is not None and refined.rms < 1 else None


def _decided(found: list[Hypothesis]) -> bool:
    if not found or found[0].score < 5:
        return False
    second = found[1].score if len(found) > 1 else 0.0
    return found[0].score > min(1.5 * second, second + 3)


def outcome_of(drawn: CalibrationScene) -> Outcome:
    """Calibrate a scene and compare the result with the truth."""
    start = time.process_time()
    geometry = calibrated(drawn)
    seconds = time.process_time() - start
    if geometry is None:
        return Outcome("refused", seconds)
    shape = drawn.image.shape
    truth, ours = (each.center_array(shape, unit="2th_rad").astype(np.float64) for each in (drawn.geometry, geometry))
    slope = np.hypot(*np.gradient(truth))
    error = float(np.median(np.abs(ours - truth) / slope))
    shift, width = _compare(drawn, truth, ours, slope)
    return Outcome("solved" if error < WRONG else "WRONG", seconds, error, width, shift)


def _compare(drawn: CalibrationScene, truth: Floats, ours: Floats, slope: Floats) -> tuple[float, float]:
    """Return the largest relative shift of a ring and the largest ratio of widths, from the geometries alone."""
    from pyFAI.calibrant import get_calibrant

    lines = np.array(get_calibrant(drawn.calibrant, wavelength=drawn.geometry.wavelength).get_2th())
    gaps = np.diff(lines)
    room = np.minimum(np.concatenate([[np.inf], gaps]), np.concatenate([gaps, [np.inf]]))
    step = float(np.median(slope))
    fwhm = drawn.about["fwhm"] * step
    shifts, widths = [], []
    for line, free in zip(lines, room, strict=True):
        on = (np.abs(truth - line) < slope) & (drawn.image >= 0)
        if on.sum() < 60:
            continue
        shifts.append(abs(float(np.mean(ours[on] - truth[on]))) / line)
        if free > ISOLATED * fwhm:
            # the width that the true geometry gives, and what the scatter of ours about it adds in quadrature
            spread = float(np.std(ours[on] - truth[on]))
            sigma = float(np.hypot(fwhm / 2.355, step / np.sqrt(12)))
            widths.append(np.hypot(sigma, spread) / sigma)
    return max(shifts, default=np.nan), float(np.max(widths)) if widths else np.nan


def _line(drawn: CalibrationScene, outcome: Outcome) -> str:
    about = drawn.about
    what = f"{drawn.seed:4d} {drawn.calibrant:12s} {drawn.rings:2d} rings {about['counts']:6.1f} counts"
    if outcome.verdict == "refused":
        return f"{what}  refused  {outcome.seconds:5.1f} s"
    ok = "" if outcome.right else "  outside the limits"
    return (
        f"{what}  {outcome.verdict:7s}  {outcome.seconds:5.1f} s  error {outcome.error:.4f} px"
        f"  width {outcome.width:.4f}  rings {outcome.shift:.1e}{ok}"
    )


def _sum(outcomes: list[Outcome]) -> str:
    number = Counter(each.verdict for each in outcomes)
    right = sum(each.right for each in outcomes)
    seconds = [each.seconds for each in outcomes] or [0.0]
    return (
        f"{len(outcomes)} scenes: {number['solved']} solved ({right} within the limits), {number['refused']} refused, "
        f"{number['WRONG']} wrong; {np.median(seconds):.1f} s in the median, {max(seconds):.1f} s at most"
    )


if __name__ == "__main__":
    main()
