"""From a view to its numbers: the frames and settings of the command line, and what was made of them so far."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config.arguments import parse
from ..config.loader import Loader, force_overrides, to_builtin
from ..config.schema import build
from ..config.settings import all_images, parse_settings
from ..execution.plan import Plan, run_shape
from ..execution.static_mask_files import with_static_masks, write_mask
from ..geometry.geometry import Geometry
from ..model.errors import ConfigError, FrameError
from ..model.frame import Frame
from ..model.identity import content_hash
from ..model.record import Record
from ..model.reference import Reference
from ..pipeline.pipeline import Pipeline
from ..pipeline.process import about_pattern
from ..pipeline.recipe import setup_of
from ..stages.integ.integ import Integ
from ..stages.integ.sigma_clip import RobustInteg
from ..stages.mask import Mask
from ..stages.source import Source
from ..stages.stage import Setup, Stage, Step
from .canvas import shapes
from .line import Kept, Line, Wanted
from .preview import Preview
from .result import Configured, Result, Used, record_of
from .view import View
from .warm import Warm
from .words import GROUPS, Start, checked_values

RESULTS = 8  # that pictures are made of
MASKS = 16  # drawn masks that are kept in files


class Session:
    """The frames and settings of one command line.

    Parameters
    ----------
    start
        The arguments.
    save
        Folder into which masks and experiments go.
    stack
        Ends what is under way, and removes temporary files.
    phases
        Files of lattice spacings, by name.

    Raises
    ------
    ConfigError
        A run would refuse the arguments, or no frame can be read.
    """

    def __init__(
        self, start: Start, save: str, stack: ExitStack, phases: Mapping[str, Path] = MappingProxyType({})
    ) -> None:
        self.start, self.save, self._stack, self.phases = start, save, stack, dict(phases)
        options = dict(zip(start.options[::2], start.options[1::2], strict=True))
        self.loader, self._config_name = Loader(options.get("--config-dir")), options.get("--config-name", "config")
        self._lock, self._one_exact = threading.RLock(), threading.RLock()
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="xrdpipe-look-")))
        self._composed: Kept[tuple[dict[str, Any], dict[str, str]]] = Kept(64)
        self._configured: Kept[Configured] = Kept(64)
        self._checked: set[tuple[str, str, str]] = set()  # stages, as they are configured
        self._results: Kept[Result] = Kept(RESULTS)
        values, choices = self.composed(start)
        self._refuse_source(values, choices.get("source", ""))
        self.plan = Plan.of({**values, "quiet": True}, {}, False, {})
        self.images = self.plan.images
        shape, shape_from, unreadable = run_shape(self.plan)
        if shape is None:
            raise ConfigError(f"images: no frame can be read ({next(iter(unreadable.values()), 'there is none')})")
        self.shape = shape
        self.plan.require_still("look")
        self.geometry = Geometry(self.plan.poni, shape, shape_from, self.plan.settings.cache, interactive=True)
        self.groups = tuple(name for name in GROUPS if name in self.plan.pipeline.stages)
        self.warm, self.preview = Warm(self.geometry), Preview(self.geometry)
        self._line = Line(self.geometry, self.warm)
        stack.callback(self.warm.stop)

    @cached_property
    def two_theta(self) -> NDArray[np.float32]:
        """2theta of every pixel, rad, (slow, fast)."""
        angles = self.geometry.integrator.center_array(self.shape, unit="2th_rad", scale=False)
        return np.asarray(angles, np.float32)

    @property
    def combines(self) -> bool:
        """Whether frames can be combined: there are several, and the command line does not merge them."""
        source = self.plan.pipeline.source
        return len(self.images) > 1 and not source.merges

    @cached_property
    def integrator(self) -> Any:
        """PyFAI's integrator, for the angles of single positions."""
        return self.geometry.integrator

    def prepared(self, name: str, stage: Stage, setup: Setup) -> Step:
        """Return a prepared stage that is none of the pipeline's."""
        return self._line.prepared(name, stage, self._key(stage, setup), setup)

    def is_prepared(self, name: str, stage: Stage, setup: Setup) -> bool:
        """Return whether such a stage is prepared already."""
        return self._line.has(name, self._key(stage, setup))

    @staticmethod
    def _key(stage: Stage, setup: Setup) -> tuple[str, bool]:
        return repr(stage), setup.variance

    @property
    def preparing(self) -> list[str]:
        """Names of the groups whose stages are being prepared."""
        return sorted(self._line.preparing)

    def result(self, view: View) -> Result:
        """Return what a view shows.

        Raises
        ------
        ConfigError, FrameError, UsageError
            The settings are wrong, or the frame cannot be processed; the message is that of a run.
        """
        with self._one_exact:  # a preview does not wait for it
            return self._results.put(view.id, self._make(view))

    def quick(self, view: View) -> Result:
        """Return what a view shows, or a preview of its pattern if the exact one takes longer; raises as `result`."""
        used = self._used(view)
        pipeline, wanted = used.configured.pipeline, used.wanted
        name = next((name for name, stage in pipeline.stages.items() if isinstance(stage, Integ)), "")
        integ = pipeline.stages.get(name)
        soon = not isinstance(integ, RobustInteg) and self._line.is_prepared(pipeline, name) if name else True
        if not isinstance(integ, Integ) or soon or self._line.is_made(pipeline, wanted, name):
            return self._results.put(view.id, self._make(view))  # without waiting for an exact one of other settings
        clock = time.perf_counter()
        frame = self._line.before(pipeline, wanted, name)
        try:
            frame = self.preview(integ, frame)
        except FrameError:  # what is wrong with it is the exact one to say
            return self.result(view)
        record = record_of(wanted, frame)
        result = self._result(view, used, frame, record, clock, exact=False)
        return self._results.put(view.id, result)

    def made(self, identifier: str) -> Result | None:
        """Return the result of a view that was asked for not long ago."""
        return self._results.find(identifier)

    def composed(self, start: Start) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the plain values of a command line, and the options of its groups."""
        with self._lock:
            return self._composed.get(start, lambda: self._compose(start))

    def configured(self, start: Start) -> Configured:
        """Return the checked configuration of a command line."""
        with self._lock:
            return self._configured.get(start, lambda: self._configure(start))

    def start_of(self, view: View) -> Start:
        """Return the command line of a view, without its drawn mask."""
        for group, _ in view.choices:
            if group not in self.groups:
                raise ConfigError(f"{group}: not a group of the page; allowed: {', '.join(self.groups)}")
        merge = {}
        if view.combine in ("sum", "mean"):
            merge = {"source.sum" if view.combine == "sum" else "source.average": str(self._longest)}
        return self.start.changed(dict(view.choices), {**checked_values(view.values), **merge})

    def bare(self, choices: Mapping[str, str]) -> Start:
        """Return a command line of options alone, without what the user typed but the folder of their options."""
        return replace(self.start, words=tuple(f"{group}={option}" for group, option in choices.items()), images=())

    def with_mask(self, start: Start, path: str) -> Start:
        """Return a command line whose mask is a file that contains those of ``mask.file``."""
        inverted = {"mask.invert": "false"} if self.composed(start)[0].get("mask", {}).get("invert") else {}
        return start.changed({}, {"mask.file": path, **inverted})

    def _refuse_source(self, values: Mapping[str, Any], option: str) -> None:
        """Raise ConfigError for a source that makes its frames, or waits for them."""
        source = build(parse_settings(values)[1].get("source", {}), "source", Source)
        if source.supplies or type(source).watch is not Source.watch:
            raise ConfigError(f"source={option}: look shows frames that are there, so source=default and their paths")

    def _compose(self, start: Start) -> tuple[dict[str, Any], dict[str, str]]:
        command = parse([*start.options, *start.words])
        cfg = self.loader.compose(force_overrides(command.overrides), self._config_name)
        choices = {str(group): str(option) for group, option in cfg.hydra.runtime.choices.items()}
        values = to_builtin(cfg)
        values["images"] = all_images(values.get("images"), command.images, command.overrides)
        return values, choices

    def _configure(self, start: Start) -> Configured:
        values, choices = self.composed(start)
        used, _ = with_static_masks({**values, "quiet": True}, {}, False, False, self._stack)
        settings, groups = parse_settings(used)
        pipeline = Pipeline.of(groups, settings.stages)
        for name in pipeline.stages:
            self._check(pipeline, name)
        return Configured(values, choices, pipeline)

    def _check(self, pipeline: Pipeline, name: str) -> None:
        key = name, json.dumps(pipeline.config[name]), repr(pipeline.makes)
        if key not in self._checked:
            pipeline.stages[name].check(self.plan.poni, pipeline.makes)
            self._checked.add(key)

    def _used(self, view: View) -> Used:
        """Return the configuration of a view, with its drawn mask."""
        start, wanted = self.start_of(view), self._wanted(view)
        plain = self.configured(start)
        if not view.shapes:
            return Used(start, wanted, plain, plain, None)
        drawn = self._drawn(plain, view, self._line.read(plain.pipeline, wanted))
        return Used(start, wanted, plain, self.configured(self.with_mask(start, self._mask_file(drawn))), drawn)

    def _make(self, view: View) -> Result:
        clock = time.perf_counter()
        used = self._used(view)
        frame = self._line.process(used.configured.pipeline, used.wanted)
        known = self.made(view.id)
        if known is not None and known.frame is frame:
            return known
        record = replace(record_of(used.wanted, frame), **about_pattern(frame, True))
        return self._result(view, used, frame, record, clock)

    def _result(self, view: View, used: Used, frame: Frame, record: Record, clock: float, exact: bool = True) -> Result:
        raw = self._line.read(used.configured.pipeline, used.wanted)
        seconds = time.perf_counter() - clock
        return Result(view, used.start, used.plain, raw, frame, used.drawn, record, seconds, exact)

    @cached_property
    def _series(self) -> list[Reference]:
        """The series that frames belong to: the files of one frame together, and every stack."""
        return replace(self.plan.pipeline.source, average=max(2, len(self.images))).merged(self.images)

    @property
    def _longest(self) -> int:
        return max(len(group.parts) for group in self._series)

    def _wanted(self, view: View) -> Wanted:
        if view.frame >= len(self.images):
            raise ConfigError(f"frame={view.frame}: there are {len(self.images)} frames")
        if view.combine == "frame":
            return Wanted(self.images.look(view.frame))
        if not self.combines:
            raise ConfigError(f"combine={view.combine}: there is one frame, or the command line merges frames")
        ends = accumulate(len(group.parts) for group in self._series)
        reference = next(group for group, end in zip(self._series, ends, strict=True) if view.frame < end)
        return Wanted(reference, view.combine == "maximum")

    def _drawn(self, configured: Configured, view: View, raw: Frame) -> NDArray[np.uint8]:
        """Return the mask of the shapes and of ``mask.file``, raw orientation."""
        if "mask" not in self.groups:
            raise ConfigError("stages: there is no mask stage, so nothing can be drawn")
        pipeline = configured.pipeline
        stage = build(configured.values["mask"], "mask", Mask)
        mask = shapes.draw(view.shapes, raw.image, lambda: self.two_theta)
        setup = setup_of(pipeline, self.geometry)
        for path in stage.files:
            mask |= stage.read_user_mask(setup, path)[0]
        return np.ascontiguousarray(pipeline.source.to_raw(mask), np.uint8)

    def _mask_file(self, mask: NDArray[np.uint8]) -> str:
        """Write a mask into the temporary folder, and return its path."""
        path = self._folder / f"{content_hash(mask).partition(':')[2]}.npy"
        if not path.exists():
            write_mask(path, mask)
        for old in sorted(self._folder.glob("*.npy"), key=lambda each: each.stat().st_mtime_ns)[:-MASKS]:
            old.unlink()
        return str(path)
