"""Quality of a pattern, from the sums of its integration."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...geometry.cache import Arrays
from ...model.arrays import read_only
from ...model.frame import Frame
from ...numerics.metrics import median
from ..stage import Setup


def pattern_quality(sums: NDArray[np.float64], scatter: NDArray[np.float64], stride: int) -> dict[str, float]:
    """Return the quality metrics of a pattern.

    Parameters
    ----------
    sums
        Sums of `kernels.integrate`, (5, bins).
    scatter
        Sums of `kernels.scatter` over one in ``stride`` pixels, (3, bins).
    stride
        Distance of the pixels in ``scatter``.

    Returns
    -------
    dict
        ``total_intensity``: sum of all good pixels, counts. ``ring_scatter``: standard deviation of the pixels in a bin
        over its intensity, median over the bins. ``spottiness``: pyFAI's ``calc_spottiness``, after
        doi:10.1107/S1600576713029713; below 0.05 is smooth, above 0.15 spotty.
    """
    from ...numerics.reduction import ring_spread

    relative, proportion = np.empty(sums.shape[1]), np.empty(sums.shape[1])
    count = ring_spread(sums, scatter, stride, relative, proportion)
    return {
        "total_intensity": float(np.add.reduce(sums[0])),
        "ring_scatter": median(relative[:count]) if count else np.nan,
        "spottiness": float(np.sqrt(np.add.reduce(proportion) / proportion.size)),
    }


NoiseMetrics = Callable[[Frame, NDArray[np.float64], NDArray[np.float64] | None], dict[str, float]]


def noise_quality(setup: Setup, kept: Arrays, stride: int) -> NoiseMetrics:
    """Return what says of a frame how its scatter compares with its variance: of the frame, intensity and sigma.

    Parameters
    ----------
    setup
        What the stage was prepared with.
    kept
        The matrix and ``norm`` of the integration.
    stride
        Of so many runs of pixels one is looked at.
    """
    from ...numerics.noise import noise_metrics, noise_sums

    bright = np.float32(1e6)
    gain = float(setup.noise(np.full((1, 1), bright))[0, 0] / bright)

    def measure(frame: Frame, intensity: NDArray[np.float64], sigma: NDArray[np.float64] | None) -> dict[str, float]:
        if sigma is None:
            return {}
        filled = np.flatnonzero(~np.isnan(intensity))
        if filled.size < 3:
            return {}
        found: dict[str, float] = {}
        if frame.variance is not None:
            line = np.interp(np.arange(intensity.size), filled, intensity[filled])
            mask = np.zeros(frame.image.shape, np.uint8) if frame.mask is None else frame.mask
            image, variance = read_only(frame.image.ravel()), read_only(frame.variance.ravel())
            matrix = kept["norm"], kept["starts"], kept["bins"], kept["coefs"]
            sums = np.zeros((8, intensity.size))
            noise_sums(image, read_only(mask.ravel()), variance, *matrix, line, stride, sums)
            found = noise_metrics(sums, line, gain)
        wide = np.sqrt(max(1.0, found.get("reduced_chi2", 1.0)))
        return {**found, "oversubtracted_bins": float((intensity[filled] < -3 * wide * sigma[filled]).sum())}

    return measure
