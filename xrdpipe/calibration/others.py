"""Another calibrant that explains the rings of a frame better than the one that is named."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cone import Cone
from .ridges import Ridges
from .search import best_score

FACTORS = np.geomspace(0.35, 2.8, 9)  # of the distance: those between are tried too
LIKE = 0.002  # relative difference of the first d-spacings of one calibrant under two names
BETTER = 1.15  # times the score of the calibrant that is named
POINTS = 400  # that are looked at


def better_calibrant(cone: Cone, ridges: Ridges, calibrant: Any) -> str | None:
    """Return the name of a calibrant of pyFAI whose rings fit better, at another distance along the same beam.

    Parameters
    ----------
    cone
        The geometry with the calibrant that is named: its centre and tilt hardly depend on the calibrant.
    ridges
        Points on rings.
    calibrant
        Calibrant of pyFAI with its wavelength.
    """
    from pyFAI.calibrant import ALL_CALIBRANTS

    some = ridges.part(np.random.default_rng(3).permutation(len(ridges.points))[:POINTS])
    least = BETTER * best_score(cone, some, np.array(calibrant.get_2th()))
    found: tuple[float, str] | None = None
    for name in sorted(ALL_CALIBRANTS.keys()):
        other = ALL_CALIBRANTS(name)
        other.wavelength = calibrant.wavelength
        lines = np.array(other.get_2th())
        if len(lines) < 3 or _alike(lattice_spacings(other), lattice_spacings(calibrant)):
            continue
        score = max(best_score(_at(cone, factor), some, lines) for factor in FACTORS)
        if score > least and (found is None or score > found[0]):
            found = score, name
    return None if found is None else found[1]


def lattice_spacings(calibrant: Any) -> NDArray[np.float64]:
    """Return the lattice spacings of a calibrant of pyFAI, in angstrom."""
    name = "dspacing" if hasattr(calibrant, "dspacing") else "dSpacing"  # before pyFAI 2025.12
    return np.array(getattr(calibrant, name), np.float64)


def _alike(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    first, second = one[:3], other[:3]
    return len(first) == len(second) and bool(np.allclose(first, second, rtol=LIKE))


def _at(cone: Cone, factor: float) -> Cone:
    return Cone(cone.slow, cone.fast, cone.length * factor, cone.tilt_slow, cone.tilt_fast)
