"""Pixels in ring order: always those of the frame at hand."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from xrdpipe.geometry.ring_values import RingValues
from xrdpipe.geometry.rings import Rings
from xrdpipe.model.frame import Frame

RING = np.random.default_rng(0).integers(0, 5, (20, 30))


def frame(seed: int, masked: bool = True) -> Frame:
    rng = np.random.default_rng(seed)
    image = rng.normal(size=RING.shape).astype(np.float32)
    image[3, 4] = np.inf
    return Frame("frame", image, mask=(rng.random(RING.shape) < 0.2).astype(np.uint8) if masked else None)


def in_rings(frame: Frame) -> NDArray[np.float32]:
    good = ~frame.masked & np.isfinite(frame.image)
    return np.where(good, frame.image, np.float32(np.nan)).ravel()[Rings.of(RING).order]


@pytest.mark.parametrize("masked", [True, False])
def test_the_values_are_the_good_pixels_ring_by_ring_and_the_frame_stays_as_it_is(masked: bool) -> None:
    one = frame(1, masked)
    before = one.image.tobytes(), one.masked.tobytes()
    assert np.array_equal(RingValues(Rings.of(RING)).of(one), in_rings(one), equal_nan=True)
    assert (one.image.tobytes(), one.masked.tobytes()) == before


def test_values_that_are_kept_are_of_this_frame_in_this_thread_alone() -> None:
    values, one, other = RingValues(Rings.of(RING)), frame(1), frame(2)
    assert one.mask is not None
    mask = one.mask.copy()
    values.scatter(one.image.ravel(), mask.ravel())
    kept = values.keep(one, mask)
    assert np.array_equal(values.of(kept), in_rings(kept), equal_nan=True)
    wider = replace(kept, mask=np.maximum(mask, np.eye(*RING.shape, dtype=np.uint8)))
    brighter = replace(kept, image=2 * kept.image)
    with ThreadPoolExecutor(1) as pool:
        assert np.array_equal(pool.submit(lambda: values.of(other).copy()).result(), in_rings(other), equal_nan=True)
    for each in (kept, wider, brighter, other, kept):
        assert np.array_equal(values.of(each), in_rings(each), equal_nan=True)


def test_a_frame_whose_values_are_kept_cannot_change_unnoticed() -> None:
    values, one = RingValues(Rings.of(RING)), frame(1)
    mask = np.zeros(RING.shape, np.uint8)
    values.scatter(one.image.ravel(), mask.ravel())
    kept = values.keep(one, mask)
    assert kept.mask is not None
    with pytest.raises(ValueError, match="read-only"):
        kept.image[0, 0] = 7
    with pytest.raises(ValueError, match="read-only"):
        kept.mask[0, 0] = 1
    one.image[0, 0] = 7  # what the caller owns stays writeable
