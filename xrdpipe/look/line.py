"""A frame's way through the stages, of which only what changed is done again."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Generic, TypeVar

import numpy as np

from ..geometry.geometry import Geometry
from ..io.files import read_steady, reference_state
from ..io.handles import file_state
from ..io.paths import split_path
from ..model.errors import ConfigError, FrameError
from ..model.frame import Frame, changed
from ..model.reference import Reference
from ..pipeline.pipeline import Pipeline
from ..pipeline.recipe import setup_of
from ..stages.mask import Mask
from ..stages.source import Source
from ..stages.stage import Setup, Stage, Step
from .warm import Warm

Value = TypeVar("Value")
ROOM = 2 << 30  # bytes of frames between stages
STEPS = 4  # prepared stages of a group; the matrix of an integration takes some 100 MB for 4 million pixels


class Kept(Generic[Value]):
    """The values used last, by what they are made of; for any number of threads.

    Parameters
    ----------
    most
        Largest number of values.
    room
        Largest size of all of them together, bytes.
    size
        Returns the size of a value, bytes.
    """

    def __init__(self, most: int, room: float = float("inf"), size: Callable[[Value], int] = lambda value: 0) -> None:
        self._most, self._room, self._size = most, room, size
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of a key; ``make`` it if it is not kept."""
        value = self.find(key)
        return self.put(key, make()) if value is None else value

    def put(self, key: Hashable, value: Value) -> Value:
        """Keep a value, in place of an older one, and return it."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > 1 and (len(self._values) > self._most or self._total() > self._room):
                self._values.popitem(last=False)
        return value

    def find(self, key: Hashable) -> Value | None:
        """Return the value of a key, None if it is not kept."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def _total(self) -> int:
        return sum(map(self._size, self._values.values()))


@dataclass(frozen=True)
class Wanted:
    """A frame to process.

    Attributes
    ----------
    reference
        The frame, or the frames that are merged in one.
    maximum
        Take the largest value of every pixel of the merged frames, in place of what the source makes of them.
    """

    reference: Reference
    maximum: bool = False

    @property
    def key(self) -> Hashable:
        """What the numbers of the frame depend on besides the configuration; FrameError if its file is missing."""
        parts = len(self.reference.parts)
        return self.reference.location, parts, self.maximum, reference_state(self.reference)


