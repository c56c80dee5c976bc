"""Mask: which pixels do not count, by PDFstream's definition."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .frame import Frame, FrameError, locked
from .stage import ConfigError, Setup, Stage, Step, choice, require

AUTO_TYPES = ("median", "mean")


@dataclass(frozen=True)
class Mask(Stage):
    """Mask, in this order: ``file`` and the ``edge`` outer rows and columns; below ``lower_thresh``, above
    ``upper_thresh``, not finite; and outliers ring by ring, over the pixels still good there: further than ``alpha``
    standard deviations from the ring's median (or, one by one, from its mean). None switches a step off.
    """

    edge: int | None = 30
    lower_thresh: float | None = 0.0
    upper_thresh: float | None = None
    alpha: float | None = 2.0
    auto_type: str = "median"
    file: str | None = None

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

    def inputs(self) -> dict[str, str]:
        return {} if self.file is None else {"mask": self.file}

    def prepare(self, setup: Setup) -> Step:
        from . import kernels

        fixed = self._fixed(setup)
        own = threading.local()
        limits = (
            -np.inf if self.lower_thresh is None else self.lower_thresh,
            np.inf if self.upper_thresh is None else self.upper_thresh,
        )
        alpha, rings = self.alpha, None if self.alpha is None else setup.geometry.rings
        outliers = {"median": kernels.mask_median, "mean": kernels.mask_mean}[self.auto_type]

        def mask(frame: Frame) -> Frame:
            out = fixed.copy() if frame.mask is None else np.where(frame.mask, frame.mask, fixed)
            image = locked(frame.image.ravel())
            flat = out.ravel()
            if alpha is None or rings is None:
                kernels.threshold(image, flat, *limits)
            else:
                if not hasattr(own, "values"):
                    own.values = np.empty(image.size, np.float32)
                kernels.lay_out(image, flat, *limits, rings.slots, own.values)
                outliers(own.values, rings.order, rings.starts, alpha, flat)
            share = np.count_nonzero(out) / out.size
            if share == 1:
                raise FrameError("the mask covers every pixel")
            notes = (f"{100 * share:.0f} % of the pixels are masked",) if share > 0.5 else ()
            return replace(frame, mask=out, notes=frame.notes + notes)

        return mask

    def _fixed(self, setup: Setup) -> NDArray[np.uint8]:
        """What is masked in every frame: the user's mask and the edge."""
        from .kernels import EDGE, USER

        fixed = np.zeros(setup.geometry.shape, np.uint8)
        if self.edge:
            fixed[:] = EDGE
            fixed[self.edge : -self.edge, self.edge : -self.edge] = 0
        if self.file is not None:
            fixed[self._user(setup)] = USER
        if fixed.all():
            file = "" if self.file is None else f" and mask.file={self.file}"
            raise ConfigError(f"mask.edge={self.edge}{file}: every pixel is masked")
        return fixed

    def _user(self, setup: Setup) -> NDArray[np.bool_]:
        assert self.file is not None
        user, shape = setup.read(self.file), setup.geometry.shape
        if user.shape != shape:
            raise ConfigError(
                f"mask.file={self.file}: {user.shape[0]} x {user.shape[1]} pixels, {setup.geometry.shape_from} "
                f"{shape[0]} x {shape[1]}"
            )
        if not np.isin(user, (0, 1)).all():
            raise ConfigError(f"mask.file={self.file}: values other than 0 (good) and 1 (masked)")
        masked: NDArray[np.bool_] = user != 0
        return masked
