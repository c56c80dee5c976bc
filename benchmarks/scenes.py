"""Random frames of powder rings whose truth is known, for the verdict of a sweep and for masks.

`recipe` draws what a scene is made of, `build` exposes it, `scene` does both. Nothing is shared with the program's own
simulation of nickel. Even seeds are for development; odd ones are for the figures that are reported.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

KINDS = ("good", "shadow", "arm", "gap", "line", "dead", "hot", "zinger")  # the values of `Scene.label`
REGIONS = ("shadow", "arm", "gap", "line")  # bad pixels that lie together; the others are single pixels or short tracks

PIXEL = 200e-6  # m
WAVELENGTH = 0.2e-10  # m


@dataclass(frozen=True)
class Recipe:
    """What a scene is made of.

    ``centre`` is the point of normal incidence as a fraction of the detector, ``q_max`` (1/angstrom) what the far
    corner sees without tilt. ``fwhm`` is that of a peak in 1/angstrom, ``strength`` the share of the counts that is in
    peaks, ``air`` the share of all counts that stays without the sample, ``counts`` the mean of all pixels.
    ``texture`` is the amplitude of a smooth azimuthal variation, ``grains`` the number of grains in a tenth of a ring
    (0: smooth rings). ``disc`` is the radius of the beamstop in pixels (0: none), ``arm`` the transmission of its arm
    (None: no arm) and ``arm_width`` in pixels. Shares of pixels: ``dead``, ``hot``, ``zingers``. ``broadening`` is the
    width that a peak gains per q, ``sub`` the number of points, along rows and columns, that a pixel is the mean of.
    """

    size: int = 512
    centre: tuple[float, float] = (0.5, 0.5)
    rot: tuple[float, float, float] = (0.0, 0.0, 0.0)
    q_max: float = 14.0
    peaks: int = 8
    fwhm: float = 0.1
    strength: float = 0.3
    air: float = 0.3
    subtract: bool = True
    counts: float = 10.0
    polarization: float = 0.99
    texture: float = 0.0
    grains: int = 0
    disc: float = 15.0
    arm: float | None = 0.1
    arm_width: float = 8.0
    arm_angle: float = 0.5
    gaps: int = 0
    lines: int = 0
    dead: float = 3e-4
    hot: float = 3e-4
    zingers: float = 1e-5
    broadening: float = 0.004
    sub: int = 1


ISSUE = Recipe(
    size=1024, centre=(0.5, 0.5), rot=(0.02, -0.03, 0.0), counts=60.0, air=0.4, disc=30.0, arm=0.1, arm_width=16.0
)  # a scene that rewarded the mask nearest to what it should have taken away


@dataclass(frozen=True)
class Scene:
    """A frame and its truth; arrays are (slow, fast).

    ``image`` and ``background`` (None: not measured) are what the detector delivers, uint16 or, above 100 counts a
    pixel, uint32. ``expected`` is the frame without noise and defects, ``net`` the same less the background where there
    is one: what a pattern has to be the mean of. ``rate`` is what the detector counts on average, defects included.
    ``label`` (uint8) is the index in `KINDS` of what is wrong with a pixel.
    """

    name: str
    recipe: Recipe
    image: NDArray[np.unsignedinteger[Any]]
    background: NDArray[np.unsignedinteger[Any]] | None
    poni_text: str
    label: NDArray[np.uint8]
    expected: Floats
    net: Floats
    rate: Floats
    q: Floats

    @cached_property
    def bad(self) -> NDArray[np.bool_]:
        """Where a pixel is wrong."""
        return self.label != 0

    @cached_property
    def regions(self) -> NDArray[np.bool_]:
        """Where a pixel is wrong together with its neighbours: shadow, arm, gap, line."""
        return np.isin(self.label, [KINDS.index(kind) for kind in REGIONS])

    def true_pattern(self, edges: Floats, pixels: NDArray[np.bool_] | None = None) -> Floats:
        """The mean of `net` in bins of q (1/angstrom) over ``pixels`` (default: the good ones); NaN: none there."""
        used = ~self.bad if pixels is None else pixels
        total = np.histogram(self.q[used], edges, weights=self.net[used])[0]
        many = np.histogram(self.q[used], edges)[0]
        return np.where(many > 0, total / np.maximum(many, 1), np.nan)


def recipe(seed: int) -> Recipe:
    """What the scene of this seed is made of."""
    rng = np.random.default_rng([seed, 11])

    def maybe(chance: float, value: Any, otherwise: Any = 0) -> Any:
        return value if rng.random() < chance else otherwise

    def log(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    size = 1024 if seed % 10 in (3, 6) else 512
    aside = rng.random(2)
    centre = rng.uniform(0.4, 0.6, 2) if rng.random() < 0.75 else np.where(aside < 0.5, -0.1, 0.9) + 0.2 * aside
    tilt = rng.choice([0.02, 0.1, 0.4], p=[0.5, 0.35, 0.15])
    q_max, peaks = rng.uniform(5, 20), int(rng.integers(5, 30))
    disc = maybe(0.75, rng.uniform(6, 30) * size / 512)
    arm = maybe(0.65, float(rng.uniform(0.05, 0.2) if rng.random() < 0.75 else rng.uniform(0.5, 0.85)), None)
    return Recipe(
        size=size,
        centre=(float(centre[0]), float(centre[1])),
        rot=(float(rng.normal(0, tilt / 2)), float(rng.normal(0, tilt / 2)), 0.0),
        q_max=float(q_max),
        peaks=peaks,
        fwhm=log(0.6, 12) * 2 * float(q_max) / size,
        strength=float(rng.uniform(0.05, 0.6)),
        air=float(rng.choice([rng.uniform(0.02, 0.2), rng.uniform(0.2, 0.8)])),
        subtract=bool(rng.random() < 0.5),
        counts=log(0.05, 100),
        polarization=float(rng.choice([0.0, 0.95, 0.99])),
        texture=maybe(0.4, float(rng.uniform(0.1, 0.7)), 0.0),
        grains=maybe(0.25, int(log(20, 2000))),
        disc=float(disc),
        arm=arm if disc else None,
        arm_width=float(rng.uniform(3, 14)) * size / 512,
        arm_angle=float(rng.uniform(-np.pi, np.pi)),
        gaps=maybe(0.3, int(rng.integers(1, 4))),
        lines=maybe(0.4, int(rng.integers(1, 5))),
        dead=maybe(0.8, log(2e-5, 2e-3), 0.0),
        hot=maybe(0.8, log(2e-5, 2e-3), 0.0),
        zingers=maybe(0.6, log(2e-6, 2e-4), 0.0),
    )


def narrow_scene(seed: int, fwhm: float) -> Scene:
    """A scene of single bad pixels whose peaks are ``fwhm`` pixels wide, before the pixel widens them."""
    rng = np.random.default_rng([seed, 13])
    centre = rng.uniform(0.4, 0.6, 2) if rng.random() < 0.7 else rng.uniform(-0.1, 0.1, 2)
    tilt, size, q_max = rng.choice([0.0, 0.02, 0.3]), 384, rng.uniform(5, 20)
    what = Recipe(
        size=size,
        centre=(float(centre[0]), float(centre[1])),
        rot=(float(rng.normal(0, tilt)), float(rng.normal(0, tilt)), 0.0),
        q_max=float(q_max),
        peaks=int(rng.integers(5, 30)),
        fwhm=fwhm * q_max / size / float(np.hypot(*np.maximum(centre, 1 - centre))),
        broadening=0.0,
        strength=float(rng.uniform(0.05, 0.6)),
        subtract=bool(rng.random() < 0.5),
        counts=float(np.exp(rng.uniform(0, np.log(1e4)))),
        texture=float(rng.choice([0.0, 0.3])),
        disc=0.0,
        arm=None,
        dead=2e-3,
        hot=2e-3,
        zingers=2e-4,
        sub=6,
    )
    return build(f"narrow_{seed}", what, seed)


def scene(seed: int) -> Scene:
    """The scene of this seed, always the same."""
    return build(f"scene_{seed}", recipe(seed), seed)


def build(name: str, what: Recipe, seed: int) -> Scene:
    """Expose a recipe; ``seed`` decides all that is random in it."""
    rng = np.random.default_rng([seed, 12])
    poni = _poni(what)
    q, chi, weight = _pixels(what)
    if what.sub == 1:
        sample, air = _expected(what, q, chi, rng)
    else:
        blocks = (what.size, what.sub, what.size, what.sub)
        fine = _expected(what, *_pixels(what, what.sub)[:2], rng)
        sample, air = (each.reshape(blocks).mean(axis=(1, 3)) for each in fine)
    scale = what.counts / ((sample + air) * weight).mean()
    sample, air = sample * weight * scale, air * weight * scale
    label, passes = _defects(what, q, rng)
    current = np.zeros(q.shape)
    hot = label == KINDS.index("hot")
    current[hot] = np.exp(rng.uniform(np.log(5 + 3 * what.counts), np.log(6e4), hot.sum()))
    rate = (sample + air) * passes + current
    image = rng.poisson(rate)
    background = rng.poisson(air * passes + current) if what.subtract else None
    _zingers(image, label, what.zingers, rng)
    dead = np.isin(label, [KINDS.index(kind) for kind in ("dead", "line", "gap")])
    image[dead] = rate[dead] = 0
    if background is not None:
        background[dead] = 0
    kind = np.uint16 if what.counts <= 100 else np.uint32

    def stored(counts: NDArray[np.int64]) -> NDArray[np.unsignedinteger[Any]]:
        return np.minimum(counts, np.iinfo(kind).max).astype(kind)

    return Scene(
        name=name,
        recipe=what,
        image=stored(image),
        background=None if background is None else stored(background),
        poni_text=poni,
        label=label,
        expected=sample + air,
        net=sample if what.subtract else sample + air,
        rate=rate,
        q=q,
    )


def expose(one: Scene, seed: int) -> Scene:
    """Another frame of the same scene: its noise and cosmic rays differ, its defects are the same."""
    rng = np.random.default_rng([seed, 13])
    image, label = rng.poisson(one.rate), one.label.copy()
    label[label == KINDS.index("zinger")] = 0
    _zingers(image, label, one.recipe.zingers, rng)
    image[one.rate == 0] = 0
    return replace(one, image=np.minimum(image, 65535).astype(np.uint16), label=label)


def _distance(what: Recipe) -> float:
    """How far the detector is (m) for its far corner to see `q_max` without tilt."""
    far = np.hypot(*[max(c, 1 - c) for c in what.centre]) * what.size * PIXEL
    return float(far / np.tan(_two_theta(what.q_max)))


def _poni(what: Recipe) -> str:
    config = {"pixel1": PIXEL, "pixel2": PIXEL, "max_shape": [what.size, what.size], "orientation": 3}
    poni = [c * what.size * PIXEL for c in what.centre]
    lines = ["poni_version: 2.1", "Detector: Detector", f"Detector_config: {json.dumps(config)}"]
    lines += [f"Distance: {_distance(what)!r}", f"Poni1: {poni[0]!r}", f"Poni2: {poni[1]!r}"]
    lines += [f"Rot{i}: {angle!r}" for i, angle in enumerate(what.rot, 1)]
    return "\n".join([*lines, f"Wavelength: {WAVELENGTH!r}", ""])


def _pixels(what: Recipe, sub: int = 1) -> tuple[Floats, Floats, Floats]:
    """q (1/angstrom), azimuth (rad), polarization times solid angle of every pixel, or of ``sub**2`` parts of it."""
    from pyFAI.detectors import Detector
    from pyFAI.integrator.azimuthal import AzimuthalIntegrator

    size, pixel = what.size * sub, PIXEL / sub
    detector = Detector(pixel, pixel, max_shape=(size, size), orientation=3)
    poni = [c * what.size * PIXEL for c in what.centre]
    ai = AzimuthalIntegrator(_distance(what), *poni, *what.rot, detector=detector, wavelength=WAVELENGTH)
    z, y, x = ai.calc_pos_zyx()
    theta2, chi = np.arctan2(np.hypot(x, y), z), np.arctan2(y, x)
    cosine = np.cos(theta2) ** 2
    weight = 0.5 * (1 + cosine - what.polarization * np.cos(2 * chi) * (1 - cosine))
    rows = (np.arange(size) + 0.5) * pixel
    slant = np.hypot(np.hypot(rows[:, None] - poni[0], rows[None, :] - poni[1]), _distance(what))
    return 4e-10 * np.pi / WAVELENGTH * np.sin(theta2 / 2), chi, weight * (_distance(what) / slant) ** 3


def _expected(what: Recipe, q: Floats, chi: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The counts of the sample and of the air, in shares of all."""
    top = float(q.max())
    centres = np.sort(rng.uniform(max(0.08 * top, q.min()), 0.95 * top, what.peaks))
    heights = rng.exponential(1.0, what.peaks) * np.exp(-1.5 * centres / top) + 0.02
    order = np.argsort(q, axis=None)
    sorted_q, sorted_chi = q.ravel()[order], chi.ravel()[order]
    rings = np.zeros(q.size)
    phase, fourth = rng.uniform(0, 2 * np.pi, (2, what.peaks))
    for k, (centre, height) in enumerate(zip(centres, heights, strict=True)):
        width = np.hypot(what.fwhm, what.broadening * centre)
        low, high = np.searchsorted(sorted_q, [centre - 25 * width, centre + 25 * width])
        x2, angle = 4 * ((sorted_q[low:high] - centre) / width) ** 2, sorted_chi[low:high]
        around = 1 + what.texture * (0.8 * np.cos(2 * angle + phase[k]) + 0.2 * np.cos(4 * angle + fourth[k]))
        if what.grains:
            around *= _grains(what.grains, angle, _distance(what) / PIXEL * np.tan(_two_theta(centre)), rng)
        rings[low:high] += height * (0.2 / (1 + x2) + 0.8 * 2.0**-x2) * around
    peaks = np.empty(q.size)
    peaks[order] = rings
    halo, fall, slope = rng.uniform(0.2, 0.5) * top, rng.uniform(0.1, 0.3) * top, rng.uniform(0.2, 1)
    smooth = 0.3 + np.exp(-slope * 3 * q / top) + rng.uniform(0, 2) * np.exp(-(((q - halo) / fall) ** 2))
    air = 1 / (1 + (q / (rng.uniform(0.1, 0.4) * top)) ** 2) + 0.1
    peaks, smooth, air = peaks / peaks.mean(), smooth / smooth.mean(), air / air.mean()
    own = what.strength * peaks.reshape(q.shape) + (1 - what.strength) * smooth
    return (1 - what.air) * own, what.air * air


