"""Correlation of neighbouring bins, which share the pixels that are split between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...geometry.cache import Arrays
from ...model.arrays import read_only
from ...model.frame import Frame

Correlations = NDArray[np.float64]


def correlation(
    cached: Arrays, shape: tuple[int, int], with_variance: bool, stride: int = 1
) -> Callable[[Frame], Correlations]:
    """Return a function from a frame to `numerics.integration.correlations` of its patterns, (reach, patterns * bins).

    Parameters
    ----------
    cached
        Matrix (``starts``, ``bins``, ``coefs``) and ``norm`` of the integration.
    shape
        Number of patterns in the matrix, one after another, and bins of each.
    with_variance
        Weight the pixels with the variance of the frame, as sigma does; else all alike.
    stride
        Distance of neighbouring bins.
    """
    from ...numerics.integration import correlations, longest_reach

    patterns, bins = shape
    norm, matrix = cached["norm"], (cached["starts"], cached["bins"], cached["coefs"])
    reach = cache(lambda: longest_reach(*matrix[:2], bins, stride))

    def correlate(frame: Frame) -> Correlations:
        mask = read_only(np.zeros(frame.image.size, np.uint8) if frame.mask is None else frame.mask.ravel())
        variance = frame.variance.ravel() if with_variance and frame.variance is not None else np.empty(0, np.float32)
        image, shape = read_only(frame.image.ravel()), (reach(), patterns * bins)
        return correlations(image, mask, norm, read_only(variance), matrix, shape, stride)

    return correlate


def by_name(names: Iterable[str], find: Callable[[], Sequence[Correlations]]) -> dict[str, Callable[[], Correlations]]:
    """Return `Results.correlations` of several patterns, which ``find`` returns together, once."""
    found = cache(find)

    def of(number: int) -> Correlations:
        return found()[number]

    return {name: partial(of, number) for number, name in enumerate(names)}


def to_matrix(correlations: Correlations) -> Any:
    """Return the symmetric matrix of coefficients, sparse, (bins, bins), from rows of neighbours, (reach, bins)."""
    from scipy.sparse import diags_array

    reach, bins = correlations.shape
    offsets = range(1 - reach, reach)
    return diags_array([correlations[abs(k), : bins - abs(k)] for k in offsets], offsets=list(offsets))


def of_matrix(covariance: Any) -> Correlations:
    """Return rows of coefficients, (reach, bins), from a sparse covariance matrix; the inverse of `to_matrix`."""
    entries = covariance.tocoo()
    reach = int((entries.col - entries.row).max(initial=0)) + 1
    found = np.zeros((reach, covariance.shape[0]))
    deviation = np.sqrt(covariance.diagonal())
    for k in range(reach):
        first, second = deviation[: len(deviation) - k], deviation[k:]
        np.divide(covariance.diagonal(k), first * second, out=found[k, : len(first)], where=first * second > 0)
    found[0] = 1
    return found
