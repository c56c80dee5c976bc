"""What the detector makes of the counts: its response, and where it has no more room."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from command import FAST, call

from xrdpipe.model.errors import ConfigError
from xrdpipe.model.frame import Frame
from xrdpipe.numerics.constants import DETECTOR, EDGE, OUTLIER, UPPER, USER
from xrdpipe.stages.background import Background
from xrdpipe.stages.correction import Correction
from xrdpipe.stages.mask import Mask
from xrdpipe.stages.source import Source
from xrdpipe.stages.stage import Setup

SHAPE = (120, 100)


@pytest.fixture
def flat(data: Path) -> str:
    """A response of 0.5 in the left half and 2 in the right one; four pixels have none."""
    response = np.full(SHAPE, 0.5, np.float32)
    response[:, 50:] = 2
    response[0, :4] = 0, -1, np.nan, np.inf
    tifffile.imwrite(data / "flat.tif", response)
    return str(data / "flat.tif")


def test_nothing_asked_for_leaves_the_frame_as_it_is(setup: Setup) -> None:
    frame = Frame("a", np.ones(SHAPE, np.float32))
    assert Correction().prepare(setup)(frame) is frame


def test_the_image_is_divided_by_the_flat_field_and_the_variance_by_its_square(flat: str, setup: Setup) -> None:
    before = Frame("a", np.full(SHAPE, 8, np.float32), variance=np.full(SHAPE, 16, np.float32))
    after = Correction(flat).prepare(setup)(before)
    assert after.variance is not None
    assert after.image.dtype == after.variance.dtype == np.float32
    assert (after.image[1:, 0].max(), after.image[1:, 99].max()) == (16, 4)
    assert (after.variance[1:, 0].max(), after.variance[1:, 99].max()) == (64, 4)
    assert (before.image == 8).all()


def test_pixels_without_a_response_are_masked_and_harm_nothing(flat: str, setup: Setup) -> None:
    after = Correction(flat).prepare(setup)(Frame("a", np.full(SHAPE, 8, np.float32)))
    assert after.mask is not None
    assert (after.mask[0, :4] == DETECTOR).all()
    assert np.count_nonzero(after.mask) == 4
    assert np.isfinite(after.image).all()


def test_the_flat_field_is_turned_like_the_frames(flat: str, setup: Setup) -> None:
    turned = Correction(flat).prepare(replace(setup, read=Source(transform=["fliplr"]).read))
    assert turned(Frame("a", np.ones(SHAPE, np.float32))).image[5, 0] == 0.5


def test_saturation_looks_at_what_was_read_before_anything_was_subtracted(data: Path, setup: Setup) -> None:
    raw = np.full(SHAPE, 1000, np.float32)
    raw[5, 5:8] = 65534, 65535, 65536
    tifffile.imwrite(data / "air.tif", np.full(SHAPE, 999, np.float32))
    tifffile.imwrite(data / "dark.tif", np.full(SHAPE, 500, np.float32))
    frame = Background(str(data / "air.tif"), 1.0, str(data / "dark.tif")).prepare(setup)(Frame("a", raw))
    after = Correction(saturation=65535.0).prepare(setup)(frame)
    assert after.mask is not None
    assert list(after.mask[5, 4:9]) == [0, 0, UPPER, UPPER, 0]
    assert np.count_nonzero(after.mask) == 2


def test_what_was_masked_before_keeps_its_reason(flat: str, setup: Setup) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[0, :2] = mask[5, 5] = USER
    image = np.full(SHAPE, 8, np.float32)
    image[5, 5:7] = 100
    after = Correction(flat, 50.0).prepare(setup)(Frame("a", image, mask=mask))
    assert after.mask is not None
    assert list(after.mask[0, :4]) == [USER, USER, DETECTOR, DETECTOR]
    assert list(after.mask[5, 5:7]) == [USER, UPPER]
    assert np.count_nonzero(mask) == 3


def test_the_mask_stage_adds_to_it(flat: str, setup: Setup) -> None:
    image = np.random.default_rng(0).normal(1000, 30, SHAPE).astype(np.float32)
    image[60, 20] = 1e6
    corrected = Correction(flat).prepare(setup)(Frame("a", image))
    corrected = replace(corrected, image=image)  # which is flat already
    mask = Mask(edge=2, alpha=6.0).prepare(setup)(corrected).mask
    assert mask is not None
    assert (mask[0, :4] == DETECTOR | EDGE).all()
    assert (mask[0, 4:] == EDGE).all()
    assert mask[60, 20] == OUTLIER


def test_a_flat_field_of_another_shape_is_refused(data: Path, setup: Setup) -> None:
    tifffile.imwrite(data / "odd.tif", np.ones((100, 120), np.float32))
    with pytest.raises(ConfigError, match=r"flat_file=.*odd\.tif: 100 x 120 pixels.*120 x 100"):
        Correction(str(data / "odd.tif")).prepare(setup)


def test_a_flat_field_of_zeros_is_refused(data: Path, setup: Setup) -> None:
    tifffile.imwrite(data / "zero.tif", np.zeros(SHAPE, np.float32))
    with pytest.raises(ConfigError, match="no pixel of it is above zero"):
        Correction(str(data / "zero.tif")).prepare(setup)


@pytest.mark.parametrize("saturation", [0.0, -1.0, np.nan, np.inf])
def test_an_impossible_saturation_is_refused(saturation: float) -> None:
    with pytest.raises(ConfigError, match="saturation="):
        Correction(saturation=saturation)


def test_the_default_command_line_takes_both_and_says_so(
    flat: str, poni: Path, frames: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    keys = ("correction.saturation=65535", f"correction.flat_file={flat}", "mask=none")
    assert call(f"poni={poni}", frames[0], *keys, *FAST, f"output_dir={out}").status == 0
    header = (out / "ni_1.chi").read_text()
    assert "# flat: flat.tif xxh128:" in header
    assert '"flat_file": "flat.tif", "saturation": 65535.0' in header
    assert "masked_detector" in (out / "summary.csv").read_text()
    assert call("replay", out).status == 0
