"""Mask: which pixels do not count, by PDFstream's definition or by others; see docs/masks.md."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.geometry import Geometry
from ..model.arrays import Image, read_only
from ..model.errors import ConfigError, FrameError, choice, require
from ..model.frame import Frame
from .stage import Needs, Setup, Stage, Step

AUTO_TYPES = ("median", "mean", "mad", "sigma_clip")


BEAMSTOP = 400  # rings of `Geometry.arcs` that its shadow may fill: some 130 pixels


GATHERED = 0.3  # of the arcs: where more of them may have outliers, the whole frame is put in their order


SAMPLE = 1 << 16  # pixels that are looked at for `Loss`


Outliers = Callable[[Image, Image, NDArray[np.uint8]], None]


@dataclass(frozen=True)
class Mask(Stage):
    """Mask, in this order: ``file`` (one or several, 1 = masked, with ``invert`` 0 = masked), what the ``detector``
    itself says counts nothing, and the ``edge`` outer rows and columns; below ``lower_thresh``, above
    ``upper_thresh``, not finite; outliers among the pixels still good, by ``auto_type`` and ``alpha``; ``regions`` that
    receive too little (shadows, gaps, dead lines; see `regions.find`); and ``grow`` pixels around what the last three
    steps masked. None switches a step off.

    ``auto_type``: in each ring, further than ``alpha`` standard deviations from the median (``median``); from the mean,
    one by one (``mean``) or all at once, ``max_iter`` times (``sigma_clip``); ``mad``: see `outliers.mask_mad`.
    """

    edge: int | None = 30
    lower_thresh: float | None = 0.0
    upper_thresh: float | None = None
    alpha: float | None = 2.0
    auto_type: str = "median"
    file: Any = None
    invert: bool = False
    detector: bool = True
    grow: int = 0
    max_iter: int = 5
    regions: bool = False

    def __post_init__(self) -> None:
        require(self.edge is None or self.edge >= 0, "edge", self.edge, "a number of pixels >= 0 expected")
        require(
            self.alpha is None or self.alpha > 0, "alpha", self.alpha, "a number > 0 expected, or null for no outliers"
        )
        for key in ("lower_thresh", "upper_thresh", "alpha"):
            value = getattr(self, key)
            require(value is None or bool(np.isfinite(value)), key, value, "a finite number or null expected")
        low, high = self.lower_thresh, self.upper_thresh
        require(low is None or high is None or low <= high, "upper_thresh", high, f"below lower_thresh={low}")
        choice("auto_type", self.auto_type, AUTO_TYPES)
        listed = isinstance(self.file, list) and all(isinstance(each, str) for each in self.file)
        require(self.file is None or isinstance(self.file, str) or listed, "file", self.file, "paths expected, or null")
        require(not self.invert or bool(self.files), "invert", True, "there is no mask.file to invert")
        require(0 <= self.grow <= 100, "grow", self.grow, "a number of pixels from 0 to 100 expected")
        require(self.max_iter >= 1, "max_iter", self.max_iter, "a number >= 1 expected")

    @property
    def files(self) -> list[str]:
        """The user's masks."""
        return [self.file] if isinstance(self.file, str) else self.file or []

    @property
    def needs(self) -> Needs:
        files = {f"mask_{number}" if number > 1 else "mask": path for number, path in enumerate(self.files, 1)}
        return Needs(files, variance=self.auto_type == "mad" and self.alpha is not None)

    def prepare(self, setup: Setup) -> Step:
        from ..numerics.constants import DETECTOR
        from ..numerics.outliers import grow

        fixed = self._fixed(setup)
        automatic = self._automatic(setup.geometry)
        regions = _regions(setup.geometry) if self.regions else None
        loss = None if self.lower_thresh is None else Loss(setup.geometry, self.lower_thresh)

        def mask(frame: Frame) -> Frame:
            out = fixed.copy()
            if self.detector and frame.bad is not None:
                out |= np.multiply(frame.bad, DETECTOR)
            if frame.mask is not None:  # of a stage before
                out |= frame.mask
            image = read_only(frame.image.ravel())
            variance = image if frame.variance is None else read_only(frame.variance.ravel())
            automatic(image, variance, out.ravel())
            if regions is not None:
                regions(frame, out)
            if self.grow:
                grow(out, self.grow)
            share = np.count_nonzero(out) / out.size
            if share == 1:
                raise FrameError("the mask covers every pixel")
            notes: tuple[str, ...] = (f"{100 * share:.0f} % of the pixels are masked",) if share > 0.5 else ()
            if loss is not None:
                notes += loss.notes(out.ravel())
            return replace(frame, mask=out, notes=frame.notes + notes)

        return mask

    def _automatic(self, geometry: Geometry) -> Outliers:
        """What masks by value: image, variance and mask are flat; the mask is changed."""
        from ..numerics import kernels, outliers

        limits = (
            -np.inf if self.lower_thresh is None else self.lower_thresh,
            np.inf if self.upper_thresh is None else self.upper_thresh,
        )
        alpha = self.alpha
        if alpha is None:
            return lambda image, variance, flat: kernels.threshold(image, flat, *limits)
        if self.auto_type == "mad":
            return self._mad(geometry, alpha, limits)
        rings, own = geometry.rings, threading.local()
        one_pass = {"median": kernels.mask_median, "mean": kernels.mask_mean}.get(self.auto_type)

        def find(image: Image, variance: Image, flat: NDArray[np.uint8]) -> None:
            if not hasattr(own, "values"):
                own.values = np.empty(image.size, np.float32)
            kernels.scatter_to_rings(image, flat, *limits, rings.slots, own.values)
            if one_pass is not None:
                one_pass(own.values, rings.order, rings.starts, alpha, flat)
            else:
                outliers.mask_sigma_clip(own.values, rings.order, rings.starts, alpha, self.max_iter, flat)

        return find

    def _mad(self, geometry: Geometry, alpha: float, limits: tuple[float, float]) -> Outliers:
        from ..numerics import outliers
        from ..numerics.calm import LINE, gather, is_calm, summarize
        from ..numerics.constants import OUTLIER

        arcs, own = geometry.arcs, threading.local()
        inner = int(np.searchsorted(arcs.ring, 2 * BEAMSTOP + 4))
        ring = read_only(arcs.ring[:inner])
        arc = read_only(arcs.of_pixels())

        def find(image: Image, variance: Image, flat: NDArray[np.uint8]) -> None:
            if not hasattr(own, "pairs"):
                own.pairs = np.empty((image.size, 2), np.float32)
            if variance is image:
                variance = read_only(np.maximum(image, np.float32(1)))
            level = np.empty(inner, np.float32)
            lines, calm = np.zeros((arcs.starts.size - 1, LINE), np.float32), np.empty(arcs.starts.size - 1, np.bool_)
            summarize(image, variance, flat, *limits, arc, lines)
            if is_calm(lines, alpha, calm) < GATHERED * calm.size:
                wanted = ~calm
                wanted[:inner] = True
                gather(image, variance, flat, arcs.order, arcs.starts, wanted, own.pairs)
            else:
                outliers.scatter_pairs_to_rings(image, variance, flat, *limits, arcs.slots, own.pairs)
            outliers.mask_mad(own.pairs, arcs.order, arcs.starts, alpha, flat, level, calm)
            dark = np.searchsorted(ring, outliers.shadow(level, ring, alpha))
            pixels = arcs.order[: arcs.starts[dark]]
            flat[pixels] |= np.where(flat[pixels] == 0, OUTLIER, np.uint8(0))

        return find

    def _fixed(self, setup: Setup) -> NDArray[np.uint8]:
        """What is masked in every frame: the user's mask, the detector's and the edge."""
        from ..numerics.constants import DETECTOR, EDGE, USER

        fixed = np.zeros(setup.geometry.shape, np.uint8)
        if self.edge:
            fixed[:] = EDGE
            fixed[self.edge : -self.edge, self.edge : -self.edge] = 0
        if self.detector and (blind := setup.geometry.blind) is not None:
            fixed[blind] |= DETECTOR
        for path in self.files:
            fixed[self._user(setup, path)] |= USER
        if fixed.all():
            file = "" if self.file is None else f" and mask.file={self.file}"
            raise ConfigError(f"mask.edge={self.edge}{file}: every pixel is masked")
        return fixed

    def _user(self, setup: Setup, path: str) -> NDArray[np.bool_]:
        user, shape = setup.read(path), setup.geometry.shape
        if user.shape != shape:
            raise ConfigError(
                f"mask.file={path}: {user.shape[0]} x {user.shape[1]} pixels, {setup.geometry.shape_from} "
                f"{shape[0]} x {shape[1]}"
            )
        if not np.isin(user, (0, 1)).all():
            raise ConfigError(f"mask.file={path}: values other than 0 (good) and 1 (masked)")
        masked: NDArray[np.bool_] = user != np.float32(self.invert)
        return masked


