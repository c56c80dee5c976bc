"""Orientation: in which of its eight orientations a frame has the sharpest rings."""

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


SIDE = 110  # rows and columns that are looked at


RINGS = 300  # about as many as fit into SIDE pixels' room, twice over


SMOOTH = 15  # rings that count as near


FAR = 3.0  # standard deviations of the ranks in a ring


CLEAR = 2.0  # so many times sharper is no accident


PLAIN = 5.0  # a frame without rings has 1 or less


@dataclass(frozen=True)
class Verdict:
    """How sharp the rings are in each orientation, best first; ``given`` is the one that was asked about."""

    sharpness: Mapping[tuple[str, ...], float]
    given: tuple[str, ...]

    @property
    def best(self) -> tuple[str, ...]:
        """The orientation with the sharpest rings."""
        return next(iter(self.sharpness))

    @property
    def ratio(self) -> float:
        """How many times sharper the best one is than the given one."""
        return self.sharpness[self.best] / max(self.sharpness.get(self.given, 1.0), 1.0)

    @property
    def wrong(self) -> bool:
        """Whether another orientation than the given one is clearly better."""
        return self.ratio > CLEAR and self.sharpness[self.best] > PLAIN


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

    Looks at ``side`` rows and columns; they lie symmetrically, so that all orientations have the same pixels.
    """
    rows, columns = (_places(size, side) for size in raw.shape)
    ranks = _ranks(raw[np.ix_(rows, columns)], raw.dtype)
    found: dict[tuple[str, ...], float] = {}
    rings: dict[tuple[int, ...], NDArray[np.int64] | None] = {}
    for words in ORIENTATIONS:
        swaps = apply_transform(np.empty((1, 2), np.bool_), words).shape != (1, 2)
        shape = (raw.shape[1], raw.shape[0]) if swaps else (raw.shape[0], raw.shape[1])
        if shape not in rings:
            rings[shape] = _rings(poni, shape, cache, side)
        numbers = rings[shape]
        if numbers is not None:
            found[words] = sharpness(apply_transform(ranks, words).ravel(), numbers)
    ordered = sorted(found, key=lambda words: -found[words])
    return Verdict({words: found[words] for words in ordered}, canonical(transform))


def sharpness(ranks: NDArray[np.float64], rings: NDArray[np.int64]) -> float:
    """How much more a ring differs from those about it than the pixels within it do: a ratio of variances (F).

    What changes slowly with the angle does not count: air, glass, a gradient over the detector.

    ``ranks``: those of the pixels' values, NaN for bad ones, so that single strong pixels do not count (as in the test
    of Kruskal and Wallis, J. Am. Stat. Assoc. 47 (1952), 583); ``rings``: their ring. About 1 without rings.
    """
    good = np.isfinite(ranks)
    values, numbers = ranks[good], rings[good]
    if values.size < 10:
        return 1.0
    count, total = np.bincount(numbers), np.bincount(numbers, weights=values)
    filled = count > 1
    filled_there = filled[numbers]
    count, total = count[filled], total[filled]
    means = total / count
    within = float((values[filled_there] ** 2).sum() - (total * means).sum())  # not @: BLAS would start threads
    free = int(count.sum() - count.size)
    if within <= 0 or free < 1 or count.size < SMOOTH:
        return 1.0
    box = np.ones(SMOOTH)
    trend = np.convolve(total, box, "same") / np.convolve(count, box, "same")
    return float(((count * (means - trend) ** 2).sum() / count.size) / (within / free))


def _places(size: int, side: int) -> NDArray[np.int64]:
    step = max(1, size // side)
    half = np.arange(step // 2, size // 2, step)
    return np.concatenate([half, size - 1 - half[::-1]])


def _ranks(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[np.float64]:
    """The rank of every value, equal ones sharing theirs; NaN for what is no measurement."""
    bad = ~np.isfinite(values) | (values < 0)
    if dtype.kind == "u":  # what photon counters say of a pixel that they do not have
        bad |= values == np.iinfo(dtype).max
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts + 1) / 2
    ranks = middle[inverse].reshape(values.shape)
    ranks[bad] = np.nan
    result: NDArray[np.float64] = ranks
    return result


def _rings(poni: Poni, shape: tuple[int, int], cache: bool, side: int) -> NDArray[np.int64] | None:
    """The ring of the pixels that are looked at; None where the detector has another shape."""
    geometry = shared(poni, shape, cache=cache)

    def make() -> dict[str, NDArray[Any]]:
        try:
            angles = geometry.integrator.center_array(shape, unit="2th_rad", scale=False)
        except ConfigError:  # kept as well: to find it out again takes importing pyFAI
            return {"rings": np.zeros(1, np.uint32)}
        seen = angles[np.ix_(*(_places(size, side) for size in shape))].ravel()
        many = max(2 * SMOOTH, min(round(RINGS * side / SIDE), int(np.hypot(*shape))))
        edges = np.linspace(seen.min(), seen.max(), many + 1)[1:-1]
        return {"rings": np.digitize(seen, edges).astype(np.uint32)}

    numbers = geometry.kept("orientation", {"side": side, "rings": RINGS}, make)["rings"]
    return None if numbers.size == 1 else numbers.astype(np.int64)


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
    places = [_places(size, max(raw.shape)) for size in raw.shape]
    part = raw[np.ix_(*places)]
    frame = apply_transform(_ranks(part, raw.dtype), transform)
    numbers = _rings(poni, apply_transform(raw, transform).shape, cache, max(raw.shape))
    if numbers is None:
        return None
    ranks = frame.ravel()
    good = np.isfinite(ranks)
    count = np.maximum(np.bincount(numbers[good], minlength=numbers.max() + 1), 1)
    mean = np.bincount(numbers[good], ranks[good], count.size) / count
    spread = np.sqrt(np.bincount(numbers[good], (ranks[good] - mean[numbers[good]]) ** 2, count.size) / count)
    with np.errstate(invalid="ignore"):
        off = (~good | (np.abs(ranks - mean[numbers]) > FAR * spread[numbers])).reshape(frame.shape)
    back = np.empty(part.shape, np.intp)
    apply_transform(back, transform)[...] = np.arange(off.size).reshape(off.shape)
    found = np.zeros(raw.shape, np.bool_)
    found[np.ix_(*places)] = off.ravel()[back]
    return found


# What each transform does to an array (slow, fast), and which one undoes it: flips and the transpose undo themselves.
TRANSFORMS: Mapping[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "flipud": np.flipud,
    "fliplr": np.fliplr,
    "rot90": np.rot90,
    "transpose": np.transpose,
}
