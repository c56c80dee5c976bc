"""Previews: small pictures of images with their masks, and small sets of patterns, as the report shows them."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from ...io.writing import write_whole
from ...model.frame import Frame
from ...model.pattern import Pattern
from .series import AXES, Floats, first_pattern, read_series

SIDE = 300  # pixels of a picture, at most


PICTURES = 6  # on a page, at most


FOLDER = "previews"  # in a run's folder


VALUES = 1_000_000  # of patterns, at most: 5.3 MB in base64


POINTS = 1000  # of a pattern, where there are more values than that


# In the order of the bits in `kernels`; Okabe & Ito (2008): told apart with any colour vision, and on grey.
COLOURS = {
    "user": "#cc79a7",
    "detector": "#f0e442",
    "edge": "#56b4e9",
    "lower": "#0072b2",
    "upper": "#e69f00",
    "outlier": "#d55e00",
    "not_finite": "#009e73",
    "grown": "#882255",
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
        total: NDArray[np.float32] = tiles.sum(axis=(1, 3), dtype=np.float32)
        return total

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
    picture = Picture.fromarray(rgb.round().astype(np.uint8)).quantize(256, Picture.Quantize.MAXCOVERAGE)
    picture.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def write_preview(folder: Path, frame: Frame) -> None:
    """Keep a small picture of a frame for the report of the run in ``folder``."""
    mask = np.zeros(frame.image.shape, np.uint8) if frame.mask is None else frame.mask
    picture = preview_png(frame.image, mask)
    write_whole(folder / FOLDER / f"{frame.name}.png", lambda file: file.write(picture))


def pictures(folder: Path, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The pictures in a run's folder for its page, and the share of each reason, None where there are no metrics."""
    there = {path.stem: path for path in folder.glob(f"{FOLDER}/*.png")}
    chosen = [record for record in records if record["name"] in there][:PICTURES]
    return [
        {
            "name": record["name"],
            "uri": f"data:image/png;base64,{base64.b64encode(there[record['name']].read_bytes()).decode()}",
            "masked": record["masked_fraction"],
            "reasons": [
                (reason.replace("_", " "), colour, share)
                for reason, colour in COLOURS.items()
                if (share := record["metrics"].get(f"masked_{reason}", 0 if record["metrics"] else None)) != 0
            ],
        }
        for record in chosen
    ]


def small_patterns(folder: Path, names: Sequence[str], done: Sequence[int]) -> tuple[list[int], dict[str, Any], str]:
    """Which of the frames ``done`` (numbers in ``names``) are drawn, their patterns, and in words what is left out.

    The patterns are on one radial axis and have no more than `VALUES` in all.
    """
    first = first_pattern(folder, (names[number] for number in done))
    if first is None:
        return [], {}, ""
    points = len(first.radial)
    block = math.ceil(points / POINTS) if len(done) * points > VALUES else 1
    every = math.ceil(len(done) * (points // block) / VALUES)
    numbers = {names[number]: number for number in done[::every]}
    series = read_series(folder, numbers, block)
    if series is None:
        return [], {}, ""
    drawn = {"axis": AXES.get(series.unit, series.unit), "radial": packed(series.radial)}
    told = [f"one in {every} is drawn"] * (every > 1) + [f"each point is the mean of {block} bins"] * (block > 1)
    shown = [numbers[name] for name in series.names]
    return shown, {**drawn, "intensity": packed(series.intensity)}, " and ".join(told)


def compared(chis: Mapping[int, Pattern]) -> tuple[str, dict[int, dict[str, str]]]:
    """The axis; and every pattern with its difference to the first. Those in another unit are left out."""
    if not chis:
        return "", {}
    best = next(iter(chis.values()))
    drawn = {
        number: {
            "radial": packed(chi.radial),
            "intensity": packed(chi.intensity),
            "difference": packed(chi.intensity - np.interp(chi.radial, best.radial, best.intensity, np.nan, np.nan)),
        }
        for number, chi in chis.items()
        if chi.unit == best.unit
    }
    return AXES.get(best.unit, best.unit), drawn


def packed(values: Floats) -> str:
    """Base64 of float32, little endian."""
    return base64.b64encode(values.astype("<f4").tobytes()).decode()
