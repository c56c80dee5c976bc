"""Quality of a pattern, from the sums of its integration."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pattern_quality(sums: NDArray[np.float64], scatter: NDArray[np.float64], stride: int) -> dict[str, float]:
    """Return the quality metrics of a pattern.

    Parameters
    ----------
    sums
        Sums of `kernels.integrate`, (5, bins).
    scatter
        Sums of `kernels.scatter` over one in ``stride`` pixels, (3, bins).
    stride
        Distance of the pixels in ``scatter``.

    Returns
    -------
    dict
        ``total_intensity``: sum of all good pixels, counts. ``ring_scatter``: standard deviation of the pixels in a bin
        over its intensity, median over the bins. ``spottiness``: pyFAI's ``calc_spottiness``, after
        doi:10.1107/S1600576713029713; below 0.05 is smooth, above 0.15 spotty.
    """
    signal, total = sums[0], sums[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.sqrt(scatter[1] / scatter[0]) / np.abs(signal / total)
        proportion = stride * scatter[2] / np.maximum(signal, 1) ** 2
    relative = relative[np.isfinite(relative)]
    return {
        "total_intensity": float(signal.sum()),
        "ring_scatter": float(np.median(relative)) if relative.size else np.nan,
        "spottiness": float(np.sqrt(proportion.mean())),
    }
