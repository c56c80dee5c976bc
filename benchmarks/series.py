"""What the mask of a series finds of pixels that are bad in every frame: `python -m benchmarks.series [--half odd]`.

Each scene of `benchmarks.scenes` is exposed several times, with the same defects. The mask of the series is compared
with what ``mask=robust`` masks in one of the frames. Cosmic rays are bad in one frame alone: they do not count in the
mask of a frame, and are wrong in the mask of a series.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .masks import masks
from .scenes import KINDS, Recipe, Scene, expose, scene

WEAK = 1.0  # counts a pixel: scenes with fewer are reported apart; so are spots, which are the same in all frames


def compare(one: Scene, seed: int, frames: int, folder: Path) -> dict[str, tuple[float, float]]:
    """Recall and precision of the mask of one frame and of that of a series."""
    import xrdpipe

    exposed = [expose(one, 1000 * seed + number) for number in range(frames)]
    images = {f"frame_{number}": each.image.astype(np.float32) for number, each in enumerate(exposed)}
    (folder / "scene.poni").write_text(one.poni_text)
    background = {}
    if one.background is not None:
        np.save(folder / "background.npy", one.background.astype(np.float32))
        background = {"background": {"file": str(folder / "background.npy")}}
    ray = exposed[0].label == KINDS.index("zinger")
    bad = exposed[0].bad & ~ray
    series = xrdpipe.static_mask(folder / "scene.poni", images, **background).mask != 0
    return {"one frame": _score(masks(exposed[0], folder)["robust"] & ~ray, bad), "series": _score(series, bad)}


def _score(mask: NDArray[np.bool_], bad: NDArray[np.bool_]) -> tuple[float, float]:
    hits = np.count_nonzero(mask & bad)
    return hits / max(1, np.count_nonzero(bad)), hits / max(1, np.count_nonzero(mask))


def main() -> None:
    """Print recall and precision of every scene, and their medians and means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--half", choices=("even", "odd"), default="even")
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--first", type=int, default=600, help="the even seed to begin with")
    parser.add_argument("--frames", type=int, default=20)
    asked = parser.parse_args()
    found: list[tuple[Recipe, dict[str, tuple[float, float]]]] = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(asked.first + (asked.half == "odd"), asked.first + 2 * asked.scenes, 2):
            one = scene(seed)
            found.append((one.recipe, compare(one, seed, asked.frames, Path(folder))))
            print(seed, f"{one.recipe.counts:.2f}", found[-1][1], flush=True)
    groups: dict[str, Callable[[Recipe], bool]] = {
        f"smooth rings, below {WEAK:g} counts a pixel": lambda what: not what.grains and what.counts < WEAK,
        f"smooth rings, from {WEAK:g} counts a pixel": lambda what: not what.grains and what.counts >= WEAK,
        "spotty rings": lambda what: bool(what.grains),
    }
    for name, belongs in groups.items():
        chosen = [each for what, each in found if belongs(what)]
        if not chosen:
            continue
        print(f"{name}: {len(chosen)} scenes; recall and precision, median (mean)")
        for kind in ("one frame", "series"):
            table = np.array([each[kind] for each in chosen])
            middle, mean = np.median(table, axis=0), table.mean(axis=0)
            print(f"  {kind}: {middle[0]:.3f} ({mean[0]:.3f}), {middle[1]:.3f} ({mean[1]:.3f})")


if __name__ == "__main__":
    main()
