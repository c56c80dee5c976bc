"""Compiled loops that sum pixels into bins with a sparse matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .compiled import compiled, reordered
from .constants import GOOD, INF, RUN

FARTHEST = 64  # neighbouring bins that `correlations` looks at


@compiled
def transpose(
    indptr: NDArray[np.int32],
    indices: NDArray[np.int32],
    data: NDArray[np.float32],
    starts: NDArray[np.uint32],
    bins: NDArray[Any],
    coefs: NDArray[np.float32],
) -> None:
    """Transpose pyFAI's CSR matrix (rows are bins) into the pixel-major one that `integrate` reads.

    Pixel p adds to ``bins[starts[p]:starts[p + 1]]`` with the weights ``coefs[...]`` of the same entries.

    Parameters
    ----------
    indptr, indices, data
        The CSR matrix.
    starts
        Output, uint32, shape (pixels + 1,).
    bins
        Output, as long as ``data``; uint16, or uint32 for more than 65536 bins.
    coefs
        Output, float32, as long as ``data``.
    """
    starts[:] = 0
    for i in range(len(indices)):
        starts[indices[i] + 1] += 1
    for pixel in range(len(starts) - 1):
        starts[pixel + 1] += starts[pixel]
    for row in range(len(indptr) - 1):
        for i in range(indptr[row], indptr[row + 1]):
            to = starts[indices[i]]
            bins[to], coefs[to] = row, data[i]
            starts[indices[i]] += 1
    for pixel in range(len(starts) - 1, 0, -1):  # each start has advanced to the next one
        starts[pixel] = starts[pixel - 1]
    starts[0] = 0


@compiled
def integrate(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    norm: NDArray[np.float32],
    variance: NDArray[np.float32],
    azimuthal: bool,
    starts: NDArray[np.uint32],
    bins: NDArray[Any],
    coefs: NDArray[np.float32],
    sums: NDArray[np.float64],
) -> None:
    """Add the pixels to ``sums``: signal, normalization, variance, normalization**2, count.

    With c the weight of a pixel in a bin, the sums are those of pyFAI's CSR engines: ``c * image``, ``c * norm``,
    ``c**2 * variance``, ``(c * norm)**2`` and ``c``. Then intensity = signal / normalization and
    sigma = sqrt(variance) / normalization. Variance and normalization**2 stay unchanged without an error model. Masked
    pixels do not count, nor do pixels with a value that is not finite or a ``norm`` of 0.

    Sums in another order differ in the last bits. For the same bytes with any number of threads, cut the frame into a
    fixed number of slices, give each its own ``sums``, and add these in order.

    Parameters
    ----------
    image, mask
        Pixels and their mask, shape (pixels,); 0 = good.
    norm
        Product of solid angle, polarization and other factors per pixel; empty for 1.
    variance
        Variance per pixel in counts**2; empty for none.
    azimuthal
        Take the variance from the scatter within the bin, updated pixel by pixel as in pyFAI (Schubert and Gertz, SSDBM
        2018). The result depends on the order of the pixels, so the frame must not be sliced.
    starts, bins, coefs
        The matrix, see `transpose`.
    sums
        Output, float64, shape (5, bins).
    """
    weighted, errors = len(norm) > 0, len(variance) > 0 and not azimuthal
    if not (weighted or errors or azimuthal):  # the usual case; a separate loop takes 20 % less time
        for pixel in range(len(image)):
            signal = np.float64(image[pixel])
            if mask[pixel] != GOOD or not abs(signal) < INF:
                continue
            for i in range(starts[pixel], starts[pixel + 1]):
                c, to = np.float64(coefs[i]), bins[i]
                sums[0, to] += c * signal
                sums[1, to] += c
        for to in range(sums.shape[1]):
            sums[4, to] = sums[1, to]
        return
    for pixel in range(len(image)):
        signal = np.float64(image[pixel])
        weight = np.float64(norm[pixel]) if weighted else 1.0
        scatter = np.float64(variance[pixel]) if errors else 0.0
        if mask[pixel] != GOOD or not (abs(signal) < INF and 0 < abs(weight) < INF and abs(scatter) < INF):
            continue
        for i in range(starts[pixel], starts[pixel + 1]):
            c, to = np.float64(coefs[i]), bins[i]
            share = c * weight
            if azimuthal and sums[3, to] > 0:
                before = sums[0, to] / sums[1, to] - signal / weight
                after = (sums[0, to] + c * signal) / (sums[1, to] + share) - signal / weight
                sums[2, to] += share * share * before * after
            elif errors:
                sums[2, to] += c * c * scatter
            if errors or azimuthal:
                sums[3, to] += share * share
            sums[0, to] += c * signal
            sums[1, to] += share
            sums[4, to] += c


def correlations(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    norm: NDArray[np.float32],
    variance: NDArray[np.float32],
    matrix: tuple[NDArray[np.uint32], NDArray[Any], NDArray[np.float32]],
    shape: tuple[int, int],
    stride: int = 1,
) -> NDArray[np.float64]:
    """Return how much neighbouring bins vary together because they share pixels: correlation coefficients.

    With c and c' the weights of a pixel in two bins, the coefficient is ``sum(c * c' * variance)`` over the square root
    of ``sum(c**2 * variance) * sum(c'**2 * variance)``. It is 0 where pixels are not split.

    Parameters
    ----------
    image, mask, norm
        As in `integrate`.
    variance
        As in `integrate`; empty where the counts over ``norm`` of all pixels have the same variance.
    matrix
        ``starts``, ``bins`` and ``coefs``, see `transpose`. The bins of a pixel ascend.
    shape
        Reach, the number of neighbours that are looked at (see `longest_reach`), and number of bins.
    stride
        Distance of neighbours: 1 in a pattern, the number of azimuthal bins in a cake whose azimuth runs fastest.

    Returns
    -------
    ndarray
        Float64, of this shape. Row k holds the coefficients of bins b and ``b + k * stride``, 0 if there is
        no such bin; row 0 is 1.
    """
    found = np.zeros(shape)
    add_covariances(image, mask, norm, variance, *matrix, stride, found)
    deviation = np.sqrt(found[0])
    found[0] = 1
    for k in range(1, shape[0]):
        with np.errstate(invalid="ignore", divide="ignore"):
            found[k, : -k * stride] /= deviation[: -k * stride] * deviation[k * stride :]
    return np.nan_to_num(found, copy=False)


@compiled
def longest_reach(starts: NDArray[np.uint32], bins: NDArray[Any], size: int, stride: int) -> int:
    """Return the largest number of neighbouring bins in which a pixel counts, at most half a pattern and `FARTHEST`.

    Patterns of ``size`` bins stand one after another in the matrix; neighbours are ``stride`` apart.
    """
    longest = np.int64(0)
    for pixel in range(len(starts) - 1):
        first, end = np.int64(0), np.int64(0)
        for i in range(starts[pixel], starts[pixel + 1]):
            at = np.int64(bins[i])
            if at >= end:  # the first one in a pattern
                first, end = at, (at // size + 1) * size
            longest = max(longest, at - first)
    return min(int(longest) // stride + 1, max(size // (2 * stride), 1), FARTHEST)


@compiled
def add_covariances(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    norm: NDArray[np.float32],
    variance: NDArray[np.float32],
    starts: NDArray[np.uint32],
    bins: NDArray[Any],
    coefs: NDArray[np.float32],
    stride: int,
    sums: NDArray[np.float64],
) -> None:
    """Add ``c * c' * variance`` of each pixel in two bins, b and ``b + k * stride``, to ``sums[k, b]``.

    ``sums`` is float64, (reach, bins); the other arrays are those of `correlations`.
    """
    weighted, errors = len(norm) > 0, len(variance) > 0
    for pixel in range(len(image)):
        weight = np.float64(norm[pixel]) if weighted else 1.0
        scatter = np.float64(variance[pixel]) if errors else weight * weight
        finite = abs(image[pixel]) < INF and 0 < abs(weight) < INF and abs(scatter) < INF
        if mask[pixel] != GOOD or not finite:
            continue
        for i in range(starts[pixel], starts[pixel + 1]):
            share, to = np.float64(coefs[i]) * scatter, np.int64(bins[i])
            for j in range(i, starts[pixel + 1]):
                distance = np.int64(bins[j]) - to
                k = distance if stride == 1 else distance // stride  # a division takes longer than all the rest
                if k < len(sums) and k * stride == distance:
                    sums[k, to] += share * np.float64(coefs[j])


@compiled
def sum_rings(
    values: NDArray[np.float32],
    starts: NDArray[np.int64],
    weights: NDArray[np.float32],
    ends: NDArray[np.int64],
    first: NDArray[np.int64],
    sums: NDArray[np.float64],
) -> None:
    """Add the pixels to ``sums`` as `integrate` does without norm and variance, ring by ring.

    A ring has few bins, so that its part of the matrix is dense, and its pixels lie side by side: nothing is scattered.

    Parameters
    ----------
    values
        Pixels in ring order, NaN if they do not count; see `kernels.scatter_to_rings`.
    starts
        Start of each ring in ``values``.
    weights, ends, first
        The matrix, see `sparse_matrix.RingMatrix`.
    sums
        Output, float64, shape (2, bins + 1): signal and normalization; the last column is room that stays 0.
    """
    for ring in range(len(starts) - 1):
        v, number = values[starts[ring] : starts[ring + 1]], first[ring]
        if len(v) == 0:
            continue
        for at in range(ends[ring], ends[ring + 1], 2 * len(v)):
            middle = at + len(v)
            _add_two_bins(v, weights[at:middle], weights[middle : middle + len(v)], number, sums)
            number += 2


@reordered
def _add_two_bins(
    values: NDArray[np.float32],
    weights: NDArray[np.float32],
    next_weights: NDArray[np.float32],
    number: np.int64,
    sums: NDArray[np.float64],
) -> None:
    """Add the pixels of a ring to the bins ``number`` and ``number + 1``."""
    signal, next_signal, total, next_total = 0.0, 0.0, 0.0, 0.0
    for i in range(len(values)):
        good = values[i] == values[i]
        v, one = np.float64(values[i]) if good else 0.0, 1.0 if good else 0.0
        c, d = np.float64(weights[i]), np.float64(next_weights[i])
        signal += c * v
        next_signal += d * v
        total += c * one
        next_total += d * one
    sums[0, number] += signal
    sums[0, number + 1] += next_signal
    sums[1, number] += total
    sums[1, number + 1] += next_total


@compiled
def scatter(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    norm: NDArray[np.float32],
    starts: NDArray[np.uint32],
    bins: NDArray[Any],
    coefs: NDArray[np.float32],
    intensity: NDArray[np.float64],
    stride: int,
    sums: NDArray[np.float64],
) -> None:
    """Add a sample of the good pixels to ``sums``: c, ``c * r**2`` and ``(c * norm * r)**2``.

    c is the weight of a pixel in a bin, r its distance from the ``intensity`` of the bin. The sample is the first of
    every ``stride`` runs of `RUN` pixels, because neighbours in memory cost hardly more than a single pixel.

    Parameters
    ----------
    image, mask, norm, starts, bins, coefs
        As in `integrate`.
    intensity
        Intensity per bin, float64, shape (bins,).
    stride
        Distance of the runs.
    sums
        Output, float64, shape (3, bins).
    """
    weighted = len(norm) > 0
    for first in range(0, len(image), stride * RUN):
        for pixel in range(first, min(first + RUN, len(image))):
            weight = np.float64(norm[pixel]) if weighted else 1.0
            if mask[pixel] != GOOD or not abs(image[pixel]) < INF or not 0 < abs(weight) < INF:
                continue
            v = np.float64(image[pixel]) / weight
            for i in range(starts[pixel], starts[pixel + 1]):
                c, to = np.float64(coefs[i]), bins[i]
                r = v - intensity[to]
                sums[0, to] += c
                sums[1, to] += c * r * r
                sums[2, to] += (c * weight * r) ** 2
