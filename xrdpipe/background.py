"""Background: what the beam, the air and the detector add to a frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .frame import Frame, Image
from .stage import ConfigError, Setup, Stage, Step, require


@dataclass(frozen=True)
class Background(Stage):
    """Subtract a dark and a background frame: ``(image - dark) - scale * (background - dark)``, float32 counts.

    The variance, where it travels with the frame, becomes ``raw + scale**2 * background + (1 - scale)**2 * dark``
    (propagation of independent Poisson errors): the same dark frame is subtracted from both, so its noise counts
    once, with the weight ``1 - scale``.
    """

    file: str | None = None
    scale: float = 1.0
    dark_file: str | None = None

    def __post_init__(self) -> None:
        require(bool(np.isfinite(self.scale)) and self.scale >= 0, "scale", self.scale, "a number >= 0 expected")

    def inputs(self) -> dict[str, str]:
        files = {"background": self.file, "dark": self.dark_file}
        return {what: path for what, path in files.items() if path is not None}

    def prepare(self, setup: Setup) -> Step:
        frames = {what: self._read(setup, what, path) for what, path in self.inputs().items()}
        dark, background = frames.get("dark"), frames.get("background")
        scale = np.float32(self.scale)
        scaled = None if background is None else scale * (background if dark is None else background - dark)
        noise = None
        if setup.variance and frames:
            noise = np.zeros(setup.geometry.shape, np.float32)
            if background is not None:
                noise += scale**2 * np.maximum(background, 1)
            if dark is not None:
                noise += (1 - (scale if background is not None else 0)) ** 2 * np.maximum(dark, 1)

        def subtract(frame: Frame) -> Frame:
            image = frame.image
            if dark is not None:
                image = image - dark
            if scaled is not None:
                image = image - scaled
            variance = frame.variance
            if variance is not None and noise is not None:
                variance = variance + noise
            return replace(frame, image=image, variance=variance)

        return subtract

    def _read(self, setup: Setup, what: str, path: str) -> Image:
        image = setup.read(path)
        if image.shape != setup.geometry.shape:
            raise ConfigError(
                f"the {what} {path} is {image.shape[0]} x {image.shape[1]} pixels, {setup.geometry.shape_from} "
                f"{setup.geometry.shape[0]} x {setup.geometry.shape[1]}: both must have the same shape"
            )
        return image
