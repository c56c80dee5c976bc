"""What masks find of bad pixels whose truth is known: `python -m benchmarks.masks [--half odd]`.

A region (shadow, arm, gap, line) is asked for where what it lacks is more than ten standard deviations of what would be
there. Odd seeds are for figures that are reported, even ones for development.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .scenes import KINDS, REGIONS, Scene, scene

MASKS: dict[str, dict[str, Any]] = {"without regions": {"regions": False}, "robust": {"regions": True}}
ROBUST = {"edge": 0, "lower_thresh": None, "alpha": 4.5, "auto_type": "mad"}
SIGNIFICANT = 10.0  # standard deviations


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


def main() -> None:
    """Print a table of the scenes and its summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--half", choices=("even", "odd"), default="even")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="the even seed to begin with")
    asked = parser.parse_args()
    table: dict[str, list[dict[str, float]]] = {name: [] for name in MASKS}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(asked.first + (asked.half == "odd"), asked.first + 2 * asked.scenes, 2):
            what = scene(seed)
            for name, mask in masks(what, Path(folder)).items():
                table[name].append(score(what, mask))
            row = table["robust"][-1]
            print(
                seed,
                f"{what.recipe.counts:.2f}",
                {key: round(float(value), 4) for key, value in row.items()},
                flush=True,
            )
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


if __name__ == "__main__":
    main()
