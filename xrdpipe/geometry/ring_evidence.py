"""Evidence for rings: how well one part of a frame predicts the others along the rings of a geometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..numerics.reduction import box_mean

SECTORS = 24  # of the azimuth; each is predicted from the others
REACH = 5  # sectors that predict each other where rings are partial
BLOCKS = 40  # the frame has about so many blocks a side, whose spread tells how sure a difference is
LOCAL = 10  # the local background is that of 1 / LOCAL of a side
DARK = 5.0  # spreads below the median of its tile: a shadow or a gap
BRIGHT = 4.0  # spreads from the median of its tile: what is farther counts as this
CLIP = 3.0  # standard deviations from the local mean: the same
WIDTHS = (1, 3, 7, 15)  # rings that are taken together, for lines that are wider than a ring
VOTE = 3.0  # standard deviations: no sector has more to say of a ring
SAY = 3.0  # nats: no block has more to say of the frame
BAND = 41  # rings that share one estimate of how much of a ring is noise


@dataclass(frozen=True)
class RingMap:
    """Where the bins of a folded frame lie: ``radius`` in bins (one ring each), ``sector`` 0 to SECTORS - 1."""

    radius: NDArray[np.float32]
    sector: NDArray[np.uint8]

    @classmethod
    def of(cls, two_theta: NDArray[Any], chi: NDArray[Any], step: int) -> RingMap:
        """Make rings as wide as a bin, and sectors of equally many bins, from the angles of all pixels (rad)."""
        angle = fold_mean(two_theta, step)
        slow, fast = np.gradient(angle)
        width = float(np.median(np.hypot(slow, fast)))
        radius = (angle - angle.min()) / max(width, 1e-12)
        azimuth = chi[np.ix_(*(places(size, step)[step // 2 :: step] for size in chi.shape))]
        edges = np.quantile(azimuth, np.linspace(0, 1, SECTORS + 1)[1:-1])
        sector = np.searchsorted(edges, azimuth.ravel()).reshape(azimuth.shape)
        return cls(radius.astype(np.float32), sector.astype(np.uint8))


def places(size: int, step: int) -> NDArray[np.int64]:
    """Return the pixels of an axis that fill bins of ``step`` pixels, as many from either end."""
    half = size // 2 // step * step
    return np.concatenate([np.arange(half), np.arange(size - half, size)])


def fold_step(shape: tuple[int, ...], side: int) -> int:
    """Return the pixels on a side of a bin, for about ``side`` x ``side`` bins."""
    return max(1, min(int(np.sqrt(np.prod(shape)) / side), min(shape) // 8))


def _fold(image: NDArray[Any], step: int) -> NDArray[Any]:
    part = image
    for axis, size in enumerate(image.shape):
        if size % (2 * step):
            half = size // 2 // step * step
            ends = [np.s_[:half], np.s_[size - half :]]
            part = np.concatenate([part[end] if axis == 0 else part[:, end] for end in ends], axis)
    return part.reshape(part.shape[0] // step, step, part.shape[1] // step, step)


def fold_mean(image: NDArray[Any], step: int) -> NDArray[np.float64]:
    """Return the means of bins of ``step`` x ``step`` pixels."""
    mean: NDArray[np.float64] = _fold(image, step).mean(axis=(1, 3))
    return mean


def measured(raw: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which pixels of a raw frame are measurements: finite, not negative, no sentinel of the detector."""
    good = np.isfinite(raw) if raw.dtype.kind == "f" else np.ones(raw.shape, np.bool_)
    if raw.dtype.kind != "u":
        with np.errstate(invalid="ignore"):
            good &= raw >= 0
    else:  # marks pixels that a photon counter lacks
        good &= raw != np.iinfo(raw.dtype).max
    return good


