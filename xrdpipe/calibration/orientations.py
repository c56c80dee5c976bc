"""The parameters of a geometry in pyFAI's orientations of a detector."""

from __future__ import annotations

from collections.abc import Mapping

SLOW, FAST = ("poni1", "rot2", "rot3", "axis1"), ("poni2", "rot1", "rot3", "axis2")


def signs(orientation: int) -> dict[str, float]:
    """Return the factors (1 or -1) by which parameters change between ``orientation`` and orientation 3."""
    factors: dict[str, float] = {}
    for mirrored, names in ((orientation in (1, 2), SLOW), (orientation in (1, 4), FAST)):
        for name in names if mirrored else ():  # rows or columns are counted from the other end
            factors[name] = -factors.get(name, 1.0)
    return factors


def turned(
    values: Mapping[str, float], orientation: int, shape: tuple[int, int], pixel: tuple[float, float]
) -> dict[str, float]:
    """Return the parameters with which a detector in ``orientation`` has the angles of one in orientation 3.

    The same function leads back.

    Parameters
    ----------
    values
        dist, poni1, poni2 (m), rot1, rot2, rot3, axis1, axis2 (rad); others stay.
    orientation
        1 to 4, as in pyFAI.
    shape
        Of the frame, (slow, fast).
    pixel
        Size of a pixel, (slow, fast), m.
    """
    factors = signs(orientation)
    result = {name: factors.get(name, 1.0) * value for name, value in values.items()}
    for axis, name in enumerate(("poni1", "poni2")):
        if name in factors and name in result:
            result[name] += shape[axis] * pixel[axis]
    return result
