"""What the compiled loops promise, against definitions written out in plain numpy, and against pyFAI."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from xrdpipe.numerics import constants, integration, kernels, reduction, ring_statistics
from xrdpipe.numerics import outliers as outlier_loops

F4 = np.float32
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 2.0**24, 2.0**24 + 2, 3.4e38, -3.4e38, 1e-45]


Frame = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]  # image, what is masked already, ring of each pixel

# ------------------------------------------------------------------------------------------ the definition, in numpy


def by_definition(
    image: NDArray[Any], bad: NDArray[Any], ring: NDArray[Any], lower: float, upper: float, alpha: float
) -> NDArray[np.bool_]:
    """ALGORITHMS' automatic mask with auto_type=median, from the user mask or edge (``bad``) on."""
    out: NDArray[np.bool_] = (bad != 0) | ~np.isfinite(image) | (image < lower) | (image > upper)
    for number in np.unique(ring):
        pixels = np.flatnonzero((ring == number) & ~out)
        if len(pixels):
            v = image[pixels].astype(np.float64)
            out[pixels] = np.abs(v - np.median(v)) > alpha * np.std(v)
    return out


def removals(v: NDArray[np.float64], alpha: float) -> list[tuple[int, float]]:
    """auto_type=mean as a naive loop over one ring: (position, ratio) in the order in which pixels go."""
    left, gone = np.arange(len(v)), []
    while len(left) and (std := np.std(v[left])) > 0:
        ratio = np.abs(v[left] - np.mean(v[left])) / std
        worst = int(np.argmax(ratio))
        if ratio[worst] < alpha:
            break
        gone.append((int(left[worst]), float(ratio[worst])))
        left = np.delete(left, worst)
    return gone


class Rings:
    """The three arrays that describe rings, from the ring number of each pixel."""

    def __init__(self, ring: NDArray[Any]) -> None:
        self.order = np.argsort(ring, kind="stable").astype(np.uint32)
        self.starts = np.concatenate([[0], np.cumsum(np.bincount(ring))])  # empty rings stay in
        self.slots = np.empty_like(self.order)
        self.slots[self.order] = np.arange(len(ring), dtype=np.uint32)


def automatic_mask(
    image: NDArray[Any],
    bad: NDArray[Any],
    ring: NDArray[Any],
    lower: float = -np.inf,
    upper: float = np.inf,
    alpha: float = np.nan,
    outliers: Any = kernels.mask_median,
) -> NDArray[np.uint8]:
    rings, mask = Rings(ring), np.where(bad, constants.USER, 0).astype(np.uint8)
    values = np.full(len(image), 7, F4)
    kernels.scatter_to_rings(image, mask, lower, upper, rings.slots, values)
    outliers(values, rings.order, rings.starts, alpha, mask)
    return mask


@st.composite
def frames(draw: Any, values: Any) -> Frame:
    """Up to 60 pixels in up to 5 rings, some of them empty."""
    n = draw(st.integers(1, 60))
    image = draw(st.lists(values, min_size=n, max_size=n))
    bad = draw(st.lists(st.sampled_from([0, 0, 0, 1]), min_size=n, max_size=n))
    ring = draw(st.lists(st.sampled_from([0, 1, 2, 4]), min_size=n, max_size=n))
    return np.array(image, F4), np.array(bad, np.uint8), np.array(ring)


counts = st.integers(0, 5).map(float)
anything = st.one_of(counts, st.sampled_from(SPECIAL), st.floats(width=32, allow_nan=False, allow_infinity=False))
limits = st.sampled_from([0.0, 1.0, 0.1, 4.0, 2.0**24])
alphas = st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0])


def powder(seed: int = 0, size: int = 90_000, rings: int = 40) -> Frame:
    """Counts with outliers, masked pixels and NaN, in rings of all lengths up to some thousand pixels."""
    rng = np.random.default_rng(seed)
    ring = (rings * rng.random(size) ** 2).astype(int)
    image = rng.poisson(20 + 10 * ring).astype(F4)
    image[rng.random(size) < 0.01] *= F4(20)
    image[rng.random(size) < 0.01] = np.nan
    return image, (rng.random(size) < 0.05).astype(np.uint8), ring


