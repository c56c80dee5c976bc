"""Orientation of frames: in which of the eight orientations the rings of a frame are those of its PONI."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.errors import ConfigError
from .geometry import Geometry
from .geometry import shared_geometry as shared
from .poni import Poni
from .ring_evidence import SECTORS, RingMap, block_gains, fold_step, measured, places, significance, structure

# All orientations of a rectangle, each as the shortest list of transforms.
ORIENTATIONS: tuple[tuple[str, ...], ...] = (
    (),
    ("flipud",),
    ("fliplr",),
    ("flipud", "fliplr"),
    ("transpose",),
    ("rot90",),
    ("rot90", "flipud", "fliplr"),
    ("transpose", "flipud", "fliplr"),
)


SIDE = 512  # rows and columns of bins that a frame is folded into
COARSE = 192  # the same for a quick look
FAR = 3.0  # standard deviations of the ranks in a ring
SURE = 5.0  # standard deviations: a difference that is not accidental
SAME = 1.0  # pixels: rings that lie nearer are the same


@dataclass(frozen=True)
class Verdict:
    """Evidence of a frame about its orientation.

    Attributes
    ----------
    against
        Orientation that fits the detector -> evidence against it, in standard deviations; best first, with 0.
    apart
        Orientation -> distance of its rings from those of the best one (root mean square, pixels).
    current
        Orientation that the user's ``source.transform`` gives.
    rings
        Evidence for rings in the best orientation, in standard deviations.
    counts
        Mean of the valid pixels.
    """

    against: Mapping[tuple[str, ...], float]
    apart: Mapping[tuple[str, ...], float]
    current: tuple[str, ...]
    rings: float = 0.0
    counts: float = 0.0

    @property
    def best(self) -> tuple[str, ...]:
        """Orientation with the most evidence; the current one if its rings are the same."""
        if self.current in self.against and self.apart[self.current] < SAME:
            return self.current
        return next(iter(self.against))

    @property
    def likely(self) -> list[tuple[str, ...]]:
        """Orientations without sure evidence against them, or with the same rings as the best; best first."""
        return [words for words, value in self.against.items() if value < SURE or self.apart[words] < SAME]

    @property
    def wrong(self) -> bool:
        """True if the evidence against the current orientation is sure."""
        return self.current in self.against and self.current not in self.likely

    @property
    def right(self) -> bool:
        """True if the evidence against all orientations is sure, except those with the rings of the current one."""
        return self.current in self.likely and all(self.apart[words] < SAME for words in self.likely)


def apply_transform(array: NDArray[Any], transform: Sequence[str]) -> NDArray[Any]:
    """Return an array (slow, fast) after the named transforms, in their order."""
    for name in transform:
        array = TRANSFORMS[name](array)
    return array


def canonical(transform: Sequence[str]) -> tuple[str, ...]:
    """Return the member of `ORIENTATIONS` that is equivalent to a transform."""
    target = apply_transform(np.arange(4).reshape(2, 2), transform).tolist()
    return next(
        words for words in ORIENTATIONS if apply_transform(np.arange(4).reshape(2, 2), words).tolist() == target
    )


def compare_orientations(
    raw: NDArray[Any], poni: Poni, transform: Sequence[str], cache: bool, side: int = SIDE
) -> Verdict:
    """Compare the evidence for all orientations that fit the detector.

    Parameters
    ----------
    raw
        Raw frame, (slow, fast).
    poni
        Calibration.
    transform
        The user's ``source.transform``.
    cache
        Store the rings on disk.
    side
        A larger frame is folded into about ``side`` x ``side`` bins.
    """
    current = canonical(transform)
    step = fold_step(raw.shape, side)
    shape = (raw.shape[0], raw.shape[1])
    unturned = {size: _ring_map(poni, size, cache, step) for size in (shape, shape[::-1])}
    maps: dict[tuple[str, ...], RingMap] = {}
    for words in ORIENTATIONS:
        found = unturned[apply_transform(np.empty(shape, np.bool_), words).shape]
        if found is not None:
            maps[words] = _turned_back(found, words, step, shape)
    if not maps:
        return Verdict({}, {}, current)
    groups = _groups(maps, current, step)
    gains = block_gains(structure(raw, step), [maps[group[0]] for group in groups])
    below = [min((significance(mine - other) for other in gains if other is not mine), default=0.0) for mine in gains]
    best = int(np.argmax(below))
    order = sorted(range(len(groups)), key=lambda number: significance(gains[best] - gains[number]))
    order.sort(key=lambda number: number != best)
    against, apart = {}, {}
    for number in order:
        for words in groups[number]:
            against[words] = significance(gains[best] - gains[number])
            apart[words] = _apart(maps[groups[best][0]], maps[words], step)
    good = measured(raw)
    mean = float(raw.mean(where=good)) if good.any() else 0.0
    return Verdict(against, apart, current, significance(gains[best]), mean)


def _groups(
    maps: Mapping[tuple[str, ...], RingMap], current: tuple[str, ...], step: int
) -> list[list[tuple[str, ...]]]:
    """Group the orientations with the same rings; the current one comes first in its group."""
    groups: list[list[tuple[str, ...]]] = []
    for words in sorted(maps, key=lambda words: words != current):
        for group in groups:
            if _apart(maps[group[0]], maps[words], step) < SAME:
                group.append(words)
                break
        else:
            groups.append([words])
    return groups


def _apart(one: RingMap, other: RingMap, step: int) -> float:
    """Return the distance of the rings of two maps, root mean square, pixels."""
    return step * float(np.sqrt(np.mean((one.radius - other.radius) ** 2)))


def _ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the rank of every value, the same for equal values; NaN for values that are no measurement."""
    bad = ~measured(values)
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts + 1) / 2
    ranks = middle[inverse].reshape(values.shape)
    ranks[bad] = np.nan
    result: NDArray[np.float64] = ranks
    return result


