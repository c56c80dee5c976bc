"""The process in which numba simulates a GPU: the variable must be set before numba is imported.

`test_cuda.py` starts it. Command lines come in as JSON, their statuses and messages go out; without command lines, the
kernels are compared with plain numpy and with the loops of the processor.
"""

from __future__ import annotations

import json
import sys
import threading
import warnings
from typing import Any

import numpy as np
from command import call
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numba.cuda.simulator.kernelapi import FakeCUDAShared
from numpy.typing import NDArray

from xrdpipe.model.arrays import read_only
from xrdpipe.model.frame import Frame
from xrdpipe.numerics import integration, kernels
from xrdpipe.numerics.cuda.device import Device

F4 = np.float32
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 2.0**24, 2.0**24 + 2, 3.4e38, -3.4e38, 1e-45, -1e-45, 1.0, 2.0]
INF = float("inf")
few = settings(max_examples=25, deadline=None, derandomize=True, database=None)
seeds = st.integers(0, 2**32 - 1)


_allocating = threading.Lock()


def shared_array(self: Any, shape: Any, dtype: Any) -> NDArray[Any]:
    """In place of the simulator's own, where two threads that begin at once may get an array each."""
    caller = sys._getframe(1)
    with _allocating:
        made: NDArray[Any] = self._allocations.setdefault((caller.f_code, caller.f_lineno), np.empty(shape, dtype))
        return made


