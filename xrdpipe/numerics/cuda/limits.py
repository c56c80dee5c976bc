"""Limits of the good values of each ring, decided on the processor from the statistics of the GPU."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..compiled import compiled
from ..constants import GOOD, INF
from ..kernels import threshold
from ..ring_statistics import good_range, longest_ring, ring_std, variance_of_moments


@compiled
def ring_limits(
    statistics: NDArray[np.float64],
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    lower: float,
    upper: float,
    order: NDArray[np.uint32],
    starts: NDArray[np.int64],
    alpha: float,
    limits: NDArray[np.float32],
) -> None:
    """Write the lowest and the highest value of each ring that `numerics.kernels.mask_median` does not mask.

    The standard deviation of the GPU has another rounding error than numpy's. In the few rings where the error may
    decide, it is computed again from the pixels, as `mask_median` does.

    Parameters
    ----------
    statistics
        Output of `kernels.ring_statistics`, shape (rings, 4).
    image, mask, lower, upper
        The frame, its mask before the thresholds, and the thresholds.
    order, starts
        The rings.
    alpha
        Limit in standard deviations, > 0.
    limits
        Output, float32, shape (rings, 2).
    """
    size = longest_ring(starts)
    work = np.empty(size, np.float64)
    value, bit = np.empty(1, np.float32), np.empty(1, np.uint8)
    for ring in range(len(starts) - 1):
        good, median = np.int64(statistics[ring, 0]), statistics[ring, 1]
        if good == 0:
            limits[ring, 0], limits[ring, 1] = -INF, INF
            continue
        variance, error = variance_of_moments(statistics[ring, 2], statistics[ring, 3], good, median)
        low, high = good_range(median, alpha * np.sqrt(max(variance - error, 0.0)))
        lowest, highest = good_range(median, alpha * np.sqrt(max(variance + error, 0.0)))
        if low != lowest or high != highest:
            good = np.int64(0)
            for i in range(starts[ring], starts[ring + 1]):
                value[0], bit[0] = image[order[i]], mask[order[i]]
                threshold(value, bit, lower, upper)
                work[good] = value[0]
                good += bit[0] == GOOD
            low, high = good_range(median, alpha * ring_std(work[:good]))
        limits[ring, 0], limits[ring, 1] = low, high
