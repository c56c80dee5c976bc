"""The background of Brückner's smoothing, as Dioptas and xypattern compute it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...numerics.compiled import compiled

Floats = NDArray[np.float64]


@compiled
def smooth_bruckner(values: Floats, points: int, iterations: int) -> Floats:
    """Lower each value to the running mean around it where it is above, again and again.

    The function of this name in xypattern, https://github.com/CPrescher/xypattern, after S. Brückner, J. Appl. Cryst.
    33 (2000) 977. As there, the last ``2 * points + 2`` values stay as they are.

    Parameters
    ----------
    values
        Intensities.
    points
        Half the width of the window, points.
    iterations
        Number of rounds.
    """
    count, window = values.size, 2 * points + 1
    padded = np.empty(count + 2 * points)
    padded[:points] = values[0]
    for i in range(count):
        padded[points + i] = values[i]
    padded[points + count :] = values[-1]
    for _ in range(iterations):
        mean = 0.0
        for j in range(window):
            mean += padded[j]
        mean /= window
        for i in range(points, count - points - 2):
            shift = padded[i + points + 1] - padded[i - points]
            if padded[i] > mean:
                lowered = mean
                mean += ((mean - padded[i]) + shift) / window
                padded[i] = lowered
            else:
                mean += shift / window
    return padded[points : points + count].copy()
