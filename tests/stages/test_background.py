"""What is subtracted, and how sure one is of what remains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import fabio
import numpy as np
import pytest
import tifffile
from command import FAST, call

from xrdpipe.model.errors import ConfigError, FrameError
from xrdpipe.model.frame import Frame, Info
from xrdpipe.stages.background import Background
from xrdpipe.stages.source import Source
from xrdpipe.stages.stage import Setup

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
    assert Background("a", 1, "b").needs.files == {"background": "a", "dark": "b"}
    assert Background().needs.files == {}
    several = Background(["a", "b"], dark_file=["c"], monitor="log.csv:i0").needs.files
    assert several == {
        "background[0]": "a",
        "background[1]": "b",
        "dark[0]": "c",
        "background_monitor_table": "log.csv",
    }


@pytest.mark.parametrize("scale", [-0.1, float("nan"), float("inf"), "atuo", True, None])
def test_an_impossible_scale_is_refused(scale: Any) -> None:
    with pytest.raises(ConfigError, match=f"scale={scale}"):
        Background(scale=scale)


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 5.0]])
def test_several_files_are_averaged_and_the_variance_is_that_of_the_average(
    weights: list[float] | None, data: Path, setup: Setup
) -> None:
    # Every pixel is a repetition; the backgrounds saw 1, 2 and 5 times the beam where they are weighted so.
    rng = np.random.default_rng(4)
    sample = rng.poisson(1100, SHAPE).astype(np.float32)
    airs = [rng.poisson(1000, SHAPE) for _ in range(3)]
    darks = [rng.poisson(100, SHAPE) for _ in range(4)]
    stage = Background(
        [constant(data, f"air_{number}.tif", each) for number, each in enumerate(airs)],
        0.5,
        [constant(data, f"dark_{number}.tif", each) for number, each in enumerate(darks)],
        weights,
    )
    frame = stage.prepare(replace(setup, variance=True))(Frame("a", sample, variance=np.maximum(sample, 1)))
    dark, air = np.mean(darks, axis=0), np.average(airs, axis=0, weights=weights)
    np.testing.assert_allclose(frame.image, (sample - dark) - 0.5 * (air - dark), atol=2e-3)
    assert frame.image.dtype == np.float32
    assert frame.variance is not None
    assert frame.variance.mean() == pytest.approx(frame.image.var(), rel=5 * np.sqrt(2 / sample.size))


def test_the_average_of_one_file_is_that_file(air: Path, frames: list[Path], setup: Setup) -> None:
    frame = Frame("a", Source().read(frames[0]))
    one, alone = (Background(files, 0.3).prepare(setup)(frame) for files in ([str(air)], str(air)))
    assert one.image.tobytes() == alone.image.tobytes()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"file": []}, "file="),
        ({"file": [1]}, "file="),
        ({"file": "a", "weights": [1.0, 2.0]}, "a number > 0 for each of the 1 background files expected"),
        ({"file": ["a", "b"], "weights": [1.0, 0.0]}, "a number > 0"),
        ({"file": "a", "monitor_value": 5.0}, "monitor is null"),
        ({"file": "a", "monitor": "i0", "monitor_value": 0.0}, "a number > 0 expected"),
    ],
)
def test_what_cannot_be_averaged_or_scaled_is_refused(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Background(**keys)


@pytest.mark.parametrize(("own", "scale"), [(2.0, 0.75), (None, 0.5)])
def test_the_monitor_of_frame_and_background_scales_it(
    own: float | None, scale: float, data: Path, setup: Setup
) -> None:
    files = []
    for number, monitor in enumerate((2, 4)):
        files.append(str(data / f"air_{number}.edf"))
        fabio.edfimage.EdfImage(np.full(SHAPE, 100, np.float32), {"i0": str(monitor)}).write(files[-1])
    stage = Background(files, 0.5, monitor="i0", monitor_value=own)
    frame = stage.prepare(setup)(Frame("a", np.full(SHAPE, 200, np.float32), header={"i0": "3"}))
    assert frame.info.factors == {"background_scale": pytest.approx(scale)}
    np.testing.assert_allclose(frame.image, 200 - 100 * scale, rtol=1e-6)
    with pytest.raises(FrameError, match=r"background\.monitor=i0: not in the header of b\.edf"):
        stage.prepare(setup)(Frame("b", np.full(SHAPE, 200, np.float32), info=Info("b.edf")))


def test_a_background_without_its_monitor_is_refused_before_any_frame(data: Path, setup: Setup) -> None:
    stage = Background(constant(data, "air.tif", 100.0), monitor="i0")
    with pytest.raises(ConfigError, match=r"i0: not in the header of air\.tif.*say background\.monitor_value"):
        stage.prepare(setup)


def test_a_glob_of_backgrounds_is_averaged_recorded_and_left_out_of_the_images(
    frames: list[Path], poni: Path, data: Path, tmp_path: Path
) -> None:
    for number in (2, 10):
        tifffile.imwrite(data / f"air_{number}.tiff", tifffile.imread(frames[0]) // number)
    words = (f"poni={poni}", f"images={data}/*.tiff", f"background.file={data}/air_*.tiff", *FAST)
    told = call(*words, f"output_dir={tmp_path / 'out'}", "mask=none")
    assert told.status == 0, told.err
    header = (tmp_path / "out" / "ni_1.chi").read_text()
    assert header.index("# background[0]: air_2.tiff xxh128:") < header.index("# background[1]: air_10.tiff xxh128:")
    assert '"file": ["air_2.tiff", "air_10.tiff"]' in header
    assert str(data) not in header
    assert sorted(path.name for path in (tmp_path / "out").glob("*.chi")) == ["ni_1.chi", "ni_2.chi", "ni_3.chi"]
    (tmp_path / "elsewhere").mkdir()
    (data / "air_2.tiff").rename(tmp_path / "elsewhere" / "moved.tiff")
    assert call("replay", tmp_path / "out", f"inputs={tmp_path / 'elsewhere'}").status == 0


def test_a_glob_that_gives_nothing_is_refused_with_its_key(frames: list[Path], poni: Path, tmp_path: Path) -> None:
    told = call(f"poni={poni}", frames[0], "background.dark_file=dark_*.tif", f"output_dir={tmp_path / 'out'}")
    assert told.status == 2
    assert "background.dark_file=dark_*.tif: no file matches" in told.err
