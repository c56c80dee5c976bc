"""Small images with their masks, and small sets of patterns, for the report."""

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

SIDE = 300  # largest side of a preview, pixels
PICTURES = 6  # most previews on a page
FOLDER = "previews"  # in the folder of the run
VALUES = 1_000_000  # most values of all patterns on a page: 5.3 MB in base64
POINTS = 1000  # points of a pattern, if there are more values than that
# In the order of the bits in `kernels`. Colours of Okabe & Ito (2008): distinct for any colour vision, and on grey.
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
    """Return a PNG of an image in which strong pixels are dark and masked pixels have the colour of the reason.

    The grey level follows the square root of the counts, from the 1st to the 99.5th percentile.

    Parameters
    ----------
    image
        Counts, (slow, fast).
    mask
        Bits of `kernels`, 0 = good, (slow, fast).
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
    weight = np.minimum(2 * total / step**2, 1)[
        ..., np.newaxis
    ]  # doubled, so that a masked line among good pixels stays visible
    rgb = shown * (1 - weight) + colour / np.maximum(total, 1)[..., np.newaxis] * weight
    buffer = io.BytesIO()
    picture = Picture.fromarray(rgb.round().astype(np.uint8)).quantize(256, Picture.Quantize.MAXCOVERAGE)
    picture.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def write_preview(folder: Path, frame: Frame) -> None:
    """Write the preview of a frame into the folder of its run, for the report."""
    mask = np.zeros(frame.image.shape, np.uint8) if frame.mask is None else frame.mask
    picture = preview_png(frame.image, mask)
    write_whole(folder / FOLDER / f"{frame.name}.png", lambda file: file.write(picture))


def previews(folder: Path, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the previews for the report of a run.

    Parameters
    ----------
    folder
        Folder of the run.
    records
        Records of the frames.

    Returns
    -------
    list of dict
        ``name``, ``uri`` (a data URI of the PNG), ``masked`` (share of masked pixels), and ``reasons``: name, colour
        and share of each; the share is None without metrics.
    """
    paths = {path.stem: path for path in folder.glob(f"{FOLDER}/*.png")}
    chosen = [record for record in records if record["name"] in paths][:PICTURES]
    return [
        {
            "name": record["name"],
            "uri": f"data:image/png;base64,{base64.b64encode(paths[record['name']].read_bytes()).decode()}",
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
    """Return patterns for the report of a run, on one radial axis, at most `VALUES` values in all.

    Parameters
    ----------
    folder
        Folder of the run.
    names
        Names of all frames.
    done
        Indices in ``names`` of the frames that are done.

    Returns
    -------
    drawn
        Indices of the frames whose patterns are returned.
    patterns
        ``axis``, ``radial`` and ``intensity`` for the page; empty without patterns.
    thinned
        Text that says what is left out; empty if nothing is.
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
    axis = {"axis": AXES.get(series.unit, series.unit), "radial": encode_floats(series.radial)}
    thinned = [f"one in {every} is drawn"] * (every > 1) + [f"each point is the mean of {block} bins"] * (block > 1)
    drawn = [numbers[name] for name in series.names]
    return drawn, {**axis, "intensity": encode_floats(series.intensity)}, " and ".join(thinned)


def compare_patterns(patterns: Mapping[int, Pattern]) -> tuple[str, dict[int, dict[str, str]]]:
    """Compare patterns with the first one, for the report of a sweep.

    Parameters
    ----------
    patterns
        Patterns by job. Those in another unit than the first are left out.

    Returns
    -------
    str
        Label of the radial axis.
    dict
        ``radial``, ``intensity`` and ``difference`` of each pattern, base64, by job.
    """
    if not patterns:
        return "", {}
    best = next(iter(patterns.values()))
    drawn = {
        number: {
            "radial": encode_floats(pattern.radial),
            "intensity": encode_floats(pattern.intensity),
            "difference": encode_floats(
                pattern.intensity - np.interp(pattern.radial, best.radial, best.intensity, np.nan, np.nan)
            ),
        }
        for number, pattern in patterns.items()
        if pattern.unit == best.unit
    }
    return AXES.get(best.unit, best.unit), drawn


def encode_floats(values: Floats) -> str:
    """Return the values as base64 of little-endian float32."""
    return base64.b64encode(values.astype("<f4").tobytes()).decode()
