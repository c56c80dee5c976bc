"""Per-pixel statistics of a series of frames in constant memory, and what they say about pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..model.arrays import read_only
from .compiled import compiled
from .constants import GOOD, INF

FRAMES = 8  # from which on the variance over the series is judged


COUNTS = 10.0  # photons a pixel and frame from which on it is: with fewer, their distribution is far from normal


REACH = 3.0  # standard deviations from the other frames: an extreme that is further off does not count


class Summed(NamedTuple):
    """The frames of a series as one, flat.

    Attributes
    ----------
    image, variance
        Sum over all frames times ``scale`` and its variance, float32, counts and counts**2; 0 and 1 where no frame has
        a good value. Where some frames have none, the mean of the others counts for them.
    spread, spread_variance
        Cube root of variance over the series / predicted variance, float32: 1, give or take ``spread_variance``
        (Wilson & Hilferty 1931). NaN where it cannot be judged.
    scale
        1 without a background. A mask takes a variance for counts whose own noise is their root. The noise of a
        background is in all frames alike, so in their sum its variance is no counts; in the sum times ``scale`` it is.
    """

    image: NDArray[np.float32]
    variance: NDArray[np.float32]
    spread: NDArray[np.float32]
    spread_variance: NDArray[np.float32]
    scale: float = 1.0


@dataclass
class SeriesStatistics:
    """Sums over the frames of a series, for each of ``pixels``; frames are added one at a time.

    ``always`` and ``ever`` are the bits of the mask that all frames and any frame have, ``good`` is the number of
    frames in which a pixel is good. The sums are over these: of the image, of its square, of its variance, and of the
    raw counts, float64 or float32; ``least`` and ``most`` are the extremes.
    """

    pixels: int
    frames: int = 0

    def __post_init__(self) -> None:
        self.always = np.full(self.pixels, 255, np.uint8)
        self.ever = np.zeros(self.pixels, np.uint8)
        self.good = np.zeros(self.pixels, np.uint32)
        self.sums = np.zeros((self.pixels, 4))
        self.extremes = np.empty((self.pixels, 2), np.float32)
        self.extremes[:] = INF, -INF

    def add(
        self,
        image: NDArray[np.float32],
        variance: NDArray[np.float32],
        raw: NDArray[np.float32],
        mask: NDArray[np.uint8],
    ) -> None:
        """Add a frame: image and its variance, raw counts (float32) and the bits of its mask (uint8), all flat."""
        self.frames += 1
        _add(image, variance, raw, mask, self.always, self.ever, self.good, self.sums, self.extremes)

    def shift(self, offset: NDArray[np.float32], common: NDArray[np.float32]) -> None:
        """Add ``offset`` to every image, and ``common`` to its variance, in place; both float32, flat."""
        self.sums[:, 2] += self.good * common
        self.sums[:, 1] += 2 * self.sums[:, 0] * offset + self.good * np.square(offset, dtype=np.float64)
        self.sums[:, 0] += self.good * offset
        self.extremes += offset[:, np.newaxis]

    def summed(
        self, common: NDArray[np.float32], slope: NDArray[np.float32], gain: float, readout_variance: float
    ) -> Summed:
        """Return all frames as one.

        Parameters
        ----------
        common
            The part of the variance that is the same error in every frame, float32, flat: that of the background.
        slope
            What the variance of the raw counts is multiplied with on its way to the image, float32, flat.
        gain, readout_variance
            Of the detector: counts a photon, and counts**2.
        """
        image, variance, spread, spread_variance = found = [np.empty(self.pixels, np.float32) for _ in range(4)]
        _sum(self.frames, self.good, self.sums, self.extremes, common, slope, gain, readout_variance, *found)
        shared = np.float32(self.frames**2) * common
        used = (self.good > 0) & (variance > 0)
        scale = 1.0
        if used.any() and shared[used].any():
            square = variance[used] / (variance[used] + np.float32(self.frames**2 - 1) * shared[used])
            scale = float(np.sqrt(np.median(square)))
            image *= np.float32(scale)
            variance *= np.float32(scale**2)
        return Summed(image, variance, spread, spread_variance, scale)


@compiled
def _add(
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    raw: NDArray[np.float32],
    mask: NDArray[np.uint8],
    always: NDArray[np.uint8],
    ever: NDArray[np.uint8],
    good: NDArray[np.uint32],
    sums: NDArray[np.float64],
    extremes: NDArray[np.float32],
) -> None:
    for i in range(len(image)):
        always[i] &= mask[i]
        ever[i] |= mask[i]
        if mask[i] != GOOD or not (abs(image[i]) < INF and abs(variance[i]) < INF):
            continue
        v = np.float64(image[i])
        good[i] += np.uint32(1)
        sums[i, 0] += v
        sums[i, 1] += v * v
        sums[i, 2] += variance[i]
        sums[i, 3] += raw[i]
        extremes[i, 0] = min(extremes[i, 0], image[i])
        extremes[i, 1] = max(extremes[i, 1], image[i])


@compiled
def _sum(
    frames: int,
    good: NDArray[np.uint32],
    sums: NDArray[np.float64],
    extremes: NDArray[np.float32],
    common: NDArray[np.float32],
    slope: NDArray[np.float32],
    gain: float,
    readout: float,
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    spread: NDArray[np.float32],
    spread_variance: NDArray[np.float32],
) -> None:
    """See `SeriesStatistics.summed`.

    A spot that moves through a pixel, or a cosmic ray, is in one or two frames: the largest and the smallest value do
    not count where they are `REACH` standard deviations from the mean of the others. The variance of counts is at least
    that of one photon: of one in the sum, not of one in each frame.
    """
    for i in range(len(good)):
        n = np.float64(good[i])
        image[i], variance[i], spread[i], spread_variance[i] = 0.0, 1.0, np.nan, 1.0
        if n == 0:
            continue
        total, square, raw = sums[i, 0], sums[i, 1], sums[i, 3]
        own = max(sums[i, 2] - n * common[i], 0.0)
        far = 1 if extremes[i, 1] - total / n >= total / n - extremes[i, 0] else 0
        for side in (far, 1 - far):  # the further one first, or it would be among the others of the nearer one
            if n < 3:
                break
            extreme = np.float64(extremes[i, side])
            rest = (total - extreme) / (n - 1)
            usual = max((own - slope[i] * gain * (extreme - rest)) / n, 0.0)
            least = max(usual, slope[i] * (gain * gain + readout))
            if (extreme - rest) ** 2 > REACH * REACH * least:
                raw -= extreme + (raw - total) / n
                total -= extreme
                square -= extreme * extreme
                n -= 1
                own = n * least
        photons = slope[i] * (gain * max(raw, gain) + n * readout)
        each = own / n
        own = min(own, photons) if photons > 0 else own
        image[i] = total * frames / n
        variance[i] = frames * (own / n + frames * common[i])  # as if all were good: a mask compares it with others
        if n >= FRAMES - 2 and raw >= COUNTS * gain * n and each > 0:
            scatter = max(square - total * total / n, 0.0) / (n - 1) / each
            spread[i] = scatter ** (1 / 3)
            spread_variance[i] = 2 / (9 * (n - 1))


def spread_outliers(
    summed: Summed, arcs: Any, alpha: float, mask: NDArray[np.uint8]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the good pixels that vary far less over the series than the others of their arc, and those far more.

    Parameters
    ----------
    summed
        The series as one frame.
    arcs
        The pixels by arc, see `geometry.rings.Arcs`. A ring whose intensity changes has other pixels that vary alike.
    alpha
        Standard deviations from the median of the arc that are far.
    mask
        Flat, uint8; 0 = good.
    """
    from .outliers import mask_mad

    found = mask.copy()
    found[~np.isfinite(summed.spread)] |= np.uint8(1)
    judged = (found == GOOD) & np.isfinite(summed.spread_variance)
    where = arcs.order, arcs.starts, arcs.arc_of, arcs.offset
    none = np.empty(0, np.float32)
    spreads = read_only(summed.spread), read_only(summed.spread_variance)
    mask_mad(*spreads, found, -np.inf, np.inf, *where, alpha, none)
    odd = judged & (found != GOOD)
    middle = np.float32(np.median(summed.spread[judged])) if judged.any() else np.float32(1)
    return odd & (summed.spread < middle), odd & (summed.spread >= middle)
