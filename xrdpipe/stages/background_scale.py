"""Scale: how much of the background is in a frame, found from the rings where there is nothing else."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..geometry.geometry import Geometry
from ..model.arrays import Image, read_only
from ..model.errors import ConfigError, FrameError

LIMIT = 3.0  # standard deviations above the scaled background from which on a ring holds something of the sample


FEWEST = 0.02  # share of the rings that must hold nothing else


OUTLIER = 6.0  # standard deviations from the ring's median from which on a pixel does not count


PASSES = 5  # of looking for outliers: those that hid behind others are found in the next


PIXELS = 10  # a ring needs


Totals = NDArray[np.float64]


class Scale(NamedTuple):
    """A scale and its standard deviation."""

    value: float
    sigma: float


def fit_scale(sample: Totals, background: Totals, noise: tuple[Totals, Totals, Totals]) -> Scale:
    """The scale at which the rings without signal of the sample are zero; float64, a number a ring in every array.

    ``sample`` and ``background`` are the counts summed over each ring, both without the dark; ``noise`` the variances
    of sample, background and dark, summed likewise. ``background`` is positive everywhere.

    With ``sigma(s)**2 = noise[0] + s**2 * noise[1] + (1 - s)**2 * noise[2]``, the scale starts where 2 % of the rings
    are more than 3 sigma below zero. Then, until it stays: the rings that are not more than 3 sigma above zero are
    kept, and the scale is the sum of their sample over the sum of their background: for Poisson counts the value of
    highest likelihood, whatever the shape of the background. It never exceeds where it started, so that no more is
    subtracted than is there, and is never negative.
    """

    def sigma(scale: float | Totals) -> Totals:
        return np.sqrt(noise[0] + scale**2 * noise[1] + (1 - scale) ** 2 * noise[2])

    ratio = np.maximum(sample / background, 0)
    scale = largest = float(np.quantile(ratio + LIMIT * sigma(ratio) / background, FEWEST, method="higher"))
    kept = np.zeros(sample.shape, bool)
    for _ in range(100):
        now = sample - scale * background <= LIMIT * sigma(scale)
        if (now == kept).all():
            break
        kept = now
        scale = min(max(float(sample[kept].sum() / background[kept].sum()), 0.0), largest)
    return Scale(scale, float(np.sqrt((sigma(scale)[kept] ** 2).sum()) / background[kept].sum()))


class RingFit:
    """The background ring by ring, made once; called with a frame, it compares the two.

    ``net`` is the background without the dark, ``noise`` the variances of background and dark, all counts, float32,
    (slow, fast); ``limits`` the range in q, 1/angstrom, or None. Pixels of the background further than 6 times the
    larger of ring noise (1.4826 * median absolute deviation) and expected noise from the median of their ring never
    count, nor do rings without counts of their own.
    """

    def __init__(
        self, geometry: Geometry, net: Image, noise: tuple[Image, Image], limits: tuple[float, float] | None
    ) -> None:
        self.rings = geometry.rings
        order, starts = self.rings.order, self.rings.starts
        self.background, self.net = net, net.ravel()[order]
        self.noise = tuple(each.ravel()[order] for each in noise)
        self.bad = np.zeros(net.size, np.uint8)
        with np.errstate(invalid="ignore"):
            off = np.abs(self.net - _spread(_medians(self.net, starts), starts))
            width = np.maximum(1.4826 * _spread(_medians(off, starts), starts), np.sqrt(self.noise[0] + self.noise[1]))
            self.bad[order] = ~(off <= OUTLIER * width)
        self.wanted = np.ones(starts.size - 1, bool)
        if limits is not None:
            q = geometry.integrator.qArray(geometry.shape).ravel()[order] / 10
            ring_q = np.add.reduceat(q, starts[:-1]) / np.diff(starts)
            self.wanted = (ring_q >= limits[0]) & (ring_q <= limits[1])
            if not self.wanted.any():
                raise ConfigError(
                    f"background.fit_range={list(limits)}: outside the detector, which sees {ring_q.min():.4g} to "
                    f"{ring_q.max():.4g} 1/angstrom"
                )
        if not self._usable(*self._totals(self._good(self.bad), self.net, *self.noise)).any():
            raise ConfigError("background.scale=auto: no ring of the background has counts, so there is no scale")

    def __call__(self, image: Image, variance: Image, masked: NDArray[np.bool_]) -> Scale:
        """The scale for an image without the dark, with the variance of the raw one; FrameError where no ring tells it.

        Pixels that are ``masked`` do not count.
        """
        order, scale = self.rings.order, Scale(0.0, np.inf)
        pixels = [each.ravel()[order] for each in (image, variance)]
        for _ in range(2):  # outliers show better once the background, which varies along a ring, is gone
            rest = image if scale.value == 0 else image - np.float32(scale.value) * self.background
            good = self._good(self._outliers(rest, self.bad | masked.ravel()))
            count, sample, spread, *others = self._totals(good, *pixels, self.net, *self.noise)
            use = self._usable(count, *others)
            if not use.any():
                raise FrameError("background.scale=auto: no ring has enough good pixels")
            scale = fit_scale(sample[use], others[0][use], (spread[use], others[1][use], others[2][use]))
        return scale

    def _outliers(self, image: Image, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The mask with the outliers of the rings added, until there are no more."""
        from ..numerics import kernels

        rings, flat, values = self.rings, read_only(image.ravel()), np.empty(image.size, np.float32)
        for _ in range(PASSES):
            before = np.count_nonzero(mask)
            kernels.scatter_to_rings(flat, mask, -np.inf, np.inf, rings.slots, values)
            kernels.mask_median(values, rings.order, rings.starts, OUTLIER, mask)
            if np.count_nonzero(mask) == before:
                break
        return mask

    def _good(self, mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
        good: NDArray[np.bool_] = mask[self.rings.order] == 0
        return good

    def _totals(self, good: NDArray[np.bool_], *pixels: Image) -> list[Totals]:
        """The number of good pixels in each ring, and their sums."""
        starts = self.rings.starts[:-1]
        sums = [np.add.reduceat(np.where(good, each, 0), starts, dtype=np.float64) for each in pixels]
        return [np.add.reduceat(good, starts, dtype=np.float64), *sums]

    def _usable(self, count: Totals, net: Totals, noise: Totals, dark: Totals) -> NDArray[np.bool_]:
        usable: NDArray[np.bool_] = self.wanted & (count >= PIXELS) & (net > LIMIT * np.sqrt(noise + dark))
        return usable


def _medians(values: Image, starts: NDArray[np.int64]) -> Image:
    """The lower median of each ring, the pixels being in the order of the rings."""
    ring = np.repeat(np.arange(starts.size - 1), np.diff(starts))
    medians: Image = values[np.lexsort((values, ring))][starts[:-1] + (np.diff(starts) - 1) // 2]
    return medians


def _spread(medians: Image, starts: NDArray[np.int64]) -> Image:
    return np.repeat(medians, np.diff(starts))
