"""What a worker needs to process frames, and the pipeline it prepares from that."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from ..geometry.geometry import shared_geometry
from ..geometry.poni import Poni
from ..io.files import is_unchanged, read_steady
from ..io.header import checked
from ..model.arrays import Image
from ..model.errors import ConfigError, FrameError
from ..model.frame import Frame
from ..model.reference import Reference
from ..stages.stage import Setup, Step
from .pipeline import Pipeline


@dataclass(frozen=True)
class Recipe:
    """All that a worker needs to process frames: it travels between processes, and names what is prepared there."""

    config: str  # the resolved configuration of source and stages, JSON
    order: tuple[str, ...]
    poni: Poni
    shape: tuple[int, int]
    shape_from: str
    folder: Path | None
    cache: bool = False


@dataclass(frozen=True)
class Prepared:
    """A pipeline whose stages have done once what can be done once; called with a reference, it gives the frame."""

    pipeline: Pipeline
    read: Callable[[Reference], Frame]
    steps: Mapping[str, Step]

    def __call__(self, reference: Reference) -> tuple[Frame, dict[str, float], tuple[int, int] | tuple[None, None]]:
        """Take one frame all the way through, and time each stage (seconds); FrameError where it cannot go on.

        Also gives size and modification time of what was read, see `files.steady`; None for an array.
        """
        clock = time.perf_counter()
        state: tuple[int, int] | tuple[None, None] = None, None
        if reference.array is None:
            frame, state = before = read_steady(reference, self.read)
            header = checked(
                frame.header, lambda: is_unchanged(reference, before[1])
            )  # which is read when it is needed
            frame = replace(frame, header=header)
            if self.pipeline.source.columns:
                len(header)  # before anything is written
        else:
            frame = self.read(reference)
        seconds = {"source": time.perf_counter() - clock}
        for name, step in self.steps.items():
            clock = time.perf_counter()
            frame = step(frame)
            seconds[name] = time.perf_counter() - clock
        return frame, {name: round(value, 4) for name, value in seconds.items()}, state


@lru_cache(maxsize=2)
def prepared(recipe: Recipe) -> Prepared:
    """Prepare every stage, once a process.

    ConfigError says what of the configuration does not fit geometry, shape or the other inputs.
    """
    pipeline = Pipeline.of(json.loads(recipe.config), list(recipe.order))
    stages = pipeline.stages.values()

    def read(path: str) -> Image:
        try:
            return pipeline.source.read(path)
        except FrameError as error:
            raise ConfigError(f"{path}: {error}") from error

    def images(path: str) -> Iterator[Image]:
        try:
            yield from pipeline.source.images(path)
        except FrameError as error:
            raise ConfigError(f"{path}: {error}") from error

    setup = Setup(
        shared_geometry(recipe.poni, recipe.shape, recipe.shape_from, recipe.cache),
        read,
        pipeline.source.to_raw,
        recipe.folder,
        any(stage.needs.variance for stage in stages),
        pipeline.provenance(recipe.poni),
        columns=tuple(pipeline.source.columns),
        images=images,
        noise=pipeline.source.noise,
    )
    steps = {name: stage.prepare(setup) for name, stage in pipeline.stages.items()}
    return Prepared(pipeline, pipeline.source.prepare(setup), steps)