def structure(raw: NDArray[Any], step: int) -> NDArray[np.float32]:
    """Return what stands out of its neighbourhood, in local standard deviations; 0 where nothing is measured.

    Pixels are folded into bins. Shadows and gaps are left out, strong spots are clipped, and the means of the
    neighbourhood, of rows and of columns are subtracted. Air, glass and gradients leave nothing.
    """
    good = measured(raw)
    if good.all():
        mean = fold_mean(raw, step)
        known = np.ones(mean.shape, np.bool_)
    else:
        share = fold_mean(good, step)
        known = share >= 0.5
        mean = fold_mean(np.where(good, raw, 0), step)
        np.divide(mean, share, out=mean, where=known)
    window = max(7, round(np.sqrt(mean.size) / LOCAL)) | 1
    known &= ~_dark(mean, known, window)
    middle, spread = _tiles(mean, known, window)
    mean = np.clip(mean, middle - BRIGHT * spread, middle + BRIGHT * spread)
    near = _Near(known, window)
    found = near.less_mean(mean)
    usual = 1.5 * _tiles(np.abs(found), known, window)[0]
    known &= usual > 1e-6 * np.abs(middle)
    near = _Near(known, window)
    found = near.less_mean(np.clip(found, -CLIP * usual, CLIP * usual))
    noise = np.sqrt(np.maximum(near.mean(found**2), 0))
    np.divide(found, noise, out=found, where=noise > 0)
    for axis in (0, 1):  # columns of the detector are no rings
        count = np.maximum(known.sum(axis=axis, keepdims=True), 1)
        found = np.where(known, found - found.sum(axis=axis, keepdims=True) / count, 0)
    result: NDArray[np.float32] = found.astype(np.float32)
    return result


def _dark(mean: NDArray[np.float64], known: NDArray[np.bool_], window: int) -> NDArray[np.bool_]:
    """Find shadows and gaps: bins, or means of 5 x 5 bins, far below the median of their tile."""
    dark = np.zeros(mean.shape, np.bool_)
    for image in (mean, _Near(known, 5).mean(mean)):
        middle, spread = _tiles(image, known, window)
        dark |= known & (image < middle - DARK * spread)
    for _ in range(2):
        dark = _grown(dark)
    return dark


