"""Sums of deviations from the expected level, over pixels, tiles and windows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..compiled import compiled
from ..constants import GOOD, OUTLIER

SHADE = np.uint8(255)  # of a mask in the making: in a region, so no part of a level, but still looked at

TILE = 4  # pixels along a tile's side: the smallest block that is searched

BLOCK = 128  # columns that are skipped together where none of them can be dead


@compiled
def tile_sums(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    cell: NDArray[np.uint32],
    table: NDArray[np.float32],
    fast: int,
    sampled: bool,
    tiles: NDArray[np.float32],
) -> None:
    """Set ``tiles``, float32, (slow / TILE, fast / TILE, 2), to deviation and information of their pixels.

    Of pixels that are outliers those below their level count: a shadow whose darkest pixels are masked is still one. If
    ``sampled``, every other row counts, and outliers do not, since others show the shadow.
    """
    tiles[:] = 0
    zero = np.float32(0)
    d, e = np.zeros(fast + TILE, np.float32), np.zeros(fast + TILE, np.float32)
    for i in range(0, len(image) // fast, 2 if sampled else 1):
        row_sums(image[i * fast :], mask[i * fast :], cell[i * fast :], table, d[:fast], e[:fast])
        if sampled:
            bits = mask[i * fast : i * fast + fast]
            for j in range(fast):
                d[j] = d[j] if bits[j] != OUTLIER else zero
                e[j] = e[j] if bits[j] != OUTLIER else zero
        _add_tiles(d, e, tiles[i // TILE])


@compiled
def _add_tiles(d: NDArray[np.float32], e: NDArray[np.float32], tiles: NDArray[np.float32]) -> None:
    for j in range(len(tiles)):
        tiles[j, 0] += (d[4 * j] + d[4 * j + 1]) + (d[4 * j + 2] + d[4 * j + 3])
        tiles[j, 1] += (e[4 * j] + e[4 * j + 1]) + (e[4 * j + 2] + e[4 * j + 3])


@compiled
def tiles_and_pieces(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    cell: NDArray[np.uint32],
    table: NDArray[np.float32],
    fast: int,
    loss: float,
    least: float,
    tiles: NDArray[np.float32],
    rows: NDArray[np.float32],
    columns: NDArray[np.float32],
) -> None:
    """As `tile_sums` of every row, and find the piece of every row and column that is dead most likely.

    The piece has the largest sum of log likelihood ratios, of a line that lacks ``loss`` of its level against one that
    lacks nothing. ``rows`` and ``columns`` (float32, (lines, 3)) get first pixel, end and sum of each line's piece; of
    rows only where the sum may be at least ``least``.
    """
    tiles[:] = 0
    rows[:] = 0
    columns[:] = 0
    zero, blocks = np.float32(0), -(-fast // BLOCK)
    d, e = np.zeros(fast + TILE, np.float32), np.zeros(fast + TILE, np.float32)
    ratio, total = np.empty(fast, np.float32), np.zeros(fast, np.float32)
    begin, live = np.zeros(fast, np.int32), np.zeros(blocks, np.int32)
    first, end, best = np.zeros(fast, np.int32), np.zeros(fast, np.int32), np.zeros(fast, np.float32)
    a = np.float32(np.log(1 - loss))
    b = a + np.float32(loss)
    for i in range(len(image) // fast):
        row_sums(image[i * fast :], mask[i * fast :], cell[i * fast :], table, d[:fast], e[:fast])
        _add_tiles(d, e, tiles[i // TILE])
        possible = np.int32(0)
        for block in range(blocks):
            start, stop = block * BLOCK, min(fast, block * BLOCK + BLOCK)
            dark, bound = np.int32(0), np.int32(0)
            for j in range(start, stop):
                ratio[j] = a * d[j] + b * e[j]
                positive = ratio[j] > zero
                dark += np.int32(positive)
                bound += np.int32(np.float32(64) * min(max(ratio[j], zero), np.float32(1000))) + np.int32(positive)
            possible += bound
            if dark == 0 and live[block] == 0:
                continue
            alive = np.int32(0)
            for j in range(start, stop):
                t = total[j] + ratio[j]
                begin[j] = begin[j] if total[j] > zero else i
                total[j] = t if t > zero else zero
                alive += np.int32(t > zero)
                if t > best[j]:
                    best[j], first[j], end[j] = t, begin[j], i + 1
            live[block] = alive
        if possible >= 64 * least:
            _best_piece(ratio, rows[i])
    for j in range(fast):
        columns[j, 0], columns[j, 1], columns[j, 2] = first[j], end[j], best[j]


@compiled
def _best_piece(ratio: NDArray[np.float32], piece: NDArray[np.float32]) -> None:
    """Set ``piece`` to first, end and sum of the run of ``ratio`` with the largest sum."""
    zero = np.float32(0)
    run, most, start, first, end = zero, zero, 0, 0, 0
    for j in range(len(ratio)):
        run += ratio[j]
        if run <= zero:
            run, start = zero, j + 1
        elif run > most:
            most, first, end = run, start, j + 1
    piece[0], piece[1], piece[2] = first, end, most


@compiled
def close_tiles(
    mask: NDArray[np.uint8], fast: int, least: float, depth: NDArray[np.float32], closed: NDArray[np.bool_]
) -> None:
    """Set ``closed`` to the tiles with a depth, or beside one, in which ``mask`` leaves no pixel to decide about.

    These get at least the ``least`` depth, so that a border knows its inside.
    """
    slow = len(mask) // fast
    closed[:] = False
    for t in range(depth.shape[0]):
        for u in range(depth.shape[1]):
            if depth[t, u] > 0:
                closed[max(0, t - 1) : t + 2, max(0, u - 1) : u + 2] = True
    for t in range(depth.shape[0]):
        for u in range(depth.shape[1]):
            if closed[t, u]:
                for i in range(TILE * t, min(TILE * t + TILE, slow)):
                    for j in range(TILE * u, min(TILE * u + TILE, fast)):
                        bits = mask[i * fast + j]
                        closed[t, u] &= (bits != GOOD) & (bits != SHADE)
    for t in range(depth.shape[0]):
        for u in range(depth.shape[1]):
            if closed[t, u] and depth[t, u] == 0:
                depth[t, u] = least


@compiled
def spans(depth: NDArray[np.float32], fast: int) -> NDArray[np.int64]:
    """Return the spans of tiles with a depth, (spans, 3): row of tiles, first pixel and end along the row."""
    slow, wide = depth.shape
    found, many = np.empty((slow * (wide // 2 + 1), 3), np.int64), 0
    for t in range(slow):
        inside = False
        for j in range(wide):
            if depth[t, j] > 0 and not inside:
                found[many, 0], found[many, 1] = t, TILE * j
            elif inside and not depth[t, j] > 0:
                found[many, 2] = TILE * j
                many += 1
            inside = depth[t, j] > 0
        if inside:
            found[many, 2] = fast
            many += 1
    return found[:many]


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
        c = np.uint64(cell[j])
        e[j] = table[c, 1]
        d[j] = image[j] * table[c, 0] - e[j]
    for j in range(len(d)):  # a loop of its own, so that the compiler vectorizes it
        bits = mask[j]
        use = (bits == OUTLIER) & (d[j] < zero) | (bits == GOOD) | (bits == SHADE)
        d[j] = d[j] if use else zero
        e[j] = e[j] if use else zero


@compiled
def shade(region: NDArray[np.uint8], mask: NDArray[np.uint8]) -> int:
    """Make the good pixels of ``region`` `SHADE`, and all others that are `SHADE` good; return how many change."""
    changed, whole = 0, len(mask) // 8
    regions, masks = region[: 8 * whole].view(np.uint64), mask[: 8 * whole].view(np.uint64)
    for word in range(whole + 1):
        if word < whole and (regions[word] | masks[word]) == 0:  # most of a frame: one comparison checks eight pixels
            continue
        for i in range(8 * word, min(8 * word + 8, len(mask))):
            bits = mask[i]
            if (bits == GOOD) | (bits == SHADE):
                mask[i] = SHADE if region[i] else GOOD
                changed += int(mask[i] != bits)
    return changed


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