def _two_theta(q: float) -> float:
    return float(2 * np.arcsin(min(0.7, q * WAVELENGTH * 1e10 / (4 * np.pi))))


def _grains(grains: int, angle: Floats, radius: float, rng: np.random.Generator) -> Floats:
    """How a ring of few grains varies with azimuth, 1 in the mean: spots of about 0.3 degrees, or a pixel."""
    cells = 2 * 1800
    table = rng.gamma(0.5, 2.0, cells) * (rng.random(cells) < min(1.0, 10 * grains / cells))
    wide = max(1.5, 0.5 * cells / (2 * np.pi * max(radius, 5.0)))  # cells; ``radius`` is in pixels
    reach = int(3 * wide)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / wide) ** 2)
    table = np.convolve(np.pad(table, reach, mode="wrap"), kernel / kernel.sum(), mode="valid")
    table /= table.mean()
    around: Floats = table[np.clip(((angle + np.pi) * (cells / (2 * np.pi))).astype(int), 0, cells - 1)]
    return around


def _defects(what: Recipe, q: Floats, rng: np.random.Generator) -> tuple[NDArray[np.uint8], Floats]:
    """What is wrong with every pixel, and the share of the beam that reaches it."""
    label, passes = np.zeros(q.shape, np.uint8), np.ones(q.shape)
    pick, size = rng.random(q.shape), what.size
    label[pick < what.dead] = KINDS.index("dead")
    label[pick > 1 - what.hot] = KINDS.index("hot")
    if what.disc and q.min() < 0.02 * q.max():  # the beam is on the detector
        beam = np.unravel_index(int(np.argmin(q)), q.shape)  # where the detector is nearest to the direct beam
        row, column = np.arange(size)[:, None] - beam[0], np.arange(size)[None, :] - beam[1]
        if what.arm is not None:
            along = row * np.sin(what.arm_angle) + column * np.cos(what.arm_angle)
            across = row * np.cos(what.arm_angle) - column * np.sin(what.arm_angle)
            arm = (along > 0) & (abs(across) < what.arm_width / 2)
            label[arm], passes[arm] = KINDS.index("arm"), what.arm
        disc = np.hypot(row, column) < what.disc
        label[disc], passes[disc] = KINDS.index("shadow"), 0.01
    for _ in range(what.lines):
        at, half = int(rng.integers(size)), slice(*((0, size // 2) if rng.random() < 0.5 else (size // 2, size)))
        label[(half, at) if rng.random() < 0.5 else (at, half)] = KINDS.index("line")
    for k in range(what.gaps):
        first, wide = int(size * (k + 1) / (what.gaps + 1) + rng.integers(-9, 9)), int(rng.integers(3, 17))
        label[first : first + wide] = KINDS.index("gap")
        if rng.random() < 0.4:
            label[:, first : first + wide // 2 + 1] = KINDS.index("gap")
    return label, passes


def _zingers(image: NDArray[np.int64], label: NDArray[np.uint8], share: float, rng: np.random.Generator) -> None:
    """Add what cosmic rays leave in a frame, dots and short tracks, and label it where nothing else is wrong."""
    for _ in range(rng.poisson(share * image.size)):
        start, angle = rng.random(2) * image.shape, rng.uniform(0, 2 * np.pi)
        along = np.arange(rng.geometric(0.3))
        slow, fast = (start[:, None] + along * [[np.sin(angle)], [np.cos(angle)]]).astype(int)
        inside = (slow >= 0) & (slow < image.shape[0]) & (fast >= 0) & (fast < image.shape[1])
        slow, fast = slow[inside], fast[inside]
        image[slow, fast] += rng.poisson(200 + rng.exponential(3_000), slow.size)
        good = label[slow, fast] == 0
        label[slow[good], fast[good]] = KINDS.index("zinger")
