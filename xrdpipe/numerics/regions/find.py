"""Find the regions of a frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..constants import USER
from .border import deepen, drop_faint, refine, settle
from .levels import SECTORS, TERMS, add_cells, centre, fit_rings, information, tabulate
from .search import LINE, lines, seeds, strips
from .sums import TILE, close_tiles, shade, tile_sums, tiles_and_pieces

LEAST = 0.08  # of its level, that a region lacks: less is the slope of a halo, a flat field, a gain

SIGNIFICANT = 6.5  # standard deviations that a window is too dark by

RATIO = 24.0  # log likelihood ratio of a straight strip: exp(-24) times the number of strips are found by chance

LINE_RATIO = 20.0  # the same of a piece of a row or column

SHORTEST = 40  # pixels of such a piece

SURE = 2.5  # standard deviations that half of the depth has to be for a window to tell inside from outside

FAINT = 5.0  # standard deviations that a whole region is too dark by

BOND = 0.6  # how much a neighbour counts where a border settles, as log likelihood ratio

ROUNDS = 3  # levels, regions, and again without what was found

CHANGED = 1e-4  # of the pixels: fewer leave the levels as they are

STRONG = 10.0  # information of a pixel (see `levels.information`) from which windows see all that strips do

BRIGHT = 50.0  # the same, from which a sample of rows is enough and a dead line shows pixel by pixel


def find_regions(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    cell: NDArray[np.uint32],
    rings: int,
    inner: NDArray[np.bool_],
    shape: tuple[int, int],
) -> NDArray[np.bool_]:
    """Find where a frame receives too little.

    Parameters
    ----------
    image
        Counts, flat.
    mask
        Flat, 0 = good; of outliers those below their level count in sums, others and all else that is masked do not.
    cell
        The cell of every pixel, flat: ``sector * rings + ring``; see `geometry.rings.Cells`.
    rings
        Number of rings.
    inner
        Rows near the beam, see `levels.inner_rows`.
    shape
        Of the frame, (slow, fast).

    Returns
    -------
    NDArray
        Where a region is, (slow, fast); it may contain pixels that ``mask`` has.
    """
    slow, fast = shape
    sums, table = np.zeros((SECTORS * rings, 3)), np.zeros((SECTORS * rings, 2), np.float32)
    cube = sums.reshape(SECTORS, rings, 3)
    coefficients, variance = np.zeros((rings, TERMS)), np.zeros((rings, 2))
    region, line = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    tiles = np.empty((-(-slow // TILE), -(-fast // TILE), 2), np.float32)
    closed = np.empty(tiles.shape[:2], np.bool_)
    rows, columns = np.empty((slow, 3), np.float32), np.empty((fast, 3), np.float32)
    used, everything, counts = mask.copy(), cube, 0.0
    for again in range(ROUNDS):
        sums[:] = 0
        add_cells(image, used, cell, fast, inner, True, sums)
        counts = counts if again else information(cube)
        if counts < BRIGHT:
            add_cells(image, used, cell, fast, inner, False, sums)
        gain = fit_rings(cube, coefficients, variance)
        everything = everything if again else cube.copy()
        centre(everything, coefficients, variance, gain)
        tabulate(coefficients, variance, table.reshape(SECTORS, rings, 2))
        if counts < BRIGHT:
            tiles_and_pieces(image, used, cell, table, fast, LINE, LINE_RATIO, tiles, rows, columns)
            if lines(image, used, cell, table, fast, rows, columns, LINE_RATIO, SHORTEST, line):
                used[line.ravel() != 0] |= USER
                tile_sums(image, used, cell, table, fast, False, tiles)
        else:
            tile_sums(image, used, cell, table, fast, True, tiles)
        depth, direction = np.zeros(tiles.shape[:2], np.float32), np.full(tiles.shape[:2], -1, np.int16)
        found = seeds(tiles, LEAST, SIGNIFICANT, depth)
        if counts < STRONG:
            found += strips(tiles, LEAST, RATIO, depth, direction)
        region[:] = 0
        if not found:
            break
        close_tiles(used, fast, LEAST, depth, closed)
        refine(image, used, cell, table, fast, depth, closed, direction, SURE, region)
        for _ in range(2):
            deepen(image, used, cell, table, fast, region, 5, LEAST, depth)
            region[:] = 0
            refine(image, used, cell, table, fast, depth, closed, direction, SURE, region)
        settle(image, used, cell, table, fast, depth, closed, BOND, 4, region)
        drop_faint(image, used, cell, table, depth, FAINT, region)
        if shade(region.ravel(), used) < CHANGED * used.size:
            break
    found_at: NDArray[np.bool_] = (region | line) != 0
    return found_at
