"""The mask stage against its definition, written once more in plain numpy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from xrdpipe.geometry.geometry import shared_geometry
from xrdpipe.geometry.poni import Poni
from xrdpipe.model.errors import ConfigError, FrameError
from xrdpipe.model.frame import Frame, Info
from xrdpipe.stages.mask import Mask
from xrdpipe.stages.source import Source
from xrdpipe.stages.stage import Setup

SHAPE = (120, 100)
OFF: dict[str, Any] = {"edge": 0, "lower_thresh": None, "upper_thresh": None, "alpha": None}


def ring_numbers(setup: Setup) -> NDArray[np.int64]:
    """The definition in words, line by line: rings about a pixel wide."""
    ai, shape = setup.geometry.integrator, setup.geometry.shape
    r, q, dq = ai.rArray(shape), ai.qArray(shape) / 10, ai.deltaQ(shape) / 10
    step = np.hypot(ai.pixel1, ai.pixel2) / 2
    radial = np.arange(r.min() - step, r.max() + step, step)
    inside = [(r >= low) & (r < high) for low, high in pairwise(radial)]
    edges = np.cumsum(np.array([dq[ring].max() if ring.any() else 0 for ring in inside], dq.dtype))
    edges[0] = dq.min()
    edges[-1] = max(edges[-1], q.max())
    numbers = np.array([np.count_nonzero(edges <= value) for value in q.ravel()]).reshape(shape)
    numbers[q == edges[-1]] = len(edges) - 1
    return numbers


def expected(
    image: NDArray[np.float32], numbers: NDArray[np.int64], stage: Mask, user: Any = None
) -> NDArray[np.bool_]:
    bad = np.zeros(image.shape, bool) if user is None else user.copy()
    if stage.edge:
        bad[: stage.edge] = bad[-stage.edge :] = True
        bad[:, : stage.edge] = bad[:, -stage.edge :] = True
    with np.errstate(invalid="ignore"):
        if stage.lower_thresh is not None:
            bad |= image < stage.lower_thresh
        if stage.upper_thresh is not None:
            bad |= image > stage.upper_thresh
    bad |= ~np.isfinite(image)
    if stage.alpha is None:
        return bad
    for number in np.unique(numbers):
        index = np.flatnonzero((numbers == number) & ~bad)
        v = image.ravel()[index].astype(float)
        if stage.auto_type == "median":
            if v.size and v.std() > 0:
                bad.ravel()[index[np.abs(v - np.median(v)) > stage.alpha * v.std()]] = True
        else:
            while v.size and v.std() > 0:
                score = np.abs(v - v.mean()) / v.std()
                worst = int(np.argmax(score))
                if score[worst] < stage.alpha:
                    break
                bad.ravel()[index[worst]] = True
                v, index = np.delete(v, worst), np.delete(index, worst)
    return bad


@pytest.fixture
def numbers(setup: Setup) -> NDArray[np.int64]:
    return ring_numbers(setup)


@pytest.fixture
def masked(setup: Setup) -> Callable[..., NDArray[np.bool_]]:
    def run(image: NDArray[Any], **keys: Any) -> NDArray[np.bool_]:
        return Mask(**OFF | keys).prepare(setup)(Frame("a", np.asarray(image, np.float32))).masked

    return run


@pytest.fixture
def image(frames: list[Path]) -> NDArray[np.float32]:
    return Source().read(frames[0])


def test_without_anything_to_do_nothing_is_masked(masked: Any, image: NDArray[np.float32]) -> None:
    assert not masked(image).any()


@pytest.mark.parametrize("edge", [1, 7, 49])
def test_the_edge_is_the_outer_rows_and_columns(edge: int, masked: Any, image: NDArray[np.float32]) -> None:
    bad = masked(image, edge=edge)
    assert bad.sum() == image.size - (120 - 2 * edge) * (100 - 2 * edge)
    assert not bad[edge:-edge, edge:-edge].any()


@pytest.mark.parametrize("edge", [0, None])
def test_edge_zero_and_null_mask_no_edge(edge: int | None, masked: Any, image: NDArray[np.float32]) -> None:
    assert not masked(image, edge=edge).any()


def test_thresholds_are_inclusive_of_what_may_stay(masked: Any) -> None:
    image = np.full(SHAPE, 5.0)
    image[50, 50:55] = [0.999, 1, 10, 10.001, -3]
    assert masked(image, lower_thresh=1.0, upper_thresh=10.0)[50, 50:55].tolist() == [True, False, False, True, True]


@pytest.mark.parametrize("keys", [OFF, {"alpha": 2.0}, {"lower_thresh": -10.0, "alpha": 2.0}])
def test_what_is_not_finite_is_masked_always(keys: dict[str, Any], masked: Any) -> None:
    image = np.full(SHAPE, 5.0)
    image[10, 10:13] = [np.nan, np.inf, -np.inf]
    assert np.argwhere(masked(image, **keys)).tolist() == [[10, 10], [10, 11], [10, 12]]


@pytest.mark.slow
def test_a_ring_of_equal_values_has_no_outliers(masked: Any) -> None:
    for auto_type in ("median", "mean"):
        assert not masked(np.full(SHAPE, 7.0), alpha=1e-3, auto_type=auto_type).any()


def test_a_hot_and_a_dead_pixel_are_found(masked: Any) -> None:
    spoilt = np.random.default_rng(0).poisson(1000, SHAPE)
    spoilt[20, 30], spoilt[90, 70] = 60000, 0
    for auto_type, alpha in (("median", 3.0), ("mean", 4.0)):
        bad = masked(spoilt, alpha=alpha, auto_type=auto_type)
        assert bad[20, 30]
        assert bad[90, 70]
        assert bad.mean() < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("auto_type", ["median", "mean"])
@pytest.mark.parametrize("alpha", [1.0, 2.0, 3.5])
def test_the_mask_is_the_definition_pixel_for_pixel(
    auto_type: str, alpha: float, setup: Setup, image: NDArray[np.float32]
) -> None:
    spoilt = image.copy()
    spoilt[::17, ::13] = np.nan
    stage = Mask(edge=3, lower_thresh=1.0, upper_thresh=3000.0, alpha=alpha, auto_type=auto_type)
    bad = stage.prepare(setup)(Frame("a", spoilt)).masked
    np.testing.assert_array_equal(bad, expected(spoilt, ring_numbers(setup), stage))


@pytest.mark.slow
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 3, 50, 1e4, 1e-3]),
    st.sampled_from([None, 0, 1, 20]),
    st.sampled_from([None, 0.0, 2.0]),
    st.sampled_from([None, 4.0, 3e4]),
    st.sampled_from([0.5, 1.0, 1.37, 2.0, 5.0]),
    st.sampled_from(["median", "mean"]),
)
@example(0, 1, None, None, None, 1.0, "mean")
def test_any_configuration_gives_the_definition(
    setup: Setup,
    numbers: NDArray[np.int64],
    seed: int,
    size: float,
    edge: int | None,
    low: float | None,
    high: float | None,
    alpha: float,
    auto_type: str,
) -> None:
    rng = np.random.default_rng(seed)
    image = (rng.poisson(3, SHAPE) * size).astype(np.float32)  # many equal values: ties are where answers differ
    image[rng.random(SHAPE) < 0.01] = np.nan
    image[rng.random(SHAPE) < 0.01] = np.inf
    image[rng.random(SHAPE) < 0.01] *= 100
    stage = Mask(edge, low, high, alpha, auto_type)
    try:
        bad = stage.prepare(setup)(Frame("a", image)).masked
    except FrameError:
        assert expected(image, numbers, stage).all()
        return
    differ = bad != expected(image, numbers, stage)
    if auto_type == "median":
        assert not differ.any()
    else:  # within rounding of alpha either answer is right, and of a tie the whole ring hangs on it
        assert len(np.unique(numbers[differ])) <= 1


@pytest.mark.slow
def test_a_mask_does_not_depend_on_the_wavelength(poni: Path, setup: Setup, image: NDArray[np.float32]) -> None:
    text = poni.read_text()
    poni.write_text("".join(line for line in text.splitlines(keepends=True) if not line.startswith("Wavelength")))
    without = replace(setup, geometry=shared_geometry(Poni.read(str(poni)), SHAPE))
    masks = [Mask(edge=0).prepare(each)(Frame("a", image)).masked for each in (setup, without)]
    assert without.geometry.poni.wavelength is None
    np.testing.assert_array_equal(*masks)


# --- the user's own mask


def user_mask() -> NDArray[np.bool_]:
    mask = np.zeros(SHAPE, bool)
    mask[:40, 60:] = True
    return mask


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32])
def test_a_mask_file_of_zeros_and_ones_masks_the_ones(dtype: Any, data: Path, masked: Any) -> None:
    np.save(data / "mask.npy", user_mask().astype(dtype))
    np.testing.assert_array_equal(masked(np.ones(SHAPE), file=str(data / "mask.npy")), user_mask())


@pytest.mark.parametrize("suffix", ["tif", "edf"])
def test_a_mask_may_be_a_tiff_or_an_edf(suffix: str, data: Path, masked: Any) -> None:
    import fabio.edfimage
    import fabio.tifimage

    path = data / f"mask.{suffix}"
    form = {"tif": fabio.tifimage.TifImage, "edf": fabio.edfimage.EdfImage}[suffix]
    form(data=user_mask().astype(np.uint8)).write(str(path))
    np.testing.assert_array_equal(masked(np.ones(SHAPE), file=str(path)), user_mask())


def test_pixels_of_the_users_mask_do_not_count_in_their_rings(
    data: Path, setup: Setup, image: NDArray[np.float32]
) -> None:
    np.save(data / "mask.npy", user_mask())
    spoilt = np.where(user_mask(), np.float32(50000), image)
    stage = Mask(**OFF | {"alpha": 2.0, "file": str(data / "mask.npy")})
    bad = stage.prepare(setup)(Frame("a", spoilt)).masked
    np.testing.assert_array_equal(bad, expected(spoilt, ring_numbers(setup), stage, user_mask()))
    assert not bad.all()


def test_a_mask_file_is_in_the_orientation_of_the_raw_frames(data: Path, setup: Setup) -> None:
    np.save(data / "mask.npy", user_mask())
    source = Source(transform=["flipud", "fliplr"])
    turned = replace(setup, read=source.read, to_raw=source.to_raw)
    stage = Mask(**OFF | {"file": str(data / "mask.npy")})
    bad = stage.prepare(turned)(Frame("a", np.ones(SHAPE, np.float32))).masked
    np.testing.assert_array_equal(bad, user_mask()[::-1, ::-1])
    np.testing.assert_array_equal(turned.to_raw(bad), user_mask())


@pytest.mark.parametrize("value", [2, 255, -1, 0.5])
def test_a_mask_of_0_and_one_other_value_is_taken_with_a_note(value: float, data: Path, setup: Setup) -> None:
    np.save(data / "mask.npy", np.where(user_mask(), value, 0))
    for invert, bad in ((False, user_mask()), (True, ~user_mask())):
        stage = Mask(**OFF | {"file": str(data / "mask.npy"), "invert": invert})
        done = stage.prepare(setup)(Frame("a", np.ones(SHAPE, np.float32)))
        np.testing.assert_array_equal(done.masked, bad)
        read_as = f"{value:g} as good, 0 as masked" if invert else f"{value:g} as masked, 0 as good"
        assert any(note.endswith(read_as) for note in done.info.notes)


@pytest.mark.parametrize("values", [(1, 2), (128, 255), (np.nan, np.nan)])
def test_a_mask_of_more_values_is_refused(values: tuple[float, float], data: Path, masked: Any) -> None:
    bad = np.where(user_mask(), values[0], 0)
    bad[-1] = values[1]
    np.save(data / "mask.npy", bad)
    with pytest.raises(ConfigError, match=r"mask\.npy: more values than 0"):
        masked(np.ones(SHAPE), file=str(data / "mask.npy"))


def test_a_mask_of_another_shape_is_refused_with_both_shapes(data: Path, masked: Any) -> None:
    np.save(data / "mask.npy", user_mask().T)
    with pytest.raises(ConfigError, match=r"100 x 120 pixels.*120 x 100"):
        masked(np.ones(SHAPE), file=str(data / "mask.npy"))


# --- how much is masked


def test_a_frame_that_is_masked_all_over_fails(masked: Any) -> None:
    with pytest.raises(FrameError, match="every pixel"):
        masked(np.full(SHAPE, -1.0), lower_thresh=0.0)
    with pytest.raises(FrameError, match="every pixel"):
        masked(np.full(SHAPE, np.nan), alpha=2.0)


def test_an_edge_that_leaves_nothing_is_refused_before_any_frame(setup: Setup) -> None:
    for edge in (50, 60, 1000):
        with pytest.raises(ConfigError, match=f"edge={edge}"):
            Mask(edge=edge).prepare(setup)


def test_a_mask_of_more_than_half_is_used_with_a_note(setup: Setup) -> None:
    step = Mask(**OFF | {"edge": 20}).prepare(setup)
    frame = step(Frame("a", np.ones(SHAPE, np.float32), info=Info(notes=("before",))))
    assert frame.info.notes == ("before", "60 % of the pixels are masked")
    assert not Mask(**OFF | {"edge": 10}).prepare(setup)(Frame("a", np.ones(SHAPE, np.float32))).info.notes


def test_the_frame_before_is_left_alone(setup: Setup, image: NDArray[np.float32]) -> None:
    before = image.copy()
    step = Mask(edge=5).prepare(setup)
    first = step(Frame("a", image)).masked.copy()
    step(Frame("b", image * 3 + 7))
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(step(Frame("a", image)).masked, first)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"edge": -1}, "edge=-1"),
        ({"alpha": 0.0}, "alpha=0.0"),
        ({"alpha": -2.0}, "alpha=-2.0"),
        ({"alpha": float("nan")}, "alpha=nan"),
        ({"alpha": float("inf")}, "alpha=inf"),
        ({"lower_thresh": float("nan")}, "lower_thresh=nan"),
        ({"lower_thresh": 5.0, "upper_thresh": 4.0}, "upper_thresh=4.0"),
        ({"auto_type": "medain"}, "auto_type=medain.*'median'"),
    ],
)
def test_impossible_values_are_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Mask(**keys)