# ---------------------------------------------------------------------------------------------------- automatic mask


@settings(max_examples=60, deadline=None)
@given(frames(anything), limits, limits, alphas)
def test_the_median_mask_is_the_definition_pixel_for_pixel(
    frame: Frame, lower: float, upper: float, alpha: float
) -> None:
    got = automatic_mask(*frame, lower, upper, alpha)
    assert np.array_equal(got != 0, by_definition(*frame, lower, upper, alpha))


@settings(max_examples=50, deadline=None)
@given(frames(counts), alphas)
def test_ties_are_decided_as_numpy_decides_them(frame: Frame, alpha: float) -> None:
    """Few different counts in small rings: |v - median| often is alpha * std, but for the rounding."""
    assert np.array_equal(automatic_mask(*frame, alpha=alpha) != 0, by_definition(*frame, -np.inf, np.inf, alpha))


def test_the_standard_deviation_has_numpys_bits_in_rings_of_any_length() -> None:
    x = np.random.default_rng(5).normal(1000, 300, 8000).astype(F4).astype(np.float64)
    for n in [*range(1, 300), 999, 1000, 1001, 4999, 5000]:
        for first in range(0, 3000, 100):
            part = x[first : first + n]
            assert ring_statistics.ring_std(part.copy()) == np.std(part)


