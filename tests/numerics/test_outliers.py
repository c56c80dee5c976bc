"""The masks by median absolute deviation and by sigma clipping against plain numpy, and against the truth."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from xrdpipe.geometry.geometry import Geometry
from xrdpipe.geometry.poni import Poni
from xrdpipe.geometry.rings import Arcs, fine_rings
from xrdpipe.model.arrays import read_only
from xrdpipe.model.frame import Frame
from xrdpipe.numerics import kernels, outliers
from xrdpipe.stages.integ.integ import Integ
from xrdpipe.stages.mask import Mask
from xrdpipe.stages.simulation import Simulation
from xrdpipe.stages.source import Source
from xrdpipe.stages.stage import Setup

F4 = np.float32


def surface(y: NDArray[np.float64], across: NDArray[np.float64], along: NDArray[np.float64]) -> Any:
    """The polynomial of degree two that fits and its part along the arc; None where an estimate says: no use."""
    legendre = {3.0: (across, along), 9.0: (across * along,), 11.25: (across**2 - 1 / 3, along**2 - 1 / 3)}
    explained = sum(weight * (y @ term) ** 2 for weight, terms in legendre.items() for term in terms)
    if explained <= 0.15 * (y.size * (y @ y) - y.sum() ** 2):
        return None
    x = np.stack([np.ones(y.size), across, along, across**2, across * along, along**2], axis=1)
    c = np.linalg.solve(x.T @ x + 1e-6 * y.size * np.eye(6), x.T @ y)
    return x @ c, c[2] * along + c[5] * (along**2 - 1 / 3)


def by_mad(
    v: NDArray[np.float32],
    w: NDArray[np.float32],
    alpha: float,
    across: NDArray[np.float64],
    along: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """The definition for one arc, good pixels only."""
    noise = F4(np.median(w.astype(float)))

    def std(distance: NDArray[np.float32]) -> float:
        return 1.4826 * float(np.median(distance.astype(float)))

    def far(x: NDArray[np.float32]) -> NDArray[np.bool_]:
        middle = F4(np.median(x.astype(float)))
        distance, least = np.abs(x - middle), np.maximum(noise, w.astype(float))
        spread = std(distance)
        if x.size >= 24 and spread**2 > 4 * noise > 0 and (distance.astype(float) ** 2 > alpha * alpha * least).any():
            y = x.astype(float) - middle
            fitted = surface(np.clip(y, -alpha * spread, alpha * spread), across, along)
            left = distance if fitted is None else np.abs(y - fitted[0]).astype(F4)
            if not (left.astype(float) ** 2 > alpha * alpha * least).any():
                return np.zeros(x.size, bool)
            if fitted is not None and std(left) < 0.9 * spread:
                away = np.minimum(np.abs(y), np.abs(y - fitted[0] + fitted[1]))
                s2 = np.maximum((1.3 * std(left)) ** 2, least) + (0.1 * fitted[0]) ** 2
                off = left.astype(float) ** 2 > alpha * alpha * s2
                return off | (away**2 > alpha * alpha * np.maximum(spread**2, least))
        return distance.astype(float) ** 2 > alpha * alpha * np.maximum(spread**2, least)

    return far(v) | far(w)


def by_sigma_clip(v: NDArray[np.float64], alpha: float, rounds: int) -> NDArray[np.bool_]:
    """The definition for one ring, good pixels only."""
    left = np.arange(v.size)
    for _ in range(rounds):
        x = v[left]
        stays = np.abs(x - x.mean()) <= alpha * x.std() if x.size else np.ones(0, bool)
        if stays.all():
            break
        left = left[stays]
    return ~np.isin(np.arange(v.size), left)


def laid_out(ring: NDArray[Any]) -> tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.uint32]]:
    order = np.argsort(ring, kind="stable").astype(np.uint32)
    slots = np.empty_like(order)
    slots[order] = np.arange(ring.size, dtype=np.uint32)
    return order, np.concatenate([[0], np.cumsum(np.bincount(ring))]), slots


def scene(seed: int, size: int, rings: int, mean: float, steep: float) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    ring = np.sort(rng.integers(0, rings, size))[rng.permutation(size)]
    offset = rng.integers(0, 256, size).astype(np.uint8)
    raw = rng.poisson(mean * (1 + ring) * (1 + steep * (offset / 256) ** 2), size).astype(F4)
    raw[rng.random(size) < 0.03] *= F4(rng.choice([0, 3, 50]))
    image = raw - rng.poisson(mean, size).astype(F4)
    variance = np.maximum(raw, 1) + F4(mean)
    image[rng.random(size) < 0.02] = rng.choice([np.nan, np.inf])
    variance[rng.random(size) < 0.01] = np.nan
    return image, variance, (rng.random(size) < 0.05).astype(np.uint8), ring, offset


scenes = st.builds(
    scene,
    st.integers(0, 2**32 - 1),
    st.integers(1, 400),
    st.integers(1, 6),
    st.sampled_from([0.3, 2.0, 40.0, 2e4]),
    st.sampled_from([0.0, 0.0, 1.0, 20.0]),
)


@pytest.mark.slow
@settings(max_examples=80)
@given(scenes, st.sampled_from([1.5, 3.0, 4.5, 6.0]), st.sampled_from([0, 6]))
def test_robust_is_the_definition_pixel_for_pixel(given_scene: Any, alpha: float, levels: int) -> None:
    image, variance, bad, ring, offset = given_scene
    order, starts, _ = laid_out(ring)
    mask, level = bad.copy(), np.full(levels, np.nan, F4)[: starts.size - 1]
    arcs = [read_only(array) for array in (order, starts, ring.astype(np.uint32), offset[order])]
    outliers.mask_mad(read_only(image), read_only(variance), mask, -np.inf, np.inf, *arcs, alpha, level)
    expected = (bad != 0) | ~np.isfinite(image) | ~np.isfinite(variance)
    for number in range(starts.size - 1):
        arc = np.flatnonzero(ring == number)
        nth = np.flatnonzero((bad[arc] == 0) & np.isfinite(image[arc]) & np.isfinite(variance[arc]))
        good = arc[nth]
        if good.size:
            across, along = (offset[good] - 127.5) / 128, (2 * nth + 1 - arc.size) / arc.size
            expected[good] = by_mad(image[good], variance[good], alpha, across, along)
        if number < level.size:
            middle = F4(np.median(variance[good].astype(float))) if good.size else F4(np.nan)
            assert np.array_equal(level[number], middle, equal_nan=True)
    assert np.array_equal(mask != 0, expected)


@pytest.mark.slow
@settings(max_examples=60)
@given(scenes, st.sampled_from([1.0, 2.0, 3.0, 5.0]), st.integers(1, 6))
def test_sigma_clip_is_the_definition_pixel_for_pixel(given_scene: Any, alpha: float, rounds: int) -> None:
    image, _, bad, ring, _ = given_scene
    order, starts, slots = laid_out(ring)
    mask, values = bad.copy(), np.empty(image.size, F4)
    kernels.scatter_to_rings(image, mask, -np.inf, np.inf, slots, values)
    kernels.mask_sigma_clip(values, order, starts, alpha, rounds, mask)
    expected = (bad != 0) | ~np.isfinite(image)
    for number in range(starts.size - 1):
        good = np.flatnonzero((ring == number) & (bad == 0) & np.isfinite(image))
        expected[good] = by_sigma_clip(image[good].astype(float), alpha, rounds)
    assert np.array_equal(mask != 0, expected)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 30), st.integers(1, 30))
def test_a_mask_grows_into_the_square_around_what_its_values_masked(seed: int, by: int, slow: int, fast: int) -> None:
    rng = np.random.default_rng(seed)
    bits = np.array([0] * 30 + [1 << bit for bit in range(7)], np.uint8)
    before = rng.choice(bits, (slow, fast))
    mask = before.copy()
    outliers.grow(mask, by)
    expected = before.copy()
    for i, j in np.argwhere(before & outliers.AUTOMATIC):
        part = expected[max(0, i - by) : i + by + 1, max(0, j - by) : j + by + 1]
        part[part == 0] = outliers.GROWN
    assert np.array_equal(mask, expected)


@pytest.mark.parametrize(
    ("bright", "first"),
    [
        ([8.0] * 20 + [400.0] * 60, 20),
        ([8.0] * 20 + [40.0, 200.0, 300.0] + [400.0] * 60, 21),
        ([8.0] * 20 + [400.0] * 10 + [8.0] * 60, 0),  # a Bragg ring
        (np.geomspace(8, 4000, 200).tolist(), 0),  # a smooth rise
        ([1.0] * 20 + [5.0] * 60, 0),  # four counts more: less than the noise allows
        ([400.0] * 80, 0),
        ([np.nan] * 10 + [8.0] * 10 + [400.0] * 60, 20),
        ([np.nan] * 80, 0),
        ([], 0),
    ],
)
def test_a_shadow_that_fills_its_rings_is_one_with_a_sharp_edge_and_light_all_around(
    bright: list[float], first: int
) -> None:
    assert outliers.find_shadow(np.array(bright, F4), np.arange(len(bright), dtype=np.int32), 4.5) == first


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3000), st.integers(1, 8))
def test_arcs_are_the_pixels_of_a_ring_side_by_side(seed: int, size: int, rings: int) -> None:
    rng = np.random.default_rng(seed)
    ring, chi = rng.integers(0, rings, (1, size)) * 3, rng.uniform(-np.pi, np.pi, (1, size)).astype(F4)
    arcs = Arcs.of(ring, chi)
    assert np.array_equal(np.sort(arcs.order), np.arange(size))
    assert np.array_equal(arcs.arc_of[arcs.order], np.repeat(np.arange(arcs.ring.size), np.diff(arcs.starts)))
    assert (arcs.starts[0], arcs.starts[-1]) == (0, size)
    last: dict[int, float] = {}
    for number, (first, end) in zip(arcs.ring, pairwise(arcs.starts), strict=True):
        pixels = arcs.order[first:end]
        many = int((ring == number).sum())
        assert (ring.ravel()[pixels] == number).all()
        assert (many < 128 and end - first == many) or 64 <= end - first < 128
        assert (np.diff(chi.ravel()[pixels]) >= -1e-6).all()
        assert chi.ravel()[pixels[0]] >= last.get(number, -np.inf) - 1e-6
        last[number] = chi.ravel()[pixels[-1]]


def test_arcs_know_where_in_its_ring_a_pixel_is() -> None:
    place = np.random.default_rng(0).uniform(0, 5, (20, 30))
    arcs = Arcs.of(place, np.linspace(-3, 3, 600).reshape(20, 30))
    assert (
        np.abs(np.repeat(arcs.ring, np.diff(arcs.starts)) + arcs.offset / 256 - place.ravel()[arcs.order]).max()
        < 1 / 256
    )


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [0.0, 1.6])
def test_a_bad_pixel_does_not_hide_in_a_steep_arc(hidden: float) -> None:
    rng = np.random.default_rng(5)
    offset = rng.integers(0, 256, 90).astype(np.uint8)
    counts = 1000 + 9000 * (offset / 256) ** 2
    v = rng.poisson(counts).astype(F4)
    at = int(np.abs(counts - 4500).argmin())
    v[at] *= F4(hidden)
    arrays = np.arange(90, dtype=np.uint32), np.array([0, 90]), np.zeros(90, np.uint32), offset
    arcs = [read_only(array) for array in arrays]
    mask, none = np.zeros(90, np.uint8), np.empty(0, F4)
    outliers.mask_mad(read_only(v), read_only(v), mask, -np.inf, np.inf, *arcs, 4.5, none)
    assert np.flatnonzero(mask).tolist() == [at]


def test_fine_rings_are_a_third_of_a_pixel_wide() -> None:
    geometry = Geometry(Poni("x", Simulation(shape=(120, 120)).poni_text()), (120, 120))
    ai = geometry.integrator
    rings = fine_rings(ai.center_array(geometry.shape, "2th_rad"), ai.delta_array(geometry.shape, "2th_rad"))
    r = ai.rArray(geometry.shape) / 200e-6
    assert rings.max() / r.max() == pytest.approx(3.1, abs=0.4)


# --- against the truth: dead, hot and half-column defects, zingers, the beamstop and its arm

FLAT = Simulation(shape=(400, 400))
SCENES = {
    "tilted": replace(FLAT, rot=(0.1, -0.05, 0.1)),
    "oblong pixels": replace(FLAT, shape=(500, 250), pixel=(200e-6, 400e-6)),
    "beam off the detector": replace(FLAT, poni=(-0.05, 0.3)),
}
EDGE = 30
ROBUST: dict[str, Any] = {"edge": EDGE, "lower_thresh": None, "alpha": 4.5, "auto_type": "mad"}


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENES)
def test_robust_finds_98_percent_of_the_bad_pixels_and_spares_the_good_ones(name: str) -> None:
    simulation = SCENES[name]
    geometry = Geometry(Poni("simulated", simulation.poni_text()), simulation.shape)
    source = Source()
    setup = Setup(geometry, source.read, source.to_raw, variance=True)
    raw, air = simulation.frame().astype(F4), simulation.air_frame().astype(F4)
    bad = np.any(list(simulation.truth().values()), axis=0)
    integrate = Integ(npt=150, correctSolidAngle=True, polarization_factor=simulation.polarization).prepare(setup)
    inner = np.s_[EDGE:-EDGE, EDGE:-EDGE]
    deviation = {}
    for option, keys in (("robust", ROBUST), ("default", {})):
        frame = Frame("a", raw - air, variance=np.maximum(raw, 1) + np.maximum(air, 1))
        frame = integrate(Mask(**keys).prepare(setup)(frame))
        assert frame.pattern is not None
        if option == "robust":
            found, true = frame.masked[inner], bad[inner]
            assert (found & true).sum() >= 0.98 * found.sum()  # precision
            assert (found & true).sum() >= 0.98 * true.sum()  # recall
        q = geometry.integrator.center_array(simulation.shape, "q_A^-1")
        weight = geometry.integrator.solidAngleArray(simulation.shape)
        weight = weight * geometry.integrator.polarization(simulation.shape, factor=simulation.polarization)
        ideal = integrate(Frame("truth", (simulation.pattern(q) * weight).astype(F4)))
        assert ideal.pattern is not None
        off = (frame.pattern.intensity - ideal.pattern.intensity) / ideal.pattern.intensity
        deviation[option] = np.sqrt(np.nanmean(off**2))
    assert deviation["robust"] <= deviation["default"]


def test_hot_pixels_do_not_hide_one_another_and_calm_rings_keep_their_pixels(setup: Setup) -> None:
    rng = np.random.default_rng(1)
    image = rng.poisson(1000, (120, 100)).astype(F4)
    hot = rng.random(image.shape) < 0.05
    image[hot] = 60000
    calm = np.where(rng.random(image.shape) < 0.1, F4(1010), F4(1000))  # a MAD of 0, far below the noise of counts
    step = Mask(**ROBUST | {"edge": 0}).prepare(setup)
    assert np.array_equal(step(Frame("a", image)).masked, hot)
    assert not step(Frame("b", calm)).masked.any()


def test_what_a_subtraction_hides_is_seen_in_the_variance(setup: Setup) -> None:
    rng = np.random.default_rng(2)
    raw, air = (rng.poisson(1000, (120, 100)).astype(F4) for _ in range(2))
    for frame in (raw, air):
        frame[20, 30], frame[90, 70] = 0, 50000  # dead, and hot in both
    frame = Frame("a", raw - air, variance=np.maximum(raw, 1) + np.maximum(air, 1))
    masked = Mask(**ROBUST | {"edge": 0}).prepare(setup)(frame).masked
    assert np.argwhere(masked).tolist() == [[20, 30], [90, 70]]