class Line:
    """Prepared stages and the frames between them, as many as there is room for; for any number of threads.

    Parameters
    ----------
    geometry
        Geometry of all frames.
    warm
        What prepares the robust mask for the first time.

    Attributes
    ----------
    preparing
        Names of the groups whose stages are being prepared.
    """

    def __init__(self, geometry: Geometry, warm: Warm) -> None:
        self.geometry, self._warm = geometry, warm
        self.preparing: set[str] = set()
        self._steps: defaultdict[str, Kept[Step]] = defaultdict(lambda: Kept(STEPS))
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._frames: Kept[Frame] = Kept(64, ROOM, _size)

    def read(self, pipeline: Pipeline, wanted: Wanted) -> Frame:
        """Return a frame before the first stage; FrameError if it cannot be read."""
        return self._read(pipeline.source, wanted, setup_of(pipeline, self.geometry))

    def process(self, pipeline: Pipeline, wanted: Wanted, before: str = "") -> Frame:
        """Return a frame after the last stage, or before a stage.

        Raises
        ------
        ConfigError
            A stage cannot be prepared.
        FrameError
            The frame cannot be read or processed.
        """
        setup = setup_of(pipeline, self.geometry)
        frame = self._read(pipeline.source, wanted, setup)
        keys, ways = self._ways(pipeline, wanted, setup)
        for name, way in ways.items():
            if name == before:
                break
            kept = self._frames.find(way)
            frame = self._applied(pipeline, name, keys[name], setup, frame, way) if kept is None else kept
        return frame

    def before(self, pipeline: Pipeline, wanted: Wanted, name: str) -> Frame:
        """Return a frame before a stage, for a preview: without its variance, if only that one is kept.

        Raises as `process`.
        """
        setup, names = setup_of(pipeline, self.geometry), list(pipeline.stages)
        for last in names[: names.index(name)][-1:]:
            for each in (setup, replace(setup, variance=False)):
                kept = self._frames.find(self._ways(pipeline, wanted, each)[1][last])
                if kept is not None:
                    return kept
        return self.process(pipeline, wanted, name)

    def is_made(self, pipeline: Pipeline, wanted: Wanted, name: str) -> bool:
        """Return whether a frame after a stage is kept."""
        return self._frames.find(self._ways(pipeline, wanted, setup_of(pipeline, self.geometry))[1][name]) is not None

    def is_prepared(self, pipeline: Pipeline, name: str) -> bool:
        """Return whether a stage of a pipeline is prepared."""
        return self.has(name, _keys(pipeline, setup_of(pipeline, self.geometry))[name])

    def has(self, name: str, key: Hashable) -> bool:
        """Return whether a stage of a group is prepared."""
        return self._steps[name].find(key) is not None

    def prepared(self, name: str, stage: Stage, key: Hashable, setup: Setup) -> Step:
        """Return a prepared stage of a group; ``key`` is what it depends on."""
        step = self._steps[name].find(key)
        if step is not None:
            return step
        with self._locks[name]:
            self.preparing.add(name)
            try:
                if isinstance(stage, Mask) and (stage.regions or stage.auto_type == "mad"):
                    self._warm.wait()
                return self._steps[name].get(key, lambda: stage.prepare(setup))
            finally:
                self.preparing.discard(name)

    def _ways(
        self, pipeline: Pipeline, wanted: Wanted, setup: Setup
    ) -> tuple[dict[str, Hashable], dict[str, Hashable]]:
        """Return, by stage, what it depends on, and what the frame after it depends on."""
        keys, key = _keys(pipeline, setup), wanted.key
        ends = {name: tuple(keys.values())[: end + 1] for end, name in enumerate(keys)}
        return keys, {name: (key, *before) for name, before in ends.items()}

    def _applied(
        self, pipeline: Pipeline, name: str, key: Hashable, setup: Setup, frame: Frame, way: Hashable
    ) -> Frame:
        step = self.prepared(name, pipeline.stages[name], key, setup)
        return self._frames.put(way, step(frame))

    def _read(self, source: Source, wanted: Wanted, setup: Setup) -> Frame:
        def read() -> Frame:
            prepared = source.prepare(setup)
            if wanted.maximum:
                return _maximum(prepared, wanted.reference, source, setup.variance)
            return read_steady(wanted.reference, prepared)[0]

        return self._frames.get((wanted.key, repr(source), setup.variance), read)


def _keys(pipeline: Pipeline, setup: Setup) -> dict[str, Hashable]:
    """Return what each stage depends on."""
    about = json.dumps(pipeline.config["source"]), setup.variance
    return {name: (name, _state(pipeline, name), *about) for name in pipeline.stages}


def _state(pipeline: Pipeline, name: str) -> Hashable:
    """Return what the numbers of a stage depend on: its values, and the state of the files that it reads."""
    states = []
    for role, path in pipeline.stages[name].needs.files.items():
        try:
            states.append(file_state(split_path(path).file))
        except FrameError as error:
            raise ConfigError(f"{role} file {path}: {error}") from error
    return json.dumps(pipeline.config[name]), tuple(states)


def _maximum(read: Callable[[Reference], Frame], reference: Reference, source: Source, variance: bool) -> Frame:
    """Return the largest value of every pixel of several frames; a pixel is bad if it is bad in any of them."""

    def larger(one: Frame, other: Frame) -> Frame:
        masks = [each.info.bad for each in (one, other) if each.info.bad is not None]
        bad = reduce(np.logical_or, masks) if masks else None
        return changed(one, image=np.fmax(one.image, other.image)).with_info(bad=bad)

    frame = reduce(larger, map(read, reference.parts))
    return changed(frame, variance=source.noise(frame.image) if variance else None)


def _size(frame: Frame) -> int:
    return sum(each.nbytes for each in (frame.image, frame.variance, frame.mask) if each is not None)
