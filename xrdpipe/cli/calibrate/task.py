"""What is calibrated: the frames, how they are read, and the geometry to begin with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...calibration.calibrate import Calibrated, calibrate
from ...calibration.orientations import turned
from ...calibration.parameters import Parameters
from ...calibration.refine import NAMES, values_of
from ...calibration.several import wavelength_at
from ...config.arguments import parse
from ...config.loader import Loader, force_overrides, to_builtin
from ...config.settings import Settings, all_images, as_list, parse_settings
from ...execution.plan import array_references, geometry_file
from ...geometry.geometry import Geometry
from ...geometry.poni import Poni
from ...io.files import references
from ...io.paths import expand, expand_user
from ...model.errors import ConfigError, FrameError
from ...model.reference import Reference
from ...pipeline.pipeline import Pipeline
from ...pipeline.recipe import Prepared, Recipe, prepared
from ...stages.source import frame_shape
from ..new_files import check_new_files
from .start import begin, calibrant_at, fixed, poni_text, with_wavelength
from .words import USAGE, Words

GUESS = 5e-11  # m, a wavelength that stands for one that is not known
Counts = tuple[NDArray[np.floating], NDArray[np.bool_]]


@dataclass(frozen=True)
class Task:
    """What is asked for.

    Attributes
    ----------
    words
        What the user says besides the keys of a run.
    settings, pipeline
        Of a run up to the mask.
    images
        The frames.
    shape
        Of a frame, (slow, fast).
    poni
        Geometry to begin with; the detector is right.
    guessed
        Its wavelength is a guess, which `known_wavelength` replaces.
    started
        The rest of it is about right, too.
    fix
        Names of the parameters that keep their values.
    """

    words: Words
    settings: Settings
    pipeline: Pipeline
    images: tuple[Reference, ...]
    shape: tuple[int, int]
    poni: Poni
    started: bool
    fix: tuple[str, ...]
    guessed: bool = False

    @cached_property
    def calibrant(self) -> Any:
        """Calibrant of pyFAI, at the wavelength to begin with."""
        return calibrant_at(self.words.calibrant, float(self.poni.values["wavelength"]))

    @cached_property
    def start(self) -> Any:
        """Geometry of pyFAI to begin with, the detector in orientation 3."""
        config = {**json.loads(self.poni.values["detector_config"]), "orientation": 3}
        values = {**self.poni.values, "detector_config": json.dumps(config)}
        upright = Geometry(Poni(self.poni.path, poni_text(values)), self.shape, self._shape_from).integrator
        for name, value in self.turned(values_of(self._begun)).items():
            setattr(upright, name, value)
        return upright

    @cached_property
    def detector(self) -> Any:
        """Detector of pyFAI in orientation 3; ConfigError where its pixels are not square or not in a plane."""
        detector = self.start.detector
        if not detector.IS_FLAT or detector.CORNERS != 4:
            raise ConfigError(f"detector {detector.name}: only flat detectors with square pixels can be calibrated")
        if abs(detector.pixel1 / detector.pixel2 - 1) > 1e-6:
            sizes = f"{1e6 * detector.pixel1:g} x {1e6 * detector.pixel2:g}"
            raise ConfigError(f"pixels of {sizes} micrometres: only square pixels can be calibrated")
        return detector

    @cached_property
    def orientation(self) -> int:
        """Orientation of the detector in the PONI file, 1 to 4, as in pyFAI."""
        return int(json.loads(self.poni.values["detector_config"])["orientation"])

    @cached_property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Bounds of the parameters of a detector in orientation 3."""
        result = {}
        for name, ends in self.words.bounds.items():
            low, high = sorted(self.turned({name: value})[name] for value in ends)
            result[name] = (low, high)
        return result

    @cached_property
    def _prepared(self) -> Prepared:
        config, order = json.dumps(self.pipeline.config), tuple(self.pipeline.stages)
        return prepared(Recipe(config, order, self.poni, self.shape, self._shape_from, None))

    @property
    def _shape_from(self) -> str:
        return f"{self.images[0].location} has"

    @cached_property
    def _begun(self) -> Any:
        """Geometry of pyFAI to begin with, in the orientation of the PONI file."""
        return Geometry(self.poni, self.shape, self._shape_from).integrator

    @property
    def _pixel(self) -> tuple[float, float]:
        return float(self._begun.detector.pixel1), float(self._begun.detector.pixel2)

    @property
    def free(self) -> tuple[str, ...]:
        """Names of the parameters that are refined."""
        return tuple(name for name in NAMES if name not in self.fix)

    def turned(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return parameters in the orientation of the PONI file instead of 3, or the other way."""
        return turned(values, self.orientation, self.shape, self._pixel)

    def of_poni(self, parameters: Parameters) -> Parameters:
        """Return parameters as the PONI file has them."""
        return parameters.turned(self.orientation, self.shape, self._pixel)

    def poni_values(self, values: Mapping[str, float]) -> dict[str, str]:
        """Return the values of a PONI file from parameters that are in its orientation."""
        numbers = {"distance" if name == "dist" else name: repr(float(values[name])) for name in NAMES}
        return {**self.poni.values, **numbers}

    def read(self, image: Reference) -> Counts:
        """Read a frame up to the mask; return counts and pixels without a value, (slow, fast).

        Raises
        ------
        FrameError
            It cannot be read, or has another shape.
        """
        frame = self._prepared(image)[0]
        return frame.image, frame.masked

    def calibrate(
        self, counts: Counts, calibrant: Any = None, start: Any = None, fix: Sequence[str] | None = None
    ) -> Calibrated:
        """Find the geometry of a frame, by default from what the user says; FrameError if it does not decide."""
        start = start if start is not None else self.start if self.started else None
        fix = self.fix if fix is None else fix
        with np.errstate(divide="ignore", invalid="ignore"):  # pyFAI guesses a start, which is replaced
            return calibrate(*counts, self.detector, calibrant or self.calibrant, start, fix)


def known_wavelength(task: Task) -> Task:
    """Return the task with the wavelength at which the first frame has its distance; FrameError if there is none."""
    if not task.guessed:
        return task
    wavelength = wavelength_at(*task.read(task.images[0]), task.detector, task.calibrant, task.words.distances[0])
    return replace(task, poni=with_wavelength(task.poni, wavelength), guessed=False)


def make_task(words: Words, others: Sequence[str]) -> Task:
    """Return what is asked for; ConfigError where the words do not fit together."""
    command = parse(others)
    overrides = force_overrides(command.overrides)
    if command.options.multirun or any(word.startswith("hydra.mode=") for word in overrides):
        raise ConfigError(f"calibrate: makes one calibration, so no sweep; say {USAGE}")
    loader = Loader(command.options.config_dir)
    chosen = [] if any(word.startswith("mask=") for word in overrides) else ["mask=none", "++mask.detector=true"]
    values = to_builtin(loader.compose([*chosen, *overrides], command.options.config_name or "config"))
    values["images"] = all_images(values.get("images"), command.images, overrides)
    return task_of(words, values, {})


def task_of(words: Words, values: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Task:
    """Return what is asked for.

    Parameters
    ----------
    words
        What the user says besides the keys of a run.
    values
        Configuration of a run as plain Python; its automatic masks are off.
    arrays
        Frames in memory, by name: counts of shape (slow, fast).

    Raises
    ------
    ConfigError
        They do not fit together.
    """
    settings, groups = parse_settings(values)
    if settings.output_dir:
        raise ConfigError(f"output_dir={settings.output_dir}: a PONI has none; say save=geometry.poni")
    pipeline = Pipeline.of(groups, _stages(groups, settings.stages))
    images = _images(pipeline, as_list(settings.images), arrays)
    try:
        shape = frame_shape(images[0], pipeline.source)
    except FrameError as error:
        raise ConfigError(f"{images[0].location}: {error}") from error
    start = geometry_file(settings) if settings.poni or settings.geometry.numbers else None
    fix = fixed(words, start is not None)
    poni = begin(words, start, settings, shape, images[0])
    guessed = poni.wavelength is None
    if guessed:
        poni = with_wavelength(poni, GUESS)
    task = Task(words, settings, pipeline, tuple(images), shape, poni, start is not None, fix, guessed)
    _check(task)
    return task


def _check(task: Task) -> None:
    """Raise ConfigError where detector, calibrant or the number of frames do not fit."""
    words, many = task.words, len(task.images)
    for key, given in (("distances", words.distances), ("energies", words.wavelengths)):
        if given and (many < 2 or len(given) != many):
            frames = f"{many} frame{'s' if many > 1 else ''}"
            raise ConfigError(f"{key}: {len(given)} values for {frames}; one for each of two or more frames is needed")
    if many > 1 and not words.distances and not words.wavelengths:
        if not task.started:
            raise ConfigError(
                f"images: {many} frames; say what they are: distances=[...] or energies=[...] for one calibration of "
                "all, poni=geometry.poni to follow the geometry over a series, source.average=N to merge them"
            )
        if words.bounds:
            raise ConfigError(f"bounds.{min(words.bounds)}: a series is followed without bounds")
    task.detector, task.calibrant  # noqa: B018 - their construction is the check


def _stages(groups: Mapping[str, Any], order: Sequence[str]) -> list[str]:
    """Return the stages up to the mask; ConfigError where one of them needs the geometry."""
    scale = (groups.get("background") or {}).get("scale")
    if scale == "auto":
        raise ConfigError("background.scale=auto: is fitted along rings, which are not known yet; say a number")
    chosen = list(order[: order.index("mask") + 1]) if "mask" in order else ["mask"]
    mask = groups["mask"]
    if mask.get("alpha") is not None or mask.get("regions"):
        raise ConfigError("mask: automatic masks need the geometry; leave it out, or say mask=none and mask.file=...")
    return chosen


def _images(pipeline: Pipeline, given: Sequence[str], arrays: Mapping[str, NDArray[Any]]) -> list[Reference]:
    if not given and not arrays:
        raise ConfigError(f"images: missing; say which frame, as in {USAGE}")
    try:
        files = list(references(expand(given))) if given else []
        return list(pipeline.source.merged([*files, *array_references(arrays, files)]))
    except FrameError as error:
        raise ConfigError(str(error)) from error


def check_files(files: Sequence[Path], task: Task) -> None:
    """Raise ConfigError where a file to write is there already, is an input, or cannot be written."""
    inputs = [part.path for image in task.images for part in (image, *image.parts)]
    inputs += [Path(path) for path in (*task.pipeline.inputs().values(), task.settings.poni) if path]
    inputs.append(Path(expand_user(task.words.calibrant)))
    check_new_files(files, inputs, task.settings.overwrite, "save")
