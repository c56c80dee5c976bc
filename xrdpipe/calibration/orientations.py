"""The parameters of a geometry in pyFAI's orientations of a detector."""

from __future__ import annotations

from collections.abc import Mapping


def turned(
    values: Mapping[str, float], orientation: int, shape: tuple[int, int], pixel: tuple[float, float]
) -> dict[str, float]:
    """Return the parameters with which a detector in ``orientation`` has the angles of one in orientation 3.

    The same function leads back.

    Parameters
    ----------
    values
        dist, poni1, poni2 (m), rot1, rot2, rot3 (rad); others stay.
    orientation
        1 to 4, as in pyFAI.
    shape
        Of the frame, (slow, fast).
    pixel
        Size of a pixel, (slow, fast), m.
    """
    result = dict(values)
    if orientation in (1, 2):  # rows are counted from the other end: a mirror
        result |= {"poni1": shape[0] * pixel[0] - result["poni1"], "rot2": -result["rot2"], "rot3": -result["rot3"]}
    if orientation in (1, 4):
        result |= {"poni2": shape[1] * pixel[1] - result["poni2"], "rot1": -result["rot1"], "rot3": -result["rot3"]}
    return result