def _tiles(
    mean: NDArray[np.float64], known: NDArray[np.bool_], window: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the median and spread around each bin; the spread is that of the upper half, which has no shadows."""
    middle, sharp = np.zeros(mean.shape), np.zeros(mean.shape)
    starts = (np.linspace(0, size, max(1, round(size / window)) + 1).astype(int) for size in mean.shape)
    rows, columns = ([slice(a, b) for a, b in pairwise(edges)] for edges in starts)
    for tile in product(rows, columns):
        values = mean[tile][known[tile]]
        if values.size >= 10:
            half, *high = np.quantile(values, (0.5, 0.84, 0.975, 0.99))
            above = [(value - half) / sigmas for value, sigmas in zip(high, (1, 2, 3), strict=True)]
            middle[tile], sharp[tile] = half, 1 / next((value for value in above if value > 0), np.inf)
    middle, sharp = (box_mean(image, window, True) for image in (middle, sharp))  # no edges of tiles
    with np.errstate(divide="ignore"):
        return middle, 1 / np.maximum(sharp, 0)


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Add the neighbours of the masked bins."""
    grown = mask.copy()
    for axis in (0, 1):
        for way in (1, -1):
            grown |= np.roll(mask, way, axis)
    return grown


class _Near:
    """Means of the known bins over the neighbourhood of each bin."""

    def __init__(self, known: NDArray[np.bool_], window: int) -> None:
        self.known, self.window = known, window
        self.share = box_mean(known.astype(np.float64), window, False)

    def mean(self, image: NDArray[np.float64]) -> NDArray[np.float64]:
        total = box_mean(np.where(self.known, image, 0), self.window, False)
        return np.divide(total, self.share, out=np.zeros(image.shape), where=self.known)

    def less_mean(self, image: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(self.known, image - self.mean(image), 0)


def block_gains(found: NDArray[np.float32], maps: Sequence[RingMap]) -> NDArray[np.float64]:
    """Return the gain in log-likelihood of the rings of each map over no rings; (maps, blocks), in nats.

    ``found``: `structure`; the maps are turned to its orientation. Every sector is predicted from the means of the
    rings in the other sectors, so what one place has of its own, and noise, predict nothing.
    """
    used = found != 0
    values = found[used].astype(np.float64)
    if values.size < 100:
        return np.zeros((len(maps), 1))
    cells = [each.radius[used].astype(np.int64) * SECTORS + each.sector[used] for each in maps]
    size = 1 + max(int(cell.max()) // SECTORS for cell in cells)
    sums = [_table(cell, values, size) for cell in cells]
    counts = [_table(cell, np.ones(values.size), size) for cell in cells]
    best: list[NDArray[np.float64]] = []
    most = -np.inf
    for width, kernel in product(WIDTHS, _kernels()):
        predicted = [_predicted(total, count, width, kernel) for total, count in zip(sums, counts, strict=True)]
        won = [float((p * (s - n * p / 2)).sum()) for p, s, n in zip(predicted, sums, counts, strict=True)]
        first, second = sorted([*won, 0.0])[-1:-3:-1]
        if first - second > most:
            most, best = first - second, predicted
    blocks = _block_numbers(found.shape)[used]
    gains = []
    for cell, p in zip(cells, best, strict=True):
        at = p.ravel()[cell]
        gains.append(np.bincount(blocks, at * (values - at / 2)))
    return np.array(gains)


def _table(cells: NDArray[np.int64], values: NDArray[np.float64], rings: int) -> NDArray[np.float64]:
    """Sum the values in each ring and sector."""
    total: NDArray[np.float64] = np.bincount(cells, values, rings * SECTORS).astype(np.float64, copy=False)
    return total.reshape(rings, SECTORS)


def _block_numbers(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the block of each bin."""
    side = max(4.0, np.sqrt(np.prod(shape)) / BLOCKS)
    rows, columns = (np.arange(size, dtype=np.int64) * max(1, round(size / side)) // size for size in shape)
    numbers: NDArray[np.int64] = rows[:, None] * (columns[-1] + 1) + columns[None, :]
    return numbers


def _sectors_apart() -> NDArray[np.int64]:
    """Return the distance between sectors; (from, to)."""
    apart: NDArray[np.int64] = np.abs(np.subtract.outer(np.arange(SECTORS), np.arange(SECTORS)))
    return np.minimum(apart, SECTORS - apart)


def _kernels() -> list[NDArray[np.float64]]:
    """Return the weights with which sectors predict each other: all alike, or only near ones; (from, to)."""
    apart = _sectors_apart()
    return [(apart > 0).astype(float), np.where(apart > 0, np.clip(1 - apart / REACH, 0, 1), 0)]


def _predicted(
    total: NDArray[np.float64], count: NDArray[np.float64], width: int, kernel: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Predict each ring and sector by the mean of the other sectors, reduced by its noise; (rings, sectors)."""
    wide, many = _running(total, width), _running(count, width)
    most = VOTE * np.sqrt(many)
    wide, many = np.clip(wide, -most, most) @ kernel, many @ kernel
    mean = np.divide(wide, many, out=np.zeros(wide.shape), where=many > 0)
    near = (_sectors_apart() <= 1).astype(float)
    agree = _running((mean * total) @ near, BAND)
    power = _running((mean**2 * count) @ near, BAND)
    shrink = np.clip(np.divide(agree, power, out=np.zeros(power.shape), where=power > 0), 0, 1)
    predicted: NDArray[np.float64] = shrink * mean
    return predicted


def _running(table: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Sum ``width`` rows around each."""
    if width == 1:
        return table
    half = width // 2
    total = np.concatenate([np.zeros((1, table.shape[1])), np.cumsum(table, axis=0)])
    at = np.arange(len(table))
    result: NDArray[np.float64] = total[np.minimum(at + half + 1, len(table))] - total[np.maximum(at - half, 0)]
    return result


def significance(gains: NDArray[np.float64]) -> float:
    """Return the sum of the gains of blocks, or of their differences, in units of its standard deviation.

    Gains are clipped at SAY. Without rings their expected value is 0, so the sum of squares gives the variance. Blocks
    predict each other, so every pair counts twice; this doubles the variance.
    """
    said = np.clip(gains, -SAY, SAY)
    spread = float(np.sqrt(2 * (said**2).sum()))
    return float(said.sum()) / spread if spread > 0 else 0.0
