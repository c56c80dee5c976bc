"""Background: what the beam, the air and the detector add to a frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..geometry.poni import Poni
from ..model.arrays import Image
from ..model.errors import ConfigError, FrameError, require
from ..model.frame import Frame
from .scalar_lookup import Number, table_files
from .stage import NOTHING, Makes, Needs, Setup, Stage, Step

AUTO = "auto"


@dataclass(frozen=True)
class Background(Stage):
    """Subtract a dark and a background frame: ``(image - dark) - scale * (background - dark)``, float32 counts.

    ``file`` and ``dark_file`` are one file or several, or stacks, of whose frames the average is taken; ``weights``: a
    number for each background file. The variance, where it travels with the frame, becomes ``raw + scale**2 *
    background + (1 - scale)**2 * dark`` (propagation of independent errors, an average of N frames having the variance
    ``sum(w**2 * variance) / sum(w)**2``): the same dark frame is subtracted from both, so its noise counts once, with
    the weight ``1 - scale``.

    ``monitor`` (see `Number`) multiplies the scale by the frame's monitor over the background's: that is found in the
    same way for each of its files and averaged as they are, or given as ``monitor_value``. With ``scale=auto`` it is
    fitted for each frame (see `fit_scale`), over the rings in ``fit_range`` (q, 1/angstrom).
    """

    file: Any = None
    scale: Any = 1.0
    dark_file: Any = None
    weights: list[float] | None = None
    monitor: Any = None
    monitor_value: float | None = None
    fit_range: list[float] | None = None

    def __post_init__(self) -> None:
        for key in ("file", "dark_file"):
            value = getattr(self, key)
            several = isinstance(value, list) and len(value) > 0 and all(isinstance(each, str) for each in value)
            good = value is None or isinstance(value, str) or several
            require(good, key, value, "str or null expected, or a list of files")
        self._check_scale()
        if self.weights is not None:
            many = len(_listed(self.file))
            good = len(self.weights) == many and all(np.isfinite(each) and each > 0 for each in self.weights)
            require(good, "weights", self.weights, f"a number > 0 for each of the {many} background files expected")
        if self.monitor is not None:
            Number("monitor", self.monitor)
            require(self.scale != AUTO, "monitor", self.monitor, "together with scale=auto; choose one")
        if self.monitor_value is not None:
            Number("monitor_value", self.monitor_value)
            require(self.monitor is not None, "monitor_value", self.monitor_value, "and monitor is null; set both")
        if (limits := self.fit_range) is not None:
            good = len(limits) == 2 and bool(np.isfinite(limits).all()) and limits[0] < limits[1]
            require(good, "fit_range", limits, "two numbers expected, the smaller one first")
            require(self.scale == AUTO, "fit_range", limits, "only with scale=auto")

    def _check_scale(self) -> None:
        try:
            number = float(self.scale) if not isinstance(self.scale, bool) else np.nan
        except (TypeError, ValueError):
            require(self.scale == AUTO, "scale", self.scale, "a number >= 0, or auto, expected")
            return
        require(bool(np.isfinite(number)) and number >= 0, "scale", self.scale, "a number >= 0, or auto, expected")
        object.__setattr__(self, "scale", number)  # 1 and 1.0 are the same configuration

    def check(self, poni: Poni, line: Makes = NOTHING) -> None:
        for key, asked in (("scale", self.scale == AUTO), ("monitor", self.monitor is not None)):
            if asked and self.file is None:
                raise ConfigError(f"background.{key}={getattr(self, key)}: there is no background.file")
        if self.fit_range is not None and poni.wavelength is None:
            raise ConfigError(f"background.fit_range: is in q and needs a wavelength, which {poni.path} does not have")
        if self._number is not None:
            self._number.check()

    @property
    def _number(self) -> Number | None:
        return None if self.monitor is None else Number("background.monitor", self.monitor)

    @property
    def needs(self) -> Needs:
        files: dict[str, str] = {}
        for what, value in (("background", self.file), ("dark", self.dark_file)):
            many = isinstance(value, list)
            files |= {f"{what}[{i}]" if many else what: path for i, path in enumerate(_listed(value))}
        return Needs(files | ({} if self._number is None else table_files({"background_monitor": self._number})))

    def prepare(self, setup: Setup) -> Step:
        air = _average(setup, "background", _listed(self.file), self.weights)
        dark = _average(setup, "dark", _listed(self.dark_file))
        if air is None and dark is None:
            return lambda frame: frame
        net = None if air is None else air.image if dark is None else air.image - dark.image
        found = self._scales(setup, net, air, dark)

        def part(scale: float) -> tuple[Image | None, Image | None]:
            """What is subtracted besides the dark, and the variance of all that is."""
            factor, noise = np.float32(scale), None
            if setup.variance:
                noise = np.zeros(setup.geometry.shape, np.float32)
                if air is not None:
                    noise += factor**2 * air.variance
                if dark is not None:
                    noise += (1 - factor) ** 2 * dark.variance
            return None if net is None else factor * net, noise

        fixed = None if callable(found) else part(found["background_scale"] if found else 0.0)

        def subtract(frame: Frame) -> Frame:
            image = frame.image if dark is None else frame.image - dark.image
            factors = found(frame, image) if callable(found) else found
            scaled, noise = fixed or part(factors["background_scale"])
            if scaled is not None:
                image = image - scaled
            variance = frame.variance
            if variance is not None and noise is not None:
                variance = variance + noise
            raw = frame.image if frame.raw is None else frame.raw
            return replace(frame, image=image, variance=variance, raw=raw, factors={**frame.factors, **factors})

        return subtract

    def _scales(
        self, setup: Setup, net: Image | None, air: Average | None, dark: Average | None
    ) -> Mapping[str, float] | Callable[[Frame, Image], Mapping[str, float]]:
        """The numbers of every frame, or what finds them for a frame and its image without the dark."""
        if air is None or net is None:
            return {}
        if self.scale == AUTO:
            from .background_scale import RingFit

            nothing = np.zeros(setup.geometry.shape, np.float32)
            limits = None if self.fit_range is None else (self.fit_range[0], self.fit_range[1])
            noise = (air.variance, nothing if dark is None else dark.variance)
            fit = RingFit(setup.geometry, net, noise, limits)

            def fitted(frame: Frame, image: Image) -> Mapping[str, float]:
                variance = setup.noise(frame.image) if frame.variance is None else frame.variance
                scale = fit(image, variance, frame.masked)
                return {"background_scale": scale.value, "background_scale_sigma": scale.sigma}

            return fitted
        number = self._number
        if number is None:
            return {"background_scale": self.scale}
        own = self.monitor_value or self._own_monitor(setup, number)

        def monitored(frame: Frame, image: Image) -> Mapping[str, float]:
            return {"background_scale": self.scale * number.of(frame) / own}

        return monitored

    def _own_monitor(self, setup: Setup, number: Number) -> float:
        files = _listed(self.file)
        nothing = np.empty((0, 0), np.float32)
        try:
            each = [
                number.of(Frame(Path(path).stem, nothing, Path(path).name, header=setup.header(path))) for path in files
            ]
        except FrameError as error:
            raise ConfigError(f"{error}; or say background.monitor_value=...") from error
        return float(np.average(each, weights=self.weights))


class Average(NamedTuple):
    """The average of several frames and the variance of that, float32, (slow, fast)."""

    image: Image
    variance: Image


def _average(setup: Setup, what: str, files: list[str], weights: list[float] | None = None) -> Average | None:
    # One frame in memory at a time. A single one stays as it is, to the last bit.
    if not files:
        return None
    total, noise, weight = np.zeros(setup.geometry.shape), np.zeros(setup.geometry.shape), 0.0
    count = 0
    for path, each in zip(files, weights or [1.0] * len(files), strict=True):
        for image in _images(setup, what, path):
            total += each * image
            noise += each**2 * setup.noise(image)
            weight += each
            count += 1
    if count == 1:
        return Average(image, setup.noise(image))
    return Average((total / weight).astype(np.float32), (noise / weight**2).astype(np.float32))


def _images(setup: Setup, what: str, path: str) -> Iterator[Image]:
    for image in [setup.read(path)] if setup.images is None else setup.images(path):
        if image.shape != setup.geometry.shape:
            raise ConfigError(
                f"the {what} {path} is {image.shape[0]} x {image.shape[1]} pixels, {setup.geometry.shape_from} "
                f"{setup.geometry.shape[0]} x {setup.geometry.shape[1]}: both must have the same shape"
            )
        yield image


def _listed(value: Any) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)
