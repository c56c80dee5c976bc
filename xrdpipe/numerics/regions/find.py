"""Find the regions of a frame."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from ..constants import USER
from .border import deepen, drop_faint, refine, settle
from .levels import (
    SECTORS,
    TERMS,
    add_cells,
    add_grain,
    centre,
    fit_rings,
    information,
    inner_rows,
    ring_totals,
    tabulate,
)
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


class RegionFinder:
    """Find where frames of one geometry receive too little; a finder may be called from several threads.

    Parameters
    ----------
    cell
        The cell of every pixel, flat: ``sector * rings + ring``; see `geometry.rings.Cells`.
    rings
        Number of rings.
    shape
        Of the frames, (slow, fast).
    """

    def __init__(self, cell: NDArray[np.uint32], rings: int, shape: tuple[int, int]) -> None:
        self.cell, self.rings, self.shape = cell, rings, shape
        self.inner = inner_rows(cell, rings, shape[1])
        self._per_thread = threading.local()

    def __call__(self, image: NDArray[np.float32], mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Find the regions of a frame.

        Parameters
        ----------
        image
            Counts, flat.
        mask
            Flat, 0 = good; of outliers those below their level count in sums, others and all else that is masked do
            not.

        Returns
        -------
        NDArray
            Where a region is, (slow, fast); it may contain pixels that ``mask`` has.
        """
        if not hasattr(self._per_thread, "search"):  # its arrays are used again: new ones cost more than a pass
            self._per_thread.search = _Search(self)
        search: _Search = self._per_thread.search
        return search(image, mask)


class _Search:
    """Arrays of a search, and the search."""

    def __init__(self, finder: RegionFinder) -> None:
        (slow, fast), rings = finder.shape, finder.rings
        tiles = (-(-slow // TILE), -(-fast // TILE))
        self.cell, self.inner, self.fast = finder.cell, finder.inner, fast
        self.sums, self.first_totals = np.empty((SECTORS * rings, 3)), np.empty((rings, 2))
        self.table = np.empty((SECTORS * rings, 2), np.float32)
        self.used = np.empty(slow * fast, np.uint8)
        self.region, self.line = np.empty((slow, fast), np.uint8), np.empty((slow, fast), np.uint8)
        self.tiles, self.depth = np.empty((*tiles, 2), np.float32), np.empty(tiles, np.float32)
        self.closed, self.direction = np.empty(tiles, np.bool_), np.empty(tiles, np.int16)
        self.rows, self.columns = np.empty((slow, 3), np.float32), np.empty((fast, 3), np.float32)

    def __call__(self, image: NDArray[np.float32], mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
        self.used[:] = mask
        self.line[:] = 0
        counts = np.inf
        for again in range(ROUNDS):
            counts = self._find_levels(image, counts, again)
            if not self._find_seeds(image, counts):
                self.region[:] = 0
                break
            self._draw_borders(image)
            if shade(self.region.ravel(), self.used) < CHANGED * self.used.size:
                break
        found = self.region | self.line  # 0 or 1
        return found.view(np.bool_)

    def _find_levels(self, image: NDArray[np.float32], counts: float, again: int) -> float:
        """Set the table of what pixels should receive; return the information of a pixel."""
        cube = self.sums.reshape(SECTORS, -1, 3)
        rings = cube.shape[1]
        self.sums[:] = 0
        add_cells(image, self.used, self.cell, self.fast, self.inner, True, self.sums)
        counts = counts if again else information(cube)
        if counts < BRIGHT:
            add_cells(image, self.used, self.cell, self.fast, self.inner, False, self.sums)
        coefficients, variance = np.empty((rings, TERMS)), np.empty((rings, 2))
        fit_rings(cube, coefficients, variance)
        totals = ring_totals(cube)
        gain = add_grain(totals[:, 0], coefficients, variance)
        if not again:
            self.first_totals = totals
        centre(self.first_totals, coefficients, variance, gain)
        tabulate(coefficients, variance, self.table.reshape(SECTORS, rings, 2))
        return counts

    def _find_seeds(self, image: NDArray[np.float32], counts: float) -> int:
        """Set how deep shadows are at most, tile by tile; return how many windows and strips are dark."""
        pixels = (image, self.used, self.cell, self.table, self.fast)
        if counts < BRIGHT:
            tiles_and_pieces(*pixels, LINE, LINE_RATIO, self.tiles, self.rows, self.columns)
            if lines(*pixels, self.rows, self.columns, LINE_RATIO, SHORTEST, self.line):
                self.used[self.line.ravel() != 0] |= USER
                tile_sums(*pixels, False, self.tiles)
        else:
            tile_sums(*pixels, True, self.tiles)
        self.depth[:] = 0
        self.direction[:] = -1
        found = seeds(self.tiles, LEAST, SIGNIFICANT, self.depth)
        if counts < STRONG:
            found += strips(self.tiles, LEAST, RATIO, self.depth, self.direction)
        return found

    def _draw_borders(self, image: NDArray[np.float32]) -> None:
        """Set ``region`` to the pixels of shadows."""
        pixels = (image, self.used, self.cell, self.table, self.fast)
        close_tiles(self.used, self.fast, LEAST, self.depth, self.closed)
        for again in range(3):
            if again:
                deepen(*pixels, self.region, 5, LEAST, self.depth)
            self.region[:] = 0
            refine(*pixels, self.depth, self.closed, self.direction, SURE, self.region)
        settle(*pixels, self.depth, self.closed, BOND, 4, self.region)
        drop_faint(*pixels[:4], self.depth, FAINT, self.region)
