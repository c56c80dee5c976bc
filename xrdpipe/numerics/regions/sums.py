"""Sums of deviations from the expected level, over pixels, tiles and windows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..compiled import compiled
from ..constants import GOOD, OUTLIER

SHADE = np.uint8(255)  # of a mask in the making: in a region, so no part of a level, but still looked at

TILE = 4  # pixels along a tile's side: the smallest block that is searched


@compiled
def tile_sums(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    cell: NDArray[np.uint32],
    table: NDArray[np.float32],
    fast: int,
    tiles: NDArray[np.float32],
) -> None:
    """Add deviation and information of the pixels to ``tiles``, (slow / TILE, fast / TILE, 2).

    Of pixels that are outliers those below their level count: a shadow whose darkest pixels are masked is still one.
    """
    d, e = np.zeros(fast + TILE, np.float32), np.zeros(fast + TILE, np.float32)
    for i in range(len(image) // fast):
        row_sums(image[i * fast :], mask[i * fast :], cell[i * fast :], table, d[:fast], e[:fast])
        for j in range(tiles.shape[1]):
            tiles[i // TILE, j, 0] += (d[4 * j] + d[4 * j + 1]) + (d[4 * j + 2] + d[4 * j + 3])
            tiles[i // TILE, j, 1] += (e[4 * j] + e[4 * j + 1]) + (e[4 * j + 2] + e[4 * j + 3])


@compiled
def row_sums(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    cell: NDArray[np.uint32],
    table: NDArray[np.float32],
    d: NDArray[np.float32],
    e: NDArray[np.float32],
) -> None:
    """Deviation and information of the first ``len(d)`` pixels."""
    zero = np.float32(0)
    for j in range(len(d)):
        c, bits = cell[j], mask[j]
        information = table[c, 1]
        deviation = image[j] * table[c, 0] - information
        dark = bits == OUTLIER and deviation < zero
        use = dark or (bits == GOOD) | (bits == SHADE)
        d[j] = deviation if use else zero
        e[j] = information if use else zero


@compiled
def summed(x: NDArray[np.float32], out: NDArray[np.float64]) -> None:
    """Set ``out`` (float64, one row and column longer) to the summed-area table of x."""
    slow, fast = x.shape
    for j in range(fast + 1):
        out[0, j] = 0.0
    for i in range(slow):
        total = 0.0
        out[i + 1, 0] = 0.0
        for j in range(fast):
            total += x[i, j]
            out[i + 1, j + 1] = out[i, j + 1] + total
