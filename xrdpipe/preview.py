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

from .formats import read_pattern
from .frame import Pattern

SIDE = 300  # pixels of a picture, at most
PICTURES = 6  # on a page, at most
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
}

AXES = {"q_A^-1": "q (Å⁻¹)", "q_nm^-1": "q (nm⁻¹)", "2th_deg": "2θ (°)", "2th_rad": "2θ (rad)", "r_mm": "r (mm)"}

Floats = NDArray[np.float64]


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


def pictures(folder: Path, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The pictures in a run's folder for its page, and the share of each reason, None where there are no metrics."""
    there = {path.stem: path for path in folder.glob("previews/*.png")}
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
    first = next((chi for number in done if (chi := read_pattern(folder, names[number]))), None)
    if first is None:
        return [], {}, ""
    points = len(first.radial)
    block = math.ceil(points / POINTS) if len(done) * points > VALUES else 1
    every = math.ceil(len(done) * (points // block) / VALUES)
    read = {number: read_pattern(folder, names[number]) for number in done[::every]}
    found = {number: chi for number, chi in read.items() if chi is not None and chi.unit == first.unit}
    axis = max((chi.radial for chi in found.values()), key=len, default=first.radial)
    axis = axis[: len(axis) // block * block]
    rows = np.array([_thin(_onto(axis, chi), block) for chi in found.values()])
    drawn = {"axis": AXES.get(first.unit, first.unit), "radial": packed(_thin(axis, block)), "intensity": packed(rows)}
    told = [f"one in {every} is drawn"] * (every > 1) + [f"each point is the mean of {block} bins"] * (block > 1)
    return list(found), drawn, " and ".join(told)


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


def _onto(axis: Floats, chi: Pattern) -> Floats:
    """A pattern on another axis by the nearest bin; NaN where that is further than half a step: an empty bin."""
    right = np.clip(np.searchsorted(chi.radial, axis), 1, len(chi.radial) - 1)
    nearest = np.where(axis - chi.radial[right - 1] < chi.radial[right] - axis, right - 1, right)
    close = abs(chi.radial[nearest] - axis) <= np.median(np.diff(axis)) / 2
    return np.where(close, chi.intensity[nearest], np.nan)


def _thin(values: Floats, block: int) -> Floats:
    """The mean of every ``block`` values; NaN where none of them is finite."""
    tiles = values.reshape(-1, block)
    counts = np.isfinite(tiles).sum(axis=1)
    return np.where(counts, np.nansum(tiles, axis=1) / np.maximum(counts, 1), np.nan)
