"""Compiled loops that reduce an image or a mask to fewer numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compiled import compiled

# --------------------------------------------------------------------------------------------- pictures and metrics


@compiled
def shrink(
    image: NDArray[np.float32],
    masked: NDArray[np.bool_],
    step: int,
    values: NDArray[np.float32],
    share: NDArray[np.float32],
) -> tuple[float, float]:
    """Fill ``values`` with the mean of the good pixels of every block (NaN if none), ``share`` with the masked part.

    All are (slow, fast); blocks are ``step`` pixels a side, and what fills none is left out. Returns mean and standard
    deviation of the good pixels in them, 0 and 1 where there is none.
    """
    many, total, square = 0, 0.0, 0.0
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
            many += good
            total += block
            values[row, column] = block / good if good else np.nan
            share[row, column] = 1 - good / (step * step)
    if many == 0:
        return 0.0, 1.0
    mean = total / many
    return mean, np.sqrt(max(square / many - mean * mean, 0.0))


@compiled
def histogram(mask: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How many pixels have each value, int64, (256,)."""
    counts = np.zeros((4, 256), np.int64)  # four, so that equal neighbours do not wait for each other
    whole = len(mask) // 8
    words = mask[: 8 * whole].view(np.uint64)  # most pixels are good, and eight of them are one comparison
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
