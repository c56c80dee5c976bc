"""Integration ring by ring, where nothing but masks and counts matters: three times as fast as pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...geometry.cache import Arrays
from ...geometry.geometry import Geometry
from ...model.arrays import read_only
from ...model.frame import Frame

Sums = tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.float64]]
ScatterSums = Callable[[NDArray[np.float32], NDArray[np.uint8], NDArray[np.float64]], NDArray[np.float64]]


def by_ring(arrays: dict[str, NDArray[Any]], geometry: Geometry, stride: int) -> dict[str, NDArray[Any]]:
    """Arrange the matrix of an integration by rings; return ``arrays`` as they are if there is none, or it is too wide.

    Parameters
    ----------
    arrays
        Radial axis, matrix and norm of the integration.
    geometry
        Geometry with the rings.
    stride
        Distance of the runs of pixels that `integration.scatter` examines; of the matrix pixel by pixel only these
        remain.
    """
    from ...numerics.constants import RUN
    from ...numerics.sparse_matrix import Matrix, RingMatrix

    if "bins" not in arrays:
        return arrays
    matrix, rings = Matrix(*(arrays[name] for name in Matrix._fields)), geometry.rings
    ring_matrix = RingMatrix.of(matrix, rings.order, rings.starts)
    if ring_matrix is None:
        return arrays
    pixels = np.arange(matrix.starts.size - 1)
    sample = pixels[pixels // RUN % stride == 0]
    by_rings = {f"ring_{name}": array for name, array in ring_matrix._asdict().items()}
    return arrays | matrix.of_pixels(sample)._asdict() | by_rings | {"sample": sample.astype(np.uint32)}


def ring_summation(cached: Arrays, geometry: Geometry) -> Callable[[Frame], Sums]:
    """Return a function from a frame to its flat image, flat mask and sums of `integration.integrate`, (5, bins)."""
    from ...numerics import integration
    from ...numerics.sparse_matrix import RingMatrix

    ring_values, matrix = geometry.ring_values, RingMatrix(*(cached[f"ring_{name}"] for name in RingMatrix._fields))
    starts, bins = ring_values.rings.starts, cached["radial"].size

    def sum_bins(frame: Frame) -> Sums:
        two, sums = np.zeros((2, bins + 1)), np.zeros((5, bins))
        integration.sum_rings(ring_values.of(frame), starts, *matrix, two)
        sums[:2] = two[:, :bins]
        sums[4] = sums[1]
        mask = ring_values.no_mask if frame.mask is None else read_only(frame.mask.ravel())
        return read_only(frame.image.ravel()), mask, sums

    return sum_bins


def scatter_summation(cached: Arrays, stride: int) -> ScatterSums:
    """Return a function from flat image, flat mask and intensity to the sums of `integration.scatter`, (3, bins)."""
    from ...numerics import integration

    norm, starts, numbers, coefs = (cached[name] for name in ("norm", "starts", "bins", "coefs"))
    sample = cached.get("sample")

    def sum_scatter(
        image: NDArray[np.float32], mask: NDArray[np.uint8], intensity: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        scatter = np.zeros((3, cached["radial"].size))
        if sample is None:
            integration.scatter(image, mask, norm, starts, numbers, coefs, intensity, stride, scatter)
        else:
            # with image[sample] NumPy crashes where it has no memory to convert 32-bit indices
            image, mask = read_only(image.take(sample)), read_only(mask.take(sample))
            integration.scatter(image, mask, norm, starts, numbers, coefs, intensity, 1, scatter)
        return scatter

    return sum_scatter
