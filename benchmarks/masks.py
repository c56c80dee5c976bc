"""What masks find of bad pixels whose truth is known: `python -m benchmarks.masks [--half odd] [--narrow]`.

A region (shadow, arm, gap, line) is asked for where what it lacks is more than ten standard deviations of what would be
there. ``--narrow``: single bad pixels among peaks narrower than a pixel; those count that are more than eight standard
deviations off. Odd seeds are for figures that are reported, even ones for development.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .scenes import KINDS, REGIONS, Scene, narrow_scene, scene

MASKS: dict[str, dict[str, Any]] = {"without regions": {"regions": False}, "robust": {"regions": True}}
ROBUST = {"edge": 0, "lower_thresh": None, "alpha": 4.5, "auto_type": "mad"}
SIGNIFICANT = 10.0  # standard deviations
WIDTHS = (0.3, 0.5, 0.7, 1.0, 1.5)  # of narrow peaks: pixels, full width at half maximum


def masks(what: Scene, folder: Path) -> dict[str, NDArray[np.bool_]]:
    """What each of `MASKS` masks of a scene."""
    from xrdpipe.geometry.geometry import Geometry
    from xrdpipe.geometry.poni import Poni
    from xrdpipe.model.frame import Frame, Info
    from xrdpipe.stages.mask import Mask
    from xrdpipe.stages.stage import Setup

    path = folder / "scene.poni"
    path.write_text(what.poni_text)
    setup = Setup(Geometry(Poni.read(str(path)), what.image.shape), lambda file: np.empty(0), lambda array: array)
    raw = what.image.astype(np.float32)
    frame = Frame(what.name, raw, variance=raw.clip(1))
    if what.background is not None:
        air = what.background.astype(np.float32)
        info = Info(raw=raw, factors={"background_scale": 1.0})
        frame = Frame(what.name, raw - air, variance=raw.clip(1) + air.clip(1), info=info)
    return {name: Mask(**ROBUST, **keys).prepare(setup)(frame).masked for name, keys in MASKS.items()}


def score(what: Scene, mask: NDArray[np.bool_]) -> dict[str, float]:
    """Precision and recall of all bad pixels, of single ones, and of the regions that are significant; NaN: none."""
    significant, passes = np.zeros(mask.shape, np.bool_), {"shadow": 0.01, "arm": what.recipe.arm or 0.0}
    for kind in REGIONS:
        pixels = what.label == KINDS.index(kind)
        if (1 - passes.get(kind, 0.0)) * np.sqrt(what.expected[pixels].sum()) > SIGNIFICANT:
            significant |= pixels
    false, found = np.count_nonzero(mask & ~what.bad), np.count_nonzero(mask & significant)
    single = what.bad & ~what.regions

    def share(part: float, whole: float) -> float:
        return part / whole if whole else np.nan

    any_region = bool(significant.any())
    return {
        "precision": share(np.count_nonzero(mask & what.bad), np.count_nonzero(mask)),
        "recall": share(np.count_nonzero(mask & what.bad), np.count_nonzero(what.bad)),
        "single recall": share(np.count_nonzero(mask & single), np.count_nonzero(single)),
        "region recall": share(found, np.count_nonzero(significant)),
        "region precision": share(found, found + false) if any_region else np.nan,
        "false area": false / mask.size,
        "false area, no region": np.nan if what.regions.any() else false / mask.size,
    }


def count_narrow(what: Scene, mask: NDArray[np.bool_]) -> list[int]:
    """Numbers of pixels: found and to be found, the same where counts are steep, masked rightly and masked."""
    from scipy.ndimage import maximum_filter, minimum_filter

    raw, air = what.image.astype(float), what.expected - what.net
    noise = np.maximum(np.maximum(what.expected, raw), 1) + (np.maximum(air, 1) if what.recipe.subtract else 0)
    wanted = what.bad & (abs(raw - what.expected) > 8 * np.sqrt(noise))
    rise = maximum_filter(what.expected, 3) - minimum_filter(what.expected, 3)
    steep = wanted & (rise > 6 * np.sqrt(what.expected))
    pairs = [(mask & wanted, wanted), (mask & steep, steep), (mask & what.bad, mask)]
    return [int(np.count_nonzero(each)) for pair in pairs for each in pair]


def main_narrow(seeds: range, folder: Path) -> None:
    """Print what `robust` finds among narrow peaks, a line a width."""
    for width in WIDTHS:
        scenes = (narrow_scene(seed, width) for seed in seeds)
        counts = np.array([count_narrow(what, masks(what, folder)["robust"]) for what in scenes])
        recall, steep, precision = (counts[:, k].sum() / counts[:, k + 1].sum() for k in (0, 2, 4))
        worst = (counts[:, 0] / counts[:, 1]).min()
        print(
            f"{width} pixels: {recall=:.4f} (worst scene {worst:.3f}), at peaks {steep:.4f}, {precision=:.4f}",
            flush=True,
        )


def main_scenes(seeds: range, folder: Path) -> None:
    """Print a line a scene and the summary."""
    table: dict[str, list[dict[str, float]]] = {name: [] for name in MASKS}
    for seed in seeds:
        what = scene(seed)
        for name, mask in masks(what, folder).items():
            table[name].append(score(what, mask))
        row = {key: round(float(value), 4) for key, value in table["robust"][-1].items()}
        print(seed, f"{what.recipe.counts:.2f}", row, flush=True)
    for name, rows in table.items():
        print(f"\n{name}")
        for key in rows[0]:
            values = np.array([row[key] for row in rows])
            values = values[np.isfinite(values)]
            low, middle, high = np.quantile(values, (0.1, 0.5, 0.9))
            print(f"  {key}: {len(values)} scenes, mean {values.mean():.4f}", end=", ")
            print(f"10 % {low:.4f}, median {middle:.4f}, 90 % {high:.4f}")
        both = [(row["region recall"], row["region precision"]) for row in rows if np.isfinite(row["region recall"])]
        met = np.mean([recall >= 0.95 and precision >= 0.98 for recall, precision in both])
        near = np.mean([recall >= 0.9 and precision >= 0.95 for recall, precision in both])
        print(f"  recall >= 0.95 and precision >= 0.98: {met:.2f} of {len(both)}; 0.9 and 0.95: {near:.2f}")


def main() -> None:
    """Print what masks find in random scenes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--half", choices=("even", "odd"), default="even")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="the even seed to begin with")
    parser.add_argument("--narrow", action="store_true")
    asked = parser.parse_args()
    first = asked.first + (asked.half == "odd")
    seeds = range(first, first + 2 * asked.scenes, 2)
    with tempfile.TemporaryDirectory() as folder:
        (main_narrow if asked.narrow else main_scenes)(seeds, Path(folder))


if __name__ == "__main__":
    main()