def _regions(geometry: Geometry) -> Callable[[Frame, NDArray[np.uint8]], None]:
    """What masks regions that receive too little.

    Counts before an air or background was subtracted tell more than the difference: that is zero where the sample
    scatters nothing, and shadows there too.
    """
    from ..numerics.constants import GOOD, OUTLIER
    from ..numerics.regions.find import find_regions

    cells = geometry.cells

    def find(frame: Frame, mask: NDArray[np.uint8]) -> None:
        subtracted = frame.raw is not None and "background_scale" in frame.factors
        image = frame.raw if subtracted and frame.raw is not None else frame.image
        region = find_regions(read_only(image.ravel()), mask.ravel(), cells.cell, cells.rings, mask.shape)
        mask[region & (mask == GOOD)] = OUTLIER

    return find


class Loss:
    """Whether the lower threshold takes so much of the rings that what is left reads too high.

    A ring loses where more than a quarter of its pixels (those of user, detector and edge aside) are below: where the
    truth is 0 it is half of them. The frame is told of where more than a tenth of the pixels is in such rings. Looked
    at in every k-th pixel, of which a few say first whether any are below.
    """

    def __init__(self, geometry: Geometry, threshold: float) -> None:
        rings = geometry.rings
        every = slice(None, None, -(-rings.order.size // SAMPLE))
        self.pixels = rings.order[every]
        self.ring = np.searchsorted(rings.starts, np.arange(rings.order.size)[every], side="right") - 1
        self.note = (
            f"mask.lower_thresh={threshold:g} takes more than a quarter of many rings, and the rest reads too high: "
            f"say mask.lower_thresh=null, or mask=robust"
        )

    def notes(self, mask: NDArray[np.uint8]) -> tuple[str, ...]:
        """The note for a frame with this mask (flat), or none."""
        from ..numerics.constants import DETECTOR, EDGE, LOWER, USER

        few = mask[self.pixels[::8]] & LOWER
        if np.count_nonzero(few) < 0.02 * few.size:  # less than a quarter of a tenth
            return ()
        bits = mask[self.pixels]
        below = (bits & LOWER) != 0
        counts = (bits & (USER | DETECTOR | EDGE)) == 0
        rings = self.ring[-1] + 1
        total = np.bincount(self.ring[counts], minlength=rings)
        lost = np.bincount(self.ring[below & counts], minlength=rings)
        return (self.note,) if total[4 * lost > total].sum() > 0.1 * total.sum() else ()
