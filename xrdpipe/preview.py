"""Preview: a small picture of an image with its mask in colour by reason, for the report."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

SIDE = 300  # pixels of a preview, at most
# In the order of the bits in `kernels`; Okabe & Ito (2008): told apart with any colour vision, and on grey.
COLOURS = {
    "user": "#cc79a7",
    "detector": "#f0e442",
    "edge": "#56b4e9",
    "lower": "#0072b2",
    "upper": "#e69f00",
    "outlier": "#d55e00",
    "not_finite": "#009e73",
}


def preview_png(image: NDArray[np.float32], mask: NDArray[np.uint8]) -> bytes:
    """PNG of an image (counts, (slow, fast)), strong pixels dark, with the masked ones in their reason's colour.

    ``mask`` holds the bits of `kernels`, 0 = good. The shorter the way from white to black, the stronger the pixel:
    by the square root of the counts, from the 1st to the 99.5th percentile of what is shown.
    """
    step = min(-(-max(image.shape) // SIDE), *image.shape)

    def blocks(values: NDArray[Any]) -> NDArray[np.float32]:
        slow, fast = (size // step for size in values.shape)
        tiles = values[: slow * step, : fast * step].reshape(slow, step, fast, step)
        return tiles.sum(axis=(1, 3), dtype=np.float32)

    good = (mask == 0) & np.isfinite(image)
    count = blocks(good)
    mean = np.sqrt(np.maximum(blocks(np.where(good, image, np.float32(0))) / np.maximum(count, 1), 0))
    low, high = np.percentile(mean[count > 0], (1, 99.5)) if count.any() else (0.0, 1.0)
    grey = 255 * (1 - 0.85 * np.clip((mean - low) / max(high - low, 1e-9), 0, 1))
    shown = np.repeat(np.where(count > 0, grey, 255)[..., np.newaxis], 3, axis=2)
    colour, total = np.zeros_like(shown), np.zeros_like(count)
    present = int(np.bitwise_or.reduce(mask, axis=None))
    for bit, value in enumerate(COLOURS.values()):
        if present & (1 << bit):
            share = blocks((mask & (1 << bit)) != 0)
            colour += share[..., np.newaxis] * np.array(list(bytes.fromhex(value[1:])), np.float32)
            total += share
    weight = np.minimum(2 * total / step**2, 1)[..., np.newaxis]  # twice: a masked line is still seen among good ones
    rgb = shown * (1 - weight) + colour / np.maximum(total, 1)[..., np.newaxis] * weight
    buffer = io.BytesIO()
    picture = Picture.fromarray(rgb.round().astype(np.uint8)).quantize(256)
    picture.save(buffer, format="png", optimize=True)
    return buffer.getvalue()
