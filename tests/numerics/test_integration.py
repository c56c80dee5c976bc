"""What the compiled loops promise, against definitions written out in plain numpy, and against pyFAI."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyFAI
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from xrdpipe.model.arrays import read_only
from xrdpipe.numerics import integration, sparse_matrix

Matrix = tuple[NDArray[np.uint32], NDArray[Any], NDArray[np.float32]]

F4 = np.float32
SHAPE = (120, 131)


def transposed(indptr: Any, indices: Any, data: Any, pixels: int) -> Matrix:
    bins = np.empty(len(data), np.uint16 if len(indptr) <= 2**16 + 1 else np.uint32)
    matrix = np.empty(pixels + 1, np.uint32), bins, np.empty(len(data), F4)
    integration.transpose(np.asarray(indptr), np.asarray(indices), np.asarray(data), *matrix)
    return matrix


def sums_of(
    image: NDArray[Any],
    matrix: Matrix,
    bins: int,
    norm: Any = (),
    variance: Any = (),
    azimuthal: bool = False,
    mask: Any = None,
) -> NDArray[np.float64]:
    mask = np.zeros(image.size, np.uint8) if mask is None else mask
    given = [read_only(np.ravel(each)) for each in (image, mask, np.array(norm, F4), np.array(variance, F4))]
    sums = np.zeros((5, bins))
    integration.integrate(*given, azimuthal, *map(read_only, matrix), sums)
    return sums


@pytest.mark.parametrize("split", ["full", "bbox", "no"])
@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("errors", [None, "variance", "poisson", "hybrid", "azimuthal"])
def test_all_sums_are_pyfais(integrator: Any, frame: Any, split: str, corrected: bool, errors: str | None) -> None:
    image, mask = frame
    rng = np.random.default_rng(4)
    settings: dict[str, Any] = {"correctSolidAngle": corrected}
    norm, variance = np.empty(0, F4), np.empty(0, F4)
    if corrected:
        flat = rng.uniform(0.5, 1.5, SHAPE).astype(F4)
        flat.flat[:200] = [0, np.nan, np.inf, -np.inf] * 50
        settings |= {"polarization_factor": 0.95, "flat": flat}
        norm = flat * integrator.polarization(SHAPE, 0.95) * integrator.solidAngleArray(SHAPE).astype(F4)
    if errors == "variance":
        settings["variance"] = variance = rng.uniform(1, 9, SHAPE).astype(F4)
        variance.flat[1000:1200] = [np.nan, np.inf] * 100
    elif errors is not None:
        settings["error_model"] = errors
        variance = np.maximum(image, F4(1)) if errors in ("poisson", "hybrid") else variance
    masked = np.where(mask != 0, F4(np.nan), image)
    method = (split, "csr", "cython")
    expected = integrator.integrate1d(masked, 90, unit="q_A^-1", method=method, dummy=np.nan, **settings)
    engine = integrator.engines[expected.method].engine
    matrix = transposed(engine.indptr, engine.indices, engine.data, image.size)
    sums = sums_of(image, matrix, 90, norm, variance, errors == "azimuthal", mask)

    def same(got: Any, wanted: Any) -> None:
        np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6 * np.abs(wanted).max())

    same(sums[0], expected.sum_signal)
    same(sums[1], expected.sum_normalization)
    same(sums[4], expected.count)
    same(sums[0] / sums[1], expected.intensity)
    if errors is not None and (errors != "azimuthal" or pyFAI.version_info >= (2025, 12)):  # older ones return NaN
        same(sums[2], expected.sum_variance)
        same(sums[3], expected.sum_normalization2)
        same(np.sqrt(sums[2]) / sums[1], expected.sigma)


def test_a_frame_of_ones_integrates_to_one(integrator: Any) -> None:
    result = integrator.integrate1d(np.ones(SHAPE, F4), 90, unit="q_A^-1", method=("full", "csr", "cython"))
    engine = integrator.engines[result.method].engine
    sums = sums_of(np.ones(SHAPE, F4), transposed(engine.indptr, engine.indices, engine.data, SHAPE[0] * SHAPE[1]), 90)
    np.testing.assert_allclose(sums[0] / sums[1], 1, rtol=1e-12)


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.sampled_from([1, 5, 70_000]))
def test_the_sums_are_the_matrix_product_for_any_matrix(seed: int, pixels: int, bins: int) -> None:
    """Also with pixels that no bin has, bins that no pixel has, and more bins than 16 bits can count."""
    rng = np.random.default_rng(seed)
    dense = {
        (row, pixel): F4(rng.random())
        for row, pixel in zip(rng.integers(0, bins, 60), rng.integers(0, pixels, 60), strict=True)
    }
    keys = sorted(dense)
    rows, columns = np.array(keys).T
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=bins))]).astype(np.int32)
    matrix = transposed(indptr, columns.astype(np.int32), np.array([dense[key] for key in keys]), pixels)
    image = rng.normal(size=pixels).astype(F4)
    expected = np.zeros((2, bins))
    for row, pixel in keys:
        expected[:, row] += dense[row, pixel].astype(float) * np.array([image[pixel], 1])
    np.testing.assert_allclose(sums_of(image, matrix, bins)[:2], expected, rtol=1e-12, atol=1e-12)


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 6), st.sampled_from([1, 5, 12]))
def test_ring_by_ring_the_sums_are_the_matrix_product(seed: int, pixels: int, rings: int, bins: int) -> None:
    """Also with empty rings, rings of many bins, pixels without a bin, and pixels that do not count."""
    rng = np.random.default_rng(seed)
    dense = np.where(rng.random((bins, pixels)) < 0.3, rng.random((bins, pixels)), 0).astype(F4)
    rows, columns = np.nonzero(dense)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=bins))]).astype(np.int32)
    matrix = transposed(indptr, columns.astype(np.int32), dense[rows, columns], pixels)
    ring = rng.integers(0, rings, pixels)
    order = read_only(np.argsort(ring, kind="stable").astype(np.uint32))
    starts = read_only(np.concatenate([[0], np.cumsum(np.bincount(ring, minlength=rings))]))
    by_rings = sparse_matrix.RingMatrix.of(sparse_matrix.Matrix(*matrix), order, starts)
    if by_rings is None:
        assert bins > sparse_matrix.WIDEST
        return
    image = np.where(rng.random(pixels) < 0.2, np.nan, rng.normal(size=pixels)).astype(F4)
    sums = np.zeros((2, bins + 1))
    integration.sum_rings(image[order], starts, *map(read_only, by_rings), sums)
    good = np.isfinite(image)
    expected = dense.astype(float) @ np.array([np.where(good, image, 0), good]).T
    np.testing.assert_allclose(sums[:, :bins], expected.T, rtol=1e-12, atol=1e-12)
    assert not sums[:, bins].any()


def test_the_matrix_of_some_pixels_gives_their_sums() -> None:
    rng = np.random.default_rng(3)
    counts = rng.integers(0, 4, 50)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.uint32)
    matrix = sparse_matrix.Matrix(starts, rng.integers(0, 9, starts[-1]).astype(np.uint16), rng.random(starts[-1], F4))
    image, pixels = rng.random(50, F4), np.array([7, 3, 4, 49])
    others = np.setdiff1d(np.arange(50), pixels)
    whole = sums_of(np.where(np.isin(np.arange(50), others), F4(np.nan), image), matrix, 9)
    np.testing.assert_allclose(sums_of(image[pixels], matrix.of_pixels(pixels), 9), whole, rtol=1e-12)


def test_fixed_slices_give_the_same_bytes_from_any_number_of_threads(integrator: Any, frame: Any) -> None:
    image, mask = read_only(frame[0].ravel()), read_only(frame[1].ravel())
    result = integrator.integrate1d(frame[0], 90, unit="q_A^-1", method=("full", "csr", "cython"))
    engine = integrator.engines[result.method].engine
    starts, bins, coefs = map(read_only, transposed(engine.indptr, engine.indices, engine.data, image.size))
    none, cuts = read_only(np.empty(0, F4)), np.linspace(0, image.size, 5).astype(int)

    def share(part: int) -> NDArray[np.float64]:
        a, b = cuts[part : part + 2]
        sums = np.zeros((5, 90))
        integration.integrate(image[a:b], mask[a:b], none, none, False, starts[a : b + 1], bins, coefs, sums)
        return sums

    totals = []
    for threads in (1, 2, 4):
        with ThreadPoolExecutor(threads) as pool:
            totals.append(sum(pool.map(share, range(4)), np.zeros((5, 90))))
    assert totals[0].tobytes() == totals[1].tobytes() == totals[2].tobytes()
    np.testing.assert_allclose(totals[0], sums_of(image, (starts, bins, coefs), 90, mask=mask), rtol=1e-12)
