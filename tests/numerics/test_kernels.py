"""What the compiled loops promise, against definitions written out in plain numpy, and against pyFAI."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from xrdpipe.model.arrays import read_only
from xrdpipe.numerics import constants, kernels, ring_statistics

SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 2.0**24, 2.0**24 + 2, 3.4e38, -3.4e38, 1e-45]

F4 = np.float32


Frame = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]  # image, what is masked already, ring of each pixel


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
    """The three arrays that describe rings, from the ring number of each pixel; read-only, as a run has them."""

    def __init__(self, ring: NDArray[Any]) -> None:
        self.order = read_only(np.argsort(ring, kind="stable").astype(np.uint32))
        self.starts = read_only(np.concatenate([[0], np.cumsum(np.bincount(ring))]))  # empty rings stay in
        slots = np.empty_like(self.order)
        slots[self.order] = np.arange(len(ring), dtype=np.uint32)
        self.slots = read_only(slots)


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
    kernels.scatter_to_rings(read_only(image), mask, float(lower), float(upper), rings.slots, values)
    outliers(values, rings.order, rings.starts, float(alpha), mask)
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


@settings(max_examples=60)
@given(frames(anything), limits, limits, alphas)
def test_the_median_mask_is_the_definition_pixel_for_pixel(
    frame: Frame, lower: float, upper: float, alpha: float
) -> None:
    got = automatic_mask(*frame, lower, upper, alpha)
    assert np.array_equal(got != 0, by_definition(*frame, lower, upper, alpha))


@settings(max_examples=50)
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


def test_where_the_last_bits_of_the_deviation_decide_numpy_decides() -> None:
    """A pixel at alpha * std, and those one float32 away on both sides, in rings whose sum numpy rounds."""
    rng = np.random.default_rng(2)
    image = rng.normal(100, 10, 400).astype(F4)
    zero = np.zeros(400, int)
    v = image.astype(np.float64)
    for far in np.sort(np.abs(v - np.median(v)))[-40:]:
        for alpha in np.nextafter(far / np.std(v), [0, 1, 9]):
            expected = by_definition(image, zero, zero, -np.inf, np.inf, alpha)
            assert np.array_equal(automatic_mask(image, zero, zero, alpha=alpha) != 0, expected)


@settings(max_examples=200)
@given(
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.one_of(st.floats(0, 1e39), st.integers(-9, 9).map(lambda i: -1 - i * 2.0**-53)),
    st.booleans(),
)
def test_the_good_range_ends_at_the_last_good_float32(middle: float, limit: float, between: bool) -> None:
    if between:  # the median of an even number may lie between two float32
        middle = (middle + float(np.nextafter(F4(middle), F4(0)))) / 2
    if limit < 0:  # a range that ends near 0, where a difference rounds off far more than a float32
        limit *= -abs(middle)
    low, high = ring_statistics.good_range(middle, limit)
    with np.errstate(over="ignore"):
        outside = np.nextafter(low, F4(-np.inf)), np.nextafter(high, F4(np.inf))
    assert middle - float(low) <= limit
    assert float(high) - middle <= limit
    assert low == -np.inf or middle - float(outside[0]) > limit
    assert high == np.inf or float(outside[1]) - middle > limit


@settings(max_examples=100)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3000), st.sampled_from([0, 1, 1e4, 2.0**26]), st.booleans())
def test_the_variance_of_a_ring_is_as_near_to_numpys_as_it_says(seed: int, n: int, level: float, flat: bool) -> None:
    rng = np.random.default_rng(seed)
    x = (np.full(n, level) if flat else rng.normal(level, 1 + level**0.5, n)).astype(F4)
    x[rng.random(n) < 0.05] *= F4(1 + 1e-6)
    good = x[x == x].astype(np.float64)
    variance, error = ring_statistics.ring_variance(np.append(x, F4(np.nan)), np.int64(n), float(np.median(good)))
    assert abs(np.std(good) ** 2 - variance) <= error
    assert error <= 1e-11 * variance + 1e-27 * float(np.abs(good).max()) ** 2


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

    def test_leaves_the_good_pixels_in_ring_order(self, outliers: Any) -> None:
        image, bad, ring = powder(size=5000)
        rings, mask, values = Rings(ring), bad.copy(), np.empty_like(image)
        kernels.scatter_to_rings(read_only(image), mask, 0.0, np.inf, rings.slots, values)
        outliers(values, rings.order, rings.starts, 2.0, mask)
        assert np.array_equal(values, np.where(mask == 0, image, F4(np.nan))[rings.order], equal_nan=True)

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
            kernels.scatter_to_rings(read_only(image[a:b]), mask[a:b], 5.0, 900.0, rings.slots[a:b], values)

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


@settings(max_examples=50)
@given(frames(anything))
def test_good_pixels_go_to_their_place_in_ring_order(frame: Frame) -> None:
    image, bad, ring = frame
    rings, values = Rings(ring), np.full(len(image), 7, F4)
    kernels.scatter_good(read_only(image), read_only(bad), rings.slots, values)
    expected = np.where((bad == 0) & np.isfinite(image), image, F4(np.nan))[rings.order]
    assert np.array_equal(values, expected, equal_nan=True)


def test_the_bit_in_the_mask_says_which_step_masked_a_pixel_first() -> None:
    image = np.array([1, np.nan, np.inf, -np.inf, -1, 200, np.nan, 99, 1, 1, 1, 1, 1, 1], F4)
    bad = np.zeros(14)
    bad[[0, 6]] = 1
    k = constants
    expected = [k.USER, k.NOT_FINITE, k.NOT_FINITE, k.NOT_FINITE, k.LOWER, k.UPPER, k.USER, k.OUTLIER, 0, 0, 0, 0, 0, 0]
    assert list(automatic_mask(image, bad, np.zeros(14, int), 0, 100, 2)) == expected
    mask = np.where(bad, k.USER, 0).astype(np.uint8)
    kernels.threshold(read_only(image), mask, 0.0, 100.0)
    assert list(mask) == [0 if bit == k.OUTLIER else bit for bit in expected]


def test_a_pixel_exactly_at_a_threshold_is_good_even_where_float32_has_no_such_number() -> None:
    mask = np.zeros(2, np.uint8)
    kernels.threshold(read_only(np.array([0.1, 0.3], F4)), mask, 0.1, 0.3)
    assert not mask.any()


@pytest.mark.slow
@settings(max_examples=60)
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
