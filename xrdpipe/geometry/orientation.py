"""Orientation: in which of its eight orientations the rings of a frame are those of its PONI."""

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

# All orientations of a rectangle, each in as few words as it takes.
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


COARSE = 192  # the same, to see quickly that all is well


FAR = 3.0  # standard deviations of the ranks in a ring


SURE = 5.0  # standard deviations: a difference is no accident


SAME = 1.0  # pixels: rings that are nearer are the same


@dataclass(frozen=True)
class Verdict:
    """What a frame says about its orientation.

    ``against``: the evidence against each orientation that fits the detector, in standard deviations below the best
    one, best first; ``apart``: how far its rings lie from those of the best one (root mean square, pixels); ``rings``:
    the evidence for rings in the best one; ``counts``: the mean of the pixels; ``given``: what was asked about.
    """

    against: Mapping[tuple[str, ...], float]
    apart: Mapping[tuple[str, ...], float]
    given: tuple[str, ...]
    rings: float = 0.0
    counts: float = 0.0

    @property
    def best(self) -> tuple[str, ...]:
        """The orientation with the most evidence; the given one where its rings are the same."""
        if self.given in self.against and self.apart[self.given] < SAME:
            return self.given
        return next(iter(self.against))

    @property
    def likely(self) -> list[tuple[str, ...]]:
        """The orientations that nothing speaks against, best first, those with the same rings included."""
        return [words for words, value in self.against.items() if value < SURE or self.apart[words] < SAME]

    @property
    def wrong(self) -> bool:
        """Whether the frame speaks against the given orientation."""
        return self.given in self.against and self.given not in self.likely

    @property
    def right(self) -> bool:
        """Whether the frame speaks against all orientations but the given one, and those with the same rings."""
        return self.given in self.likely and all(self.apart[words] < SAME for words in self.likely)


def apply_transform(array: NDArray[Any], transform: Sequence[str]) -> NDArray[Any]:
    """An array (slow, fast) in another orientation."""
    for name in transform:
        array = TRANSFORMS[name](array)
    return array


def canonical(transform: Sequence[str]) -> tuple[str, ...]:
    """The words of `ORIENTATIONS` for what this transform does."""
    seen = apply_transform(np.arange(4).reshape(2, 2), transform).tolist()
    return next(words for words in ORIENTATIONS if apply_transform(np.arange(4).reshape(2, 2), words).tolist() == seen)


def judge(raw: NDArray[Any], poni: Poni, transform: Sequence[str], cache: bool, side: int = SIDE) -> Verdict:
    """Compare all orientations of a raw frame (slow, fast) that fit the detector with that which ``transform`` gives.

    The frame is folded into about ``side`` x ``side`` bins, if it has more pixels.
    """
    given = canonical(transform)
    step = fold_step(raw.shape, side)
    shape = (raw.shape[0], raw.shape[1])
    unturned = {size: _ring_map(poni, size, cache, step) for size in (shape, shape[::-1])}
    maps: dict[tuple[str, ...], RingMap] = {}
    for words in ORIENTATIONS:
        found = unturned[apply_transform(np.empty(shape, np.bool_), words).shape]
        if found is not None:
            maps[words] = _turned_back(found, words, step, shape)
    if not maps:
        return Verdict({}, {}, given)
    groups = _groups(maps, given, step)
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
    return Verdict(against, apart, given, significance(gains[best]), mean)


def _groups(maps: Mapping[tuple[str, ...], RingMap], given: tuple[str, ...], step: int) -> list[list[tuple[str, ...]]]:
    """The orientations with the same rings together, the given one first in its group."""
    groups: list[list[tuple[str, ...]]] = []
    for words in sorted(maps, key=lambda words: words != given):
        for group in groups:
            if _apart(maps[group[0]], maps[words], step) < SAME:
                group.append(words)
                break
        else:
            groups.append([words])
    return groups


def _apart(one: RingMap, other: RingMap, step: int) -> float:
    """How far the rings of two maps lie from each other: root mean square, pixels."""
    return step * float(np.sqrt(np.mean((one.radius - other.radius) ** 2)))


def _ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    """The rank of every value, equal ones sharing theirs; NaN for what is no measurement."""
    bad = ~measured(values)
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts + 1) / 2
    ranks = middle[inverse].reshape(values.shape)
    ranks[bad] = np.nan
    result: NDArray[np.float64] = ranks
    return result


def _ring_map(poni: Poni, shape: tuple[int, int], cache: bool, step: int) -> RingMap | None:
    """The rings of a PONI on a frame of this shape (slow, fast); None where it does not fit the detector."""
    geometry = shared(poni, shape, cache=cache)

    def make() -> dict[str, NDArray[Any]]:
        try:
            integrator = geometry.integrator
        except ConfigError:  # kept as well: to find it out again takes importing pyFAI
            return {"radius": np.zeros((1, 1), np.float32), "sector": np.zeros((1, 1), np.uint8)}
        two_theta, chi = (integrator.center_array(shape, unit=unit, scale=False) for unit in ("2th_rad", "chi_rad"))
        made = RingMap.of(two_theta, chi, step)
        return {"radius": made.radius, "sector": made.sector}

    kept = geometry.kept("orientation", {"step": step, "sectors": SECTORS}, make)
    return None if kept["radius"].size == 1 else RingMap(kept["radius"], kept["sector"])


def _turned_back(rings: RingMap, words: Sequence[str], step: int, shape: tuple[int, int]) -> RingMap:
    """The rings where a raw frame of this shape has them, which ``words`` turns into the orientation of the PONI."""
    bins = [size // (2 * step) * 2 for size in shape]
    radius, sector = np.empty(bins, np.float32), np.empty(bins, np.uint8)
    apply_transform(radius, words)[...] = rings.radius
    apply_transform(sector, words)[...] = rings.sector
    return RingMap(radius, sector)


def override_text(transform: Sequence[str]) -> str:
    """As it is typed."""
    return f"source.transform=[{','.join(transform)}]"


def detector_orientations(poni: Poni, shape: tuple[int, int]) -> dict[tuple[str, ...], int]:
    """Orientation of the frame -> that of pyFAI's detector (1 to 4) which does the same to the geometry."""

    def places(changes: str) -> NDArray[np.float64]:
        integrator = Geometry(replace(poni, changes=changes), shape).integrator
        found: NDArray[np.float64] = integrator.center_array(shape, unit="2th_rad", scale=False)
        return found

    usual, same = places(poni.changes), {}
    for number in (1, 2, 3, 4):
        other = places(json.dumps({**poni.changed, "orientation": number}))
        for words in ORIENTATIONS[:4]:
            if np.allclose(apply_transform(usual, words), other):
                same[words] = number
    return same


def ring_misfits(raw: NDArray[Any], poni: Poni, transform: Sequence[str], cache: bool) -> NDArray[np.bool_] | None:
    """The pixels of a raw frame that do not fit their ring, or are no measurement; bool, (slow, fast).

    The line in the middle of an odd number is left out. None where the frame does not fit the detector.
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


# What each transform does to an array (slow, fast), and which one undoes it: flips and the transpose undo themselves.
TRANSFORMS: Mapping[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "flipud": np.flipud,
    "fliplr": np.fliplr,
    "rot90": np.rot90,
    "transpose": np.transpose,
}
