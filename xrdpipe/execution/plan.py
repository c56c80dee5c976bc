"""The plan of a run: inputs are read, checked and named before the first frame; nothing is written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config.settings import Settings, parse_settings
from ..config.targets import old_targets
from ..geometry.geometry import shared_geometry
from ..geometry.poni import Poni
from ..io.paths import split_path
from ..model.errors import ConfigError, FrameError, require
from ..model.identity import content_hash
from ..model.naming import assign_names
from ..model.reference import ByName, Reference, References, display_path
from ..model.series import Series
from ..pipeline.frame_files import named_files
from ..pipeline.frame_geometry import check_lookups
from ..pipeline.pipeline import Pipeline
from ..pipeline.selection import select_frames
from ..results.folder import RESERVED_COLUMNS, Folder
from ..stages.arrivals import Arrivals
from ..stages.collector import Collector
from ..stages.source import Source, frame_shape
from .listing import identity_of, list_images

PICTURES = 5  # maximum number of pictures in the report of a series
LISTED = 20  # a dry run lists the files of all frames of a stack up to this length


@dataclass(frozen=True)
class Plan:
    """Everything that is known about a run before its first frame.

    Attributes
    ----------
    settings
        Top-level settings of the configuration.
    pipeline
        Source and stages, not yet prepared.
    poni
        Geometry of the detector.
    images
        All frames, with unique names. Frames that arrive during the run are added.
    left_out
        Locations of background, dark and mask files among the images; they are not processed.
    notes
        Messages to the user about the images.
    folder
        Results folder; None if nothing is written or the folder is yet to be created.
    write
        Results are written.
    arrivals
        Source of the frames that arrive during the run, if there is one.
    merged
        Files that another input contains, by their role: the run records them and does not read them.
    """

    settings: Settings
    pipeline: Pipeline
    poni: Poni
    images: References
    left_out: list[str]
    notes: list[str]
    folder: Folder | None
    write: bool
    arrivals: Arrivals | None = None
    merged: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        values: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]],
        write: bool,
        names: Mapping[str, str],
        arrivals: Arrivals | None = None,
        merged: Mapping[str, str] = MappingProxyType({}),
        looks_late: bool = False,
    ) -> Plan:
        """Check everything that can be checked without reading a frame.

        Parameters
        ----------
        values
            Configuration as plain Python.
        arrays
            Frames in memory, by name: counts of shape (slow, fast).
        write
            Write results.
        names
            Names of images that are fixed, name -> path.
        arrivals
            Source of frames that arrive during the run. The plan waits for the first of them.
        merged
            Files that another input contains, by their role.
        looks_late
            Many numbered files in one folder may be listed without a look at each, see `NumberedFiles`.

        Raises
        ------
        ConfigError
            The configuration is invalid or conflicts with the results folder.
        """
        settings, groups = parse_settings(values)
        pipeline = Pipeline.of(groups, settings.stages)
        poni = geometry_file(settings)
        files_read = _check_inputs(settings, pipeline, poni, arrays, merged)
        late = looks_late and not (arrays or names)
        listing = list_images(settings, pipeline, poni, files_read, write, arrivals, late, bool(arrays))
        notes = [*old_targets(groups), *listing.notes]
        folder = Folder(Path(settings.output_dir)) if settings.output_dir and write else None
        taken = _taken(names, folder)
        images = listing.images if listing.is_named else assign_names(listing.images, taken)
        images.extend(array_references(arrays, images))
        images, selected = _selected_and_merged(pipeline.source, images)
        notes += selected
        plan = cls(settings, pipeline, poni, images, listing.left_out, notes, folder, write, arrivals, merged)
        plan._check_outputs()
        return plan

    def _check_outputs(self) -> None:
        """Raise ConfigError if results would overwrite each other or files in the folder."""
        if self._may_share_outputs():
            owners: dict[str, str] = {}
            for name, outputs in self.outputs().items():
                for file in outputs:
                    if file in owners:
                        raise ConfigError(f"images: {owners[file]} and {name} would both write {file}; rename one")
                    owners[file] = name
        if self.folder is not None:
            shared = self.together(self.collectors(self.folder))
            self.folder.check(self.identity, self.outputs(), self.settings.overwrite or self.resumes, shared)

    def _may_share_outputs(self) -> bool:
        """Return False if no two frames can write one file, as their names and the ends of their files tell."""
        ends = {file.rpartition("*")[2] for file in self.output_patterns}
        longer = tuple(
            end.removesuffix(other) for end in ends for other in ends if end != other and end.endswith(other)
        )
        first = self.images[0].name
        if self.pipeline.outputs(first) != [file.replace("*", first) for file in self.output_patterns]:
            return True
        if not longer:
            return False
        names = (each.name if isinstance(each, Reference) else each[0].name for each in self.images.items)
        return any(end[-1:].isdecimal() for end in longer) or any(name.endswith(longer) for name in names)

    @property
    def output_patterns(self) -> list[str]:
        """Output files of a frame, with * for its name."""
        return self.pipeline.outputs("*")

    @property
    def inputs(self) -> dict[str, str]:
        """Files that the results depend on besides the frames and the geometry, by their role."""
        return {**self.pipeline.inputs(), **self.poni.tables, **self.merged}

    @property
    def resumes(self) -> bool:
        """True if finished results stay: ``resume`` is set, or frames arrive for results of the same settings."""
        if self.arrivals is None or self.settings.resume or self.folder is None:
            return bool(self.settings.resume)
        return not self.settings.overwrite and self.folder.run.get("identity") == self.identity

    @cached_property
    def waiting(self) -> References:
        """Images to process: all of them, or in a resumed run those that are missing, failed or changed."""
        folder, resume = self.folder, self.settings.resume
        if folder is None or not self.resumes or folder.run.get("identity") != self.identity:
            return self.images
        verify = resume == "verify"
        collectors = self.collectors(folder)
        is_waiting = (
            image.array is not None
            or not folder.done(image, self.pipeline.outputs(image.name), verify)
            or not all(each.holds(folder.records[image.name]) for each in collectors)
            for image in self.images
        )
        return self.images.select(np.flatnonzero(np.fromiter(is_waiting, bool, len(self.images))))

    def require_still(self, what: str) -> None:
        """Raise ConfigError if geometry or files differ between frames, which ``what`` does not know."""
        for name in self.poni.lookups:
            raise ConfigError(f"geometry.{name}: {what} needs one geometry for all frames")
        for key in self.pipeline.per_frame:
            raise ConfigError(f"{key}: {what} needs one file for all frames")

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Configuration, inputs and versions that determine the numbers of this run."""
        return identity_of(self.pipeline, self.poni)

    @property
    def input_hash(self) -> str:
        """Hash of `identity`, and with it of all inputs."""
        return content_hash(json.dumps(self.identity).encode())

    def outputs(self, images: References | None = None) -> Mapping[str, list[str]]:
        """Return the output files of all images, or of ``images``, by the name of the frame."""
        return ByName(self.images if images is None else images, lambda image: self.pipeline.outputs(image.name))

    @cached_property
    def shown(self) -> set[str]:
        """Names of images with a picture in the report: the first, the last, and some evenly spaced between them."""
        count = len(self.images) if self.settings.report else 0
        if count and self.arrivals is not None:  # `arriving_batches` adds others
            return {self.images[0].name}
        indices = {round(part * (count - 1) / (PICTURES - 1)) for part in range(PICTURES)} if count else set()
        return {self.images[index].name for index in indices}

    def collectors(self, folder: Folder, started: str = "") -> list[Collector]:
        """Return the collectors of the stages.

        Parameters
        ----------
        folder
            Folder into which the collectors write.
        started
            Start of the run, in ISO format.
        """
        stacks = ByName(self.images, lambda image: image.stack)
        parts = ("", *(suffix for suffixes in self.pipeline.makes.parts.values() for suffix in suffixes))
        about = self.identity, self.poni.text, self.poni.wavelength, started, parts
        grows, merged = self.arrivals is not None, self.pipeline.makes.merged
        series = Series(folder.path, stacks, *about, grows=grows, merged=merged)
        return self.pipeline.collectors(series)

    def together(self, collectors: list[Collector]) -> list[str]:
        """Return the files that collectors make of all frames, relative to the results folder."""
        return [file for collector in collectors for file in collector.files]

    def describe(self) -> str:
        """Return the text of a dry run: what the run would read, prepare and write."""
        target = self.folder.path if self.folder else Path("outputs/<date>/<time>")
        lines = [f"would read {self.poni.path} and {len(self.waiting)} images:"]
        lines += [f"  {line}" for line in _image_lines(self.waiting)]
        lines += self.notes
        if done := len(self.images) - len(self.waiting):
            lines += [f"would leave {done} images as they are: done before"]
        lines += [f"would leave out {path}: it is a background, dark or mask file" for path in self.left_out]
        lines += [f"would read the {what} {path}" for what, path in self.pipeline.inputs().items()]
        lines += [f"would prepare {name}: {stage}" for name, stage in self.pipeline.stages.items()]
        lines += [f"would write into {target}:"]
        for stack in _stacks(self.waiting):
            listed = stack if len(stack) <= LISTED else [stack[0], stack[-1]]
            outputs = [file for image in listed for file in self.pipeline.outputs(image.name)]
            if len(stack) > LISTED:
                outputs.insert(len(outputs) // 2, f"... and for {len(stack) - 2} frames between")
            lines += [f"  {line}" for line in outputs]
        lines += [f"  {file}" for file in self.together(self.collectors(Folder(target)))]
        report = "report.html, " if self.settings.report else ""
        return "\n".join([*lines, f"  summary.csv, run.json, {report}xrdpipe.log, .hydra/"])


def _check_inputs(
    settings: Settings,
    pipeline: Pipeline,
    poni: Poni,
    arrays: Mapping[str, NDArray[Any]],
    merged: Mapping[str, str],
) -> dict[str, str]:
    """Return the files that frames or the run depend on besides the geometry; ConfigError if it cannot begin."""
    if not settings.images and not arrays:
        raise ConfigError("images: missing; say which frames, images='data/*.tiff' or their paths")
    files_read = {**pipeline.inputs(), **poni.tables, **merged}
    for what, path in files_read.items():
        file = split_path(path).file
        if not os.path.isfile(file):
            raise ConfigError(f"{what} file {path}: {'not a file' if os.path.exists(file) else 'no such file'}")
    pipeline.check(poni)
    check_lookups(poni.lookups)
    for name in pipeline.source.columns:
        reserved = name in RESERVED_COLUMNS or name.startswith("seconds_")
        require(not reserved, "source.columns", name, "a column of this name is there already, see docs/metrics.md")
    return files_read | named_files(pipeline.config, pipeline.stages)


def _taken(names: Mapping[str, str], folder: Folder | None) -> Mapping[str, str]:
    """Return the names that are fixed and those of the folder -> the frames that have them."""
    if folder is None:
        return names
    return {**names, **dict(folder.names.items())} if names else folder.names


def _selected_and_merged(source: Source, images: References) -> tuple[References, list[str]]:
    """Return the frames that the source wants, merged as it says, and notes for the user."""
    if source.where is None and not source.merges:
        return images, []
    images, notes = select_frames(source, images)
    if source.average or source.sum:
        images = References(source.merged(images))
        notes += _smaller_ones(images)
    return images, notes


def _smaller_ones(images: Sequence[Reference]) -> list[str]:
    """Return a note for each image that is made of fewer frames than others."""
    if not images[0].parts:  # nothing is merged
        return []
    size = max(len(image.parts) for image in images)
    return [f"{image.name} is of {n} frames, not {size}" for image in images if (n := len(image.parts)) < size]


def array_references(arrays: Mapping[str, NDArray[Any]], images: Sequence[Reference]) -> list[Reference]:
    """Return frames in memory; raise ConfigError unless each has a name of its own, apart from ``images``."""
    names = {image.name for image in images} if arrays else set()
    for name in arrays:
        is_valid = name and name == Path(name).name and name not in names
        require(bool(is_valid), "images", name, "an array needs a name of its own, without folders")
    return [Reference(name, Path(name), array) for name, array in arrays.items()]


def _stacks(images: Sequence[Reference]) -> list[list[Reference]]:
    """Group images by their stack."""
    rows = groupby(enumerate(images), lambda each: (each[1].path, each[1].dataset) if each[1].tail else each[0])
    return [[image for _, image in row] for _, row in rows]


def _image_lines(images: Sequence[Reference]) -> Iterator[str]:
    """Yield a line for each stack or single image."""
    for stack in _stacks(images):
        first, last = stack[0], (stack[-1].parts or stack[-1:])[-1]
        missing = "" if os.path.exists(first.path) else "  (no such file)"
        if len(stack) == 1:
            yield f"{display_path(first)}{missing}"
        else:
            yield f"{first.path}::{first.dataset}[{first.index}:{(last.index or 0) + 1}]  ({len(stack)} frames)"


def geometry_file(top: Settings) -> Poni:
    """Return the geometry of a configuration; raise ConfigError if it is missing or wrong."""
    if top.poni is None and not top.geometry.numbers:
        raise ConfigError("poni: missing; say where the geometry is, poni=geometry.poni")
    return Poni.of(top.poni, top.geometry)


def run_shape(plan: Plan) -> tuple[tuple[int, int] | None, str, dict[str, str]]:
    """Return the shape of the first image that is readable and fits the detector.

    Returns
    -------
    shape
        Shape (slow, fast); None if no image is readable.
    shape_from
        Beginning of a message that names the image, empty without a shape.
    unreadable
        Reasons of the images that are not readable, by name.

    Raises
    ------
    ConfigError
        No readable image fits the detector.
    """
    unreadable: dict[str, str] = {}
    mismatches: dict[tuple[int, int], ConfigError] = {}
    images = plan.waiting or (plan.images if plan.arrivals else References())
    for place in range(len(images)):
        image = images.look(place)
        try:
            shape = frame_shape(image, plan.pipeline.source)
        except FrameError as error:
            unreadable[image.name] = str(error)
            continue
        if shape in mismatches:
            continue
        try:
            shape_from = f"{image.location} has"
            shared_geometry(plan.poni, shape, shape_from, plan.settings.cache).check()
            return shape, shape_from, unreadable
        except ConfigError as error:
            mismatches[shape] = error
    if mismatches:
        raise next(iter(mismatches.values()))
    return None, "", unreadable
