"""Sparse matrices from pixels to bins, pixel by pixel, as `integration.integrate` reads them.

A matrix has three arrays: pixel p adds to ``bins[starts[p]:starts[p + 1]]`` with the weights ``coefs[...]`` of the same
entries. ``starts`` is uint32, (pixels + 1,); ``bins`` uint16 (uint32 for more than 65536 bins); ``coefs`` float32.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .compiled import compiled
from .integration import transpose

FULL_TURN, HALF_TURN = 360.0, 180.0
WIDEST = 8  # bins of a ring, on average: 32 bytes a pixel


class Matrix(NamedTuple):
    """Bins that each pixel adds to, and their weights."""

    starts: NDArray[np.uint32]
    bins: NDArray[Any]
    coefs: NDArray[np.float32]

    @classmethod
    def empty(cls, pixels: int, entries: int, bins: int) -> Matrix:
        """Allocate a matrix for the given number of entries."""
        kind = np.uint16 if bins <= 1 << 16 else np.uint32
        return cls(np.empty(pixels + 1, np.uint32), np.empty(entries, kind), np.empty(entries, np.float32))

    @classmethod
    def of(cls, engine: Any, pixels: int, bins: int) -> Matrix:
        """Transpose the CSR matrix of a Cython engine of pyFAI (rows are bins)."""
        matrix = cls.empty(pixels, engine.data.size, bins)
        transpose(engine.indptr, engine.indices, engine.data, *matrix)
        return matrix

    @property
    def used_pixels(self) -> NDArray[np.bool_]:
        """Pixels that add to a bin, bool, shape (pixels,)."""
        return np.diff(self.starts.astype(np.int64)) > 0

    def of_pixels(self, pixels: NDArray[np.integer[Any]]) -> Matrix:
        """Return the matrix of some pixels, in their order."""
        starts = self.starts.astype(np.int64)
        counts = starts[pixels + 1] - starts[pixels]
        ends = np.concatenate([[0], np.cumsum(counts)])
        entries = np.repeat(starts[pixels] - ends[:-1], counts) + np.arange(ends[-1])
        return Matrix(ends.astype(np.uint32), self.bins[entries], self.coefs[entries])

    def sectors(self, chosen: NDArray[np.bool_], npt: int) -> Matrix:
        """Return a matrix for the bins of n patterns, one pattern after another.

        Parameters
        ----------
        chosen
            Pixels of each pattern, bool, shape (n, pixels).
        npt
            Bins per pattern.
        """
        counts = np.diff(self.starts.astype(np.int64)) * chosen.sum(axis=0)
        matrix = Matrix.empty(counts.size, int(counts.sum()), npt * len(chosen))
        matrix.starts[0] = 0
        np.cumsum(counts, out=matrix.starts[1:], dtype=np.uint32)
        _repeat(*self, np.ascontiguousarray(chosen.T), npt, *matrix)
        return matrix


class RingMatrix(NamedTuple):
    """The same matrix, ring by ring, as `integration.sum_rings` reads it.

    Ring r, of n pixels, adds to an even number of adjacent bins from ``first[r]`` on. Their weights are
    ``weights[ends[r]:ends[r + 1]]``: n for the first bin, n for the second, and so on; 0 where a pixel does not add.
    """

    weights: NDArray[np.float32]
    ends: NDArray[np.int64]
    first: NDArray[np.int64]

    @classmethod
    def of(cls, matrix: Matrix, order: NDArray[np.uint32], starts: NDArray[np.int64]) -> RingMatrix | None:
        """Arrange a matrix by rings; None if the rings have so many bins that this does not pay.

        ``order`` and ``starts`` are the pixels of the rings, see `geometry.rings.Rings`.
        """
        rings = starts.size - 1
        first, ends = np.zeros(rings, np.int64), np.zeros(rings + 1, np.int64)
        arrays = matrix.starts, matrix.bins, matrix.coefs, order, starts
        _fill_rings(*arrays, first, ends, np.empty(0, np.float32))
        np.cumsum(ends, out=ends)
        if ends[-1] > WIDEST * order.size:
            return None
        weights = np.zeros(ends[-1], np.float32)
        _fill_rings(*arrays, first, ends, weights)
        return cls(weights, ends, first)


@compiled
def _fill_rings(
    matrix_starts: NDArray[np.uint32],
    bins: NDArray[Any],
    coefs: NDArray[np.float32],
    order: NDArray[np.uint32],
    starts: NDArray[np.int64],
    first: NDArray[np.int64],
    ends: NDArray[np.int64],
    weights: NDArray[np.float32],
) -> None:
    """Find the first bin of each ring and its number of weights, ``ends[1:]``; if ``weights`` has room, fill it."""
    for ring in range(len(starts) - 1):
        low, high, size = np.int64(2**62), np.int64(-1), starts[ring + 1] - starts[ring]
        for k in range(size):
            pixel = order[starts[ring] + k]
            for i in range(matrix_starts[pixel], matrix_starts[pixel + 1]):
                number = np.int64(bins[i])
                low, high = min(low, number), max(high, number)
                if len(weights):
                    weights[ends[ring] + (number - first[ring]) * size + k] += coefs[i]
        if len(weights) == 0 and high >= 0:
            first[ring], ends[ring + 1] = low, (high - low + 2) // 2 * 2 * size


@compiled
def _repeat(
    starts: NDArray[np.uint32],
    bins: NDArray[Any],
    coefs: NDArray[np.float32],
    chosen: NDArray[np.bool_],
    npt: int,
    new_starts: NDArray[np.uint32],
    new_bins: NDArray[Any],
    new_coefs: NDArray[np.float32],
) -> None:
    for pixel in range(len(starts) - 1):
        to = np.int64(new_starts[pixel])
        for sector in range(chosen.shape[1]):
            if chosen[pixel, sector]:
                for i in range(starts[pixel], starts[pixel + 1]):
                    new_bins[to], new_coefs[to] = bins[i] + sector * npt, coefs[i]
                    to += 1


def wrap_azimuth(limits: tuple[float, float] | list[float]) -> list[list[float] | None]:
    """Split an azimuthal range into ranges between -180 and 180 degrees.

    pyFAI takes only the part before the discontinuity at 180 degrees of a longer range, and warns.

    Parameters
    ----------
    limits
        First and last angle in degrees.

    Returns
    -------
    list
        One or two ranges; ``[None]`` for a full turn.
    """
    first, last = limits
    if last - first >= FULL_TURN:
        return [None]
    if first >= -HALF_TURN and last <= HALF_TURN:
        return [[first, last]]
    start = (first + HALF_TURN) % FULL_TURN - HALF_TURN
    stop = start + last - first
    return [[start, stop]] if stop <= HALF_TURN else [[start, HALF_TURN], [-HALF_TURN, stop - FULL_TURN]]


def matrix_on_edges(
    integrator: Any, shape: tuple[int, int], unit: Any, split: str, edges: NDArray[np.float64]
) -> Matrix:
    """Split pixels exactly between bins of any width, as pyFAI does for bins of equal width.

    Parameters
    ----------
    integrator
        AzimuthalIntegrator of pyFAI.
    shape
        Shape of the frames, (slow, fast).
    unit
        Radial unit of pyFAI.
    split
        ``no``: the centre of a pixel decides; ``bbox``: share of the range centre -+ half extent; ``full``: share of
        the area of the pixel in radial and azimuthal angle.
    edges
        Edges of the bins in ``unit``, ascending, shape (npt + 1,).
    """
    limits = np.asarray(edges, float) / unit.scale
    if split == "full":
        corners = np.asarray(integrator.array_from_unit(shape, "corner", unit, scale=False), float).reshape(-1, 4, 2)
        radial, azimuth = np.ascontiguousarray(corners[..., 0]), np.ascontiguousarray(corners[..., 1])
    else:
        centre = np.asarray(integrator.array_from_unit(shape, "center", unit, scale=False), float).reshape(-1, 1)
        half = np.zeros_like(centre)
        if split == "bbox":
            half = np.asarray(integrator.array_from_unit(shape, "delta", unit, scale=False), float).reshape(-1, 1)
        radial, azimuth = np.concatenate([centre - half, centre + half], axis=1), np.empty((0, 0))
    counts = np.zeros(len(radial) + 1, np.int64)
    nothing = Matrix(np.empty(0, np.uint32), np.empty(0, np.uint32), np.empty(0, np.float32))
    _clip(radial, azimuth, limits, counts, nothing.bins, nothing.coefs)
    matrix = Matrix.empty(len(radial), int(counts.sum()), len(edges) - 1)
    np.cumsum(counts, out=counts)
    matrix.starts[:] = counts
    _clip(radial, azimuth, limits, counts, matrix.bins.view(), matrix.coefs)
    return matrix


@compiled
def _clip(
    radial: NDArray[np.float64],
    azimuth: NDArray[np.float64],
    edges: NDArray[np.float64],
    starts: NDArray[np.int64],
    bins: NDArray[Any],
    coefs: NDArray[np.float32],
) -> None:
    """Count the bins of every pixel in ``starts[1:]``; if ``bins`` has room, fill it from ``starts`` on."""
    corners = np.empty(4)
    for pixel in range(len(radial)):
        r = radial[pixel]
        low, high = r.min(), r.max()
        if not (high >= edges[0] and low <= edges[-1]):  # also true for NaN
            continue
        whole = 0.0
        if len(azimuth):
            for i in range(4):
                corners[i] = azimuth[pixel, i]
            if corners.max() - corners.min() > np.pi:  # across the discontinuity
                for i in range(4):
                    corners[i] += 2 * np.pi if corners[i] < 0 else 0.0
            # A pixel around the beam has no such area; its length decides.
            whole = _area(r, corners, high) if corners.max() - corners.min() < np.pi else 0.0
        first = max(np.searchsorted(edges, low, "right") - 1, 0)
        to = starts[pixel]
        for number in range(first, len(edges) - 1):
            left, right = edges[number], edges[number + 1]
            if number > first and left >= high:
                break
            if whole != 0:
                share = (_area(r, corners, right) - _area(r, corners, left)) / whole
            elif high > low:
                share = (min(right, high) - max(left, low)) / (high - low)
            else:  # the last edge belongs to the last bin
                share = 1.0 if left <= low and (low < right or number == len(edges) - 2) else 0.0
            if not share > 0:
                continue
            if len(bins):
                bins[to], coefs[to] = number, share
                to += 1
            else:
                starts[pixel + 1] += 1


@compiled
def _area(r: NDArray[np.float64], azimuth: NDArray[np.float64], edge: float) -> float:
    """Return the signed area of the polygon (r, azimuth) where r < edge, up to a constant of the polygon.

    By Green's theorem, it is the integral of min(r, edge) over the azimuth along the border.
    """
    total = 0.0
    for i in range(len(r)):
        a, b = r[i] - edge, r[(i + 1) % len(r)] - edge
        width = azimuth[(i + 1) % len(r)] - azimuth[i]
        if a >= 0 and b >= 0:
            continue
        if a <= 0 and b <= 0:
            total += width * (a + b) / 2
        else:  # one end is beyond the edge
            inner = min(a, b)
            total += width * inner * inner / (abs(a) + abs(b)) * -0.5
    return total
