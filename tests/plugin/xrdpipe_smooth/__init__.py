"""Two stages for xrdpipe: a mask that knows one number, and a running mean over the pattern."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from xrdpipe import ConfigError, Frame, FrameError, Setup, Stage


@dataclass(frozen=True)
class Hot(Stage):
    """Mask what counts more than ``limit``."""

    limit: float = 1e6  # counts

    def __post_init__(self) -> None:
        if self.limit <= 0:
            raise ConfigError(f"limit={self.limit}: a number of counts > 0 expected")

    def prepare(self, setup: Setup):
        def mask(frame: Frame) -> Frame:
            hot = (frame.image > self.limit).astype(np.uint8)
            if hot.all():
                raise FrameError("every pixel is hot")
            return replace(frame, mask=hot)

        return mask


@dataclass(frozen=True)
class Smooth(Stage):
    """Replace the intensity by its mean over ``width`` bins."""

    width: int = 3

    def prepare(self, setup: Setup):
        kernel = np.ones(self.width) / self.width

        def smooth(frame: Frame) -> Frame:
            intensity = np.convolve(frame.pattern.intensity, kernel, mode="same")
            return frame.with_results(pattern=replace(frame.pattern, intensity=intensity))

        return smooth
