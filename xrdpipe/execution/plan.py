"""A run before its first frame: what is asked for, checked and named; nothing is written."""

from __future__ import annotations

import json
import os
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..config.settings import Settings, parse_settings
from ..config.targets import old_targets
from ..geometry.geometry import shared_geometry
from ..geometry.poni import Poni
from ..io import files
from ..io.paths import expand, split_path
from ..model.errors import ConfigError, FrameError, require
from ..model.naming import assign_names
from ..model.reference import Reference, absolute_location, display_path
from ..model.series import Series
from ..pipeline.pipeline import Pipeline
from ..results.folder import TAKEN, Folder
from ..stages.arrivals import Arrivals
from ..stages.collector import Collector
from ..stages.source import frame_shape

PICTURES = 5  # of a series in its report, at most


SHOWN = 20  # frames of a stack whose files a dry run lists


@dataclass(frozen=True)
class Plan:
    """A run before its first frame: everything is read, checked and named, nothing is written."""

    settings: Settings
    pipeline: Pipeline
    poni: Poni
    images: list[Reference]
    left_out: list[str]
    notes: list[str]  # what is to be said of the images
    folder: Folder | None  # None: nothing is written, or the folder is still to be made
    write: bool
    arrivals: Arrivals | None = None  # where more images come from while the run goes on

    @classmethod
    def of(
        cls,
        values: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]],
        write: bool,
        names: Mapping[str, str],
        arrivals: Arrivals | None = None,
    ) -> Plan:
        """Check all that can be checked without reading a frame.

        Parameters
        ----------
        values
            The configuration, as plain Python.
        arrays
            Frames in memory, by name.
        write
            Whether results are written.
        names
            Names that images already have, name -> path.
        arrivals
            Where more images come from; the plan waits for the first of them.

        Raises
        ------
        ConfigError
            The run is refused.
        """
        settings, groups = parse_settings(values)
        pipeline = Pipeline.of(groups, settings.stages)
        poni = geometry_file(settings)
        _check_inputs(settings, pipeline, poni, arrays)
        files.forget_files()  # they may have grown since
        inputs = {_real(each) for path in pipeline.inputs().values() for each in files.look(path).references}
        contents = _contents(settings, pipeline, poni, write, inputs, arrivals)
        found = {absolute_location(each): each for content in contents for each in content.references}
        frames = [each for each in found.values() if not inputs or _real(each) not in inputs]
        notes = [*old_targets(groups), *(note for content in contents for note in content.notes)]
        _check_frames(settings, found, frames, arrays, notes)
        folder = Folder(Path(settings.output_dir)) if settings.output_dir and write else None
        single = assign_names(frames, {**names, **(folder.names if folder else {})})
        images = pipeline.source.merged([*single, *_array_references(arrays, single)])
        size = max(len(image.parts) for image in images)
        notes += [f"{image.name} is of {n} frames, not {size}" for image in images if (n := len(image.parts)) < size]
        left_out = [each.location for each in found.values() if inputs and _real(each) in inputs]
        plan = cls(settings, pipeline, poni, images, left_out, notes, folder, write, arrivals)
        plan._check_outputs()
        return plan

    def _check_outputs(self) -> None:
        """Raise ConfigError where results would overwrite each other, or what the folder holds."""
        owners: dict[str, str] = {}
        for name, written in self.outputs().items():
            for each in written:
                if each in owners:
                    raise ConfigError(f"images: {owners[each]} and {name} would both write {each}; rename one")
                owners[each] = name
        if self.folder is not None:
            shared = self.together(self.collectors(self.folder))
            self.folder.check(self.identity, self.outputs(), self.settings.overwrite or self.resumes, shared)
        collectors = self.collectors(self.folder or Folder(Path(".")))
        if self.arrivals is not None and any(each.takes_results for each in collectors):
            raise ConfigError("output.format: nxs is made of all frames together, so not with source=watch")

    @property
    def resumes(self) -> bool:
        """Whether what is done stays: where the user says so, or frames arrive for results of the same settings."""
        if self.arrivals is None or self.settings.resume or self.folder is None:
            return bool(self.settings.resume)
        return not self.settings.overwrite and self.folder.run.get("identity") == self.identity

    @cached_property
    def waiting(self) -> list[Reference]:
        """The images that are to be done: all, or where a run is resumed, those that are missing, failed or changed."""
        folder, resume = self.folder, self.settings.resume
        if folder is None or not self.resumes or folder.run.get("identity") != self.identity:
            return self.images
        verify = resume == "verify"
        collectors = self.collectors(folder)
        return [
            image
            for image in self.images
            if image.array is not None
            or not folder.done(image, self.pipeline.outputs(image.name), verify)
            or not all(each.holds(folder.records[image.name]) for each in collectors)
        ]

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What decides the numbers of this run, as results of other runs are compared with it."""
        return identity_of(self.pipeline, self.poni)

    def outputs(self, images: list[Reference] | None = None) -> dict[str, list[str]]:
        """The files of every frame (or of some), by its name."""
        return {image.name: self.pipeline.outputs(image.name) for image in (self.images if images is None else images)}

    @cached_property
    def shown(self) -> set[str]:
        """The images of which the report shows a picture: first and last, and some evenly between."""
        count = len(self.images) if self.settings.report else 0
        if count and self.arrivals is not None:  # of the others, see `live`
            return {self.images[0].name}
        chosen = {round(part * (count - 1) / (PICTURES - 1)) for part in range(PICTURES)} if count else set()
        return {self.images[number].name for number in chosen}

    def collectors(self, folder: Folder, started: str = "") -> list[Collector]:
        """What the stages make of all frames together, in this folder."""
        stacks = {image.name: image.stack for image in self.images}
        parts = ("", *(suffix for suffixes in self.pipeline.makes.parts.values() for suffix in suffixes))
        series = Series(folder.path, stacks, self.identity, self.poni.text, self.poni.wavelength, started, parts)
        return self.pipeline.collectors(series)

    def together(self, collectors: list[Collector]) -> list[str]:
        """Files that are made of all frames, relative to the run's folder."""
        return [file for each in collectors for file in each.files]

    def told(self) -> str:
        """What would be read, prepared and written."""
        target = self.folder.path if self.folder else Path("outputs/<date>/<time>")
        lines = [f"would read {self.poni.path} and {len(self.waiting)} images:"]
        lines += [f"  {line}" for line in _listed(self.waiting)]
        lines += self.notes
        if done := len(self.images) - len(self.waiting):
            lines += [f"would leave {done} images as they are: done before"]
        lines += [f"would leave out {path}: it is a background, dark or mask file" for path in self.left_out]
        lines += [f"would read the {what} {path}" for what, path in self.pipeline.inputs().items()]
        lines += [f"would prepare {name}: {stage}" for name, stage in self.pipeline.stages.items()]
        lines += [f"would write into {target}:"]
        for stack in _stacks(self.waiting):
            shown = stack if len(stack) <= SHOWN else [stack[0], stack[-1]]
            told = [file for image in shown for file in self.pipeline.outputs(image.name)]
            if len(stack) > SHOWN:
                told.insert(len(told) // 2, f"... and for {len(stack) - 2} frames between")
            lines += [f"  {line}" for line in told]
        lines += [f"  {file}" for file in self.together(self.collectors(Folder(target)))]
        report = "report.html, " if self.settings.report else ""
        return "\n".join([*lines, f"  summary.csv, run.json, {report}xrdpipe.log, .hydra/"])


def _check_inputs(settings: Settings, pipeline: Pipeline, poni: Poni, arrays: Mapping[str, NDArray[Any]]) -> None:
    if not settings.images and not arrays:
        raise ConfigError("images: missing; say which frames, images='data/*.tiff' or their paths")
    for what, path in pipeline.inputs().items():
        file = split_path(path).file
        if not os.path.isfile(file):
            raise ConfigError(f"{what} file {path}: {'not a file' if os.path.exists(file) else 'no such file'}")
    pipeline.check(poni)
    for name in pipeline.source.columns:
        taken = name in TAKEN or name.startswith("seconds_")
        require(not taken, "source.columns", name, "a column of this name is there already, see docs/metrics.md")


def _contents(
    settings: Settings,
    pipeline: Pipeline,
    poni: Poni,
    write: bool,
    inputs: Container[tuple[Path, str]],
    arrivals: Arrivals | None,
) -> list[files.Content]:
    """Return the frames of the images, or the first that arrive."""
    if arrivals is None:
        return [files.look(path) for path in expand(settings.images or [])]
    folder = Folder(Path(settings.output_dir)) if settings.output_dir and write and not settings.overwrite else None
    if folder and folder.run.get("identity") != identity_of(pipeline, poni):
        folder = None

    def is_wanted(frame: Reference) -> bool:
        return _real(frame) not in inputs and not (folder and folder.renamed(frame))

    return [files.Content(tuple(arrivals.first(is_wanted, wait=not settings.dry_run)))]


def _check_frames(
    settings: Settings,
    found: Mapping[str, Reference],
    frames: Sequence[Reference],
    arrays: Mapping[str, NDArray[Any]],
    notes: Sequence[str],
) -> None:
    if found and not frames:
        raise ConfigError(f"images={settings.images}: nothing but the background, dark or mask file itself")
    if arrays:
        return
    if frames and not any(os.path.exists(path) for path in {each.path for each in frames}):
        raise ConfigError(f"images: none of them exists ({', '.join(each.location for each in frames[:3])})")
    if not frames:
        raise ConfigError(f"images: no frames ({'; '.join(notes[:3])})")


def _array_references(arrays: Mapping[str, NDArray[Any]], single: Sequence[Reference]) -> list[Reference]:
    names = [*(image.name for image in single), *arrays]
    for name in arrays:
        fits = name and name == Path(name).name and names.count(name) == 1
        require(bool(fits), "images", name, "an array needs a name of its own, without folders")
    return [Reference(name, Path(name), array) for name, array in arrays.items()]


def _stacks(images: list[Reference]) -> list[list[Reference]]:
    """Images, those of one stack together."""
    rows = groupby(enumerate(images), lambda each: (each[1].path, each[1].dataset) if each[1].tail else each[0])
    return [[image for _, image in row] for _, row in rows]


def _listed(images: list[Reference]) -> Iterator[str]:
    for stack in _stacks(images):
        first, last = stack[0], (stack[-1].parts or stack[-1:])[-1]
        missing = "" if os.path.exists(first.path) else "  (no such file)"
        if len(stack) == 1:
            yield f"{display_path(first)}{missing}"
        else:
            yield f"{first.path}::{first.dataset}[{first.index}:{(last.index or 0) + 1}]  ({len(stack)} frames)"


def _real(frame: Reference) -> tuple[Path, str]:
    return frame.path.resolve(), frame.tail


def identity_of(pipeline: Pipeline, poni: Poni) -> dict[str, Any]:
    """What decides the numbers of a run, as its run.json has it."""
    provenance: dict[str, Any] = json.loads(json.dumps(pipeline.provenance(poni)))
    return provenance


def geometry_file(top: Settings) -> Poni:
    """The geometry of a configuration; ConfigError where it is missing or wrong."""
    if top.poni is None and not top.geometry.numbers:
        raise ConfigError("poni: missing; say where the geometry is, poni=geometry.poni")
    return Poni.of(top.poni, top.geometry)


def run_shape(plan: Plan) -> tuple[tuple[int, int] | None, str, dict[str, str]]:
    """The shape of the run: that of the first image that can be read and fits the detector; None if no image can be.

    Also says where it is from, and which images could not be read and why.
    """
    unreadable: dict[str, str] = {}
    refused: dict[tuple[int, int], ConfigError] = {}
    for image in plan.waiting or (plan.images if plan.arrivals else []):
        try:
            shape = frame_shape(image, plan.pipeline.source)
        except FrameError as error:
            unreadable[image.name] = str(error)
            continue
        if shape in refused:
            continue
        try:
            where = f"{image.location} has"
            shared_geometry(plan.poni, shape, where, plan.settings.cache).check()
            return shape, where, unreadable
        except ConfigError as error:
            refused[shape] = error
    if refused:
        raise next(iter(refused.values()))
    return None, "", unreadable
