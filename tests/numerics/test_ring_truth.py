"""The bad pixels of a ring and what a mask makes of it, against the same definitions in plain numpy."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from xrdpipe.model.arrays import read_only
from xrdpipe.numerics.constants import DETECTOR, EDGE, OUTLIER, USER
from xrdpipe.numerics.pattern_error import ARRAYS, compare, sample_bins
from xrdpipe.numerics.ring_truth import judge_ring
from xrdpipe.numerics.sparse_matrix import Matrix

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

COLUMNS, RINGS = 40, 3


def surprise(value: Floats, level: Floats) -> Floats:
    return value * np.log(np.where(value > 0, value / level, 1.0)) - (value - level)


def is_spot(frame: Floats, at: int, level: float, limit: float) -> bool:
    """A bright pixel whose neighbours in three of the four directions are bright too."""
    row, column = divmod(at, COLUMNS)
    padded = np.pad(frame, 1)
    steps = ((0, 1), (1, -1), (1, 0), (1, 1))
    best = [max(padded[row + 1 + s * a, column + 1 + s * b] for s in (1, -1)) for a, b in steps]
    third = np.array(max(sorted(best)[1], 0.0))
    return bool(third - level >= 0.1 * (frame[row, column] - level) and surprise(third, np.array(level)) >= limit / 3)


def runs(score: Floats, limit: float) -> Bools:
    """Where the sum of the score, from 0 again where it falls below, rises above the limit: from start to top."""
    found = np.zeros(score.size, np.bool_)
    start = 0
    while start < score.size:
        sums = np.cumsum(score[start:])
        tops = np.maximum.accumulate(np.maximum(sums, 0))
        over = np.flatnonzero((sums <= 0) | (tops - sums > limit))
        end = int(over[0]) + 1 if over.size else sums.size
        if sums[:end].max() > limit:
            found[start : start + int(np.argmax(sums[:end])) + 1] = True
        start += end
    return found


def blocks_of(counts: Floats, bad: Bools, wide: float, level: float) -> tuple[Floats, float]:
    """The level of every pixel by the running median of the means of blocks, and how much the blocks scatter."""
    good = ~bad
    many = int(min(32, max(1, min(counts[good].sum() / 16 / wide, good.sum() / 6))))
    ends = np.arange(many + 1) * counts.size // many
    parts = [slice(first, last) for first, last in pairwise(ends)]
    sizes = np.array([good[part].sum() for part in parts])
    means = np.array([counts[part][good[part]].mean() if good[part].any() else np.nan for part in parts])
    reach = max(2, many // 6)
    window = min(many, 2 * reach + 1)
    firsts = np.clip(np.arange(many) - reach, 0, many - window)
    near = [means[first : first + window] for first in firsts]
    levels = np.array([max(np.nanmedian(each), 0.02) if np.isfinite(each).any() else level for each in near])
    filled = sizes > 0
    off = np.abs(means - levels)[filled] / np.sqrt(levels[filled] / sizes[filled])
    ripple = float((1.4826 * np.median(off)) ** 2) if many >= 6 and off.size else 1.0
    return np.repeat(levels, np.diff(ends)), ripple


def judge(frame: Floats, at: NDArray[Any], counts: Floats, masked: Bools, nudge: float = 0.0) -> tuple[Bools, float]:
    """The bad pixels of a ring, and its noise; ``nudge`` moves the limits."""
    ceiling = 3 * max(float(np.median(counts)), 0) + 8
    level = max(float(np.minimum(counts, ceiling).mean()), 0.02)
    noise = 1.0
    if counts.size > 8:
        spread = (1.0484 * float(np.median(np.abs(np.diff(counts))))) ** 2
        noise = spread / level if level > 5 or spread > 20 else 1.0
    wide = max(noise, 1.0) + nudge
    levels = np.full(counts.size, level)
    for _ in range(2):
        far = surprise(counts, levels) > 12 * wide
        spots = [far[k] and is_spot(frame, int(at[k]), levels[k], 12 * wide) for k in range(counts.size)]
        bad = far & ((counts < levels) | ~np.array(spots))
        levels, ripple = blocks_of(counts, bad, wide, level)
        limit = 8 * max(wide, ripple)
        for share in (0.15, 0.7):
            bad |= runs(counts * np.log(share) + levels * (1 - share), limit)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], masked, [0]])))
    for first, last in edges.reshape(-1, 2):
        signal, expected = counts[first:last].sum(), levels[first:last].sum()
        if last - first >= 3 and signal < 0.92 * expected and surprise(signal, expected) > wide:
            bad[first:last] = True
    return bad, noise


FRAMES = {
    "seed": st.integers(0, 2**32 - 1),
    "level": st.sampled_from([0.05, 0.5, 3.0, 40.0, 2000.0]),
    "texture": st.sampled_from([0.0, 0.4]),
    "rows": st.integers(1, 4),
    "odd": st.sampled_from([0.0, 0.02]),
    "one_sided": st.booleans(),
    "weighted": st.booleans(),
}


def scene(
    seed: int, level: float, texture: float, rows: int, odd: float, one_sided: bool, weighted: bool
) -> dict[str, NDArray[Any]]:
    """A frame of rings that lie row by row, with shadows, a share of odd pixels, and a mask."""
    rng = np.random.default_rng(seed)
    shape = RINGS * rows, COLUMNS
    along = np.arange(shape[0] * COLUMNS).reshape(RINGS, -1)
    ring = np.repeat(np.arange(RINGS), along.shape[1])
    azimuth = np.tile(np.linspace(-3, 3, along.shape[1]), RINGS)
    expected = level * (1 + ring) * (1 + texture * np.cos(2 * azimuth))
    for _ in range(rng.integers(5)):
        first = int(rng.integers(ring.size))
        expected[first : first + int(rng.integers(3, 60))] *= rng.choice([0.01, 0.3, 0.7])
    raw = rng.poisson(expected).astype(np.float32)
    raw[rng.random(raw.size) < odd] = 0
    raw[rng.random(raw.size) < odd] += 60 + 20 * np.float32(level)
    clipped = raw < expected if one_sided else rng.random(raw.size) < 0.1
    mask = np.where(clipped, OUTLIER, 0).astype(np.uint8)
    mask[rng.random(raw.size) < 0.05] |= rng.choice([USER, DETECTOR, EDGE]).astype(np.uint8)
    norm = rng.uniform(0.5, 1, raw.size).astype(np.float32) if weighted else np.ones(raw.size, np.float32)
    image = raw - np.float32(0.3 * level)
    image[rng.random(raw.size) < 0.01] = np.nan
    return {"raw": raw, "image": image, "mask": mask, "norm": norm, "ring": ring, "chi": azimuth}


@settings(max_examples=25)  # the first example compiles
@given(**FRAMES)
def test_the_bad_pixels_of_a_ring_follow_their_definition(**what: Any) -> None:
    frame = scene(**what)
    raw = frame["raw"]
    for number in range(RINGS):
        at = np.flatnonzero(frame["ring"] == number).astype(np.uint32)
        counts, masked = raw[at], frame["mask"][at] != 0
        bad, keys = np.empty(at.size, np.bool_), np.empty(at.size, np.int32)
        noise = judge_ring(read_only(raw), COLUMNS, read_only(at), counts, masked, bad, keys)
        known = raw.reshape(-1, COLUMNS).astype(float), at, counts.astype(float), masked
        either = [judge(*known, nudge) for nudge in (-1e-9, 1e-9)]  # equal to the limit but for rounding
        assert noise == pytest.approx(either[0][1])
        assert any((bad == each).all() for each, _ in either)


@settings(max_examples=20)
@given(**FRAMES)
def test_what_a_mask_makes_of_a_ring_follows_its_definition(**what: Any) -> None:
    frame = scene(**what)
    raw, image, mask, ring, norm = (frame[name] for name in ("raw", "image", "mask", "ring", "norm"))
    starts = np.arange(raw.size + 1, dtype=np.uint32)
    matrix = Matrix(starts, ring.astype(np.uint16), np.ones(raw.size, np.float32))
    samples = sample_bins(matrix, norm, RINGS, frame["chi"])
    line, found = np.linspace(5, 50, RINGS), np.full((RINGS, 8), np.nan)
    arrays = [read_only(samples[name]) for name in ARRAYS]
    compare(read_only(image), read_only(raw), read_only(mask), COLUMNS, line, *arrays, 1, found)
    for number in range(RINGS):
        known = (mask & (USER | DETECTOR)) != 0
        at = np.flatnonzero((ring == number) & ~known & np.isfinite(image)).astype(np.uint32)
        counts, masked = raw[at].astype(float), mask[at] != 0
        bad, noise = judge(raw.reshape(-1, COLUMNS).astype(float), at, counts, masked, -1e-9)
        if (bad != judge(raw.reshape(-1, COLUMNS).astype(float), at, counts, masked, 1e-9)[0]).any():
            continue  # equal to the limit but for rounding
        good, left, n, v = ~bad, ~masked, norm[at].astype(float), image[at].astype(float)
        if not good.any():
            assert np.isnan(found[number]).all()
            continue
        mean, own = v[good].sum() / n[good].sum(), (n[good] ** 2).sum() / n[good].sum() ** 2
        variance = ((counts + np.abs(counts - v)) / n**2)[good].mean()
        expected = [mean, counts[good].mean(), max(variance, 1e-3), noise]
        if left.any():
            pattern, spread = v[left].sum() / n[left].sum(), (n[left] ** 2).sum() / n[left].sum() ** 2
            both = 2 * (n[good & left] ** 2).sum() / n[left].sum() / n[good].sum()
            expected += [pattern - mean, max(spread + own - both, 0), spread, line[number] - pattern]
        else:
            expected += [line[number] - mean, own, own, 0.0]
        assert found[number] == pytest.approx(expected, rel=1e-4, abs=1e-5)