@pytest.mark.parametrize("alpha", [0.5, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("kind", ["counts", "subtracted", "nearly empty", "around zero", "long tail", "above 2**24"])
def test_long_rings_are_masked_as_numpy_masks_them(kind: str, alpha: float) -> None:
    image, bad, ring = powder()
    rng = np.random.default_rng(1)
    image = {
        "counts": image,
        "subtracted": image - F4(0.37) * rng.poisson(20, len(image)).astype(F4),
        "nearly empty": rng.poisson(0.3, len(image)).astype(F4),
        "around zero": rng.normal(size=len(image)).astype(F4),
        "long tail": (rng.pareto(0.5, len(image)) - 1).astype(F4),
        "above 2**24": (rng.poisson(50, len(image)) + 2**26).astype(np.int32).astype(F4),
    }[kind]
    assert np.array_equal(
        automatic_mask(image, bad, ring, alpha=alpha) != 0, by_definition(image, bad, ring, -np.inf, np.inf, alpha)
    )


def test_integer_frames_are_masked_as_the_float32_frame_they_become() -> None:
    counts = np.array([2**24, 2**24 + 1, 2**24 + 2, 2**32 - 1, 5, 5, 5, 5], np.uint32)
    image, zero = counts.astype(F4), np.zeros(8, int)
    got = automatic_mask(image, zero, zero, upper=2**24, alpha=1.0)
    assert list(got) == [constants.OUTLIER] * 2 + [constants.UPPER] * 2 + [0] * 4
    assert np.array_equal(got != 0, by_definition(image, zero, zero, -np.inf, 2**24, 1.0))


@pytest.mark.parametrize("outliers", [kernels.mask_median, kernels.mask_mean])
class TestEveryOutlierRule:
    def test_leaves_a_constant_ring_alone(self, outliers: Any) -> None:
        image, zero = np.full(1000, 0.1, F4), np.zeros(1000, int)
        assert not automatic_mask(image, zero, zero, alpha=0.5, outliers=outliers).any()

    def test_leaves_a_ring_of_one_pixel_alone(self, outliers: Any) -> None:
        image, ring = np.array([1, 1e6, -5], F4), np.arange(3)
        assert not automatic_mask(image, np.zeros(3), ring, alpha=0.5, outliers=outliers).any()

    def test_takes_a_frame_where_everything_is_masked(self, outliers: Any) -> None:
        ones = np.ones(50, int)
        assert (automatic_mask(ones.astype(F4), ones, ones, alpha=2, outliers=outliers) == constants.USER).all()

    @pytest.mark.parametrize("alpha", [np.nan, -1.0])
    def test_without_a_valid_alpha_masks_nothing(self, outliers: Any, alpha: float) -> None:
        image, _, ring = powder(size=1000)
        good = np.isfinite(image)
        assert not automatic_mask(image, ~good, ring, alpha=alpha, outliers=outliers)[good].any()

    def test_gives_the_same_bytes_however_rings_and_pixels_are_shared_out(self, outliers: Any) -> None:
        image, bad, ring = powder()
        rings = Rings(ring)
        whole = automatic_mask(image, bad, ring, 5, 900, 1.5, outliers)
        mask, values = np.empty_like(whole), np.empty_like(image)

        def lay_out(a: int, b: int) -> None:
            kernels.scatter_to_rings(image[a:b], mask[a:b], 5, 900, rings.slots[a:b], values)

        def find(a: int, b: int) -> None:
            outliers(values, rings.order, rings.starts[a : b + 1], 1.5, mask)

        for threads in (1, 2, 3, 7):
            mask[:], values[:] = np.where(bad, constants.USER, 0), 7
            pixels = np.linspace(0, len(image), threads + 1).astype(int)
            shares = np.searchsorted(rings.starts, pixels)  # rings of about as many pixels for everyone
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(lay_out, pixels[:-1], pixels[1:]))
                list(pool.map(find, shares[:-1], shares[1:]))
            assert mask.tobytes() == whole.tobytes()


def test_the_bit_in_the_mask_says_which_step_masked_a_pixel_first() -> None:
    image = np.array([1, np.nan, np.inf, -np.inf, -1, 200, np.nan, 99, 1, 1, 1, 1, 1, 1], F4)
    bad = np.zeros(14)
    bad[[0, 6]] = 1
    k = constants
    expected = [k.USER, k.NOT_FINITE, k.NOT_FINITE, k.NOT_FINITE, k.LOWER, k.UPPER, k.USER, k.OUTLIER, 0, 0, 0, 0, 0, 0]
    assert list(automatic_mask(image, bad, np.zeros(14, int), 0, 100, 2)) == expected
    mask = np.where(bad, k.USER, 0).astype(np.uint8)
    kernels.threshold(image, mask, 0, 100)
    assert list(mask) == [0 if bit == k.OUTLIER else bit for bit in expected]


def test_a_pixel_exactly_at_a_threshold_is_good_even_where_float32_has_no_such_number() -> None:
    mask = np.zeros(2, np.uint8)
    kernels.threshold(np.array([0.1, 0.3], F4), mask, 0.1, 0.3)
    assert not mask.any()


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    frames(st.one_of(counts, st.integers(-8, 8).map(lambda i: i / 4), st.sampled_from([-0.0, 1e6, -1e6, 2.0**24]))),
    alphas,
)
def test_the_mean_mask_takes_the_worst_pixel_one_by_one(frame: Frame, alpha: float) -> None:
    image, bad, ring = frame
    got = automatic_mask(*frame, alpha=alpha, outliers=kernels.mask_mean)
    for number in np.unique(ring):
        pixels = np.flatnonzero((ring == number) & (bad == 0))
        gone = removals(image[pixels].astype(np.float64), alpha * (1 - 1e-9))
        masked = set(np.flatnonzero(got[pixels]))
        assert masked == {position for position, _ in gone[: len(masked)]}
        assert all(ratio < alpha * (1 + 1e-9) for _, ratio in gone[len(masked) : len(masked) + 1])


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [1.2, 2.0, 4.0])
@pytest.mark.parametrize("offset", [0, 1e6])
def test_the_mean_mask_of_long_rings_is_that_of_the_naive_loop(alpha: float, offset: float) -> None:
    image, bad, ring = powder(size=12_000, rings=12)
    image = (image * F4(0.37) + F4(offset)).astype(F4)
    image[::500] = -3e7
    got = automatic_mask(image, bad, ring, alpha=alpha, outliers=kernels.mask_mean)
    for number in range(12):
        pixels = np.flatnonzero((ring == number) & (bad == 0) & np.isfinite(image))
        gone = removals(image[pixels].astype(np.float64), alpha)
        assert set(np.flatnonzero(got[pixels])) == {position for position, _ in gone}


