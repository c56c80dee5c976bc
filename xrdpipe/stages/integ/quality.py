"""What the sums of an integration say about a frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pattern_quality(sums: NDArray[np.float64], found: NDArray[np.float64], stride: int) -> dict[str, float]:
    """What the sums of `kernels.integrate` and `kernels.scatter` say of a frame.

    ``total_intensity``: all good pixels, counts; ``ring_scatter``: standard deviation of the pixels in a bin over its
    intensity, median over the bins; ``spottiness``: pyFAI's ``calc_spottiness`` (after doi:10.1107/S1600576713029713:
    below 0.05 smooth, above 0.15 spotty). The latter two from one in ``stride`` pixels.
    """
    signal, total = sums[0], sums[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.sqrt(found[1] / found[0]) / np.abs(signal / total)
        proportion = stride * found[2] / np.maximum(signal, 1) ** 2
    relative = relative[np.isfinite(relative)]
    return {
        "total_intensity": float(signal.sum()),
        "ring_scatter": float(np.median(relative)) if relative.size else np.nan,
        "spottiness": float(np.sqrt(proportion.mean())),
    }
