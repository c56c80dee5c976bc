"""Orientation of frames: which of the eight orientations has the sharpest rings."""

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

SIDE = 110  # rows and columns in the sample
RINGS = 300  # rings in the sample, about twice as many as a radius of SIDE pixels resolves
SMOOTH = 15  # rings in the moving average
FAR = 3.0  # standard deviations of the ranks in a ring
CLEAR = 2.0  # ratio of sharpness that is not accidental
PLAIN = 5.0  # smallest sharpness of visible rings; frames without rings have 1 or less


@dataclass(frozen=True)
class Verdict:
    """Sharpness of the rings in each orientation.

    Attributes
    ----------
    sharpness
        Orientation -> sharpness, sharpest first.
    current
        Orientation that the user's ``source.transform`` gives.
    """

    sharpness: Mapping[tuple[str, ...], float]
    current: tuple[str, ...]

    @property
    def best(self) -> tuple[str, ...]:
        """Orientation with the sharpest rings."""
        return next(iter(self.sharpness))

    @property
    def ratio(self) -> float:
        """Sharpness of the best orientation relative to the current one."""
        return self.sharpness[self.best] / max(self.sharpness.get(self.current, 1.0), 1.0)

    @property
    def wrong(self) -> bool:
        """True if another orientation than the current one is clearly better."""
        return self.ratio > CLEAR and self.sharpness[self.best] > PLAIN


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
    """Compare the sharpness of the rings in all orientations that fit the detector.

    The sample lies symmetrically, so all orientations use the same pixels.

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
        Rows and columns in the sample.
    """
    rows, columns = (_sample_indices(size, side) for size in raw.shape)
    ranks = _ranks(raw[np.ix_(rows, columns)], raw.dtype)
    scores: dict[tuple[str, ...], float] = {}
    rings: dict[tuple[int, ...], NDArray[np.int64] | None] = {}
    for words in ORIENTATIONS:
        swaps = apply_transform(np.empty((1, 2), np.bool_), words).shape != (1, 2)
        shape = (raw.shape[1], raw.shape[0]) if swaps else (raw.shape[0], raw.shape[1])
        if shape not in rings:
            rings[shape] = _rings(poni, shape, cache, side)
        numbers = rings[shape]
        if numbers is not None:
            scores[words] = sharpness(apply_transform(ranks, words).ravel(), numbers)
    ordered = sorted(scores, key=lambda words: -scores[words])
    return Verdict({words: scores[words] for words in ordered}, canonical(transform))


def sharpness(ranks: NDArray[np.float64], rings: NDArray[np.int64]) -> float:
    """Return the ratio of variances (F) between neighbouring rings and within rings; about 1 without rings.

    Slow changes with the angle (air, glass, a gradient over the detector) do not count.

    Parameters
    ----------
    ranks
        Ranks of the pixel values, NaN for bad pixels. With ranks, single strong pixels do not count (as in the test of
        Kruskal and Wallis, J. Am. Stat. Assoc. 47 (1952), 583).
    rings
        Ring of each pixel.
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


def _sample_indices(size: int, side: int) -> NDArray[np.int64]:
    step = max(1, size // side)
    half = np.arange(step // 2, size // 2, step)
    return np.concatenate([half, size - 1 - half[::-1]])


def _ranks(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[np.float64]:
    """Return the rank of every value, the same for equal values; NaN for values that are no measurement."""
    bad = ~np.isfinite(values) | (values < 0)
    if dtype.kind == "u":  # marks pixels that a photon counter lacks
        bad |= values == np.iinfo(dtype).max
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts + 1) / 2
    ranks = middle[inverse].reshape(values.shape)
    ranks[bad] = np.nan
    result: NDArray[np.float64] = ranks
    return result


def _rings(poni: Poni, shape: tuple[int, int], cache: bool, side: int) -> NDArray[np.int64] | None:
    """Return the rings of the sampled pixels; None if the detector has another shape."""
    geometry = shared(poni, shape, cache=cache)

    def make() -> dict[str, NDArray[Any]]:
        try:
            angles = geometry.integrator.center_array(shape, unit="2th_rad", scale=False)
        except ConfigError:  # cached as well, because a new check would import pyFAI
            return {"rings": np.zeros(1, np.uint32)}
        sample = angles[np.ix_(*(_sample_indices(size, side) for size in shape))].ravel()
        count = max(2 * SMOOTH, min(round(RINGS * side / SIDE), int(np.hypot(*shape))))
        edges = np.linspace(sample.min(), sample.max(), count + 1)[1:-1]
        return {"rings": np.digitize(sample, edges).astype(np.uint32)}

    numbers = geometry.cached("orientation", {"side": side, "rings": RINGS}, make)["rings"]
    return None if numbers.size == 1 else numbers.astype(np.int64)


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
    places = [_sample_indices(size, max(raw.shape)) for size in raw.shape]
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
        misfit = (~good | (np.abs(ranks - mean[numbers]) > FAR * spread[numbers])).reshape(frame.shape)
    back = np.empty(part.shape, np.intp)
    apply_transform(back, transform)[...] = np.arange(misfit.size).reshape(misfit.shape)
    result = np.zeros(raw.shape, np.bool_)
    result[np.ix_(*places)] = misfit.ravel()[back]
    return result


# Transform -> its effect on an array (slow, fast).
TRANSFORMS: Mapping[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "flipud": np.flipud,
    "fliplr": np.fliplr,
    "rot90": np.rot90,
    "transpose": np.transpose,
}
