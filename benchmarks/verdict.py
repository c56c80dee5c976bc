"""How well the verdict of a sweep over masks agrees with the truth, on random scenes: `benchmarks.scenes`.

``python -m benchmarks.verdict --half dev``: even seeds; ``--half held-out``: odd seeds; ``--issue``: one named scene,
with texture too, and with a twentieth of the counts.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from xrdpipe.geometry.geometry import Geometry
from xrdpipe.geometry.poni import Poni
from xrdpipe.model.errors import FrameError
from xrdpipe.model.frame import Frame
from xrdpipe.stages.background import Background
from xrdpipe.stages.integ.integ import Integ
from xrdpipe.stages.mask import Mask
from xrdpipe.stages.stage import Setup

from .scenes import ISSUE, Recipe, Scene, build, scene

NONE = Mask(edge=None, lower_thresh=None, alpha=None, detector=False)
OPEN = Mask(edge=None, lower_thresh=None)  # median, from no limit
ROBUST = Mask(edge=None, lower_thresh=None, alpha=4.5, auto_type="mad")
CLIP = Mask(edge=None, lower_thresh=None, alpha=5.0, auto_type="sigma_clip")

MASKS: Mapping[str, Mask] = {
    "robust, alpha 3": replace(ROBUST, alpha=3.0),
    "robust": replace(ROBUST, regions=True),
    "robust, no regions": ROBUST,
    "robust, alpha 6": replace(ROBUST, alpha=6.0),
    "default": Mask(),
    "default, alpha 3, no lower limit": Mask(alpha=3.0, lower_thresh=None),
    "sigma_clip": CLIP,
    "none": NONE,
    "strict": Mask(edge=50, lower_thresh=1.0, upper_thresh=1e5, alpha=1.5),
    "gentle": Mask(edge=None, alpha=3.0),
    "mean": Mask(auto_type="mean"),
    **{f"robust, alpha {alpha:g}": replace(ROBUST, alpha=alpha) for alpha in (2.0, 2.5, 3.5, 4.0, 5.0, 8.0, 12.0)},
    **{f"median, alpha {alpha:g}": replace(OPEN, alpha=alpha) for alpha in (2.0, 4.0, 6.0)},
    **{f"sigma_clip, alpha {alpha:g}": replace(CLIP, alpha=alpha) for alpha in (3.0, 4.0, 8.0)},
}

VARIANTS = {
    "as it is": ISSUE,
    "texture": replace(ISSUE, texture=0.5),
    "a twentieth of the counts": replace(ISSUE, counts=ISSUE.counts / 20),
}


@dataclass(frozen=True)
class Trial:
    """What one mask makes of a scene: the frame after the last stage, and how far its pattern is from the truth."""

    mask: str
    frame: Frame
    error: float

    @property
    def score(self) -> float:
        """What the verdict ranks by."""
        assert self.frame.results.pattern_error is not None
        return self.frame.results.pattern_error()[0]


class Bench:
    """A scene on its way through the stages of the program."""

    def __init__(self, one: Scene) -> None:
        self.scene, shape = one, one.image.shape
        background = one.background

        def read(path: str) -> NDArray[np.float32]:
            assert background is not None
            return background.astype(np.float32)

        self.setup = Setup(Geometry(Poni(f"{one.name}.poni", one.poni_text), shape), read, lambda array: array)
        self.integ = Integ(npt=one.recipe.size)
        self.integrate = self.integ.prepare(self.setup)
        self.background = Background() if background is None else Background(file="background")
        self.truth = self.pattern(Frame(one.name, one.net.astype(np.float32), mask=one.bad.astype(np.uint8)))

    def pattern(self, frame: Frame) -> NDArray[np.float64]:
        """The pattern of a frame as it is."""
        found = self.integrate(frame).pattern
        assert found is not None
        return found.intensity

    def trials(self) -> Iterator[Trial]:
        """One for every mask that leaves a pixel."""
        for name, mask in MASKS.items():
            setup = replace(self.setup, variance=mask.needs.variance)
            image = self.scene.image.astype(np.float32)
            variance = setup.noise(image) if mask.needs.variance else None
            try:
                frame = self.background.prepare(setup)(Frame(self.scene.name, image, variance=variance))
                frame = self.integrate(mask.prepare(setup)(frame))
            except FrameError:
                continue
            assert frame.pattern is not None
            yield Trial(name, frame, self.error(frame.pattern.intensity))

    def error(self, intensity: NDArray[np.float64]) -> float:
        """Sum of |pattern - truth| over that of the truth; a bin without a pixel is on the line between others."""
        filled, there = ~np.isnan(intensity), ~np.isnan(self.truth)
        places = np.arange(intensity.size)
        line = np.interp(places, places[filled], intensity[filled])
        return float(abs(line - self.truth)[there].sum() / abs(self.truth[there]).sum())


def rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Spearman's, equal values sharing their ranks."""
    from scipy.stats import rankdata

    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def judge(one: Scene) -> tuple[float, float, str, str]:
    """Error of the first-ranked over the least one, rank correlation, and the masks that are first and best."""
    trials = list(Bench(one).trials())
    errors = np.array([trial.error for trial in trials])
    scores = np.array([trial.score for trial in trials])
    first, best = int(np.argmin(scores)), int(np.argmin(errors))
    return errors[first] / errors[best], rank_correlation(scores, errors), trials[first].mask, trials[best].mask


def _show(name: str, what: Recipe) -> None:
    """Print the masks of a scene, that with the least error first, and where the verdict places each."""
    trials = sorted(Bench(build("issue", what, 0)).trials(), key=lambda trial: trial.error)
    order = sorted(trials, key=lambda trial: trial.score)
    print(name)
    for trial in trials:
        errors = f"error {100 * trial.error:7.3f} %  pattern_error {100 * trial.score:7.3f} %"
        print(f"  {trial.mask:34s} {errors}  rank {order.index(trial) + 1:2d}")


def main() -> None:
    """Print the figures of one half of the scenes, and the worst of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--half", choices=["dev", "held-out"], default="dev")
    parser.add_argument("--scenes", type=int, default=110, help="how many of the half")
    parser.add_argument("--issue", action="store_true", help="the named scene instead")
    asked = parser.parse_args()
    if asked.issue:
        for name, what in VARIANTS.items():
            _show(name, what)
        return
    found = []
    for seed in range(int(asked.half == "held-out"), 2 * asked.scenes, 2):
        found.append((*judge(scene(seed)), seed))
        print(f"\r{len(found)}", end="", flush=True)
    ratios, correlations = (np.array([each[k] for each in found]) for k in (0, 1))
    print(f"\r{len(found)} scenes, {len(MASKS)} masks: first-ranked within 1.25 of the least error in", end=" ")
    print(f"{100 * (ratios <= 1.25).mean():.1f} %, within 2 in {100 * (ratios <= 2).mean():.1f} %;", end=" ")
    print(f"rank correlation {np.median(correlations):.3f} in the median, {np.mean(correlations):.3f} in the mean")
    for ratio, correlation, first, best, seed in sorted(found, reverse=True)[:8]:
        print(f"scene {seed}: {ratio:.2f} times the least error, correlation {correlation:.2f}; {first} before {best}")


if __name__ == "__main__":
    main()
