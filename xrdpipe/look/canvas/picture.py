"""The visible part of a frame at the resolution of the screen, as PNG."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...model.cake import Cake
from ...model.errors import ConfigError, choice, require
from ...numerics.compiled import compiled
from ...pipeline.recipe import setup_of
from ...stages.integ.cake import Regroup
from ...stages.integ.integ import Integ
from ...stages.plot.png import encode_indexed_png
from ...stages.plot.preview import COLOURS
from ..result import Result
from ..session import Session

MASKS = ("mask", "changes")  # layers of masked pixels alone
LAYERS = ("frame", "subtracted", "difference", *MASKS)
SCALES = ("linear", "sqrt", "log", "percentile")
TAKEN = ("unit", "correctSolidAngle", "polarization_factor", "radial_range")  # from the integration of the view
LARGEST = 4096  # pixels of a side of a picture
LEVELS = 240  # colours of the values; then those of the reasons, of no value, and transparent
NO_VALUE, OUTSIDE = 254, 255
STEPS, FAINTEST = 16, 0.25  # of opacity of a reason, by the share of masked pixels; the least opacity
SAMPLE = 1 << 18  # pixels that decide the contrast
PERCENTILES = (1.0, 99.5)  # of the first and the last colour, unless said otherwise
CHANGES = {"only before": "#e69f00", "only after": "#56b4e9"}  # of masked pixels, in a difference

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Part:
    """A part of a frame and how to draw it.

    Attributes
    ----------
    rows, columns
        First and last pixel edge of the part, may reach beyond the frame.
    width, height
        Size of the picture, pixels.
    scale
        One of `SCALES`; a difference is linear.
    low, high
        Counts of the first and the last colour, percentiles of the good pixels for ``scale=percentile``; None: the
        1st and the 99.5th percentile.
    reasons
        Draw masked pixels in the colours of the reasons.
    """

    rows: tuple[float, float]
    columns: tuple[float, float]
    width: int
    height: int
    scale: str = "linear"
    low: float | None = None
    high: float | None = None
    reasons: bool = True

    def __post_init__(self) -> None:
        choice("scale", self.scale, SCALES)
        for key in ("width", "height"):
            require(1 <= getattr(self, key) <= LARGEST, key, getattr(self, key), f"1 to {LARGEST} pixels expected")
        for key in ("rows", "columns"):
            first, last = getattr(self, key)
            good = bool(np.isfinite([first, last]).all()) and abs(first) < 1e7 and abs(last) < 1e7 and first < last
            require(good, key, (first, last), "two numbers expected, the smaller one first")


def frame_png(result: Result, layer: str, part: Part, before: Result | None = None) -> tuple[bytes, float, float]:
    """Return the PNG of a part of a frame, and the counts of its first and last colour.

    Strong pixels are dark; where the picture has fewer pixels than the part, values are averaged, and one masked pixel
    of several shows.

    Parameters
    ----------
    result
        What is shown.
    layer
        ``frame``: as read. ``subtracted``: after all stages. ``mask``: the reasons alone, more opaque where more pixels
        of a dot are masked. ``changes``: the same of the pixels that only one of the two masks has, before or after.
        ``difference``: of the frames after all stages, blue where it is less than in ``before``; and the changes.
    part
        What of it, and how.
    before
        For ``difference`` and ``changes``.
    """
    choice("layer", layer, LAYERS)
    mask = result.frame.mask
    mask = np.zeros(result.frame.image.shape, np.uint8) if mask is None else mask
    indices = np.full((part.height, part.width), OUTSIDE, np.uint8)
    rows, columns = (
        dot_edges(*part.rows, part.height, mask.shape[0]),
        dot_edges(*part.columns, part.width, mask.shape[1]),
    )
    low, high = 0.0, 1.0
    if layer not in MASKS:
        values = _values(result, layer, before)
        low, high = _contrast(result, layer, values, mask, part, before)
        shown = np.empty(indices.shape, np.float32)
        average(values, *rows, *columns, shown)
        indices = _levels(shown, low, high, "linear" if layer == "difference" else part.scale)
        indices[rows[0] >= rows[1]] = OUTSIDE
        indices[:, columns[0] >= columns[1]] = OUTSIDE
    if layer in ("difference", "changes"):
        mask = _kept(result, "changes", before, lambda: _changes(result, before))
    if layer in MASKS:
        cover(mask, *rows, *columns, 0, STEPS, indices)
        return encode_indexed_png(indices, _mask_palette(CHANGES if layer == "changes" else COLOURS)), low, high
    if part.reasons:
        cover(mask, *rows, *columns, LEVELS, 1, indices)
    return encode_indexed_png(indices, _palette(layer == "difference")), low, high


def _kept(result: Result, what: str, before: Result | None, make: Callable[[], Any]) -> Any:
    """Return what was made of two views; only that of the last pair is kept."""
    key = None if before is None else (before.view.id, id(before.frame))  # the same view of a file that changed
    if result.pictures.get(what, ("",))[0] != key:
        result.pictures[what] = key, make()
    return result.pictures[what][1]


def _changes(result: Result, before: Result | None) -> NDArray[np.uint8]:
    """Return the pixels that one of two masks has alone: bit 0 before, bit 1 after."""
    masked = result.frame.masked
    earlier = masked if before is None else before.frame.masked
    changes: NDArray[np.uint8] = (earlier & ~masked) + np.uint8(2) * (masked & ~earlier)
    return changes


def cake_of(session: Session, result: Result, quick: bool = False) -> tuple[Cake, bool]:
    """Return the cake of a view, and whether it is exact.

    It is made on demand with the settings of the integration and the bins of ``integ=cake``.

    Parameters
    ----------
    session, result
        The view.
    quick
        Return a preview if the exact one takes longer.

    Raises
    ------
    ConfigError
        There is no integration, or its settings allow no cake.
    """
    made = result.frame.results.cake or result.pictures.get("cake")
    if isinstance(made, Cake):
        return made, result.exact or "cake" in result.pictures
    stages = result.configured.pipeline.stages.values()
    integ = next((stage for stage in stages if isinstance(stage, Integ)), None)
    if integ is None:
        raise ConfigError("stages: there is no integ stage, so there is no cake")
    regroup = Regroup(**{key: getattr(integ, key) for key in TAKEN})
    setup = setup_of(result.configured.pipeline, session.geometry)
    if quick and not session.is_prepared("cake", regroup, setup):
        return session.preview.cake(regroup, result.frame), False
    cake = session.prepared("cake", regroup, setup)(result.frame).results.cake
    assert cake is not None
    result.pictures["cake"] = cake
    return cake, True


def cake_png(intensity: NDArray[np.float64], width: int, height: int, scale: str) -> tuple[bytes, float, float]:
    """Return the PNG of a cake, (azimuthal, radial), the first azimuth at the bottom; see `frame_png`."""
    values = np.ascontiguousarray(intensity[::-1], np.float32)
    part = Part((0, values.shape[0]), (0, values.shape[1]), width, height, scale)
    good = values[np.isfinite(values)]
    low, high = map(float, np.percentile(good, PERCENTILES)) if good.size else (0.0, 1.0)
    shown = np.empty((height, width), np.float32)
    average(
        values,
        *dot_edges(*part.rows, height, values.shape[0]),
        *dot_edges(*part.columns, width, values.shape[1]),
        shown,
    )
    return encode_indexed_png(_levels(shown, low, high, scale), _palette(False)), low, high


def _values(result: Result, layer: str, before: Result | None) -> Floats:
    if layer == "subtracted":
        return result.frame.image
    if layer == "difference":
        if before is None or before.frame.image.shape != result.frame.image.shape:
            raise ConfigError("before: a view of a frame of the same shape expected")
        image = before.frame.image
        difference: Floats = _kept(result, "difference", before, lambda: result.frame.image - image)
        return difference
    bad = result.raw.info.bad
    if bad is None:
        return result.raw.image
    if "valid" not in result.pictures:  # values that mark pixels are no counts
        result.pictures["valid"] = np.where(bad, np.float32(np.nan), result.raw.image)
    valid: Floats = result.pictures["valid"]
    return valid


def _contrast(
    result: Result, layer: str, values: Floats, mask: NDArray[np.uint8], part: Part, before: Result | None
) -> tuple[float, float]:
    """Return the values of the first and the last colour."""
    key = f"sample {layer} {before.view.id if before else ''}"
    if key not in result.pictures:
        step = max(1, values.size // SAMPLE) | 1  # odd, so that all columns are reached
        some, good = values.ravel()[::step], mask.ravel()[::step] == 0
        good &= np.isfinite(some)
        sample = some[good] if good.any() else some[np.isfinite(some)]
        result.pictures[key] = np.sort(sample) if sample.size else np.zeros(1, np.float32)
    sample = result.pictures[key]
    if part.scale == "percentile" and layer != "difference":
        limits = (PERCENTILES[0] if part.low is None else part.low, PERCENTILES[1] if part.high is None else part.high)
        require(0 <= limits[0] < limits[1] <= 100, "low", limits, "two percentiles expected, the smaller one first")
        low, high = map(float, np.percentile(sample, limits))
    else:
        low, high = map(float, np.percentile(sample, PERCENTILES))
        if layer == "difference":
            high = max(abs(low), abs(high), 1e-6)
            low = -high
        low, high = low if part.low is None else part.low, high if part.high is None else part.high
    if part.scale == "log" and low <= 0 and layer != "difference":
        first = int(np.searchsorted(sample, 0, side="right"))
        low = float(sample[first]) if first < sample.size else 1e-6
    return low, high if high > low else low + 1.0


def _levels(values: Floats, low: float, high: float, scale: str) -> NDArray[np.uint8]:
    """Return the index of the colour of every value."""
    bad = ~np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        if scale == "log":
            share = np.log(np.maximum(values, np.float32(low)) / np.float32(low)) / np.log(max(high / low, 1 + 1e-6))
        else:
            share = np.clip((values - low) / max(high - low, 1e-9), 0, 1)
            share = np.sqrt(share) if scale == "sqrt" else share
        levels = np.clip(share * LEVELS, 0, LEVELS - 1)
    levels[bad] = NO_VALUE
    result: NDArray[np.uint8] = levels.astype(np.uint8)
    return result


def colours(diverging: bool = False, stops: int = 17) -> list[str]:
    """Return colours of the values, or of differences, first to last, as ``#rrggbb``."""
    chosen = _palette(diverging)[np.linspace(0, LEVELS - 1, stops).astype(int), :3]
    return [f"#{bytes(each).hex()}" for each in chosen.tolist()]


