"""Drawn shapes as a mask of pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ...model.arrays import Image
from ..view import Shape

Bools = NDArray[np.bool_]
Area = tuple[slice, slice]


def draw(shapes: Sequence[Shape], image: Image, two_theta: Callable[[], NDArray[np.floating]]) -> Bools:
    """Return the pixels that shapes mask, one after the other.

    A pixel belongs to a shape if its centre is inside.

    Parameters
    ----------
    shapes
        The shapes; one with ``unmask`` takes pixels out of those before.
    image
        Counts, (slow, fast), for thresholds.
    two_theta
        Returns 2theta of every pixel, (slow, fast), for rings.

    Returns
    -------
    ndarray
        True for masked pixels, (slow, fast).
    """
    mask = np.zeros(image.shape, np.bool_)
    for shape in shapes:
        area, inside = _pixels(shape, image, two_theta)
        mask[area] = mask[area] & ~inside if shape.unmask else mask[area] | inside
    return mask


def angle_at(two_theta: NDArray[np.floating], point: tuple[float, float]) -> float:
    """Return 2theta of the pixel at a position (slow, fast), or of the nearest one."""
    slow, fast = np.clip(np.floor(point), 0, np.array(two_theta.shape) - 1).astype(int)
    return float(two_theta[slow, fast])


def _pixels(shape: Shape, image: Image, two_theta: Callable[[], NDArray[np.floating]]) -> tuple[Area, Bools]:
    points = np.array(shape.points, float).reshape(-1, 2)
    if shape.kind == "ring":
        angles = two_theta()
        first, last = sorted(angle_at(angles, (slow, fast)) for slow, fast in points)
        return _all(image), (angles >= first) & (angles <= last)
    if shape.kind == "threshold" and not len(points):
        return _all(image), _beyond(shape, image)
    reach = shape.radius if shape.kind in ("circle", "brush") else 0.0
    area = _bounds(points, reach, image.shape)
    if shape.kind in ("polygon", "threshold"):
        inside = _polygon(points, area)
        return area, inside & _beyond(shape, image[area]) if shape.kind == "threshold" else inside
    slow, fast = (np.arange(each.start, each.stop) + 0.5 for each in area)
    if shape.kind == "rectangle":
        (top, left), (bottom, right) = np.sort(points, axis=0)
        return area, np.logical_and.outer((slow >= top) & (slow <= bottom), (fast >= left) & (fast <= right))
    return area, _brush(points, reach, area)


def _all(image: Image) -> Area:
    return slice(0, image.shape[0]), slice(0, image.shape[1])


def _beyond(shape: Shape, image: Image) -> Bools:
    low = -np.inf if shape.low is None else shape.low
    high = np.inf if shape.high is None else shape.high
    return (image < np.float32(low)) | (image > np.float32(high))


def _bounds(points: NDArray[np.float64], reach: float, shape: tuple[int, ...]) -> Area:
    low = np.clip(np.floor(points.min(axis=0) - reach), 0, shape).astype(int)
    high = np.clip(np.ceil(points.max(axis=0) + reach) + 1, 0, shape).astype(int)
    return slice(low[0], max(low[0], high[0])), slice(low[1], max(low[1], high[1]))


def _polygon(points: NDArray[np.float64], area: Area) -> Bools:
    """Return the pixels of an area whose centres are inside a polygon (even-odd rule)."""
    slow = np.arange(area[0].start, area[0].stop) + 0.5
    inside = np.zeros((slow.size, area[1].stop - area[1].start), np.bool_)
    if not inside.size:
        return inside
    following = np.roll(points, -1, axis=0)
    for (y0, x0), (y1, x1) in zip(points, following, strict=True):
        rows = np.flatnonzero((slow > min(y0, y1)) & (slow <= max(y0, y1)))
        if rows.size:
            crossing = x0 + (slow[rows] - y0) * (x1 - x0) / (y1 - y0) - area[1].start - 0.5
            first = np.clip(np.ceil(crossing), 0, inside.shape[1]).astype(int)
            beyond = first < inside.shape[1]
            inside[rows[beyond], first[beyond]] ^= True  # every pixel right of a crossing changes sides
    result: Bools = np.logical_xor.accumulate(inside, axis=1)
    return result


def _brush(points: NDArray[np.float64], radius: float, area: Area) -> Bools:
    """Return the pixels of an area whose centres are at most ``radius`` from a path."""
    inside = np.zeros(tuple(each.stop - each.start for each in area), np.bool_)
    ends = pairwise(points) if len(points) > 1 else [(points[0], points[0])]
    for start, end in ends:
        part = _bounds(np.array([start, end]), radius, (area[0].stop, area[1].stop))
        part = tuple(slice(max(each.start, of.start), each.stop) for each, of in zip(part, area, strict=True))  # type: ignore[assignment]
        slow, fast = (np.arange(each.start, each.stop) + 0.5 for each in part)
        direction = end - start
        length = float(direction @ direction)
        along = np.add.outer((slow - start[0]) * direction[0], (fast - start[1]) * direction[1])
        share = np.clip(along / length, 0, 1) if length else np.zeros_like(along)
        away = (slow[:, np.newaxis] - start[0] - share * direction[0]) ** 2
        away += (fast[np.newaxis] - start[1] - share * direction[1]) ** 2
        rows, columns = (
            slice(each.start - of.start, each.stop - of.start) for each, of in zip(part, area, strict=True)
        )
        inside[rows, columns] |= away <= radius**2
    return inside
