"""Colours of an image with masked pixels, in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...numerics.compiled import compiled

MASK_COLOUR = (232, 56, 79)  # red: not in the default colour map


def colour_table(colours: Any) -> NDArray[np.uint8] | None:
    """Return the colours of a linear scale, for `paint`: (colours + 3, 4), uint8; None if the scale is not linear.

    Parameters
    ----------
    colours
        A `matplotlib.cm.ScalarMappable`. The last three colours are those below and above its limits, and that of NaN.
    """
    from matplotlib.colors import Normalize

    if type(colours.norm) is not Normalize:
        return None
    count = colours.cmap.N
    inside = colours.cmap(np.arange(-1, count + 1), bytes=True)
    missing = colours.cmap(np.ma.masked_invalid([np.nan]), bytes=True)
    return np.concatenate([inside[1:-1], inside[:1], inside[-1:], missing]).astype(np.uint8)


@compiled
def paint(
    values: NDArray[np.float32],
    share: NDArray[np.float32],
    low: float,
    high: float,
    table: NDArray[np.uint8],
    mask: tuple[int, int, int],
    rgba: NDArray[np.uint8],
) -> None:
    """Colour the values and blend them with the colour of masked pixels.

    Parameters
    ----------
    values
        Counts, NaN where all pixels are masked, (slow, fast).
    share
        Share of masked pixels, (slow, fast).
    low, high
        Counts of the first and the last colour.
    table
        See `colour_table`.
    mask
        Red, green, blue of masked pixels.
    rgba
        Output, (slow, fast, 4).
    """
    count = len(table) - 3
    scale = count / (high - low)
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            value = values[row, column]
            if np.isnan(value):
                place = count + 2
            elif not high > low:  # as in matplotlib
                place = 0
            elif value < low:
                place = count
            elif value > high:
                place = count + 1
            else:
                place = min(max(int((value - low) * scale), 0), count - 1)  # of inf - inf, too
            # The square root keeps a masked pixel visible when many pixels share one dot of the figure.
            weight = np.sqrt(share[row, column])
            for channel in range(3):
                rgba[row, column, channel] = int(table[place, channel] * (1 - weight) + mask[channel] * weight)
            rgba[row, column, 3] = 255
