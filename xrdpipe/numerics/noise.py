"""How the scatter of the pixels compares with the variance that counting predicts, and what the mask took away."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .compiled import compiled
from .constants import GOOD, INF, RUN
from .outliers import AUTOMATIC, GROWN

BLOCKS = 20  # of neighbouring bins, whose median is taken
FEW = 30  # pixels of a block, at least
NEAR = 6.0  # standard deviations: a masked pixel that is further from its ring is bad beyond doubt
OWN = np.uint8(AUTOMATIC | GROWN)  # masked for what it counts


@compiled
def noise_sums(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    variance: NDArray[np.float32],
    norm: NDArray[np.float32],
    starts: NDArray[np.uint32],
    bins: NDArray[Any],
    coefs: NDArray[np.float32],
    line: NDArray[np.float64],
    stride: int,
    sums: NDArray[np.float64],
) -> None:
    """Add some pixels to ``sums`` (float64, (8, bins)), each to the bin that its middle is in.

    Of every ``stride`` runs of `RUN` pixels the first, as in `integration.scatter`. With r the distance of a pixel from
    the pattern ``line`` at its own place (linear between bins) and w its variance, both over norm, the rows are: number
    of good pixels, sums of r**2 and of w; number of good neighbours, sums of (r - r')**2 / 2 and of (w + w') / 2;
    number of pixels that their own values masked and that are near their ring (`NEAR`), sum of r over them.
    """
    weighted, last = len(norm) > 0, len(line) - 1
    for first in range(0, len(image), stride * RUN):
        before, noise = np.nan, 0.0
        for pixel in range(first, min(first + RUN, len(image))):
            weight = np.float64(norm[pixel]) if weighted else 1.0
            total, middle = 0.0, 0.0
            for i in range(starts[pixel], starts[pixel + 1]):
                total += coefs[i]
                middle += coefs[i] * np.float64(bins[i])
            finite = abs(image[pixel]) < INF and abs(variance[pixel]) < INF and 0 < abs(weight) < INF
            if not finite or total <= 0 or (mask[pixel] & ~OWN) != GOOD:
                before = np.nan
                continue
            place = middle / total
            below = min(int(place), last)
            to = min(int(place + 0.5), last)
            part = place - below
            r = np.float64(image[pixel]) / weight - line[below] - part * (line[min(below + 1, last)] - line[below])
            w = np.float64(variance[pixel]) / (weight * weight)
            if mask[pixel] != GOOD:
                before = np.nan
                if r * r < NEAR * NEAR * w:
                    sums[6, to] += 1
                    sums[7, to] += r
                continue
            sums[0, to] += 1
            sums[1, to] += r * r
            sums[2, to] += w
            if before == before:
                sums[3, to] += 1
                sums[4, to] += (r - before) ** 2 / 2
                sums[5, to] += (w + noise) / 2
            before, noise = r, w


def noise_metrics(sums: NDArray[np.float64], line: NDArray[np.float64], gain: float) -> dict[str, float]:
    """Return what `noise_sums` says of a frame.

    Parameters
    ----------
    sums
        (8, bins), see `noise_sums`.
    line
        The pattern, (bins,), without gaps.
    gain
        Of the detector, counts a photon: variance / gain are raw counts.

    Returns
    -------
    dict
        ``reduced_chi2``: scatter about the pattern over predicted variance. ``local_chi2``: the same of neighbouring
        pixels. ``flat_scatter``: scatter of neighbours over their counts where these are many, beyond what grows as
        their root; 0 where that is not sure. ``mask_change``: relative change of the pattern if those masked pixels
        counted that are near their ring; 0 where that is not sure. What too few pixels tell is left out.
    """
    bent = np.abs(np.diff(line, 2, prepend=line[:1], append=line[-1:])) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        smooth = bent < 0.5 * np.sqrt(sums[2] / sums[0])  # at the top of a narrow peak, a line is no pattern
    used = np.flatnonzero(smooth & (sums[0] > 0))
    blocks = [each for each in np.array_split(used, BLOCKS) if sums[0, each].sum() >= FEW]
    if not blocks:
        return {}
    total = np.array([sums[:, each].sum(axis=1) for each in blocks]).T
    level = np.array([np.average(np.abs(line[each]), weights=sums[0, each]) for each in blocks])
    found = {"reduced_chi2": float(np.median(total[1] / total[2]))}
    change = total[7] / (total[0] + total[6])
    noise = np.sqrt(total[6] * total[2] / total[0]) / (total[0] + total[6])
    sure = np.abs(np.median(change)) > 3 * np.median(noise) / np.sqrt(len(blocks))
    found["mask_change"] = float(np.median(change / np.maximum(level, 1e-9))) if sure else 0.0
    total = total[:, total[3] >= FEW]
    if total.size == 0:
        return found
    chi = total[4] / total[5]
    found["local_chi2"] = float(np.median(chi))
    order = np.argsort(total[5] / total[3])  # from few counts to many
    quarter = max(1, len(order) // 4)
    weak, strong = order[:quarter], order[-quarter:]
    low, high = (np.median(total[5, part] / total[3, part]) for part in (weak, strong))
    rise, span = np.median(chi[strong]) - np.median(chi[weak]), high - low
    # a flat shows in every strong block; the flanks of peaks, which are no straight line, in some
    sure = span > low and chi[strong].min() > 1.5 * np.median(chi[weak])
    found["flat_scatter"] = float(gain * np.sqrt(rise / span)) if sure else 0.0
    return found
