"""Orientation: in which of its eight orientations a frame has the sharpest rings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .geometry import Geometry, Poni
from .source import TRANSFORMS
from .stage import ConfigError

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
SIDE = 150  # rows and columns that are looked at
RINGS = 400
CLEAR = 1.5  # so many times sharper is no accident
PLAIN = 10.0  # a frame without rings has about 1


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


def turned(array: NDArray[Any], transform: Sequence[str]) -> NDArray[Any]:
    """An array (slow, fast) in another orientation."""
    for name in transform:
        array = TRANSFORMS[name](array)
    return array


def canonical(transform: Sequence[str]) -> tuple[str, ...]:
    """The words of `ORIENTATIONS` for what this transform does."""
    seen = turned(np.arange(4).reshape(2, 2), transform).tolist()
    return next(words for words in ORIENTATIONS if turned(np.arange(4).reshape(2, 2), words).tolist() == seen)


def judge(raw: NDArray[Any], poni: Poni, transform: Sequence[str], cache: bool, side: int = SIDE) -> Verdict:
    """Compare all orientations of a raw frame (slow, fast) that fit the detector with that which ``transform`` gives.

    Looks at ``side`` rows and columns; they lie symmetrically, so that all orientations have the same pixels.
    """
    rows, columns = (_places(size, side) for size in raw.shape)
    ranks = _ranks(raw[np.ix_(rows, columns)], raw.dtype)
    found: dict[tuple[str, ...], float] = {}
    rings: dict[tuple[int, ...], NDArray[np.int64] | None] = {}
    for words in ORIENTATIONS:
        swaps = turned(np.empty((1, 2), np.bool_), words).shape != (1, 2)
        shape = (raw.shape[1], raw.shape[0]) if swaps else (raw.shape[0], raw.shape[1])
        if shape not in rings:
            rings[shape] = _rings(poni, shape, cache, side)
        numbers = rings[shape]
        if numbers is not None:
            found[words] = sharpness(turned(ranks, words).ravel(), numbers)
    ordered = sorted(found, key=lambda words: -found[words])
    return Verdict({words: found[words] for words in ordered}, canonical(transform))


def sharpness(ranks: NDArray[np.float64], rings: NDArray[np.int64]) -> float:
    """How much more the rings differ than the pixels within them: variance between over variance within (an F ratio).

    ``ranks``: those of the pixels' values, NaN for bad ones, so that single strong pixels do not count (as in the test
    of Kruskal and Wallis, J. Am. Stat. Assoc. 47 (1952), 583); ``rings``: their ring. About 1 without rings.
    """
    good = np.isfinite(ranks)
    values, numbers = ranks[good], rings[good]
    if values.size < 10:
        return 1.0
    values = values - values.mean()
    count = np.bincount(numbers)
    filled = count > 1
    total, square = (np.bincount(numbers, weights=each)[filled] for each in (values, values**2))
    count = count[filled]
    between = total**2 / count
    within = float((square - between).sum())
    free = int(count.sum() - count.size)
    if within <= 0 or free < 1 or count.size < 2:
        return 1.0
    return float((between.sum() / (count.size - 1)) / (within / free))


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
    geometry = Geometry(poni, shape, cache=cache)

    def make() -> dict[str, NDArray[Any]]:
        angles = geometry.integrator.center_array(shape, unit="2th_rad", scale=False)
        seen = angles[np.ix_(*(_places(size, side) for size in shape))].ravel()
        many = max(2, round(RINGS * side / SIDE))
        edges = np.linspace(seen.min(), seen.max(), many + 1)[1:-1]
        return {"rings": np.digitize(seen, edges).astype(np.uint32)}

    try:
        return geometry.kept("orientation", {"side": side, "rings": RINGS}, make)["rings"].astype(np.int64)
    except ConfigError:
        return None


def words(transform: Sequence[str]) -> str:
    """As it is typed."""
    return f"source.transform=[{','.join(transform)}]"


def equivalent(poni: Poni, shape: tuple[int, int]) -> Callable[[Sequence[str]], int | None]:
    """Which orientation of pyFAI's detector (1 to 4) does to the geometry what a flip does to the frame."""
    from dataclasses import replace

    angles = {}
    for orientation in (1, 2, 3, 4):
        there = replace(poni, changes=replace_orientation(poni, orientation))
        try:
            angles[orientation] = Geometry(there, shape).integrator.center_array(shape, unit="r_m", scale=False)
        except ConfigError:
            continue
    usual = Geometry(poni, shape).integrator.center_array(shape, unit="r_m", scale=False)

    def find(transform: Sequence[str]) -> int | None:
        wanted = turned(usual, transform)
        same = (key for key, each in angles.items() if each.shape == wanted.shape and np.allclose(each, wanted))
        return next(same, None)

    return find


def replace_orientation(poni: Poni, orientation: int) -> str:
    """The changes of a PONI with another orientation of its detector."""
    import json

    return json.dumps({**poni.changed, "orientation": orientation})
