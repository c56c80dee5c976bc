"""Background: subtraction of a dark frame and of a background frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..geometry.poni import Poni
from ..model.arrays import Image
from ..model.errors import ConfigError, FrameError, require
from ..model.frame import Frame, Info
from .scalar_lookup import ScalarLookup, file_lookups, refuse_lookups, table_files
from .stage import NOTHING, Makes, Needs, Setup, Stage, Step

AUTO = "auto"


@dataclass(frozen=True)
class Background(Stage):
    """Subtract a dark and a background frame: ``(image - dark) - scale * (background - dark)``, float32 counts.

    If the frame carries its variance, that becomes ``raw + scale**2 * background + (1 - scale)**2 * dark``. Errors are
    independent, but the same dark frame is subtracted from both, so its noise counts once, with the weight
    ``1 - scale``. An average of frames with weights w has the variance ``sum(w**2 * variance) / sum(w)**2``.

    Attributes
    ----------
    file
        Background: one file, or a list of files; the frames of all files and stacks are averaged. ``table.csv:column``
        names the background of each frame.
    scale
        Factor of the background, >= 0; "auto" fits it for each frame, see `fit_scale`.
    dark_file
        Dark frame: one file, or a list of files that are averaged, or ``table.csv:column``.
    weights
        Weight of each background file in the average; None for equal weights.
    monitor
        Where to find the monitor, see `ScalarLookup`. The scale is multiplied by the monitor of the frame over that of
        the background.
    monitor_value
        Monitor of the background; None looks it up in each background file, and averages it as the files are.
    fit_range
        First and last q of the rings to which ``scale=auto`` is fitted, 1/angstrom; None for all rings.
    """

    file: Any = None
    scale: Any = field(default=1.0, metadata={"kind": "text", "choices": (AUTO,)})
    dark_file: Any = None
    weights: list[float] | None = None
    monitor: Any = None
    monitor_value: float | None = None
    fit_range: list[float] | None = None

    def __post_init__(self) -> None:
        for key in ("file", "dark_file"):
            value = getattr(self, key)
            is_list = isinstance(value, list) and len(value) > 0 and all(isinstance(each, str) for each in value)
            good = value is None or isinstance(value, str) or is_list
            require(good, key, value, "a path or null expected, or a list of files")
        self._check_scale()
        if self.weights is not None:
            n_files = len(_listed(self.file))
            good = len(self.weights) == n_files and all(np.isfinite(each) and each > 0 for each in self.weights)
            require(good, "weights", self.weights, f"a number > 0 for each of the {n_files} background files expected")
        if self.monitor is not None:
            ScalarLookup("monitor", self.monitor)
            require(self.scale != AUTO, "monitor", self.monitor, "together with scale=auto; choose one")
        if self.monitor_value is not None:
            ScalarLookup("monitor_value", self.monitor_value)
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
        """Raise ConfigError for a scale without background, a fit without wavelength or an unusable monitor table."""
        for key, is_set in (("scale", self.scale == AUTO), ("monitor", self.monitor is not None)):
            if is_set and self.file is None:
                raise ConfigError(
                    f"background.{key}={getattr(self, key)}: there is no background.file; say background.file=..."
                )
        if self.fit_range is not None and not poni.has_wavelength:
            raise ConfigError(
                f"background.fit_range: is in q and needs a wavelength, which {poni.path} does not have; "
                "say geometry.wavelength=... (m)"
            )
        for lookup in (*self._tables.values(), *([] if self._monitor is None else [self._monitor])):
            lookup.check()

    @property
    def _monitor(self) -> ScalarLookup | None:
        return None if self.monitor is None else ScalarLookup("background.monitor", self.monitor)

    @property
    def needs(self) -> Needs:
        """The files of background and dark, and the tables of these and of monitors."""
        files: dict[str, str] = {}
        lookups = {} if self._monitor is None else {"background_monitor": self._monitor}
        tables = self._tables
        for what, value in (("background", self.file), ("dark", self.dark_file)):
            for i, path in enumerate(_listed(value)):
                name = f"{what}[{i}]" if isinstance(value, list) else what
                if path in tables:
                    lookups[name] = tables[path]
                else:
                    files[name] = path
        per_frame = [key for key in ("file", "dark_file") if set(_listed(getattr(self, key))) & set(tables)]
        return Needs(files | table_files(lookups), per_frame=per_frame)

    @property
    def _tables(self) -> dict[str, ScalarLookup]:
        """Tables that name files of each frame, by the text of ``file`` or ``dark_file``."""
        dark = file_lookups("background.dark_file", _listed(self.dark_file))
        return dark | file_lookups("background.file", _listed(self.file))

    def prepare(self, setup: Setup) -> Step:
        """Average the background and dark frames and return the step that subtracts them."""
        refuse_lookups(self._tables)
        noisy = setup.variance or self.scale == AUTO
        air = _average(setup, "background", _listed(self.file), noisy, self.weights)
        dark = _average(setup, "dark", _listed(self.dark_file), noisy)
        if air is None and dark is None:
            return lambda frame: frame
        net = None if air is None else air.image if dark is None else air.image - dark.image
        scales = self._scales(setup, net, air, dark)
        gpu = None if setup.device is None else setup.device.subtraction(None if dark is None else dark.image, net)

        def scale_background(scale: float) -> tuple[Image | None, Image | None]:
            """Return the scaled background without dark, and the variance that the subtraction adds."""
            factor, noise = np.float32(scale), None
            if setup.variance:
                noise = np.zeros(setup.geometry.shape, np.float32)
                if air is not None:
                    noise += factor**2 * air.variance
                if dark is not None:
                    noise += (1 - factor) ** 2 * dark.variance
            if net is None or gpu is not None:
                return None, noise
            return net if factor == 1 else factor * net, noise

        # A scale that is the same for all frames is applied once.
        fixed = None if callable(scales) else scale_background(scales["background_scale"] if scales else 0.0)

        def subtract(frame: Frame) -> Frame:
            image = frame.image
            if dark is not None and (gpu is None or self.scale == AUTO):
                image = image - dark.image
            factors = scales(frame, image) if callable(scales) else scales
            scaled, noise = fixed or scale_background(factors["background_scale"])
            if gpu is not None:
                image = gpu(frame.image, factors.get("background_scale", 0.0))
            elif scaled is not None:
                image = image - scaled
            variance = frame.variance
            if variance is not None and noise is not None:
                variance = variance + noise
            raw = frame.image if frame.info.raw is None else frame.info.raw
            subtracted = replace(frame, image=image, variance=variance)
            return subtracted.with_info(raw=raw, factors={**frame.info.factors, **factors})

        return subtract

    def _scales(
        self, setup: Setup, net: Image | None, air: Average | None, dark: Average | None
    ) -> Mapping[str, float] | Callable[[Frame, Image], Mapping[str, float]]:
        """Return the scale of all frames, or a function that returns it for a frame and its image without the dark."""
        if air is None or net is None:
            return {}
        if self.scale == AUTO:
            from .background_scale import RingFit

            zeros = np.zeros(setup.geometry.shape, np.float32)
            limits = None if self.fit_range is None else (self.fit_range[0], self.fit_range[1])
            noise = (air.variance, zeros if dark is None else dark.variance)
            fit = RingFit(setup.geometry, net, noise, limits)

            def fit_frame(frame: Frame, image: Image) -> Mapping[str, float]:
                variance = setup.noise(frame.image) if frame.variance is None else frame.variance
                scale = fit(image, variance, frame.masked)
                return {"background_scale": scale.value, "background_scale_sigma": scale.sigma}

            return fit_frame
        monitor = self._monitor
        if monitor is None:
            return {"background_scale": self.scale}
        reference = self.monitor_value or self._background_monitor(setup, monitor)

        def scale_by_monitor(frame: Frame, image: Image) -> Mapping[str, float]:
            return {"background_scale": self.scale * monitor.of(frame) / reference}

        return scale_by_monitor

    def _background_monitor(self, setup: Setup, monitor: ScalarLookup) -> float:
        files = [Path(path) for path in _listed(self.file)]
        no_image = np.empty((0, 0), np.float32)
        try:
            values = [
                monitor.of(Frame(path.stem, no_image, header=setup.header(str(path)), info=Info(path.name)))
                for path in files
            ]
        except FrameError as error:
            raise ConfigError(f"{error}; or say background.monitor_value=...") from error
        return float(np.average(values, weights=self.weights))


class Average(NamedTuple):
    """Average of several frames, counts, and its variance, counts**2; float32, (slow, fast)."""

    image: Image
    variance: Image


def _average(
    setup: Setup, what: str, files: list[str], noisy: bool, weights: list[float] | None = None
) -> Average | None:
    # Two frames are in memory at a time. A single frame is returned unchanged, to the last bit.
    if not files:
        return None

    def variance(image: Image) -> Image:  # zeros that take no time, unless it is asked for
        return setup.noise(image) if noisy else np.broadcast_to(np.float32(0), image.shape)

    weighted = zip(files, weights or [1.0] * len(files), strict=True)
    images = ((image, each) for path, each in weighted for image in _images(setup, what, path))
    first, second = next(images, None), next(images, None)
    if first is None:
        raise ConfigError(f"the {what} {files[0]} holds no frame")
    if second is None:
        return Average(first[0], variance(first[0]))
    total, noise, weight = np.zeros(setup.geometry.shape), np.zeros(setup.geometry.shape), 0.0
    for image, each in chain((first, second), images):
        total += each * image
        noise += each**2 * variance(image)
        weight += each
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
