"""Transmission of the rays through the diamond and the seat of an anvil cell, as Dioptas computes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .absorption import tilted

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Cell:
    """The exit side of a diamond anvil cell: lengths in mm, angles in rad.

    Attributes
    ----------
    diamond, seat
        Thickness of the diamond and of the seat; the seat may have none.
    diamond_length, seat_length
        Absorption lengths (1 / mu).
    small_radius, large_radius
        Radii of the conical opening of the seat, at the diamond and outside.
    tilt, rotation
        The axis of the cell is tilted by ``tilt`` away from the azimuth ``rotation``.
    offset, offset_angle
        Distance of the opening from the axis of the cell, and its direction.
    """

    diamond: float
    diamond_length: float
    seat: float
    seat_length: float
    small_radius: float
    large_radius: float
    tilt: float = 0.0
    rotation: float = 0.0
    offset: float = 0.0
    offset_angle: float = 0.0


def cell_transmission(direction: Floats, cell: Cell) -> Floats:
    """Return the transmission through diamond and seat: `CbnCorrection` of Dioptas 0.11.

    A ray at the angle t from the axis of the cell has the path ``diamond / cos(t)`` in the diamond. In the seat it has
    none if it leaves through the opening, ``seat / cos(t)`` outside of it, and between, where it enters the seat and
    leaves it through the cone, the path up to the cone.

    Parameters
    ----------
    direction
        Unit vectors of the rays, (3, ...).
    cell
        The cell.

    Returns
    -------
    ndarray
        Transmission, 0 for rays that do not go through the exit side.
    """
    cosine = np.tensordot(tilted(cell.tilt, cell.rotation + np.pi), direction, axes=1)
    forward = cosine > 0
    cosine = np.where(forward, cosine, 1.0)
    exponent = cell.diamond / cosine / cell.diamond_length
    if cell.seat > 0:
        exponent = exponent + _path_in_seat(np.arccos(np.minimum(cosine, 1)), direction, cell) / cell.seat_length
    return np.where(forward, np.exp(-exponent), 0.0)


def _path_in_seat(angle: Floats, direction: Floats, cell: Cell) -> Floats:
    """Return the path of rays at ``angle`` from the axis in the seat, mm."""
    tangent = np.tan(angle)
    small, large = _radii(direction, cell)
    opening = (large - small) / cell.seat  # tangent of the cone's half angle
    hits = cell.diamond * tangent > small
    inside = (cell.diamond + cell.seat) * tangent < large
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.where(inside, (cell.diamond * tangent - small) / (opening - tangent), cell.seat)
    return np.where(hits | ~inside, depth, 0.0) / np.cos(angle)


def _radii(direction: Floats, cell: Cell) -> tuple[Floats, Floats]:
    """Return the radii of the opening as a ray at its azimuth sees them from an axis beside the centre."""
    if cell.offset == 0:
        return np.array(cell.small_radius), np.array(cell.large_radius)
    azimuth = np.arctan2(direction[2], direction[1]) + cell.offset_angle
    beta = azimuth - np.arcsin(cell.offset * np.sin(np.pi - azimuth) / cell.small_radius)

    def seen(radius: float) -> Floats:
        return np.asarray(np.sqrt(radius**2 + cell.offset**2 - 2 * radius * cell.offset * np.cos(beta)))

    return seen(cell.small_radius), seen(cell.large_radius)
