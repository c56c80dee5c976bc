"""Fit the scale of the background to the rings in which the sample does not scatter."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..geometry.geometry import Geometry
from ..model.arrays import Image, read_only
from ..model.errors import ConfigError, FrameError

LIMIT = 3.0  # a ring more standard deviations above the scaled background holds signal of the sample
FEWEST = 0.02  # smallest share of rings without signal
OUTLIER = 6.0  # a pixel more standard deviations from the median of its ring does not count
PASSES = 5  # rounds of outlier rejection: each finds outliers that stronger ones hid
PIXELS = 10  # good pixels that a ring needs

Totals = NDArray[np.float64]


class Scale(NamedTuple):
    """Scale of the background and its standard deviation."""

    value: float
    sigma: float


def fit_scale(sample: Totals, background: Totals, noise: tuple[Totals, Totals, Totals]) -> Scale:
    """Fit the scale at which the rings without signal of the sample are zero.

    Parameters
    ----------
    sample, background
        Counts summed over each ring, without the dark, float64, (rings,). ``background`` is positive everywhere.
    noise
        Variances of sample, background and dark, summed over each ring, float64, (rings,).

    Returns
    -------
    Scale
        The scale, not negative, and its standard deviation.

    Notes
    -----
    With ``sigma(s)**2 = noise[0] + s**2 * noise[1] + (1 - s)**2 * noise[2]``, the scale starts where 2 % of the rings
    are more than 3 sigma below zero. Each round keeps the rings that are at most 3 sigma above zero, and sets the scale
    to the sum of their sample over the sum of their background, until the rings stay the same. For Poisson counts this
    is the scale of maximum likelihood, whatever the shape of the background. The scale never exceeds its start, so
    that the subtraction removes no more than is there.
    """

    def sigma(scale: float | Totals) -> Totals:
        return np.sqrt(noise[0] + scale**2 * noise[1] + (1 - scale) ** 2 * noise[2])

    ratio = np.maximum(sample / background, 0)
    scale = largest = float(np.quantile(ratio + LIMIT * sigma(ratio) / background, FEWEST, method="higher"))
    empty = np.zeros(sample.shape, bool)  # rings without signal of the sample
    for _ in range(100):
        now = sample - scale * background <= LIMIT * sigma(scale)
        if (now == empty).all():
            break
        empty = now
        scale = min(max(float(sample[empty].sum() / background[empty].sum()), 0.0), largest)
    return Scale(scale, float(np.sqrt((sigma(scale)[empty] ** 2).sum()) / background[empty].sum()))


class RingFit:
    """Fit the scale of one background to many frames, ring by ring.

    Pixels of the background that are outliers in their ring never count: their distance from its median exceeds 6
    times the larger of the noise of the ring (1.4826 * median absolute deviation) and the expected noise. Rings in
    which the background has no counts do not count either.

    Parameters
    ----------
    geometry
        Geometry with the rings.
    net
        Background without the dark, counts, float32, (slow, fast).
    noise
        Variances of background and dark, counts**2, float32, (slow, fast).
    limits
        First and last q of the fit, 1/angstrom; None for all rings.

    Raises
    ------
    ConfigError
        The detector has no ring within ``limits``, or no ring of the background has counts.
    """

    def __init__(
        self, geometry: Geometry, net: Image, noise: tuple[Image, Image], limits: tuple[float, float] | None
    ) -> None:
        self.rings = geometry.rings
        order, starts = self.rings.order, self.rings.starts
        self.background, self.net = net, net.take(order)
        self.noise = tuple(each.take(order) for each in noise)
        self.bad = np.zeros(net.size, np.uint8)
        with np.errstate(invalid="ignore"):
            off = np.abs(self.net - _repeat(_medians(self.net, starts), starts))
            width = np.maximum(1.4826 * _repeat(_medians(off, starts), starts), np.sqrt(self.noise[0] + self.noise[1]))
            self.bad[order] = ~(off <= OUTLIER * width)
        self.selected = np.ones(starts.size - 1, bool)
        if limits is not None:
            q = geometry.integrator.qArray(geometry.shape).take(order) / 10
            ring_q = np.add.reduceat(q, starts[:-1]) / np.diff(starts)
            self.selected = (ring_q >= limits[0]) & (ring_q <= limits[1])
            if not self.selected.any():
                raise ConfigError(
                    f"background.fit_range={list(limits)}: outside the detector, which sees {ring_q.min():.4g} to "
                    f"{ring_q.max():.4g} 1/angstrom"
                )
        if not self._usable(*self._totals(self._good(self.bad), self.net, *self.noise)).any():
            raise ConfigError("background.scale=auto: no ring of the background has counts, so there is no scale")

    def __call__(self, image: Image, variance: Image, masked: NDArray[np.bool_]) -> Scale:
        """Fit the scale for one frame.

        Parameters
        ----------
        image
            Image without the dark, counts, float32, (slow, fast).
        variance
            Variance of the raw image, counts**2, float32, (slow, fast).
        masked
            Pixels that do not count, (slow, fast).

        Returns
        -------
        Scale
            The scale and its standard deviation.

        Raises
        ------
        FrameError
            No ring has enough good pixels.
        """
        order, scale = self.rings.order, Scale(0.0, np.inf)
        pixels = [each.take(order) for each in (image, variance)]
        for _ in range(2):  # outliers are clearer once the background, which varies along a ring, is subtracted
            net = image if scale.value == 0 else image - np.float32(scale.value) * self.background
            good = self._good(self._outliers(net, self.bad | masked.ravel()))
            count, sample, noise, *background = self._totals(good, *pixels, self.net, *self.noise)
            use = self._usable(count, *background)
            if not use.any():
                raise FrameError("background.scale=auto: no ring has enough good pixels")
            net_total, *variances = (each[use] for each in background)
            scale = fit_scale(sample[use], net_total, (noise[use], variances[0], variances[1]))
        return scale

    def _outliers(self, image: Image, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Add the outliers of all rings to the mask, round by round, and return it."""
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
        good: NDArray[np.bool_] = mask.take(self.rings.order) == 0
        return good

    def _totals(self, good: NDArray[np.bool_], *pixels: Image) -> list[Totals]:
        """Return the number of good pixels in each ring, and their sum in each image."""
        starts = self.rings.starts[:-1]
        sums = [np.add.reduceat(np.where(good, each, 0), starts, dtype=np.float64) for each in pixels]
        return [np.add.reduceat(good, starts, dtype=np.float64), *sums]

    def _usable(self, count: Totals, net: Totals, noise: Totals, dark: Totals) -> NDArray[np.bool_]:
        usable: NDArray[np.bool_] = self.selected & (count >= PIXELS) & (net > LIMIT * np.sqrt(noise + dark))
        return usable


def _medians(values: Image, starts: NDArray[np.int64]) -> Image:
    """Return the lower median of each ring, for pixels in the order of the rings."""
    ring = np.repeat(np.arange(starts.size - 1), np.diff(starts))
    medians: Image = values[np.lexsort((values, ring))][starts[:-1] + (np.diff(starts) - 1) // 2]
    return medians


def _repeat(medians: Image, starts: NDArray[np.int64]) -> Image:
    return np.repeat(medians, np.diff(starts))
