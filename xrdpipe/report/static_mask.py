"""What a static mask leaves besides itself: a picture, a table, a file that says who masked what and why."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.static_mask import REASONS, StaticMask
from ..stages.plot.preview import COLOURS

REASON_COLOURS = {**COLOURS, "stuck": "#ff00ff", "flickering": "#00e5e5"}


PIXELS = 1000  # of a side of the picture's panels, at most


DPI = 130


def reason_rows(found: StaticMask) -> list[dict[str, Any]]:
    """Return the rows of the table on the terminal: every reason that masked a pixel, and the sum."""
    size = found.reasons.size
    rows = [
        {"reason": name.replace("_", " "), "pixels": str(many), "share": _percent(many, size), "why": REASONS[name]}
        for name, many in found.counts.items()
        if many
    ]
    total = int(np.count_nonzero(found.reasons))
    return [*rows, {"reason": "together", "pixels": str(total), "share": _percent(total, size), "why": ""}]


def _percent(many: int, size: int) -> str:
    return f"{100 * many / size:.3g} %"


def mask_record(found: StaticMask, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the JSON file beside the mask says: it repeats to the byte, without time, host and folder."""
    size = found.reasons.size
    return {
        "program": provenance.get("program", ""),
        "shape": list(found.reasons.shape),
        "masked": int(np.count_nonzero(found.reasons)),
        "masked_fraction": round(float(np.count_nonzero(found.reasons) / size), 6),
        "reasons": {
            name: {"pixels": many, "fraction": round(many / size, 6), "why": REASONS[name]}
            for name, many in found.counts.items()
        },
        "seen_in_the_sum_alone": found.together,
        "frames": list(found.frames),
        "failed": dict(found.failed),
        "doubts": list(found.doubts),
        "made_by": {key: value for key, value in provenance.items() if key != "program"},
    }


def mask_png(found: StaticMask) -> bytes:
    """Draw the mean image, and the same with the mask over it, a colour for each reason; PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    step = max(1, -(-max(found.mean.shape) // PIXELS))
    grey = _grey(_blocks(np.where(np.isfinite(found.mean), found.mean, 0), step))
    rgb = np.repeat(grey[..., np.newaxis], 3, axis=2)
    over, patches = rgb.copy(), []
    for name, many in found.counts.items():
        if not many:
            continue
        colour = np.array(list(bytes.fromhex(REASON_COLOURS[name][1:])), np.float32) / 255
        weight = np.sqrt(_blocks(found.of_reason(name), step))[..., np.newaxis]  # so that single pixels are seen
        over = over * (1 - weight) + colour * weight
        label = f"{name.replace('_', ' ')}: {many}"
        patches.append(Patch(color=tuple(colour), label=label))
    figure = Figure(figsize=(13, 7.3), dpi=DPI, layout="constrained")
    canvas: Any = FigureCanvasAgg(figure)
    frames = f"mean of {len(found.frames)} frames"
    for axes, picture, title in zip(
        figure.subplots(1, 2), (rgb, over), (frames, f"masked: {100 * found.mask.mean():.2f} %"), strict=True
    ):
        axes.imshow(np.clip(picture, 0, 1), interpolation="nearest")
        axes.set(xticks=[], yticks=[], title=title)
    if patches:
        figure.legend(handles=patches, loc="outside lower center", ncols=5, title="pixels by reason", frameon=False)
    buffer = io.BytesIO()
    canvas.print_png(buffer)
    return buffer.getvalue()


def _grey(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Strong pixels dark, by the root of the counts from the 1st to the 99.5th percentile."""
    root = np.sqrt(np.maximum(image, 0))
    low, high = np.percentile(root[root > 0], (1, 99.5)) if (root > 0).any() else (0.0, 1.0)
    return (1 - 0.85 * np.clip((root - low) / max(high - low, 1e-9), 0, 1)).astype(np.float32)


def _blocks(values: NDArray[Any], step: int) -> NDArray[np.float32]:
    """Return the mean of blocks of ``step`` pixels a side; rows and columns that fill none are left out."""
    slow, fast = (max(1, size // step) for size in values.shape)
    tiles = values[: slow * step, : fast * step].reshape(slow, step, fast, step)
    mean: NDArray[np.float32] = tiles.mean(axis=(1, 3), dtype=np.float32)
    return mean
