"""Kernels for the GPU: subtraction, pixels in ring order, median of each ring, outliers, sums of the bins.

Pixel arrays are flat. A kernel over pixels works with any number of threads. A kernel over rings or bins takes one
block for each of them, of a power of two of at most `THREADS` threads. Sums are float64 and added in a fixed order, so
that they repeat to the byte; only integers are counted by atomics.

Nothing here depends on whether the compiler contracts a product and a sum into one rounding. The names of the arrays
are those of `numerics.kernels` and `numerics.integration`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from ..constants import GOOD, INF, LOWER, NAN, NOT_FINITE, OUTLIER, UPPER

SIMULATED = bool(cuda.config.ENABLE_CUDASIM)  # kernels run as Python, for tests
THREADS = 256  # largest block
BLOCK = 4 if SIMULATED else THREADS  # threads of a block
DIGITS = 256  # values of a byte
ABOVE = 1 << 31  # makes the signed keys of `ring_statistics.to_key` count from 0
SUMS = 5  # rows of `integration.integrate`

cuda.config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # small frames and few bins are no mistake


def kernel(function: Callable[..., None]) -> Any:
    """Compile a kernel at its first launch; cache the machine code on disk if numba finds a writable folder."""
    try:
        return cuda.jit(cache=True)(function)
    except RuntimeError:  # "cannot cache function: no locator available"
        return cuda.jit(function)


def _on_device(function: Callable[..., Any]) -> Any:
    """Compile a function that kernels call."""
    return cuda.jit(device=True)(function)


@kernel
def subtract(
    image: NDArray[np.float32],
    dark: NDArray[np.float32],
    net: NDArray[np.float32],
    factor: float,
    has_dark: bool,
    has_net: bool,
) -> None:
    """Replace ``image`` by ``image - dark - factor * net``, rounded to float32 after each step as numpy does.

    The product of two float32 is exact in float64, and is rounded before it is subtracted.
    """
    for i in range(cuda.grid(1), len(image), cuda.gridsize(1)):
        value = image[i]
        if has_dark:
            value = np.float32(value - dark[i])
        if has_net:
            value = np.float32(value - np.float32(factor * np.float64(net[i])))
        image[i] = value


@kernel
def scatter_to_rings(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    low: np.float32,
    high: np.float32,
    order: NDArray[np.uint32],
    values: NDArray[np.float32],
) -> None:
    """Apply thresholds to ``mask``, and copy the pixels into ring order, NaN if masked.

    As `numerics.kernels.scatter_to_rings`, with limits that are rounded to float32 already.
    """
    for i in range(cuda.grid(1), len(order), cuda.gridsize(1)):
        pixel = order[i]
        value, before = image[pixel], mask[pixel]
        if before == GOOD:
            before = LOWER if value < low else UPPER if value > high else GOOD
            if not abs(value) < INF:
                before = NOT_FINITE
            mask[pixel] = before
        values[i] = value if before == GOOD else NAN


@kernel
def ring_statistics(
    values: NDArray[np.float32],
    bits: NDArray[np.int32],
    starts: NDArray[np.int64],
    statistics: NDArray[np.float64],
) -> None:
    """Find number, median and moments of the pixels of each ring that are not NaN.

    The median is exact: the digits of its key are found one after another, from the histogram of the keys that have
    the digits before.

    Parameters
    ----------
    values
        Pixels in ring order, NaN if masked.
    bits
        The same memory as int32.
    starts
        Start of each ring in ``values``.
    statistics
        Output, float64, shape (rings, 4): number, median, and the sums of ``value - median`` and of its square.
    """
    counts = cuda.shared.array(DIGITS, np.int32)
    found = cuda.shared.array(3, np.int64)  # number, key and rank below
    parts = cuda.shared.array((2, THREADS), np.float64)
    thread, threads, ring = cuda.threadIdx.x, cuda.blockDim.x, cuda.blockIdx.x
    start, stop = starts[ring] + thread, starts[ring + 1]
    key, rank = np.int64(0), np.int64(0)  # leading digits of the key of rank good // 2, and its rank among them
    for step in range(4):
        shift = 24 - 8 * step
        for digit in range(thread, DIGITS, threads):
            counts[digit] = 0
        cuda.syncthreads()
        for i in range(start, stop, threads):
            if values[i] == values[i]:
                each = _key(bits[i])
                if each >> (shift + 8) == key:
                    cuda.atomic.add(counts, (each >> shift) & (DIGITS - 1), 1)
        cuda.syncthreads()
        if thread == 0:
            if step == 0:
                found[0] = 0
                for digit in range(DIGITS):
                    found[0] += counts[digit]
                rank = found[0] // 2
            digit = 0
            while digit < DIGITS - 1 and counts[digit] <= rank:
                rank -= counts[digit]
                digit += 1
            found[1], found[2] = key * DIGITS + digit, rank
        cuda.syncthreads()
        key, rank = found[1], found[2]
    good = found[0]
    if good == 0:
        if thread == 0:
            statistics[ring, 0] = 0
        return
    lower = key
    if good % 2 == 0 and rank == 0:  # the other middle key is the next below
        cuda.syncthreads()
        if thread == 0:
            found[1] = 0
        cuda.syncthreads()
        for i in range(start, stop, threads):
            each = _key(bits[i])
            if each < key:
                cuda.atomic.max(found, 1, each)
        cuda.syncthreads()
        lower = found[1]
    median = (_value(lower) + _value(key)) / 2
    total, square = 0.0, 0.0
    for i in range(start, stop, threads):
        if values[i] == values[i]:
            away = np.float64(values[i]) - median
            total += away
            square += away * away
    parts[0, thread], parts[1, thread] = total, square
    _add_up(parts, 2, thread, threads)
    if thread == 0:
        statistics[ring, 0], statistics[ring, 1] = good, median
        statistics[ring, 2], statistics[ring, 3] = parts[0, 0], parts[1, 0]


@kernel
def mask_outliers(
    values: NDArray[np.float32],
    order: NDArray[np.uint32],
    starts: NDArray[np.int64],
    limits: NDArray[np.float32],
    mask: NDArray[np.uint8],
) -> None:
    """Mask the pixels of each ring that are below ``limits[ring, 0]`` or above ``limits[ring, 1]``."""
    ring = cuda.blockIdx.x
    low, high = limits[ring, 0], limits[ring, 1]
    for i in range(starts[ring] + cuda.threadIdx.x, starts[ring + 1], cuda.blockDim.x):
        if values[i] < low or values[i] > high:
            mask[order[i]] = OUTLIER  # a pixel in ring order is masked for no other reason yet


@kernel
def integrate(
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    norm: NDArray[np.float32],
    variance: NDArray[np.float32],
    weighted: bool,
    errors: bool,
    starts: NDArray[np.uint32],
    pixels: NDArray[np.uint32],
    coefs: NDArray[np.float32],
    sums: NDArray[np.float64],
) -> None:
    """Sum the pixels of each bin as `numerics.integration.integrate` does, bin by bin.

    Parameters
    ----------
    image, mask
        Pixels and their mask; 0 = good.
    norm, variance
        Used only with ``weighted`` and with ``errors``.
    starts, pixels, coefs
        The matrix: bin b is the sum of ``pixels[starts[b]:starts[b + 1]]`` with the weights ``coefs[...]``.
    sums
        Output, float64, shape (5, bins).
    """
    parts = cuda.shared.array((SUMS, THREADS), np.float64)
    thread, threads, number = cuda.threadIdx.x, cuda.blockDim.x, cuda.blockIdx.x
    signal_sum, share_sum, scatter_sum, square_sum, count = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(np.int64(starts[number]) + thread, np.int64(starts[number + 1]), threads):
        pixel = pixels[i]
        signal, weight, scatter = np.float64(image[pixel]), 1.0, 0.0
        if weighted:
            weight = np.float64(norm[pixel])
        if errors:
            scatter = np.float64(variance[pixel])
        if mask[pixel] == GOOD and abs(signal) < INF and 0 < abs(weight) < INF and abs(scatter) < INF:
            c = np.float64(coefs[i])
            signal_sum += c * signal
            share_sum += c * weight
            count += c
            if errors:
                scatter_sum += c * c * scatter
                square_sum += c * weight * c * weight
    parts[0, thread], parts[1, thread], parts[2, thread] = signal_sum, share_sum, scatter_sum
    parts[3, thread], parts[4, thread] = square_sum, count
    _add_up(parts, SUMS, thread, threads)
    if thread == 0:
        for row in range(SUMS):
            sums[row, number] = parts[row, 0]


@_on_device
def _add_up(parts: NDArray[np.float64], rows: int, thread: int, threads: int) -> None:
    """Add the numbers of all threads of the block into the first column of ``parts``, in a tree."""
    half = threads // 2
    cuda.syncthreads()
    while half > 0:
        if thread < half:
            for row in range(rows):
                parts[row, thread] += parts[row, thread + half]
        cuda.syncthreads()
        half //= 2


@_on_device
def _key(bits: np.int32) -> np.int64:
    """Map the bits of a float32 to a number from 0 to 2**32 - 1 of the same order; see `ring_statistics.to_key`."""
    number = np.int64(bits)
    return number + ABOVE if number >= 0 else -number - 1


@_on_device
def _value(key: np.int64) -> float:
    """Return the number whose bits `_key` maps to ``key``; exact."""
    bits = int(key - ABOVE if key >= ABOVE else ABOVE - 1 - key)  # without the sign
    exponent, fraction = bits >> 23, bits & 0x7FFFFF
    if exponent > 0:
        fraction += 1 << 23
    else:
        exponent = 1
    value = math.ldexp(float(fraction), exponent - 150)
    return value if key >= ABOVE else -value
