"""What is subtracted, and how sure one is of what remains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from xrdpipe.background import Background
from xrdpipe.frame import Frame
from xrdpipe.source import Source
from xrdpipe.stage import ConfigError, Setup

SHAPE = (120, 100)


def constant(folder: Path, name: str, value: Any) -> str:
    tifffile.imwrite(folder / name, np.broadcast_to(np.float32(value), SHAPE).copy())
    return str(folder / name)


@pytest.mark.parametrize(
    ("keys", "left"),
    [
        ({}, 1100),
        ({"file": 300.0}, 800),
        ({"file": 300.0, "scale": 0.5}, 950),
        ({"dark_file": 100.0}, 1000),
        ({"file": 300.0, "dark_file": 100.0}, 800),
        ({"file": 300.0, "dark_file": 100.0, "scale": 0.5}, 900),
        ({"file": 300.0, "dark_file": 100.0, "scale": 0.0}, 1000),
    ],
)
def test_dark_goes_first_from_sample_and_background_alike(
    keys: dict[str, float], left: float, data: Path, setup: Setup
) -> None:
    given: dict[str, Any] = {key: v if key == "scale" else constant(data, f"{key}.tif", v) for key, v in keys.items()}
    frame = Background(**given).prepare(setup)(Frame("a", np.full(SHAPE, 1100, np.float32)))
    assert frame.image.dtype == np.float32
    assert frame.variance is None
    np.testing.assert_allclose(frame.image, left, rtol=1e-6)


def test_pixels_are_subtracted_each_from_its_own(data: Path, setup: Setup, frames: list[Path], air: Path) -> None:
    read = Source().read
    frame = Background(str(air), 0.25).prepare(setup)(Frame("a", read(frames[0])))
    np.testing.assert_allclose(frame.image, read(frames[0]).astype(float) - 0.25 * read(air), rtol=1e-6, atol=1e-3)


def test_background_and_dark_are_turned_like_the_frames(data: Path, setup: Setup, frames: list[Path]) -> None:
    source = Source(transform=["flipud", "fliplr"])
    image = source.read(frames[0])
    frame = Background(str(frames[0])).prepare(replace(setup, read=source.read))(Frame("a", image))
    assert not frame.image.any()


def test_the_frame_before_is_left_alone(data: Path, setup: Setup) -> None:
    before = Frame("a", np.ones(SHAPE, np.float32), variance=np.ones(SHAPE, np.float32))
    Background(constant(data, "b.tif", 1.0)).prepare(replace(setup, variance=True))(before)
    assert np.all(before.image == 1)
    assert np.all(before.variance == 1)


@pytest.mark.parametrize(
    ("scale", "with_dark", "with_background"),
    [
        (1.0, False, True),
        (0.5, False, True),
        (3.0, False, True),
        (1.0, True, True),
        (0.5, True, True),
        (1.0, True, False),
    ],
)
def test_the_variance_is_the_scatter_of_repeated_measurements(
    scale: float, with_dark: bool, with_background: bool, data: Path, setup: Setup
) -> None:
    # Every pixel is a repetition: frames, background and dark of Poisson noise, 100 of them dark counts.
    rng = np.random.default_rng(1)
    sample, air, dark = (rng.poisson(mean, SHAPE).astype(np.float32) for mean in (1100, 1000, 100))
    keys: dict[str, Any] = {"scale": scale}
    if with_background:
        keys["file"] = constant(data, "air.tif", air)
    if with_dark:
        keys["dark_file"] = constant(data, "dark.tif", dark)
    frame = Background(**keys).prepare(replace(setup, variance=True))(
        Frame("a", sample, variance=np.maximum(sample, 1))
    )
    assert frame.variance is not None
    assert frame.variance.dtype == np.float32
    assert frame.variance.mean() == pytest.approx(frame.image.var(), rel=5 * np.sqrt(2 / sample.size))


def test_an_empty_pixel_has_the_variance_of_one_count(data: Path, setup: Setup) -> None:
    nothing = constant(data, "zero.tif", 0.0)
    frame = Frame("a", np.zeros(SHAPE, np.float32), variance=np.ones(SHAPE, np.float32))
    after = Background(nothing, 2.0).prepare(replace(setup, variance=True))(frame)
    assert after.variance is not None
    np.testing.assert_allclose(after.variance, 1 + 4)


@pytest.mark.parametrize("key", ["file", "dark_file"])
def test_another_shape_is_refused_with_file_and_both_shapes(key: str, data: Path, setup: Setup) -> None:
    tifffile.imwrite(data / "odd.tif", np.zeros((100, 120), np.uint16))
    with pytest.raises(ConfigError, match=r"odd\.tif is 100 x 120 pixels.*120 x 100"):
        Background(**{key: str(data / "odd.tif")}).prepare(setup)


def test_its_files_are_named_as_inputs() -> None:
    assert Background("a", 1, "b").inputs() == {"background": "a", "dark": "b"}
    assert Background().inputs() == {}


@pytest.mark.parametrize("scale", [-0.1, float("nan"), float("inf")])
def test_an_impossible_scale_is_refused(scale: float) -> None:
    with pytest.raises(ConfigError, match=f"scale={scale}"):
        Background(scale=scale)
