"""Stages in a row: a frame walks in at the source and leaves at the output."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from .files import content_of, same, steady
from .frame import Frame, FrameError, Image, Reference
from .geometry import Poni, geometry
from .header import checked
from .paths import base_name
from .provenance import content_hash, moved, versions
from .source import Source
from .stage import ConfigError, Setup, Stage, Step, build

SHOWN = "plot"  # the group that changes no number, so its values are no part of a result's identity


@dataclass(frozen=True)
class Pipeline:
    """The source and the stages of a run, built from their configuration (group -> values), not yet prepared."""

    source: Source
    stages: Mapping[str, Stage]
    config: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, config: Mapping[str, Any], order: list[str]) -> Pipeline:
        """Build the source and the stages named in ``order``; ConfigError says which key is wrong and how."""
        groups = [key for key, value in config.items() if isinstance(value, Mapping)]
        for name in order:
            if name not in groups or name == "source":
                raise ConfigError(f"stages: there is no stage {name!r}; choose from {', '.join(groups)}")
        source = build(config["source"], "source", Source)
        stages = {name: build(config[name], name) for name in order}
        built = {"source": source, **stages}
        return cls(
            source, stages, {name: {"_target_": config[name]["_target_"], **asdict(built[name])} for name in built}
        )

    def inputs(self) -> dict[str, str]:
        """Files that the stages read besides the frames: what -> path."""
        return {what: path for stage in self.stages.values() for what, path in stage.inputs().items()}

    def outputs(self, name: str) -> list[str]:
        """Files that the frame ``name`` leaves, relative to the run's folder."""
        files = ([*stage.outputs(name), *stage.extra_outputs(name, self.extras)] for stage in self.stages.values())
        return [path for paths in files for path in paths]

    @cached_property
    def extras(self) -> dict[str, list[str]]:
        """What a frame gives besides its pattern: kind -> the suffixes of the files, see `Stage.extras`."""
        return {what: suffixes for stage in self.stages.values() for what, suffixes in stage.extras.items()}

    def finishes(self) -> list[str]:
        """Files that a run leaves when it ends, relative to its folder."""
        return [path for stage in self.stages.values() for path in stage.finishes()]

    @property
    def pattern_columns(self) -> tuple[str, ...]:
        """Of the patterns that come out: unit of the axis, intensity[, sigma]; () where that is not known before."""
        return next(
            (columns for stage in reversed(list(self.stages.values())) if (columns := stage.pattern_columns)), ()
        )

    def identity(self) -> dict[str, Any]:
        """The configuration that decides the numbers, files by base name: the same for the same result."""
        files = {path: base_name(path) for path in self.inputs().values()}
        stages = {name: moved(values, files) for name, values in self.config.items() if name != SHOWN}
        stages["source"].pop("columns", None)  # they change no number either
        return {"stages": [name for name in self.stages if name != SHOWN], **stages}

    def provenance(self, poni: Poni) -> dict[str, Any]:
        """What every result says about its making: no time, no host, no folder, so that it repeats to the byte.

        ConfigError where an input cannot be read.
        """
        hashes = {}
        for what, path in self.inputs().items():
            try:
                hashes[what] = f"{base_name(path)} {content_of(path)}"
            except FrameError as error:
                raise ConfigError(f"{what} file {path}: {error}") from error
        installed = versions()
        return {
            "program": f"xrdpipe {installed['xrdpipe']}, pyFAI {installed['pyFAI']}",
            "geometry": dict(poni.values),
            "poni": f"{poni.name} {content_hash(poni.text.encode())}",
            **({"changed": poni.changed} if poni.changed else {}),
            **hashes,
            "config": self.identity(),
        }


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
            frame, state = before = steady(reference, self.read)
            header = checked(frame.header, lambda: same(reference, before[1]))  # which is read when it is needed
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
        geometry(recipe.poni, recipe.shape, recipe.shape_from, recipe.cache),
        read,
        pipeline.source.to_raw,
        recipe.folder,
        any(stage.wants_variance for stage in stages),
        pipeline.provenance(recipe.poni),
        columns=tuple(pipeline.source.columns),
        images=images,
        noise=pipeline.source.noise,
    )
    steps = {name: stage.prepare(setup) for name, stage in pipeline.stages.items()}
    return Prepared(pipeline, pipeline.source.prepare(setup), steps)
