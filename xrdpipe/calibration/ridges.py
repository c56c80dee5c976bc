"""Points on rings, found without a geometry: the ridges of the smoothed frame."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..model.cores import available_cores

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

WIDTHS = (1.5, 2.5, 4.0)  # pixels, standard deviations of the smoothing
SIGNIFICANT = 5.0  # standard deviations of the noise
SPIKE = 6.0  # standard deviations by which a single pixel exceeds its surroundings


@dataclass(frozen=True)
class Ridges:
    """Points on rings.

    Attributes
    ----------
    points
        Positions (slow, fast) in pixels, (n, 2); the centre of the first pixel is (0.5, 0.5).
    normals
        Unit vectors across the ring, (n, 2); the sign has no meaning.
    weights
        Significance in standard deviations of the noise, (n,).
    chains
        Number of the chain of neighbours that a point belongs to, (n,). A chain lies on one ring.
    """

    points: Floats
    normals: Floats
    weights: Floats
    chains: NDArray[np.intp]

    def part(self, which: NDArray[Any]) -> Ridges:
        """Return the points of an index array."""
        return Ridges(self.points[which], self.normals[which], self.weights[which], self.chains[which])

    def stronger(self) -> Ridges:
        """Return the half of the points that stands out most."""
        return self.part(np.flatnonzero(self.weights >= np.median(self.weights)))


def good_pixels(image: NDArray[np.floating], bad: Bools) -> Bools:
    """Return the pixels that are neither bad nor single spikes, such as hot pixels and cosmic rays.

    Parameters
    ----------
    image
        Counts, (slow, fast).
    bad
        True for pixels without a value: gaps, user's mask, sentinels.
    """
    good = ~bad & np.isfinite(image)
    filled = np.where(good, image, 0.0)
    ring = np.ones((5, 5))
    ring[1:4, 1:4] = 0.0
    number = ndimage.convolve(good.astype(np.float64), ring, mode="constant")
    around = np.divide(
        ndimage.convolve(filled, ring, mode="constant"), number, out=np.zeros_like(filled), where=number > 0
    )
    near = ndimage.maximum_filter(np.where(good, filled, -np.inf), footprint=_neighbours(), mode="nearest")
    spread = np.sqrt(np.maximum(around, 1.0))
    spike = (filled > around + SPIKE * spread) & (filled > 3 * np.maximum(near, around) + SPIKE)
    return np.asarray(good & ~spike)


def _neighbours() -> Bools:
    footprint = np.ones((3, 3), np.bool_)
    footprint[1, 1] = False
    return footprint


def find_ridges(image: NDArray[np.floating], good: Bools) -> Ridges:
    """Find points on rings.

    A ring is where the second derivative across it is most negative. Its significance is its ratio to the noise that
    the counts alone would give it.

    Parameters
    ----------
    image
        Counts, (slow, fast).
    good
        True for pixels to use.
    """
    image = image.astype(np.float32)  # half the time of float64
    best: NDArray[np.float32] = np.zeros(image.shape, np.float32)
    normal: NDArray[np.float32] = np.zeros((2, *image.shape), np.float32)
    scatter = scatter_of(image, good)
    with ThreadPoolExecutor(min(len(WIDTHS), available_cores())) as threads:
        found = list(threads.map(lambda width: _curvature(image, good, width, scatter), WIDTHS))
    for curvature, direction in found:
        wins = curvature > best
        best[wins] = curvature[wins]
        normal[:, wins] = direction[:, wins]
    slow, fast = _maxima(best, normal)
    marked = np.zeros(image.shape, np.bool_)
    marked[slow, fast] = True
    chains, _ = ndimage.label(ndimage.binary_dilation(marked, np.ones((3, 3))), np.ones((3, 3)))
    directions: Floats = normal[:, slow, fast].T.astype(np.float64)
    offset = _offset(best, slow, fast, directions)
    points: Floats = np.stack([slow, fast], axis=1) + 0.5 + offset[:, None] * directions
    weights: Floats = best[slow, fast].astype(np.float64)
    return Ridges(points, directions, weights, chains[slow, fast])


def scatter_of(image: NDArray[np.floating], good: Bools) -> float:
    """Return the variance per count: 1 for photons, more or less for other detectors' units."""
    pairs = good[:, 2:] & good[:, :-2] & good[:, 1:-1]
    second = 2 * image[:, 1:-1] - image[:, 2:] - image[:, :-2]
    if not pairs.any():
        return 1.0
    mean = np.abs((image[:, 2:] + image[:, :-2] + image[:, 1:-1])[pairs]) / 3
    typical = np.median(np.abs(second[pairs])) / 0.6745
    return float(max(typical**2 / 6 / max(np.median(mean), 1e-12), 1e-12)) if typical > 0 else 1.0


def _curvature(image: NDArray[np.floating], good: Bools, width: float, scatter: float) -> tuple[Floats, Floats]:
    """Return the significance of the curvature across a ridge, and the direction across it."""
    smooth = ndimage.gaussian_filter
    share = smooth(good.astype(np.float32), 2 * width, mode="constant")
    base = smooth(np.where(good, image, np.float32(0)), 2 * width, mode="constant") / np.maximum(share, 1e-6)
    filled = np.where(good, image, base)
    aa = smooth(filled, width, order=(2, 0), mode="nearest")
    bb = smooth(filled, width, order=(0, 2), mode="nearest")
    ab = smooth(filled, width, order=(1, 1), mode="nearest")
    half, mean = np.hypot((aa - bb) / 2, ab), (aa + bb) / 2
    angle = 0.5 * np.arctan2(-2 * ab, bb - aa)  # of the eigenvector of the most negative eigenvalue
    negative = half - mean
    # Variance of the second derivative of a Gaussian: 3 / (16 pi width^6) times that of a pixel
    counts = np.maximum(smooth(np.where(good, np.abs(image), np.float32(0)), width), 0.05)
    variance = scatter * counts * 3 / (16 * np.pi * width**6)
    significance = negative / np.sqrt(np.maximum(variance, 1e-30))
    near_gap = smooth(good.astype(np.float32), width, mode="constant") < 0.9
    significance[near_gap] = 0.0
    # the other eigenvalue of a ridge is small
    significance[np.abs(mean + half) > 0.7 * negative] *= 0.5
    return significance, np.stack([np.cos(angle), np.sin(angle)])


def _maxima(best: NDArray[np.float32], normal: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    slow, fast = np.nonzero(best > SIGNIFICANT)
    step = normal[:, slow, fast]
    here = best[slow, fast]
    there = [ndimage.map_coordinates(best, [slow + s * step[0], fast + s * step[1]], order=1) for s in (-1, 1)]
    top = (here >= there[0]) & (here > there[1])
    return slow[top], fast[top]


def _offset(best: NDArray[np.float32], slow: NDArray[np.intp], fast: NDArray[np.intp], directions: Floats) -> Floats:
    """Return the distance of the top of a parabola from the pixel, across the ring."""
    low, high = (
        ndimage.map_coordinates(best, [slow + s * directions[:, 0], fast + s * directions[:, 1]], order=1)
        for s in (-1, 1)
    )
    bend = low + high - 2 * best[slow, fast]
    return np.asarray(np.clip(np.divide(low - high, 2 * bend, out=np.zeros_like(bend), where=bend < 0), -1, 1))