@pytest.mark.parametrize(
    "values", [(9, 5, 1), (1, 5, 9), (5, 1, 9), (5, 9, 5, 1), (9, 1, 9, 1), (-0.0, 2, 1, 0), (0.0, 2, 1, -0.0, 2)]
)
def test_of_equally_bad_pixels_the_one_with_the_lowest_index_goes_first(values: tuple[float, ...]) -> None:
    image, zero = np.array(values, F4), np.zeros(len(values), int)
    for alpha in (0.9, 1.0, 1.2, 1.3):
        got = automatic_mask(image, zero, zero, alpha=alpha, outliers=kernels.mask_mean)
        gone = [position for position, _ in removals(image.astype(np.float64), alpha)]
        assert sorted(gone) == list(np.flatnonzero(got))


# -------------------------------------------------------------------------------------------------------- integration

SHAPE = (120, 131)
Matrix = tuple[NDArray[np.uint32], NDArray[Any], NDArray[np.float32]]


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
    mask = np.zeros(image.size, np.uint8) if mask is None else mask.ravel()
    sums = np.zeros((5, bins))
    integration.integrate(
        image.ravel(), mask, np.array(norm, F4).ravel(), np.array(variance, F4).ravel(), azimuthal, *matrix, sums
    )
    return sums


@pytest.fixture(scope="module")
def integrator() -> Any:
    from pyFAI.detectors import Detector
    from pyFAI.integrator.azimuthal import AzimuthalIntegrator

    detector = Detector(2e-4, 2e-4, max_shape=SHAPE)
    return AzimuthalIntegrator(dist=0.03, poni1=0.011, poni2=0.014, rot1=0.1, detector=detector, wavelength=2e-11)


@pytest.fixture(scope="module")
def frame() -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    rng = np.random.default_rng(3)
    image = rng.poisson(100, SHAPE).astype(F4) - F4(0.3) * rng.poisson(20, SHAPE).astype(F4)
    image.flat[rng.choice(image.size, 300, replace=False)] = [np.nan, np.inf, -np.inf] * 100
    return image, (rng.random(SHAPE) < 0.1).astype(np.uint8) * constants.OUTLIER


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
    if errors is not None:
        same(sums[2], expected.sum_variance)
        same(sums[3], expected.sum_normalization2)
        same(np.sqrt(sums[2]) / sums[1], expected.sigma)


def test_a_frame_of_ones_integrates_to_one(integrator: Any) -> None:
    result = integrator.integrate1d(np.ones(SHAPE, F4), 90, unit="q_A^-1", method=("full", "csr", "cython"))
    engine = integrator.engines[result.method].engine
    sums = sums_of(np.ones(SHAPE, F4), transposed(engine.indptr, engine.indices, engine.data, SHAPE[0] * SHAPE[1]), 90)
    np.testing.assert_allclose(sums[0] / sums[1], 1, rtol=1e-12)


@settings(max_examples=50, deadline=None)
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


def test_fixed_slices_give_the_same_bytes_from_any_number_of_threads(integrator: Any, frame: Any) -> None:
    image, mask = frame[0].ravel(), frame[1].ravel()
    result = integrator.integrate1d(frame[0], 90, unit="q_A^-1", method=("full", "csr", "cython"))
    engine = integrator.engines[result.method].engine
    starts, bins, coefs = transposed(engine.indptr, engine.indices, engine.data, image.size)
    none, cuts = np.empty(0, F4), np.linspace(0, image.size, 5).astype(int)

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


# ------------------------------------------------------------------------------------------------ compilation, on disk

CALL = """
import json, sys
import numpy as np
from numerics import kernels
mask = np.zeros(2, np.uint8)
kernels.threshold(np.array([1, np.nan], np.float32), mask, 0.0, 9.0)
found = sum(kernels.threshold.stats.cache_hits.values())
print(json.dumps([mask.tolist(), type(kernels.threshold._cache).__name__, found]))
"""


def test_every_loop_lets_other_threads_run() -> None:
    modules = (kernels, ring_statistics, integration, reduction, outlier_loops)
    loops = [loop for module in modules for loop in vars(module).values() if hasattr(loop, "targetoptions")]
    assert integration.integrate in loops
    assert all(loop.targetoptions["nogil"] for loop in loops)


def copy_kernels(folder: Path) -> None:
    """The loops as a package of their own, which has not been compiled yet."""
    (folder / "numerics").mkdir()
    for path in Path(kernels.__file__).parent.glob("*.py"):
        (folder / "numerics" / path.name).write_bytes(path.read_bytes())


