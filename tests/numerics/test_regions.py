"""Regions that receive too little: the kernels against plain numpy, and what is found where the truth is known."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from xrdpipe.geometry.rings import Cells
from xrdpipe.model.arrays import read_only
from xrdpipe.numerics.constants import DETECTOR, GOOD, OUTLIER
from xrdpipe.numerics.regions import levels, search, sums
from xrdpipe.numerics.regions.find import RegionFinder

F4 = np.float32
SIZE = 300
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE].astype(float)
RADIUS, CHI = np.hypot(ROWS - 140.3, COLUMNS - 150.2), np.arctan2(ROWS - 140.3, COLUMNS - 150.2)
CELLS = Cells.of(RADIUS.astype(np.int64), CHI, levels.SECTORS)
CELL = read_only(CELLS.cell)
FINDER = RegionFinder(CELL, CELLS.rings, (SIZE, SIZE))


def pattern(texture: float = 0.0) -> NDArray[np.float64]:
    """A halo and eight rings, each with a texture of its own, mean 1."""
    image = 1 + 2 * np.exp(-RADIUS / 60)
    for number in range(8):
        around = 1 + texture * np.cos(2 * CHI + number)
        image += 3 * np.exp(-0.5 * ((RADIUS - 40 - 20 * number) / 1.5) ** 2) * around
    return image / image.mean()


def regions(image: NDArray[Any], mask: NDArray[np.uint8] | None = None) -> NDArray[np.bool_]:
    flat = np.zeros(image.size, np.uint8) if mask is None else mask.ravel()
    return FINDER(read_only(image.astype(F4).ravel()), flat)


def exposed(counts: float, passes: NDArray[np.float64], texture: float = 0.0, seed: int = 1) -> NDArray[np.int64]:
    return np.random.default_rng(seed).poisson(counts * pattern(texture) * passes)


ARM = (abs(ROWS - 140) < 8) & (COLUMNS > 150)
DISC = RADIUS < 25


@pytest.mark.slow
@pytest.mark.parametrize(("counts", "passing"), [(0.3, 0.1), (3.0, 0.1), (3.0, 0.6), (300.0, 0.1), (3000.0, 0.85)])
def test_an_arm_is_found_at_any_count_rate(counts: float, passing: float) -> None:
    found = regions(exposed(counts, np.where(ARM, passing, 1.0)))
    assert np.count_nonzero(found & ARM) > 0.75 * np.count_nonzero(ARM)
    assert np.count_nonzero(found & ~ARM) < 0.15 * np.count_nonzero(ARM)


@pytest.mark.parametrize("counts", [0.3, 30.0])
def test_a_beamstop_that_fills_its_rings_is_found(counts: float) -> None:
    found = regions(exposed(counts, np.where(DISC, 0.01, 1.0)))
    assert np.count_nonzero(found & DISC) > 0.9 * np.count_nonzero(DISC)
    assert np.count_nonzero(found & ~DISC) < 0.02 * np.count_nonzero(DISC)


def test_dead_lines_and_gaps_are_found_where_no_single_pixel_tells() -> None:
    dead = np.zeros((SIZE, SIZE), np.bool_)
    dead[:150, 40] = dead[220:224] = True
    found = regions(exposed(1.0, np.where(dead, 0.0, 1.0)))
    assert np.count_nonzero(found & dead) > 0.98 * np.count_nonzero(dead)
    assert np.count_nonzero(found & ~dead) < 0.02 * np.count_nonzero(dead)


@pytest.mark.parametrize("counts", [0.1, 5.0, 1000.0])
def test_texture_and_noise_are_no_region(counts: float) -> None:
    assert np.count_nonzero(regions(exposed(counts, np.ones((SIZE, SIZE)), texture=0.6))) < 1e-3 * SIZE**2


def test_spots_on_a_ring_are_no_region() -> None:
    rng = np.random.default_rng(2)
    grains = rng.gamma(0.3, 1 / 0.3, 720)[((CHI + np.pi) / (2 * np.pi) * 720).astype(int) % 720]
    image = rng.poisson(20 * np.where(abs(RADIUS - 90) < 3, 1 + 10 * grains, 1.0))
    assert np.count_nonzero(regions(image)) < 1e-3 * SIZE**2


def test_what_is_masked_otherwise_does_not_matter() -> None:
    image = exposed(50.0, np.ones((SIZE, SIZE))).astype(float)
    image[100:140, 30:60] = 0
    assert regions(image)[105:135, 35:55].all()
    mask = np.where(image == 0, DETECTOR, GOOD)
    image[mask != 0] = np.nan
    assert not regions(image, mask).any()


def test_an_empty_frame_and_a_masked_one_have_no_region() -> None:
    assert not regions(np.zeros((SIZE, SIZE))).any()
    assert not regions(np.full((SIZE, SIZE), 7.0)).any()
    assert not regions(np.full((SIZE, SIZE), np.nan), np.full((SIZE, SIZE), DETECTOR)).any()


def test_a_region_is_the_same_bytes_every_time() -> None:
    image = exposed(2.0, np.where(ARM | DISC, 0.1, 1.0))
    assert np.array_equal(regions(image), regions(image))


def test_threads_that_share_a_finder_find_what_one_finds() -> None:
    images = [exposed(counts, np.where(ARM | DISC, 0.1, 1.0), seed=seed) for seed, counts in enumerate((0.3, 2, 9, 80))]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(regions, images * 2))
    for image, one, two in zip(images, found[:4], found[4:], strict=True):
        assert np.array_equal(one, two)
        assert np.array_equal(one, regions(image))


def case(seed: int, slow: int, fast: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    image = read_only(rng.poisson(3, slow * fast).astype(F4))
    mask = rng.choice(np.array([GOOD, GOOD, GOOD, OUTLIER, DETECTOR, sums.SHADE], np.uint8), slow * fast)
    cell = read_only(rng.integers(0, 20, slow * fast).astype(np.uint32))
    return image, mask, cell, rng.random((20, 2)).astype(F4), slow, fast


cases = st.builds(case, st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40))


@settings(max_examples=40)
@given(cases)
def test_sums_of_cells_and_tiles_are_their_definition(given_case: Any) -> None:
    image, mask, cell, table, slow, fast = given_case
    found = np.zeros((20, 3))
    inner = np.random.default_rng(slow).random(slow) < 0.3
    for sampled in (True, False):
        levels.add_cells(image, mask, cell, fast, inner, sampled, found)
    good = mask == GOOD
    expected = [np.bincount(cell[good], image[good].astype(float) ** power, 20) for power in (0, 1, 2)]
    assert np.allclose(found, np.transpose(expected))

    tiles = np.zeros((-(-slow // 4), -(-fast // 4), 2), F4)
    sums.tile_sums(image, mask, cell, table, fast, False, tiles)
    deviation = image * table[cell, 0] - table[cell, 1]
    use = good | (mask == sums.SHADE) | ((mask == OUTLIER) & (deviation < 0))
    half = np.empty_like(tiles)
    odd = read_only(np.where(np.arange(slow * fast) // fast % 2, F4(1e6), image))
    sums.tile_sums(odd, mask, cell, table, fast, True, half)
    sums.tile_sums(image, np.where(mask == OUTLIER, DETECTOR, mask), cell, table, fast, True, tiles)
    assert np.array_equal(half, tiles)  # odd rows and outliers do not count
    sums.tile_sums(image, mask, cell, table, fast, False, tiles)
    for part, values in enumerate((deviation, table[cell, 1])):
        whole = np.zeros((4 * tiles.shape[0], 4 * tiles.shape[1]))
        whole[:slow, :fast] = np.where(use, values, 0).reshape(slow, fast)
        expected = whole.reshape(tiles.shape[0], 4, tiles.shape[1], 4).sum((1, 3))
        assert np.allclose(tiles[..., part], expected, rtol=1e-4, atol=1e-4)


def best_piece(ratio: NDArray[np.float64]) -> float:
    """The largest sum of neighbours, 0 if none is positive."""
    sums = np.concatenate([[0], np.cumsum(ratio)])
    return float(max((sums[i:].max() - sums[i] for i in range(len(sums))), default=0.0))


@settings(max_examples=40)
@given(cases)
def test_pieces_of_rows_and_columns_are_their_definition(given_case: Any) -> None:
    image, mask, cell, table, slow, fast = given_case
    tiles = np.empty((-(-slow // 4), -(-fast // 4), 2), F4)
    rows, columns = np.empty((slow, 3), F4), np.empty((fast, 3), F4)
    sums.tiles_and_pieces(image, mask, cell, table, fast, 0.8, 1.0, tiles, rows, columns)
    alone = np.empty_like(tiles)
    sums.tile_sums(image, mask, cell, table, fast, False, alone)
    assert np.array_equal(tiles, alone)
    deviation = image * table[cell, 0] - table[cell, 1]
    use = np.isin(mask, (GOOD, sums.SHADE)) | ((mask == OUTLIER) & (deviation < 0))
    ratio = np.where(use, (deviation + table[cell, 1]) * np.log(0.2) + 0.8 * table[cell, 1], 0)
    for pieces, lines in ((rows, ratio.reshape(slow, fast)), (columns, ratio.reshape(slow, fast).T)):
        for (first, end, total), line in zip(pieces, lines, strict=True):
            best = best_piece(line)
            if best > 1.0 or pieces is columns:
                assert total == pytest.approx(best, rel=1e-4, abs=1e-4)
            assert line[int(first) : int(end)].sum() == pytest.approx(total, rel=1e-4, abs=1e-4)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 30))
def test_tiles_are_closed_where_the_mask_leaves_nothing_to_decide(seed: int, slow: int, fast: int) -> None:
    rng = np.random.default_rng(seed)
    tiles = (-(-slow // 4), -(-fast // 4))
    whole = rng.random(tiles) < 0.5
    mask = np.where(whole.repeat(4, 0).repeat(4, 1)[:slow, :fast], OUTLIER, GOOD).astype(np.uint8)
    depth = (rng.random(tiles) < 0.2).astype(F4)
    before, closed = depth.copy(), np.empty(tiles, np.bool_)
    sums.close_tiles(mask.ravel(), fast, 0.1, depth, closed)
    near = np.pad(before, 1)
    near = np.max([near[i : i + tiles[0], j : j + tiles[1]] for i in range(3) for j in range(3)], axis=0) > 0
    assert np.array_equal(closed, whole & near)
    assert np.array_equal(depth, np.where(closed & (before == 0), F4(0.1), before))


def test_the_information_of_a_pixel_is_its_counts() -> None:
    counts = np.zeros((levels.SECTORS * CELLS.rings, 3))
    image = read_only(exposed(9.0, np.ones((SIZE, SIZE))).astype(F4).ravel())
    levels.add_cells(image, np.zeros(SIZE**2, np.uint8), CELL, SIZE, np.ones(SIZE, np.bool_), True, counts)
    assert levels.information(counts.reshape(levels.SECTORS, CELLS.rings, 3)) == pytest.approx(9, rel=0.1)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 30), st.sampled_from([0.5, 2.0, 4.0]))
def test_windows_are_their_definition(seed: int, slow: int, fast: int, significance: float) -> None:
    rng = np.random.default_rng(seed)
    tiles = np.stack([rng.normal(-0.5, 2, (slow, fast)), rng.random((slow, fast)) + 1], axis=-1).astype(F4)
    depth = np.zeros((slow, fast), F4)
    many = search.seeds(tiles, 0.08, significance, depth)
    expected, count = np.zeros((slow, fast)), 0
    for size in (1, 2, 3, 4, 6, 8, 12, 16):
        step, heights = max(1, size // 2), []
        places = [(i, j) for i in range(slow - size + 1) for j in range(fast - size + 1)]
        window = {at: tiles[at[0] : at[0] + size, at[1] : at[1] + size].sum((0, 1), np.float64) for at in places}
        for at, (d, n) in window.items():
            if at[0] % step == at[1] % step == 0:
                heights.append(min(1000, max(0, int(10 * d / np.sqrt(n)))))
        ordered = sorted(heights, reverse=True)
        usual = ordered[len(ordered) // 20] / 10 if ordered else 0.0
        for (i, j), (d, n) in window.items():
            if d < -0.08 * n and d * d > max(significance, search.EXCESS * usual) ** 2 * n:
                count += 1
                near = expected[max(0, i - 1) : i + size + 1, max(0, j - 1) : j + size + 1]
                np.maximum(near, min(-d / n, 1.0), out=near)
    assert many == count
    assert np.allclose(depth, expected, rtol=1e-5)


def test_sectors_are_counted_from_chi_0_and_rings_from_the_beam() -> None:
    cells = Cells.of(np.array([0, 1, 2]), np.array([-0.1, 0.0, np.pi]), 4)
    assert cells.cell.tolist() == [3 * 3 + 0, 0 * 3 + 1, 2 * 3 + 2]