def _ring_map(poni: Poni, shape: tuple[int, int], cache: bool, step: int) -> RingMap | None:
    """Return the rings of a frame of this shape (slow, fast); None if it does not fit the detector."""
    geometry = shared(poni, shape, cache=cache)

    def make() -> dict[str, NDArray[Any]]:
        try:
            integrator = geometry.integrator
        except ConfigError:  # cached as well, because a new check would import pyFAI
            return {"radius": np.zeros((1, 1), np.float32), "sector": np.zeros((1, 1), np.uint8)}
        two_theta, chi = (integrator.center_array(shape, unit=unit, scale=False) for unit in ("2th_rad", "chi_rad"))
        made = RingMap.of(two_theta, chi, step)
        return {"radius": made.radius, "sector": made.sector}

    cached = geometry.cached("orientation", {"step": step, "sectors": SECTORS}, make)
    return None if cached["radius"].size == 1 else RingMap(cached["radius"], cached["sector"])


def _turned_back(rings: RingMap, words: Sequence[str], step: int, shape: tuple[int, int]) -> RingMap:
    """Turn the rings back to a raw frame of this shape, which ``words`` turns to the orientation of the PONI."""
    bins = [size // (2 * step) * 2 for size in shape]
    radius, sector = np.empty(bins, np.float32), np.empty(bins, np.uint8)
    apply_transform(radius, words)[...] = rings.radius
    apply_transform(sector, words)[...] = rings.sector
    return RingMap(radius, sector)


def override_text(transform: Sequence[str]) -> str:
    """Return a transform as the override that a user types."""
    return f"source.transform=[{','.join(transform)}]"


def detector_orientations(poni: Poni, shape: tuple[int, int]) -> dict[tuple[str, ...], int]:
    """Return the orientations of a frame that an orientation of pyFAI's detector can replace.

    Parameters
    ----------
    poni
        Calibration.
    shape
        Shape of the frames, (slow, fast).

    Returns
    -------
    dict
        Orientation of the frame -> pyFAI's detector orientation (1 to 4) with the same geometry.
    """

    def two_theta(changes: str) -> NDArray[np.float64]:
        integrator = Geometry(replace(poni, changes=changes), shape).integrator
        angles: NDArray[np.float64] = integrator.center_array(shape, unit="2th_rad", scale=False)
        return angles

    current, equivalent = two_theta(poni.changes), {}
    for number in (1, 2, 3, 4):
        other = two_theta(json.dumps({**poni.changed, "orientation": number}))
        for words in ORIENTATIONS[:4]:
            if np.allclose(apply_transform(current, words), other):
                equivalent[words] = number
    return equivalent


def ring_misfits(raw: NDArray[Any], poni: Poni, transform: Sequence[str], cache: bool) -> NDArray[np.bool_] | None:
    """Return the pixels of a raw frame that deviate from their ring or are no measurement.

    The middle row or column of an odd number is skipped.

    Parameters
    ----------
    raw
        Raw frame, (slow, fast).
    poni
        Calibration.
    transform
        The user's ``source.transform``.
    cache
        Store the rings on disk.

    Returns
    -------
    ndarray or None
        Bool, (slow, fast); None if the frame does not fit the detector.
    """
    turned = apply_transform(raw, transform).shape
    found_rings = _ring_map(poni, (turned[0], turned[1]), cache, 1)
    if found_rings is None:
        return None
    rings = _turned_back(found_rings, transform, 1, (raw.shape[0], raw.shape[1]))
    at = np.ix_(*(places(size, 1) for size in raw.shape))
    ranks = _ranks(raw[at]).ravel()
    numbers = rings.radius.astype(np.int64).ravel()
    good = np.isfinite(ranks)
    count = np.maximum(np.bincount(numbers[good], minlength=numbers.max() + 1), 1)
    mean = np.bincount(numbers[good], ranks[good], count.size) / count
    spread = np.sqrt(np.bincount(numbers[good], (ranks[good] - mean[numbers[good]]) ** 2, count.size) / count)
    with np.errstate(invalid="ignore"):
        off = ~good | (np.abs(ranks - mean[numbers]) > FAR * spread[numbers])
    found = np.zeros(raw.shape, np.bool_)
    found[at] = off.reshape(rings.radius.shape)
    return found


# Transform -> its effect on an array (slow, fast).
TRANSFORMS: Mapping[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "flipud": np.flipud,
    "fliplr": np.fliplr,
    "rot90": np.rot90,
    "transpose": np.transpose,
}
