"""Reports as one reads them: in a real browser, from disk, without a network."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from xrdpipe.numerics import constants
from xrdpipe.numerics.outliers import GROWN
from xrdpipe.stages.plot.preview import COLOURS, SIDE, preview_png


def _pixels(png: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_every_reason_has_its_colour_in_the_order_of_the_bits() -> None:
    bits = [constants.USER, constants.DETECTOR, constants.EDGE, constants.LOWER, constants.UPPER, constants.OUTLIER]
    mask = np.repeat(np.array([*bits, constants.NOT_FINITE, GROWN, 0], np.uint8), 10)[None].repeat(20, axis=0)
    pixels = _pixels(preview_png(np.ones(mask.shape, np.float32), mask))
    found = [bytes(pixels[10, 5 + 10 * n]).hex() for n in range(8)]
    assert [f"#{each}" for each in found] == list(COLOURS.values())
    assert pixels[10, 85].tolist() == [255, 255, 255]


def test_a_picture_keeps_the_way_up_and_the_proportions_of_its_image() -> None:
    image = np.zeros((1000, 700), np.float32)
    image[:100] = 1000
    pixels = _pixels(preview_png(image, np.zeros(image.shape, np.uint8)))
    assert pixels.shape == (250, 175, 3)
    assert max(pixels.shape) <= SIDE
    assert pixels[5, 50].max() < 60
    assert pixels[200, 50].min() > 200


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 2), (301, 299)])
def test_an_image_of_any_shape_has_a_picture(shape: tuple[int, int]) -> None:
    image = np.full(shape, np.nan, np.float32)
    assert _pixels(preview_png(image, np.full(shape, constants.NOT_FINITE))).size
    assert _pixels(preview_png(image, np.zeros(shape, np.uint8))).size


def test_a_few_masked_pixels_among_many_keep_their_colour() -> None:
    rng = np.random.default_rng(0)
    mask = np.where(rng.random((2000, 2000)) < 0.045, constants.OUTLIER, np.uint8(0))
    mask[700:714, 700:714] = constants.USER
    pixels = _pixels(preview_png(rng.poisson(50, mask.shape).astype(np.float32), mask))
    assert bytes(pixels[101, 101]).hex() == COLOURS["user"][1:]
