"""Compiled loops that reduce an image or a mask to fewer numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compiled import compiled


@compiled
def shrink(
    image: NDArray[np.float32],
    masked: NDArray[np.bool_],
    step: int,
    values: NDArray[np.float32],
    share: NDArray[np.float32],
) -> tuple[float, float]:
    """Average the good pixels of square blocks of an image.

    Parameters
    ----------
    image, masked
        Pixels and their mask, (slow, fast).
    step
        Side of a block in pixels. Incomplete blocks at the border are left out.
    values
        Output, mean of the good pixels of each block, NaN if there is none.
    share
        Output, masked share of each block.

    Returns
    -------
    mean, std : float
        Mean and standard deviation of the good pixels in all blocks; 0 and 1 if there is none.
    """
    count, total, square = 0, 0.0, 0.0
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            good, block = 0, 0.0
            for i in range(row * step, row * step + step):
                for j in range(column * step, column * step + step):
                    if not masked[i, j]:
                        v = np.float64(image[i, j])
                        good += 1
                        block += v
                        square += v * v
            count += good
            total += block
            values[row, column] = block / good if good else np.nan
            share[row, column] = 1 - good / (step * step)
    if count == 0:
        return 0.0, 1.0
    mean = total / count
    return mean, np.sqrt(max(square / count - mean * mean, 0.0))


@compiled
def histogram(mask: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the number of pixels with each value, int64, shape (256,)."""
    counts = np.zeros((4, 256), np.int64)  # four counters, so that equal neighbours do not wait for each other
    whole = len(mask) // 8
    words = mask[: 8 * whole].view(np.uint64)  # most pixels are good: one comparison checks eight of them
    good = np.int64(0)
    for word in range(whole):
        if words[word] == 0:
            good += 8
            continue
        for i in range(8 * word, 8 * word + 8):
            counts[i % 4, mask[i]] += 1
    for i in range(8 * whole, len(mask)):
        counts[0, mask[i]] += 1
    counts[0, 0] += good
    total: NDArray[np.int64] = counts.sum(axis=0)
    return total
