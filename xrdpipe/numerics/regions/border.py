"""Which pixels a region has: its border, as fine as the counts can tell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..compiled import compiled
from .search import SLOPES
from .sums import TILE, row_sums, spans, summed

BLEND = 3  # half a window's pixels from which halfway between inside and outside decides, whatever the counts

INWARD = 1.2  # times half of the depth, from which a window is in a shadow: depths come out low

SQUARE = 64  # pixels along a side that are refined together

MARGIN = 36  # pixels around it that are looked at


@compiled
def halfway(deep: float) -> float:
    """Return the deficit at which counts are as likely in a shadow of this depth as outside."""
    deep = min(max(deep, 0.01), 0.98)
    return float(1 + deep / np.log(1 - deep))


@compiled
def refine(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    cell: NDArray[np.uint32],
    table: NDArray[np.float32],
    fast: int,
    depth: NDArray[np.float32],
    closed: NDArray[np.bool_],
    direction: NDArray[np.int16],
    sure: float,
    region: NDArray[np.uint8],
) -> None:
    """Decide for every pixel near a shadow whether it is in it, and set ``region`` (slow, fast).

    Pixels of ``closed`` tiles, which the mask covers already, are. For others the smallest window around the pixel that
    can tell decides: one where half of the depth is ``sure`` standard deviations. The pixel is in the shadow where the
    window is darker than halfway.
    """
    slow = len(image) // fast
    side = SQUARE + 2 * MARGIN
    d, e = np.empty((side, side), np.float32), np.empty((side, side), np.float32)
    sd, se = np.empty((side + 1, side + 1)), np.empty((side + 1, side + 1))
    step = SQUARE // TILE
    for top in range(0, slow, SQUARE):
        for left in range(0, fast, SQUARE):
            opened = False
            for i in range(top // TILE, min(top // TILE + step, depth.shape[0])):
                for j in range(left // TILE, min(left // TILE + step, depth.shape[1])):
                    opened |= depth[i, j] > 0 and not closed[i, j]
                    if closed[i, j] and depth[i, j] > 0:
                        region[TILE * i : TILE * i + TILE, TILE * j : TILE * j + TILE] = 1
            if not opened:
                continue
            r0, r1 = max(0, top - MARGIN), min(slow, top + SQUARE + MARGIN)
            c0, c1 = max(0, left - MARGIN), min(fast, left + SQUARE + MARGIN)
            for r in range(r0, r1):
                at = r * fast + c0
                row_sums(image[at:], mask[at:], cell[at:], table, d[r - r0, : c1 - c0], e[r - r0, : c1 - c0])
            h, w = r1 - r0, c1 - c0
            summed(d[:h, :w], sd)
            summed(e[:h, :w], se)
            for r in range(top, min(top + SQUARE, slow)):
                for c in range(left, min(left + SQUARE, fast)):
                    deep = np.float64(depth[r // TILE, c // TILE])
                    if deep == 0 or closed[r // TILE, c // TILE]:
                        continue
                    y, x = r - r0, c - c0
                    few, half_deep = INWARD * halfway(deep), INWARD * 0.5 * deep
                    way = direction[r // TILE, c // TILE]
                    for half in (0, 1, 2, 3, 4, 6, 8, 11, 16, 23):
                        a, b = max(0, y - half), min(h, y + half + 1)
                        f, g = max(0, x - half), min(w, x + half + 1)
                        n = se[b, g] - se[a, g] - se[b, f] + se[a, f]
                        if way >= 0 and half == 3:
                            s, n = _strip(d, e, h, w, y, x, way, 4 * sure * sure / (deep * deep))
                            region[r, c] = s < -few * n
                            break
                        if n * deep * deep >= 4 * sure * sure or half == 23:
                            s = sd[b, g] - sd[a, g] - sd[b, f] + sd[a, f]
                            region[r, c] = s < -(few if half < BLEND else half_deep) * n
                            break


@compiled
def _strip(
    d: NDArray[np.float32],
    e: NDArray[np.float32],
    h: int,
    w: int,
    y: int,
    x: int,
    way: int,
    enough: float,
) -> tuple[float, float]:
    """Return the sums over a strip of three pixels' width about (y, x), as long as it takes, at most 65 pixels."""
    steep, slope = way >= SLOPES, (way % SLOPES - SLOPES // 2) / (SLOPES / 2)
    s, n = 0.0, 0.0
    for far in range(33):
        for side in range(2 if far else 1):
            t = far if side == 0 else -far
            i = int(np.floor(slope * t + 0.5))
            for off in range(-1, 2):
                a, b = (y + t, x + i + off) if steep else (y + i + off, x + t)
                if 0 <= a < h and 0 <= b < w:
                    s += d[a, b]
                    n += e[a, b]
        if far >= 4 and n >= enough:
            break
    return s, n


@compiled
def deepen(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    cell: NDArray[np.uint32],
    table: NDArray[np.float32],
    fast: int,
    region: NDArray[np.uint8],
    reach: int,
    least: float,
    depth: NDArray[np.float32],
) -> None:
    """Replace ``depth`` by that of the pixels in ``region`` within ``reach`` tiles.

    The mean of the tiles' deviations, weighted by these themselves and freed of their noise: what lies in the region
    but is not dark does not make it shallower.
    """
    slow, runs = len(image) // fast, spans(depth, fast)
    if len(runs) == 0:
        return
    top, bottom = runs[0, 0], runs[-1, 0] + 1  # what is outside these rows of tiles adds nothing
    tiles = np.zeros((bottom - top, depth.shape[1], 2), np.float32)
    depth = depth[top:bottom]
    d, e = np.empty(fast, np.float32), np.empty(fast, np.float32)
    for t, f, g in runs:
        for i in range(TILE * t, min(TILE * t + TILE, slow)):
            at = i * fast + f
            row_sums(image[at:], mask[at:], cell[at:], table, d[f:g], e[f:g])
            for j in range(f, g):
                if region[i, j]:
                    tiles[t - top, j // TILE, 0] += d[j]
                    tiles[t - top, j // TILE, 1] += e[j]
    for i in range(depth.shape[0]):
        for j in range(depth.shape[1]):
            if depth[i, j] > 0:
                lost, n = -tiles[i, j, 0], tiles[i, j, 1]
                tiles[i, j, 0], tiles[i, j, 1] = lost, (lost * lost + lost) / n - 1 if n > 0 else 0.0
    sd, se = np.empty((depth.shape[0] + 1, depth.shape[1] + 1)), np.empty((depth.shape[0] + 1, depth.shape[1] + 1))
    summed(tiles[:, :, 0], sd)
    summed(tiles[:, :, 1], se)
    for i in range(depth.shape[0]):
        for j in range(depth.shape[1]):
            if depth[i, j] == 0:
                continue
            a, b = max(0, i - reach), min(depth.shape[0], i + reach + 1)
            f, g = max(0, j - reach), min(depth.shape[1], j + reach + 1)
            s = sd[b, g] - sd[a, g] - sd[b, f] + sd[a, f]
            n = se[b, g] - se[a, g] - se[b, f] + se[a, f]
            depth[i, j] = min(max(n / s, least), 1.0) if s > 0 else 0.0


@compiled
def settle(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    cell: NDArray[np.uint32],
    table: NDArray[np.float32],
    fast: int,
    depth: NDArray[np.float32],
    closed: NDArray[np.bool_],
    bond: float,
    rounds: int,
    region: NDArray[np.uint8],
) -> None:
    """Let the border of ``region`` settle: a pixel follows its own counts and its eight neighbours (ICM)."""
    slow, runs = len(image) // fast, spans(depth, fast)
    d, e = np.empty(fast, np.float32), np.empty(fast, np.float32)
    old = np.zeros((slow + 2, fast + 2), np.uint8)
    for _ in range(rounds):
        for t, f, g in runs:
            for i in range(TILE * t, min(TILE * t + TILE, slow)):
                for j in range(f, g):
                    old[i + 1, j + 1] = region[i, j]
        for t, f, g in runs:
            for i in range(TILE * t, min(TILE * t + TILE, slow)):
                at = i * fast + f
                row_sums(image[at:], mask[at:], cell[at:], table, d[f:g], e[f:g])
                deep, lost = 0.0, 0.0
                for j in range(f, g):
                    if j % TILE == 0:
                        deep = min(np.float64(depth[t, j // TILE]), 0.95)
                        lost = np.log(1 - deep)
                    if closed[t, j // TILE]:
                        continue
                    near = 0
                    for a in range(3):
                        for b in range(3):
                            near += old[i + a, j + b]
                    near -= old[i + 1, j + 1]
                    ratio = (d[j] + e[j]) * lost + deep * e[j]
                    region[i, j] = ratio + bond * (2 * near - 8) > 0


@compiled
def drop_faint(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    cell: NDArray[np.uint32],
    table: NDArray[np.float32],
    depth: NDArray[np.float32],
    significance: float,
    region: NDArray[np.uint8],
) -> None:
    """Clear the connected parts of ``region`` whose own sum is not lower by ``significance`` standard deviations."""
    slow, fast = region.shape
    flat, many = region.ravel(), 0
    pixels = np.empty(np.count_nonzero(depth) * TILE * TILE, np.int64)
    for t, f, g in spans(depth, fast):
        for i in range(TILE * t, min(TILE * t + TILE, slow)):
            for at in range(i * fast + f, i * fast + g):
                pixels[many] = at
                many += flat[at] != 0
    stack = np.empty(many, np.int64)
    d, e = np.empty(1, np.float32), np.empty(1, np.float32)
    for m in range(many):
        if flat[pixels[m]] != 1:
            continue
        flat[pixels[m]], stack[0] = 2, pixels[m]
        end, done = 1, 0
        s, n = 0.0, 0.0
        while done < end:
            at = stack[done]
            done += 1
            row_sums(image[at:], mask[at:], cell[at:], table, d, e)
            s += d[0]
            n += e[0]
            row, column = at // fast, at % fast
            for a in range(max(0, row - 1), min(slow, row + 2)):
                for b in range(max(0, column - 1), min(fast, column + 2)):
                    to = a * fast + b
                    if flat[to] == 1:
                        flat[to], stack[end] = 2, to
                        end += 1
        if not (s < 0 and s * s > significance * significance * n):
            for k in range(end):
                flat[stack[k]] = 0
    for m in range(many):
        flat[pixels[m]] = flat[pixels[m]] != 0