def dot_edges(first: float, last: float, count: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first pixel of every dot of the picture, and the one after its last; equal where there is none."""
    edges = first + (last - first) * np.arange(count + 1) / count
    if last - first > count:
        starts, ends = np.floor(edges[:-1]), np.floor(edges[1:])
    else:  # a dot is a part of a pixel
        starts = np.floor((edges[:-1] + edges[1:]) / 2)
        ends = starts + 1
    starts, ends = (np.clip(each, 0, size).astype(np.int64) for each in (starts, ends))
    return starts, np.maximum(starts, ends)


def _palette(diverging: bool) -> NDArray[np.uint8]:
    palette = np.zeros((256, 4), np.uint8)
    palette[:, 3] = 255
    share = np.linspace(0, 1, LEVELS)[:, np.newaxis]
    if diverging:
        blue, white, red = np.array([0x21, 0x66, 0xAC]), np.array([255, 255, 255]), np.array([0xB2, 0x18, 0x2B])
        low, high = np.clip(2 * share, 0, 1), np.clip(2 * share - 1, 0, 1)
        palette[:LEVELS, :3] = np.round(blue * (1 - low) + white * (low - high) + red * high)
    else:
        palette[:LEVELS, :3] = np.round(255 * (1 - 0.85 * share))  # as in previews
    for number, colour in enumerate((CHANGES if diverging else COLOURS).values(), LEVELS):
        palette[number, :3] = list(bytes.fromhex(colour[1:]))
    palette[NO_VALUE] = 255
    palette[OUTSIDE] = 0
    return palette


def _mask_palette(colours: Mapping[str, str]) -> NDArray[np.uint8]:
    """Return the colours of the bits of a mask, each in `STEPS` of opacity."""
    palette = np.zeros((256, 4), np.uint8)
    opacity = np.linspace(FAINTEST, 1, STEPS)
    for number, colour in enumerate(colours.values()):
        steps = slice(number * STEPS, (number + 1) * STEPS)
        palette[steps, :3] = list(bytes.fromhex(colour[1:]))
        palette[steps, 3] = np.round(255 * opacity)
    return palette


@compiled
def average(
    values: Floats,
    top: NDArray[np.int64],
    bottom: NDArray[np.int64],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    out: Floats,
) -> None:
    """Average the finite values of every dot, rows top to bottom, columns left to right; NaN where there is none."""
    height, width = out.shape
    total, count = np.zeros(width, np.float64), np.zeros(width, np.int64)
    for dot in range(height):
        total[:], count[:] = 0, 0
        for row in range(top[dot], bottom[dot]):
            for column in range(width):
                for at in range(left[column], right[column]):
                    value = values[row, at]
                    if np.isfinite(value):
                        total[column] += value
                        count[column] += 1
        for column in range(width):
            out[dot, column] = total[column] / count[column] if count[column] else np.nan


@compiled
def cover(
    mask: NDArray[np.uint8],
    top: NDArray[np.int64],
    bottom: NDArray[np.int64],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    first: int,
    steps: int,
    indices: NDArray[np.uint8],
) -> None:
    """Set every dot with a masked pixel to the index of its first reason, and of the share of masked pixels.

    ``first`` is the index of the first reason, ``steps`` the number of indices of each.
    """
    height, width = indices.shape
    for dot in range(height):
        for column in range(width):
            bits, masked, total = np.uint8(0), 0, 0
            for row in range(top[dot], bottom[dot]):
                for at in range(left[column], right[column]):
                    bits |= mask[row, at]
                    masked += mask[row, at] != 0
                    total += 1
            if bits:
                reason = 0
                while not bits & 1:
                    bits >>= 1
                    reason += 1
                step = (masked * steps + total - 1) // total - 1
                indices[dot, column] = first + reason * steps + step
