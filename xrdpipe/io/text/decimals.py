"""Compiled loop that writes numbers as text, digit for digit as ``%.6e`` does."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ...numerics.compiled import compiled

_LARGEST = 60  # exponent of the largest power of ten in the table
_SPLIT = 134217729.0  # 2**27 + 1: cuts a float64 in two halves whose products are exact
_UNSURE = 1e-12  # distance from the middle between two texts within which rounding errors might decide
_ZERO, _POINT, _E, _PLUS, _MINUS, _BLANK = (ord(each) for each in "0.e+- ")


def _powers() -> NDArray[np.float64]:
    """Return powers of ten, (2 * _LARGEST + 1, 2): each is the sum of a float64 and what that lacks."""
    exact = [Fraction(10) ** power for power in range(-_LARGEST, _LARGEST + 1)]
    return np.array([(float(each), float(each - Fraction(float(each)))) for each in exact])


POWERS = _powers()


@compiled
def write_decimals(
    values: NDArray[np.float64], precision: int, powers: NDArray[np.float64], out: NDArray[np.uint8]
) -> int:
    """Write each value as ``%{width}.{precision}e`` into a row of ``out``.

    Parameters
    ----------
    values
        Numbers, shape (n,).
    precision
        Digits after the point, 1 to 8.
    powers
        `POWERS`.
    out
        Output, ASCII, shape (n, width); width is at least precision + 8. A row that begins with 0 is left to the
        caller: its value is not finite, very large or very small, or too near to the middle between two texts.

    Returns
    -------
    int
        Number of rows that are left to the caller.
    """
    left = 0
    for row in range(len(values)):
        digits, exponent = _significant(abs(values[row]), precision, powers)
        if digits < 0:
            out[row, 0] = 0
            left += 1
            continue
        at = out.shape[1] - 1
        rest = abs(exponent)
        for _ in range(2):
            out[row, at] = _ZERO + rest % 10
            rest //= 10
            at -= 1
        out[row, at] = _MINUS if exponent < 0 else _PLUS
        out[row, at - 1] = _E
        at -= 2
        for _ in range(precision):
            out[row, at] = _ZERO + digits % 10
            digits //= 10
            at -= 1
        out[row, at] = _POINT
        out[row, at - 1] = _ZERO + digits
        at -= 2
        if np.signbit(values[row]):
            out[row, at] = _MINUS
            at -= 1
        out[row, : at + 1] = _BLANK
    return left


@compiled
def _significant(value: float, precision: int, powers: NDArray[np.float64]) -> tuple[np.int64, np.int64]:
    """Return the ``precision + 1`` significant digits of a value >= 0 as a whole number, and its exponent.

    The number is -1 if the digits are not certain. The product with a power of ten is exact to 2**-75, because both
    are sums of two float64 (Dekker, doi:10.1007/BF01397083).
    """
    if value == 0:
        return np.int64(0), np.int64(0)
    if not 1e-40 < value < 1e40:
        return np.int64(-1), np.int64(0)
    lowest = 10.0**precision
    exponent = np.int64(np.floor(np.log10(value)))
    for _ in range(2):  # the logarithm may be off by one
        power = precision - exponent + _LARGEST
        high, low = powers[power, 0], powers[power, 1]
        product = value * high
        a, b = _SPLIT * value, _SPLIT * high
        a, b = a - (a - value), b - (b - high)
        c, d = value - a, high - b
        error = ((a * b - product) + a * d + c * b) + c * d + value * low
        whole = np.floor(product)
        if whole < lowest:
            exponent -= 1
        elif whole > 10 * lowest:
            exponent += 1
        else:
            break
    part = (product - whole) + error
    digits = np.int64(whole)
    if product - whole == 0.5 and error == 0 and low == 0:  # in the middle: the even one
        digits += digits % 2
    elif abs(part - 0.5) < _UNSURE:
        return np.int64(-1), np.int64(0)
    else:
        digits += np.int64(part > 0.5)
    if digits >= np.int64(10 * lowest):
        return np.int64(lowest), exponent + 1
    return digits, exponent
