"""The recipe of a pipeline, which travels to workers, and the pipeline that they prepare from it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..geometry.calibration import split_poni_path
from ..geometry.geometry import Geometry, shared_geometry
from ..geometry.poni import Poni
from ..io.files import read_steady, require_unchanged
from ..io.header import with_check
from ..model.arrays import Image
from ..model.errors import ConfigError, FrameError
from ..model.frame import Frame, changed
from ..model.identity import content_hash
from ..model.reference import Reference
from ..stages.stage import Setup, Step
from .frame_files import Inputs, frame_config, own_input
from .frame_geometry import frame_poni
from .pipeline import Pipeline

if TYPE_CHECKING:
    from ..numerics.cuda.device import Device

GEOMETRIES = 4  # prepared pipelines of frames with geometries of their own, some 100 MB each for 4 million pixels
FIRST = 3  # frames whose geometry is looked up before the run begins
_preparing = threading.Lock()


@dataclass(frozen=True)
class Recipe:
    """Everything that a worker needs to process frames; it is hashable and can be pickled.

    Attributes
    ----------
    config
        Resolved configuration of the source and the stages, as JSON.
    order
        Names of the stages.
    poni
        Geometry of the detector.
    shape
        Shape of the frames (slow, fast).
    shape_from
        Beginning of a message that names the frame with this shape.
    folder
        Results folder; None if nothing is written.
    cache
        Keep arrays of the geometry in the cache on disk.
    judged
        Estimate the error of every pattern, to compare it with those of other masks.
    cuda
        Subtract, mask and integrate on the GPU.
    inputs
        Hash of all inputs: if the content of a file changes, the pipeline is prepared again.
    """

    config: str
    order: tuple[str, ...]
    poni: Poni
    shape: tuple[int, int]
    shape_from: str
    folder: Path | None
    cache: bool = False
    judged: bool = False
    cuda: bool = False
    inputs: str = ""


@dataclass(frozen=True)
class Prepared:
    """A pipeline with prepared stages; call it with a reference to process a frame.

    Attributes
    ----------
    pipeline
        Pipeline that was prepared.
    read
        Function that reads a frame.
    steps
        Prepared stages, by name.
    moving
        What is prepared for geometry and files of each frame, in place of ``steps``; None if all frames share them.
    """

    pipeline: Pipeline
    read: Callable[[Reference], Frame]
    steps: Mapping[str, Step]
    moving: Recipe | None = None

    def __call__(self, reference: Reference) -> tuple[Frame, dict[str, float], tuple[int, int] | tuple[None, None]]:
        """Process one frame.

        Returns
        -------
        frame
            Processed frame.
        seconds
            Duration of reading (``source``) and of each stage.
        state
            Size (bytes) and modification time (ns) of the file that was read; (None, None) for an array.

        Raises
        ------
        FrameError
            The frame cannot be read or processed.
        """
        clock = time.perf_counter()
        state: tuple[int, int] | tuple[None, None] = None, None
        if reference.array is None:
            frame, state = first = read_steady(reference, self.read)
            header = with_check(frame.header, lambda: require_unchanged(reference, first[1]))
            frame = changed(frame, header=header)
            if self.pipeline.source.columns:
                len(header)  # reads the lazy header before any file is written
        else:
            frame = self.read(reference)
        seconds = {"source": time.perf_counter() - clock}
        try:
            steps, inputs = self.steps_for(reference, frame)
        except ConfigError as error:
            raise FrameError(str(error)) from error
        for name, step in steps.items():
            clock = time.perf_counter()
            frame = step(frame)
            seconds[name] = time.perf_counter() - clock
        if inputs:
            frame = frame.with_info(inputs=inputs)
        return frame, {name: round(value, 4) for name, value in seconds.items()}, state

    def steps_for(self, reference: Reference, frame: Frame) -> tuple[Mapping[str, Step], Inputs]:
        """Return the stages, prepared for geometry and files of a frame, and these files.

        Raises
        ------
        FrameError
            The frame lacks a value of its geometry or a file, or has one that cannot be.
        ConfigError
            The configuration does not fit this geometry.
        """
        if self.moving is None:
            return self.steps, {}
        config, inputs = frame_config(self.pipeline.config, self.pipeline.stages, frame)
        recipe = replace(self.moving, config=json.dumps(config))
        if recipe.poni.lookups:
            poni = frame_poni(recipe.poni, reference, frame)
            if "poni" in recipe.poni.lookups:
                inputs = {**inputs, "geometry.poni": own_input("geometry.poni", str(split_poni_path(poni.path)[0]))}
            recipe = replace(recipe, poni=poni, cache=False)
        recipe = replace(recipe, inputs=content_hash(json.dumps([recipe.inputs, inputs]).encode()))
        with _preparing:  # threads with the same geometry share what the first of them prepares
            return _prepared_for_frames(recipe).steps, inputs


@lru_cache(maxsize=2)
def prepared(recipe: Recipe) -> Prepared:
    """Prepare every stage; a process does this once for each recipe.

    Parameters
    ----------
    recipe
        Pipeline to prepare.

    Returns
    -------
    Prepared
        The prepared pipeline.

    Raises
    ------
    ConfigError
        The configuration does not fit the geometry, the shape or another input.
    """
    return _prepare(recipe)


@lru_cache(maxsize=GEOMETRIES)
def _prepared_for_frames(recipe: Recipe) -> Prepared:
    return _prepare(recipe)


def _prepare(recipe: Recipe) -> Prepared:
    pipeline = Pipeline.of(json.loads(recipe.config), list(recipe.order))
    setup = setup_of(
        pipeline,
        shared_geometry(recipe.poni, recipe.shape, recipe.shape_from, recipe.cache),
        recipe.folder,
        pipeline.provenance(recipe.poni),
        _device(recipe.shape) if recipe.cuda else None,
    )
    if recipe.poni.lookups or pipeline.per_frame:
        return Prepared(pipeline, pipeline.source.prepare(setup), {}, recipe)
    steps = {name: stage.prepare(setup) for name, stage in pipeline.stages.items()}
    return Prepared(pipeline, pipeline.source.prepare(setup), steps)


def check_first(line: Prepared, images: Sequence[Reference]) -> None:
    """Raise ConfigError if the geometry and files of none of the first frames can be used, where each has its own."""
    reasons: list[str] = []
    for image in images[:FIRST] if line.moving is not None else ():
        with suppress(FrameError):  # it fails alone
            frame = line.read(image)
            try:
                line.steps_for(image, frame)
                return
            except FrameError as error:
                reasons.append(str(error))
    if reasons:
        raise ConfigError(reasons[0])


def setup_of(
    pipeline: Pipeline,
    geometry: Geometry,
    folder: Path | None = None,
    provenance: Mapping[str, Any] = MappingProxyType({}),
    device: Device | None = None,
) -> Setup:
    """Return what the stages of a pipeline get to prepare themselves.

    Parameters
    ----------
    pipeline
        The source and the stages.
    geometry
        Geometry of the frames.
    folder
        Results folder; None if nothing is written.
    provenance
        What every result records about its making.
    device
        GPU, or None.
    """
    source = pipeline.source

    def read(path: str) -> Image:
        try:
            return source.read(path)
        except FrameError as error:
            raise ConfigError(f"{path}: {error}") from error

    def images(path: str) -> Iterator[Image]:
        try:
            yield from source.images(path)
        except FrameError as error:
            raise ConfigError(f"{path}: {error}") from error

    return Setup(
        geometry,
        read,
        source.to_raw,
        folder,
        any(stage.needs.variance for stage in pipeline.stages.values()),
        provenance,
        columns=tuple(source.columns),
        images=images,
        noise=source.noise,
        device=device,
    )


def _device(shape: tuple[int, int]) -> Device:
    from ..numerics.cuda.device import Device

    return Device(shape)
