"""Rings and arcs of a detector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ARC = 64  # pixels per arc: enough for a median, few enough for a short arc
FARTHEST = 1e6  # largest value in a calibration; at 1e6 m all pixels are numerically at one angle


@dataclass(frozen=True)
class Rings:
    """Pixels sorted by ring: those of ring i are ``order[starts[i]:starts[i + 1]]``, ascending.

    Attributes
    ----------
    order
        Flat indices of the pixels, uint32, shape (pixels,).
    starts
        Start of each ring in ``order``, int64, shape (rings + 1,).
    slots
        Position of each pixel in ``order``, uint32, shape (pixels,).
    """

    order: NDArray[np.uint32]
    starts: NDArray[np.int64]
    slots: NDArray[np.uint32]

    @classmethod
    def of(cls, numbers: NDArray[np.integer[Any]]) -> Rings:
        """Sort the pixels by their ring number."""
        counts = np.bincount(numbers.ravel())
        order = np.argsort(numbers, axis=None, kind="stable").astype(np.uint32)
        slots = np.empty_like(order)
        slots[order] = np.arange(order.size, dtype=np.uint32)
        return cls(order, np.concatenate([[0], np.cumsum(counts[counts > 0])]), slots)


@dataclass(frozen=True)
class Arcs:
    """Pixels sorted by arc: `fine_rings`, cut into arcs of 64 to 127 neighbouring pixels.

    Arcs are so narrow that the flank of a peak does not count as scatter, and so short that neither do polarization,
    tilt and texture.

    Attributes
    ----------
    order, starts
        As in `Rings`: those of arc i are ``order[starts[i]:starts[i + 1]]``, sorted by azimuth.
    arc_of
        Arc of each pixel, uint32, shape (pixels,).
    ring
        Ring of each arc, counted from the beam, int32, shape (arcs,).
    offset
        Where in its ring each pixel in ``order`` is, from the inner edge (0) to the outer one (256), uint8, shape
        (pixels,).
    """

    order: NDArray[np.uint32]
    starts: NDArray[np.int64]
    arc_of: NDArray[np.uint32]
    ring: NDArray[np.int32]
    offset: NDArray[np.uint8]

    @classmethod
    def of(cls, numbers: NDArray[Any], chi: NDArray[np.floating[Any]] | None = None) -> Arcs:
        """Sort the pixels by ring number and, within the ring, by azimuth.

        Parameters
        ----------
        numbers
            Ring number of each pixel; decimals say where in the ring the pixel is.
        chi
            Azimuth of each pixel in rad. A ring of n pixels has ``max(1, n // 64)`` arcs of equal size, up to one
            pixel.
        """
        assert chi is not None
        numbers, decimals = numbers.astype(np.int64), numbers % 1
        key = numbers + (chi - chi.min()) / (np.ptp(chi) + 1)  # a single key takes half the time of np.lexsort
        order = np.argsort(key, axis=None, kind="stable").astype(np.uint32)
        counts = np.bincount(numbers.ravel())
        pieces = np.where(counts > 0, np.maximum(1, counts // ARC), 0)
        ring = np.repeat(np.arange(counts.size), pieces)
        nth = np.arange(ring.size) - np.repeat(np.cumsum(pieces) - pieces, pieces) + 1
        ends = (np.cumsum(counts) - counts)[ring] + nth * counts[ring] // pieces[ring]
        offset = (256 * decimals.ravel()[order]).astype(np.uint8)
        starts, arc_of = np.concatenate([[0], ends]), np.empty_like(order)
        arc_of[order] = np.repeat(np.arange(ring.size, dtype=np.uint32), np.diff(starts))
        return cls(order, starts, arc_of, ring.astype(np.int32), offset)


@dataclass(frozen=True)
class Cells:
    """In which cell each pixel is: rings, a pixel wide, are cut into equal sectors.

    ``cell`` is uint32, shape (pixels,): ``sector * rings + ring``, sectors counted from chi = 0.
    """

    cell: NDArray[np.uint32]
    rings: int

    @classmethod
    def of(cls, ring: NDArray[np.integer[Any]], chi: NDArray[np.floating[Any]], sectors: int) -> Cells:
        """Return the cells of pixels with these rings, counted from the beam, and azimuths (rad)."""
        share = np.mod(chi.ravel(), 2 * np.pi) / (2 * np.pi)
        sector = np.minimum((share * sectors).astype(np.int64), sectors - 1)
        rings = int(ring.max()) + 1
        return cls((sector * rings + ring.ravel()).astype(np.uint32), rings)


def fine_rings(two_theta: NDArray[np.floating[Any]], width: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the ring of each pixel, counted from the beam, with decimals; rings are a third of a pixel wide.

    A ring at some angle is half as wide as the mean of the pixels there; the widths add up from 0.

    Parameters
    ----------
    two_theta
        Scattering angle in rad, (slow, fast).
    width
        pyFAI's delta in rad, (slow, fast): distance from the centre of a pixel to its furthest corner.
    """
    edges = np.linspace(0, two_theta.max(), int(np.hypot(*two_theta.shape)) + 1)
    count, step = edges.size - 1, edges[1]
    bins = np.minimum((two_theta / step).astype(np.int64), count - 1).ravel()
    counts = np.bincount(bins, minlength=count)
    sums = np.bincount(bins, weights=width.ravel(), minlength=count)
    filled = np.flatnonzero(counts)
    mean = np.interp(np.arange(count), filled, sums[filled] / counts[filled])
    distance = np.concatenate([[0], np.cumsum(2 * step / mean)])
    rings: NDArray[np.float64] = np.interp(two_theta, edges, distance)
    return rings


def ring_numbers(integrator: Any, shape: tuple[int, int]) -> NDArray[np.int64]:
    """Return the ring of each pixel, (slow, fast), as PDFstream's ``generate_binner``.

    Rings are about a pixel wide. Radial edges are half a pixel diagonal apart; the largest ``dq`` in each interval
    gives the width of the ring in q.
    """
    r = integrator.rArray(shape)
    q = integrator.qArray(shape) / 10  # 1/nm -> 1/angstrom
    dq = integrator.deltaQ(shape) / 10
    step = np.hypot(integrator.pixel1, integrator.pixel2) / 2
    radial = np.arange(r.min() - step, r.max() + step, step)
    width = np.zeros(len(radial) - 1, dq.dtype)
    annulus = np.digitize(r, radial).ravel() - 1
    inside = (annulus >= 0) & (annulus < len(width))
    np.maximum.at(width, annulus[inside], dq.ravel()[inside])
    edges = np.cumsum(width)
    edges[0] = dq.min()
    edges[-1] = max(edges[-1], q.max())
    numbers: NDArray[np.int64] = np.digitize(q, edges)
    numbers[q == edges[-1]] = len(edges) - 1
    return numbers
