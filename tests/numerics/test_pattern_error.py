"""`pattern_error` tells the mask whose pattern is nearest to the truth, from the frame alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import foldnorm

from xrdpipe.numerics.constants import EDGE, OUTLIER, USER
from xrdpipe.numerics.pattern_error import PARTS, PatternError, pattern_error, sum_errors

SIDE, RINGS, LEVEL = 160, 8, 100.0
Image = NDArray[np.float32]
Mask = NDArray[np.uint8]


def rings() -> tuple[NDArray[np.int64], dict[str, NDArray[np.generic]]]:
    """Return the ring of every pixel of a frame, -1 outside, and the samples of all rings: pixels by azimuth."""
    y, x = np.indices((SIDE, SIDE)) - SIDE // 2
    ring = ((np.hypot(y, x) - 20) // 7).astype(int).ravel()
    ring[(ring < 0) | (ring >= RINGS)] = -1
    order = np.lexsort((np.arctan2(y, x).ravel(), ring))
    at = order[ring[order] >= 0].astype(np.uint32)
    ones = np.ones(at.size, np.float32)
    ends = np.concatenate([[0], np.cumsum(np.bincount(ring[at]))])
    rows = np.arange(RINGS)
    samples = {"rows": rows, "ends": ends, "at": at, "weights": ones, "norms": ones, "stride": np.array([1])}
    return ring, samples | {"order": np.argsort(at).astype(np.uint32)}


def scene(seed: int) -> tuple[Image, Mask]:
    """Return a frame with an arm of a beamstop and hot pixels, and the mask of these."""
    rng = np.random.default_rng(seed)
    expected = np.full((SIDE, SIDE), LEVEL)
    bad = np.zeros((SIDE, SIDE), np.uint8)
    bad[75:86, 80:] = OUTLIER
    expected[bad > 0] *= 0.1
    frame = rng.poisson(expected).astype(np.float32)
    hot = rng.random(frame.shape) < 1e-3
    frame[hot] = 5000
    bad[hot] = OUTLIER
    return frame.ravel(), bad.ravel()


def error_of(frame: Image, mask: Mask) -> tuple[PatternError, float]:
    """Return the estimated and the true error of the pattern that a mask leaves."""
    ring, samples = rings()
    good = (ring >= 0) & (mask == 0)
    with np.errstate(invalid="ignore"):
        pattern = np.bincount(ring[good], frame[good], RINGS) / np.bincount(ring[good], minlength=RINGS)
    found = pattern_error(frame, frame, mask, SIDE, pattern, samples)
    return found, float(np.abs(pattern - LEVEL).sum() / (RINGS * LEVEL))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_masks_are_ranked_by_the_true_error_of_their_patterns(seed: int) -> None:
    frame, bad = scene(seed)
    clipped = np.where(frame > LEVEL, EDGE, bad).astype(np.uint8)
    masks = [bad, np.zeros_like(bad), np.where(frame > 1000, OUTLIER, 0).astype(np.uint8), clipped]
    told = [error_of(frame, mask) for mask in masks]
    estimated, true = [each.total for each, _ in told], [error for _, error in told]
    assert np.argmin(estimated) == np.argmin(true) == 0
    assert estimated[1:] == pytest.approx(true[1:], rel=0.1)


@pytest.mark.slow
def test_the_error_is_the_mean_of_its_parts() -> None:
    found, _ = error_of(*scene(1))
    assert len(found.parts) == PARTS
    assert found.total == pytest.approx(np.mean(found.parts))


def test_pixels_that_the_user_masks_are_no_part_of_the_truth() -> None:
    frame, bad = scene(1)
    known = np.where(bad > 0, USER, 0).astype(np.uint8)
    broken = np.where(known > 0, np.float32(1e6), frame)
    assert error_of(broken, known)[0] == error_of(frame, known)[0]


def test_a_bad_pixel_that_is_marked_by_the_largest_float32_does_no_harm() -> None:
    frame = np.random.default_rng(1).poisson(LEVEL, SIDE * SIDE).astype(np.float32)
    mask = np.zeros(frame.size, np.uint8)
    mask[60 * SIDE + 40] = OUTLIER
    frame[mask > 0] = np.finfo(np.float32).max
    ring, samples = rings()
    good = (ring >= 0) & (mask == 0)
    pattern = np.bincount(ring[good], frame[good], RINGS) / np.bincount(ring[good], minlength=RINGS)
    assert pattern_error(frame / 2, frame, mask, SIDE, pattern / 2, samples).total < 0.02


@settings(max_examples=25)  # the first example compiles
@given(st.integers(0, 2**32 - 1))
def test_the_sum_of_the_errors_follows_its_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, stride, gain = 40, 3, 1.5
    found = np.column_stack(
        [rng.uniform(50, 150, (rows, 3)), np.ones(rows), rng.normal(0, 3, rows), *rng.random((3, rows))]
    )
    mean, _, variance, _, bias, unsure, spread, outside = found.T
    variance = variance * gain
    noise = spread * variance
    square = np.maximum(bias**2 - unsure * variance, 0)
    square += np.where(outside**2 > 9 * (stride - 1) * noise, outside**2 - (stride - 1) * noise, 0)
    errors = foldnorm.mean(np.sqrt(square / noise), scale=np.sqrt(noise))
    parts = np.zeros(PARTS)
    assert sum_errors(found, gain, stride, parts) == pytest.approx(mean.sum())
    assert parts == pytest.approx(np.bincount(np.arange(rows) % PARTS, errors))
