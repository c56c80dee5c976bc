"""Colours of an image with masked pixels, in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...numerics.compiled import compiled

MASK_COLOUR = (213, 94, 0)  # vermilion of Okabe & Ito: of all that were tried, the furthest from viridis for any vision
OPACITY = 0.6  # of the mask over the image


def colour_table(colours: Any) -> NDArray[np.uint8] | None:
    """Return the colours for `paint`: (colours + 3, 4), uint8; None if their scale is neither linear nor a square root.

    Parameters
    ----------
    colours
        A `matplotlib.cm.ScalarMappable`. The last three colours are those below and above its limits, and that of NaN.
    """
    from matplotlib.colors import Normalize

    if type(colours.norm) is not Normalize and not is_root(colours.norm):
        return None
    count = colours.cmap.N
    inside = colours.cmap(np.arange(-1, count + 1), bytes=True)
    missing = colours.cmap(np.ma.masked_invalid([np.nan]), bytes=True)
    return np.concatenate([inside[1:-1], inside[:1], inside[-1:], missing]).astype(np.uint8)


def is_root(norm: Any) -> bool:
    """Return True for the norm of a square root."""
    from matplotlib.colors import PowerNorm

    return type(norm) is PowerNorm and norm.gamma == 0.5


@compiled
def uncover(image: NDArray[np.float32], step: int, values: NDArray[np.float32]) -> None:
    """Fill the blocks whose pixels are all masked with the mean of these pixels.

    Parameters
    ----------
    image
        Counts, (slow, fast).
    step
        Side of a block, pixels.
    values
        Mean of the good pixels of each block, NaN without any; filled in place unless no pixel is finite.
    """
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            if np.isnan(values[row, column]):
                count, total = 0, 0.0
                for i in range(row * step, row * step + step):
                    for j in range(column * step, column * step + step):
                        if np.isfinite(image[i, j]):
                            count += 1
                            total += image[i, j]
                if count:
                    values[row, column] = total / count


@compiled
def paint(
    values: NDArray[np.float32],
    share: NDArray[np.float32],
    low: float,
    high: float,
    root: bool,
    table: NDArray[np.uint8],
    mask: tuple[int, int, int],
    opacity: float,
    rgba: NDArray[np.uint8],
) -> None:
    """Colour the values and blend them with the colour of masked pixels.

    Parameters
    ----------
    values, share
        Counts, NaN where no pixel has a value, and share of masked pixels, (slow, fast).
    low, high
        Counts of the first and the last colour.
    root
        The colours follow the square root of the counts above ``low``.
    table
        See `colour_table`.
    mask, opacity
        Red, green, blue of masked pixels, and its opacity over the image, 0 to 1; without a value it covers all.
    rgba
        Output, (slow, fast, 4).
    """
    count = len(table) - 3
    span = high - low
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
                part = (value - low) / span
                place = min(max(int((np.sqrt(part) if root else part) * count), 0), count - 1)  # of inf - inf, too
            # The square root keeps a masked pixel visible when many pixels share one dot of the figure.
            weight = np.sqrt(share[row, column]) * (1.0 if place == count + 2 else opacity)
            for channel in range(3):
                rgba[row, column, channel] = int(table[place, channel] * (1 - weight) + mask[channel] * weight)
            rgba[row, column, 3] = 255
