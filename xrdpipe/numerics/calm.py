"""Compiled search for the arcs in which no pixel can be an outlier, in the order of the frame.

Most arcs of most frames are calm. What finds that streams through the frame, so only the others are gathered.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compiled import compiled
from .constants import GOOD
from .kernels import threshold

# What is kept of an arc fills a cache line: four sums (float64), then float32 numbers.
_LOW, _HIGH, _LEAST, _MOST, _FIRST, _FIRST_NOISE, _COUNT = 8, 9, 10, 11, 12, 13, 14

LINE = 16  # float32 numbers that are kept of an arc


@compiled
def summarize(
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    mask: NDArray[np.uint8],
    lower: float,
    upper: float,
    arc: NDArray[np.uint32],
    lines: NDArray[np.float32],
) -> None:
    """`threshold` the frame and its variance, and sum up the good pixels of every arc.

    ``arc`` is the arc of every pixel; ``lines`` (float32, (arcs, `LINE`), zeros) is what `is_calm` reads.
    """
    threshold(image, mask, lower, upper)
    threshold(variance, mask, -np.inf, np.inf)
    sums = lines.view(np.float64)
    for i in range(len(image)):
        if mask[i] != GOOD:
            continue
        at, v, w = arc[i], image[i], variance[i]
        line = lines[at]
        if line[_COUNT] == 0:
            line[_LOW] = line[_HIGH] = line[_FIRST] = v
            line[_LEAST] = line[_MOST] = line[_FIRST_NOISE] = w
        line[_COUNT] += np.float32(1)
        line[_LOW], line[_HIGH] = min(line[_LOW], v), max(line[_HIGH], v)
        line[_LEAST], line[_MOST] = min(line[_LEAST], w), max(line[_MOST], w)
        x, y = np.float64(v) - np.float64(line[_FIRST]), np.float64(w) - np.float64(line[_FIRST_NOISE])
        total = sums[at]
        total[0] += x
        total[1] += x * x
        total[2] += y
        total[3] += y * y


@compiled
def is_calm(lines: NDArray[np.float32], alpha: float, calm: NDArray[np.bool_]) -> int:
    """Say of every arc whether no pixel of it can be an outlier, whatever the medians are; return how many can.

    A median is within one standard deviation of the mean. So nothing is further from the median of x than it is from
    the mean and that; and median(w), which s**2 is never below, is at least mean - standard deviation.
    """
    sums, loud = lines.view(np.float64), 0
    for at in range(len(lines)):
        good, line = np.float64(lines[at, _COUNT]), lines[at]
        calm[at] = True
        if good == 0:
            continue
        mean, noise = sums[at, 0] / good, sums[at, 2] / good
        std = np.sqrt(max(sums[at, 1] / good - mean * mean, 0.0))
        std2 = np.sqrt(max(sums[at, 3] / good - noise * noise, 0.0))
        mean += np.float64(line[_FIRST])
        noise += np.float64(line[_FIRST_NOISE])
        reach = 1.000001 * (max(line[_HIGH] - mean, mean - line[_LOW]) + std)
        reach2 = 1.000001 * (max(line[_MOST] - noise, noise - line[_LEAST]) + std2)
        bound = 0.999999 * (noise - std2)
        calm[at] = bound > 0 and max(reach * reach, reach2 * reach2) < alpha * alpha * bound
        loud += not calm[at]
    return loud


@compiled
def gather(
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    mask: NDArray[np.uint8],
    order: NDArray[np.uint32],
    starts: NDArray[np.int64],
    wanted: NDArray[np.bool_],
    pairs: NDArray[np.float32],
) -> None:
    """`outliers.scatter_pairs_to_rings` for the ``wanted`` arcs alone; of the others nothing is written."""
    nan = np.float32(np.nan)
    for arc in range(len(wanted)):
        if wanted[arc]:
            for i in range(starts[arc], starts[arc + 1]):
                pixel = order[i]
                pairs[i, 0] = image[pixel] if mask[pixel] == GOOD else nan
                pairs[i, 1] = variance[pixel]