def in_a_new_process(folder: Path, **environment: str) -> Any:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA_")}
    done = subprocess.run(
        [sys.executable, "-B", "-c", CALL],
        cwd=folder,
        env=kept | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_without_any_writable_folder_they_compile_all_the_same(tmp_path: Path) -> None:
    """Files where folders are wanted keep even root from writing."""
    copy_kernels(tmp_path)
    (tmp_path / "numerics" / "__pycache__").write_text("in the way")
    nowhere = dict.fromkeys(("NUMBA_CACHE_DIR", "HOME", "XDG_CACHE_HOME"), "/dev/null/nowhere")
    assert in_a_new_process(tmp_path, **nowhere) == [[0, 64], "NullCache", 0]


@pytest.mark.slow
def test_a_second_process_finds_the_machine_code_on_disk(tmp_path: Path) -> None:
    copy_kernels(tmp_path)
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    assert [in_a_new_process(tmp_path, **cache)[2] for _ in range(2)] == [0, 1]


# ------------------------------------------------------------------------------------------------------- real frames

REFERENCE = Path(os.environ.get("XRDPIPE_REFERENCE", "/nowhere")) / "ceo2"
CASES: dict[str, tuple[float, float, float, int, Any]] = {
    "default": (2, 0, np.inf, 30, kernels.mask_median),
    "tuned": (1.5, 1, 1e5, 50, kernels.mask_median),
    "alpha3_noedge": (3, 0, np.inf, 0, kernels.mask_median),
    "no_outlier": (np.nan, 0, np.inf, 30, kernels.mask_median),
    "mean": (4, 0, np.inf, 30, kernels.mask_mean),
    "user_auto": (2, 0, np.inf, 30, kernels.mask_median),
    "background": (2, 0, np.inf, 30, kernels.mask_median),
}


@pytest.fixture(scope="module")
def ceo2_rings() -> NDArray[np.int64]:
    """The ring of each pixel, by ALGORITHMS."""
    import pyFAI

    integrator, shape = pyFAI.load(str(REFERENCE / "CeO2_Pilatus1M.poni")), (1043, 981)
    r, q, dq = (
        integrator.rArray(shape).ravel(),
        integrator.qArray(shape).ravel() / 10,
        integrator.deltaQ(shape).ravel() / 10,
    )
    step = np.hypot(integrator.pixel1, integrator.pixel2) / 2
    radial = np.arange(r.min() - step, r.max() + step, step)
    annulus = np.digitize(r, radial) - 1
    width = np.array([dq[annulus == i].max(initial=0) for i in range(len(radial) - 1)])
    edges = np.cumsum(width)
    edges[0], edges[-1] = dq.min(), max(edges[-1], q.max())
    return np.where(q == edges[-1], len(edges) - 1, np.digitize(q, edges))


@pytest.mark.slow
@pytest.mark.skipif(not REFERENCE.is_dir(), reason="XRDPIPE_REFERENCE holds no reference frames")
@pytest.mark.parametrize("case", CASES)
def test_the_mask_of_a_real_frame_is_pdfstreams(case: str, ceo2_rings: NDArray[np.int64]) -> None:
    import tifffile

    def read(name: str) -> NDArray[np.float32]:
        return np.ascontiguousarray(tifffile.imread(REFERENCE / name)[::-1].astype(F4))

    alpha, lower, upper, edge, outliers = CASES[case]
    image = read("CeO2_Pilatus1M.tif")
    if case == "background":
        image -= F4(0.002) * read("background.tif")
    bad = (
        np.load(REFERENCE / "user_mask.npy")[::-1].astype(bool) if case == "user_auto" else np.zeros(image.shape, bool)
    )
    bad |= np.pad(np.zeros(np.array(image.shape) - 2 * edge, bool), edge, constant_values=True)
    got = automatic_mask(image.ravel(), bad.ravel(), ceo2_rings, lower, upper, alpha, outliers)
    stored = np.load(REFERENCE / "expected" / f"{case}.npz")
    assert np.array_equal(got != 0, np.unpackbits(stored["mask"])[: got.size])