def random_image(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Counts of all sizes, many of them equal, and special values."""
    kinds = [rng.poisson(3, shape), rng.normal(0, 10.0 ** rng.integers(-30, 30), shape), rng.choice(SPECIAL, shape)]
    return np.select([rng.random(shape) < rng.random(), rng.random(shape) < 0.9], kinds[:2], kinds[2]).astype(F4)


def random_rings(rng: np.random.Generator, pixels: int) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    ring = rng.integers(0, 7, pixels)
    order = np.argsort(ring, kind="stable").astype(np.uint32)
    return order, np.concatenate([[0], np.cumsum(np.bincount(ring, minlength=7))])


def random_matrix(rng: np.random.Generator, pixels: int, bins: int) -> dict[str, NDArray[Any]]:
    counts = rng.integers(0, 4, pixels)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.uint32)
    numbers = rng.integers(0, bins, starts[-1]).astype(np.uint16)
    return {"starts": starts, "bins": numbers, "coefs": rng.random(starts[-1]).astype(F4)}


def masked_by_processor(
    image: NDArray[np.float32], mask: NDArray[np.uint8], rings: Any, limits: tuple[float, float], alpha: float
) -> NDArray[np.uint8]:
    order, starts = rings
    slots, out = np.empty_like(order), mask.copy()
    slots[order] = np.arange(order.size, dtype=np.uint32)
    values = np.empty(order.size, F4)
    kernels.scatter_to_rings(read_only(image.ravel()), out, *limits, slots, values)
    kernels.mask_median(values, order, starts, alpha, out)
    return out


@few
@given(seeds, st.sampled_from([(-INF, INF), (0.0, 100.0)]), st.sampled_from([1e-9, 1.0, 2.0, 3.0]))
def masks_are_those_of_the_processor(seed: int, limits: tuple[float, float], alpha: float) -> None:
    rng = np.random.default_rng(seed)
    image, mask = random_image(rng, (12, 17)), (rng.random(204) < 0.1).astype(np.uint8)
    rings = random_rings(rng, image.size)
    expected = masked_by_processor(image, mask, rings, limits, alpha)
    flat = read_only(image.ravel())
    Device(image.shape).outliers(*rings, limits, alpha)(flat, flat, mask)
    assert mask.tobytes() == expected.tobytes()


def pixels_at_the_limit_itself_are_decided_as_the_processor_does() -> None:
    rng = np.random.default_rng(0)
    for count in (2, 3, 8, 150):
        image = np.tile(F4([-0.1, 0.1]), (1, count)) + F4(7)
        image[0, : count // 3] = rng.choice(image[0], count // 3)
        rings = np.arange(image.size, dtype=np.uint32), np.array([0, image.size])
        v = image[0].astype(float)
        ratios = np.unique(np.abs(v - np.median(v)) / v.std())
        for alpha in (*ratios, *np.nextafter(ratios, 0), *np.nextafter(ratios, 9)):
            mask = np.zeros(image.size, np.uint8)
            expected = masked_by_processor(image, mask, rings, (-INF, INF), float(alpha))
            flat = read_only(image.ravel())
            Device(image.shape).outliers(*rings, (-INF, INF), float(alpha))(flat, flat, mask)
            assert mask.tobytes() == expected.tobytes()


@few
@given(seeds, st.booleans(), st.booleans(), st.floats(0, 3))
@example(0, True, True, 1.0)
def differences_are_those_of_numpy(seed: int, has_dark: bool, has_net: bool, scale: float) -> None:
    rng = np.random.default_rng(seed)
    image, dark, net = (random_image(rng, (5, 9)) for _ in range(3))
    expected = image - dark if has_dark else image
    expected = expected - F4(scale) * net if has_net else expected
    subtract = Device(image.shape).subtraction(dark if has_dark else None, net if has_net else None)
    found = subtract(image, scale)
    assert np.array_equal(found, expected, equal_nan=True)
    assert not found.flags.writeable


@few
@given(seeds, st.booleans(), st.booleans(), st.booleans())
def sums_are_those_of_the_processor(seed: int, weighted: bool, errors: bool, masked: bool) -> None:
    rng = np.random.default_rng(seed)
    image = rng.normal(10, 100, (11, 13)).astype(F4)
    image[rng.random(image.shape) < 0.05] = np.nan
    variance = rng.choice(F4([1, 2, 30, np.inf]), image.shape, p=[0.5, 0.3, 0.15, 0.05])
    norm = rng.choice(F4([0.9, 1.1, 0, np.nan]), image.size, p=[0.6, 0.3, 0.05, 0.05]) if weighted else np.empty(0, F4)
    mask = (rng.random(image.shape) < 0.2).astype(np.uint8)
    cached = random_matrix(rng, image.size, 6) | {"norm": norm}
    frame = Frame("f", image, variance if errors else None, mask if masked else None)
    expected = np.zeros((5, 6))
    matrix = cached["starts"], cached["bins"], cached["coefs"]
    flat_mask = mask.ravel() if masked else np.zeros(image.size, np.uint8)
    flat_variance = variance.ravel() if errors else np.empty(0, F4)
    arrays = image.ravel(), flat_mask, norm, flat_variance
    integration.integrate(*map(read_only, arrays), False, *map(read_only, matrix), expected)
    found = Device(image.shape).summation(cached, 6, errors)(frame)
    assert np.array_equal(found[0], image.ravel(), equal_nan=True)
    assert np.array_equal(found[1], flat_mask)
    if not (weighted or errors):  # the processor leaves them out
        found[2][3] = 0
    np.testing.assert_allclose(found[2], expected, rtol=1e-12, atol=1e-9)


def an_image_that_a_stage_in_between_has_made_is_the_one_that_is_summed() -> None:
    rng = np.random.default_rng(1)
    image, mask = rng.random((8, 8)).astype(F4), np.zeros((8, 8), np.uint8)
    device, rings = Device(image.shape), random_rings(rng, 64)
    cached = random_matrix(rng, 64, 3) | {"norm": np.empty(0, F4)}
    sum_bins = device.summation(cached, 3, False)
    frame = Frame("f", device.subtraction(image / 2, None)(image, 0.0))
    device.outliers(*rings, (-INF, INF), 5.0)(read_only(frame.image.ravel()), image, mask.ravel())
    frame = device.keep(frame, mask)
    kept = sum_bins(frame)[2]
    for other in (frame.image * 2, frame.image.T, np.ascontiguousarray(frame.image[::-1])):
        changed = Frame("f", other, None, frame.mask)
        assert np.array_equal(sum_bins(changed)[2], Device((8, 8)).summation(cached, 3, False)(changed)[2])
    some = Frame("f", frame.image, None, (frame.image < np.median(frame.image)).astype(np.uint8))
    assert not np.array_equal(sum_bins(some)[2], kept)
    assert np.array_equal(sum_bins(frame)[2], kept)


def main(lines: list[list[str]]) -> None:
    """Run command lines and print [status, messages] of each; without any, run what stands above."""
    FakeCUDAShared.array = shared_array
    sys.setswitchinterval(1e-5)  # simulated threads wait for each other all the time
    if lines:
        print(json.dumps([(answer.status, answer.err) for answer in (call(*words) for words in lines)]))
        return
    warnings.filterwarnings("ignore", "invalid value|overflow", RuntimeWarning)
    masks_are_those_of_the_processor()
    pixels_at_the_limit_itself_are_decided_as_the_processor_does()
    differences_are_those_of_numpy()
    sums_are_those_of_the_processor()
    an_image_that_a_stage_in_between_has_made_is_the_one_that_is_summed()


if __name__ == "__main__":
    main([json.loads(word) for word in sys.argv[1:]])
