"""Compiled loops that write numbers as text, digit for digit as ``%.6e`` does, and read such text."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ...numerics.compiled import compiled

_LARGEST = 60  # exponent of the largest power of ten in the table
_SPLIT = 134217729.0  # 2**27 + 1: cuts a float64 in two halves whose products are exact
_UNSURE = 1e-12  # distance from the middle between two texts within which rounding errors might decide
_EXACT = 22  # largest power of ten that a float64 holds exactly
_LOG10_2 = 0.30102999566398120  # log10(2)
_ZERO, _POINT, _E, _PLUS, _MINUS, _BLANK, _LINE_FEED = (ord(each) for each in "0.e+- \n")


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
    left, end = 0, out.shape[1]
    first = end - 6 - precision
    for row in range(len(values)):
        digits, exponent = _digits(abs(values[row]), precision, powers)
        if digits < 0:
            digits, exponent = _significant(abs(values[row]), precision, powers)
        if digits < 0:
            out[row, 0] = 0
            left += 1
            continue
        rest = abs(exponent)
        out[row, end - 1], out[row, end - 2] = _ZERO + rest % 10, _ZERO + rest // 10
        out[row, end - 3] = _MINUS if exponent < 0 else _PLUS
        out[row, end - 4] = _E
        for at in range(end - 5, first + 1, -1):
            out[row, at] = _ZERO + digits % 10
            digits //= 10
        out[row, first + 1] = _POINT
        out[row, first] = _ZERO + digits
        out[row, first - 1] = _MINUS if np.signbit(values[row]) else _BLANK
        for at in range(first - 1):
            out[row, at] = _BLANK
    return left


@compiled
def copy_lines(lines: NDArray[np.uint8], columns: NDArray[np.float64], out: NDArray[np.uint8]) -> int:
    """Copy the lines of a table whose first number is not NaN, and return how many there are.

    Parameters
    ----------
    lines
        Text of the table, (n, width).
    columns
        Its numbers, (columns, n); they move up as the lines do.
    out
        Output, (n, width).
    """
    count = 0
    for row in range(len(lines)):
        if columns[0, row] != columns[0, row]:
            continue
        for at in range(lines.shape[1]):
            out[count, at] = lines[row, at]
        for column in range(len(columns)):
            columns[column, count] = columns[column, row]
        count += 1
    return count


@compiled
def _digits(value: float, precision: int, powers: NDArray[np.float64]) -> tuple[np.int64, np.int64]:
    """Return what `_significant` returns for nearly all numbers, without a loop; -1 for the others."""
    if value == 0:
        return np.int64(0), np.int64(0)
    if not 1e-40 < value < 1e40:
        return np.int64(-1), np.int64(0)
    exponent = np.int64(np.floor((math.frexp(value)[1] - 1) * _LOG10_2))
    exponent += value >= powers[exponent + 1 + _LARGEST, 0]
    product, error = _product(value, powers[precision - exponent + _LARGEST])
    whole, lowest = np.floor(product), powers[precision + _LARGEST, 0]
    part = (product - whole) + error
    if abs(part - 0.5) < _UNSURE or whole < lowest or whole >= 10 * lowest - 1:
        return np.int64(-1), np.int64(0)
    return np.int64(whole) + np.int64(part > 0.5), exponent


@compiled
def _product(value: float, power: NDArray[np.float64]) -> tuple[float, float]:
    """Return the product with a power of ten, exact to 2**-75.

    Both are sums of two float64 (Dekker, doi:10.1007/BF01397083).
    """
    product = value * power[0]
    a, b = _SPLIT * value, _SPLIT * power[0]
    a, b = a - (a - value), b - (b - power[0])
    c, d = value - a, power[0] - b
    return product, ((a * b - product) + a * d + c * b) + c * d + value * power[1]


@compiled
def _significant(value: float, precision: int, powers: NDArray[np.float64]) -> tuple[np.int64, np.int64]:
    """Return the ``precision + 1`` significant digits of a value >= 0 as a whole number, and its exponent.

    The number is -1 if the digits are not certain. The product with a power of ten is exact to 2**-75, see
    `_product`.
    """
    if value == 0:
        return np.int64(0), np.int64(0)
    if not 1e-40 < value < 1e40:
        return np.int64(-1), np.int64(0)
    lowest = powers[precision + _LARGEST, 0]
    exponent = np.int64(np.floor(np.log10(value)))
    for _ in range(2):  # the logarithm may be off by one
        power = powers[precision - exponent + _LARGEST]
        product, error = _product(value, power)
        whole = np.floor(product)
        if whole < lowest:
            exponent -= 1
        elif whole > 10 * lowest:
            exponent += 1
        else:
            break
    part = (product - whole) + error
    digits = np.int64(whole)
    if product - whole == 0.5 and error == 0 and power[1] == 0:  # in the middle: the even one
        digits += digits % 2
    elif abs(part - 0.5) < _UNSURE:
        return np.int64(-1), np.int64(0)
    else:
        digits += np.int64(part > 0.5)
    if digits >= np.int64(10 * lowest):
        return np.int64(lowest), exponent + 1
    return digits, exponent


@compiled
def read_decimals(text: NDArray[np.uint8], powers: NDArray[np.float64], out: NDArray[np.float64]) -> tuple[int, int]:
    """Read the numbers of a table, each as near to its text as a float64 can be.

    Parameters
    ----------
    text
        ASCII; each line ends in a line feed.
    powers
        `POWERS`.
    out
        Output, the numbers line by line.

    Returns
    -------
    count, columns : int
        Number of numbers, and of those in a line; (0, 0) if something else than numbers like ``-1.5e+01`` of up to 15
        digits stands there, or if lines differ in length.
    """
    count, columns, first, at = 0, 0, 0, 0
    while at < len(text):
        if text[at] == _BLANK:
            at += 1
        elif text[at] == _LINE_FEED:
            columns = count if columns == 0 else columns
            if count - first != columns or columns == 0:
                return 0, 0
            first = count
            at += 1
        else:
            at, value = _number(text, at, powers)
            if at < 0 or count == len(out):
                return 0, 0
            out[count] = value
            count += 1
    return (count, columns) if first == count and columns > 0 else (0, 0)


@compiled
def _number(text: NDArray[np.uint8], at: int, powers: NDArray[np.float64]) -> tuple[int, float]:
    """Return the end of a number and its value; a negative end if the value is not certain."""
    negative = text[at] == _MINUS
    at += int(negative)
    digits, many, after = np.int64(0), 0, -1  # `after`: number of digits after the point
    while at < len(text) and (_ZERO <= text[at] <= _ZERO + 9 or text[at] == _POINT):
        if text[at] == _POINT:
            if after >= 0:
                return -1, 0.0
            after = 0
        else:
            digits = 10 * digits + (text[at] - _ZERO)
            many += 1
            after += int(after >= 0)
        at += 1
    if not 0 < many <= 15 or at + 3 >= len(text) or text[at] != _E or text[at + 1] not in (_PLUS, _MINUS):
        return -1, 0.0
    sign = -1 if text[at + 1] == _MINUS else 1
    tens, ones = np.int64(text[at + 2]) - _ZERO, np.int64(text[at + 3]) - _ZERO
    at += 4
    ends = at < len(text) and (text[at] == _BLANK or text[at] == _LINE_FEED)
    if not (ends and 0 <= tens <= 9 and 0 <= ones <= 9):
        return -1, 0.0
    power = sign * (10 * tens + ones) - max(after, 0)
    if abs(power) > _EXACT:
        return -1, 0.0
    scale = powers[abs(power) + _LARGEST, 0]
    value = digits * scale if power >= 0 else digits / scale  # both are exact, so this is rounded once
    return at, -value if negative else value
