"""A run: many frames through the pipeline, side by side; failures, interruption, the record."""

from __future__ import annotations

import json
import logging
import os
import platform
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import files, stop
from .argv import literal
from .collect import Collector, Series, collected, ended
from .config import Settings, cores, new_folder, settings
from .folder import TAKEN, WAYS_OUT, Folder, Record
from .frame import Cake, FrameError, Pattern, Reference
from .geometry import Poni, geometry
from .header import header
from .metrics import metrics
from .orientation import judge, typed
from .paths import expand, split
from .pipeline import Pipeline, Recipe, prepared
from .poni import split as poni_place
from .preview import write_preview
from .progress import Progress
from .provenance import file_hash, versions, write_text
from .report import write_report
from .source import Source, absolute, given, memory, named, shaped
from .stage import ConfigError, build, require

log = logging.getLogger("xrdpipe")

PICTURES = 5  # of a series in its report, at most
SHOWN = 20  # frames of a stack whose files a dry run lists
_running: set[tuple[Recipe, str]] = set()  # frames that threads of this process have in hand
_stopped: set[Recipe] = set()  # runs of this process that take no more


@dataclass(frozen=True)
class Outcome:
    """What a worker sends back of a frame: its record, its pattern, and where masks are kept its mask."""

    record: Record
    pattern: Pattern | None = None
    mask: NDArray[np.uint8] | None = None  # bits, packed
    sectors: Mapping[str, Pattern] = field(default_factory=dict)
    cake: Cake | None = None
    trace: str = ""

    @property
    def results(self) -> dict[str, Pattern | Cake]:
        """What was integrated, by the suffix of its files."""
        made = {"": self.pattern, **self.sectors, "cake": self.cake}
        return {suffix: result for suffix, result in made.items() if result is not None}


@dataclass
class Run:
    """The results of a run, by the name of the frame. ``masks`` are uint8, 1 = masked, in the raw orientation.

    ``sectors`` (by suffix) and ``cakes`` are there where integ makes them.
    """

    folder: Path | None
    frames: list[Record] = field(default_factory=list)
    patterns: dict[str, Pattern] = field(default_factory=dict)
    sectors: dict[str, Mapping[str, Pattern]] = field(default_factory=dict)
    cakes: dict[str, Cake] = field(default_factory=dict)
    masks: Masks = field(default_factory=lambda: Masks((0, 0)))
    stopped: bool = False

    @property
    def failed(self) -> list[Record]:
        """The frames that failed."""
        return [record for record in self.frames if record.status == "failed"]

    @property
    def status(self) -> int:
        """The exit status that the command line gives."""
        return 130 if self.stopped else 1 if self.failed else 0

    def _repr_html_(self) -> str:
        from html import escape

        names = [name for name in asdict(self.frames[0]) if name not in ("hash", "path")] if self.frames else []
        rows = [[getattr(record, name) for name in names] for record in self.frames]
        lines = ["".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in [names, *rows]]
        return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


class Masks(Mapping[str, NDArray[np.uint8]]):
    """Masks by the name of their frame, kept as bits."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.bits: dict[str, NDArray[np.uint8]] = {}

    def __getitem__(self, name: str) -> NDArray[np.uint8]:
        return np.unpackbits(self.bits[name], count=int(np.prod(self.shape))).reshape(self.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.bits)

    def __len__(self) -> int:
        return len(self.bits)


def run(
    values: Mapping[str, Any],
    command: Sequence[str] = (),
    *,
    arrays: Mapping[str, NDArray[Any]] | None = None,
    write: bool = True,
    keep: bool = False,
    job: int | None = None,
    names: Mapping[str, str] | None = None,
) -> Run:
    """Process every image of a configuration (plain values, see `config.plain`).

    ``command``: the overrides, for the record; ``arrays``: frames by name, in place of files; ``write``: into the
    configured folder, or nothing at all; ``keep``: patterns and masks in the result; ``job``: the number in a sweep;
    ``names``: those that the images have (name -> path) where a run is replayed, so that its source supplies nothing.
    ConfigError where the run is refused, before anything is written.
    """
    top, groups = settings(values)
    source = build(groups.get("source", {}), "source", Source)
    with ExitStack() as stack:
        if source.supplies and names is None:
            if write and not top.dry_run:
                if top.output_dir and Folder(Path(top.output_dir)).run and not (top.overwrite or top.resume):
                    raise ConfigError(f"output_dir={top.output_dir}: holds results already; {WAYS_OUT}")
                values = {**values, "output_dir": top.output_dir or str(new_folder())}
                place = str(values["output_dir"])
                if not top.quiet:
                    print(f"xrdpipe: making frames in {place}", file=sys.stderr, flush=True)
            else:
                place = stack.enter_context(tempfile.TemporaryDirectory(prefix="xrdpipe-"))
            values = source.supply(dict(values), Path(place))
        plan = Plan.of(values, arrays or {}, write, names or {})
        if plan.settings.dry_run:
            print(plan.told())
            return Run(None)
        stack.callback(files.forget)
        return _execute(plan, values, command, keep, job)


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

    @classmethod
    def of(
        cls, values: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], write: bool, names: Mapping[str, str]
    ) -> Plan:
        """Check all that can be checked without reading a frame; ConfigError says what cannot be.

        ``names``: names that images already have, name -> path.
        """
        top, groups = settings(values)
        pipeline = Pipeline.of(groups, top.stages)
        poni = geometry_file(top)
        if not top.images and not arrays:
            raise ConfigError("images: missing; say which frames, images='data/*.tiff' or their paths")
        inputs = pipeline.inputs()
        for what, path in inputs.items():
            file = split(path).file
            if not file.is_file():
                raise ConfigError(f"{what} file {path}: {'not a file' if file.exists() else 'no such file'}")
        for stage in pipeline.stages.values():
            stage.check(poni)
            if pipeline.pattern_columns:
                stage.check_columns(pipeline.pattern_columns)
        for name in pipeline.source.columns:
            taken = name in TAKEN or name.startswith("seconds_")
            require(not taken, "source.columns", name, "a column of this name is there already, see docs/metrics.md")
        files.forget()  # they may have grown since
        contents = [files.look(path) for path in expand(top.images or [])]
        own = {_real(each) for path in inputs.values() for each in files.look(path).references}
        found = {absolute(each): each for content in contents for each in content.references}
        frames = [each for each in found.values() if not own or _real(each) not in own]
        notes = [note for content in contents for note in content.notes]
        if found and not frames:
            raise ConfigError(f"images={top.images}: nothing but the background, dark or mask file itself")
        if frames and not arrays and not any(path.exists() for path in {each.path for each in frames}):
            raise ConfigError(f"images: none of them exists ({', '.join(each.location for each in frames[:3])})")
        if not frames and not arrays:
            raise ConfigError(f"images: no frames ({'; '.join(notes[:3])})")
        folder = Folder(Path(top.output_dir)) if top.output_dir and write else None
        single = named(frames, {**names, **(folder.names if folder else {})})
        single += [Reference(name, Path(name), array) for name, array in arrays.items()]
        for name in arrays:
            fits = name and name == Path(name).name and [image.name for image in single].count(name) == 1
            require(bool(fits), "images", name, "an array needs a name of its own, without folders")
        images = pipeline.source.merged(single)
        size = max(len(image.parts) for image in images)
        notes += [f"{image.name} is of {n} frames, not {size}" for image in images if (n := len(image.parts)) < size]
        left_out = [each.location for each in found.values() if own and _real(each) in own]
        plan = cls(top, pipeline, poni, images, left_out, notes, folder, write)
        owners: dict[str, str] = {}
        for name, written in plan.outputs().items():
            for each in written:
                if each in owners:
                    raise ConfigError(f"images: {owners[each]} and {name} would both write {each}; rename one")
                owners[each] = name
        if folder is not None:
            folder.check(plan.identity, plan.outputs(), top.overwrite or bool(top.resume), plan.together(folder))
        return plan

    @cached_property
    def waiting(self) -> list[Reference]:
        """The images that are to be done: all, or where a run is resumed, those that are missing, failed or changed."""
        folder, resume = self.folder, self.settings.resume
        if folder is None or not resume or folder.run.get("identity") != self.identity:
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
        provenance: dict[str, Any] = json.loads(json.dumps(self.pipeline.provenance(self.poni)))
        return provenance

    def outputs(self, images: list[Reference] | None = None) -> dict[str, list[str]]:
        """The files of every frame (or of some), by its name."""
        return {image.name: self.pipeline.outputs(image.name) for image in (self.images if images is None else images)}

    @cached_property
    def shown(self) -> set[str]:
        """The images of which the report shows a picture: first and last, and some evenly between."""
        count = len(self.images) if self.settings.report else 0
        chosen = {round(part * (count - 1) / (PICTURES - 1)) for part in range(PICTURES)} if count else set()
        return {self.images[number].name for number in chosen}

    def collectors(self, folder: Folder, started: str = "") -> list[Collector]:
        """What the stages make of all frames together, in this folder."""
        stacks = {image.name: image.stack for image in self.images}
        extras = [stage.extras for stage in self.pipeline.stages.values()]
        parts = ("", *(suffix for each in extras for suffixes in each.values() for suffix in suffixes))
        series = Series(folder.path, stacks, self.identity, self.poni.text, self.poni.wavelength, started, parts)
        return [made for stage in self.pipeline.stages.values() if (made := stage.collect(series)) is not None]

    def together(self, folder: Folder) -> list[str]:
        """Files that are made of all frames, relative to the run's folder."""
        return [*(file for each in self.collectors(folder) for file in each.files), *self.pipeline.finishes()]

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
        lines += [f"  {file}" for file in self.together(Folder(target))]
        report = "report.html, " if self.settings.report else ""
        return "\n".join([*lines, f"  summary.csv, run.json, {report}xrdpipe.log, .hydra/"])


def _stacks(images: list[Reference]) -> list[list[Reference]]:
    """Images, those of one stack together."""
    rows = groupby(enumerate(images), lambda each: (each[1].path, each[1].dataset) if each[1].tail else each[0])
    return [[image for _, image in row] for _, row in rows]


def _listed(images: list[Reference]) -> Iterator[str]:
    for stack in _stacks(images):
        first, last = stack[0], (stack[-1].parts or stack[-1:])[-1]
        missing = "" if first.path.exists() else "  (no such file)"
        if len(stack) == 1:
            yield f"{given(first)}{missing}"
        else:
            yield f"{first.path}::{first.dataset}[{first.index}:{(last.index or 0) + 1}]  ({len(stack)} frames)"


def _real(frame: Reference) -> tuple[Path, str]:
    return frame.path.resolve(), frame.tail


def geometry_file(top: Settings) -> Poni:
    """The geometry of a configuration; ConfigError where it is missing or wrong."""
    if top.poni is None and not top.geometry.numbers:
        raise ConfigError("poni: missing; say where the geometry is, poni=geometry.poni")
    return Poni.of(top.poni, top.geometry)


def _execute(plan: Plan, values: Mapping[str, Any], command: Sequence[str], keep: bool, job: int | None) -> Run:
    started, clock = datetime.now(UTC), time.monotonic()
    shape, shape_from, unreadable = _shape(plan)
    target = plan.folder or (Folder(new_folder()) if plan.write else None)
    recipe = None
    if shape is not None:
        if target is not None and not plan.settings.overwrite:
            target.check_shape(plan.identity, shape)
        path = target.path if target else None
        config = json.dumps(plan.pipeline.config)
        recipe = Recipe(config, tuple(plan.pipeline.stages), plan.poni, shape, shape_from, path, plan.settings.cache)
        try:
            prepared(recipe)  # what does not fit is refused here, before the folder is touched
        except ConfigError:
            if target is not None and plan.folder is None:
                os.removedirs(target.path)
            raise
    raw_shape = plan.pipeline.source.to_raw(np.empty(shape or (0, 0), np.bool_)).shape
    result = Run(target.path if target else None, masks=Masks(raw_shape))
    before = target.records if target else {}
    done = {image.name for image in plan.images} - {image.name for image in plan.waiting}
    records = {
        image.name: _with_columns(before[image.name], image, plan) if image.name in done else _record(image)
        for image in plan.images
    }
    images = {image.name: image for image in plan.images}
    lacking: dict[str, int] = {}
    progress = Progress(len(plan.waiting), plan.settings.quiet)
    judged = bool(job)  # once a run, once a sweep
    made = {
        **_run_json(plan, values, command, started),
        "shape": shape or (target.run.get("shape") if target else None),
        **({} if job is None else {"job": job}),
    }
    collectors = plan.collectors(target, made["started"]) if target else []
    if target is not None:
        made["together"] = plan.together(target)
        if replaced := target.replaced(plan.identity):
            progress.say(f"{replaced} results of another configuration in {target.path} are replaced")
        target.begin({**made, "status": "running"}, plan.outputs(plan.waiting))
        save_hydra(target.path, values, command)
    for collector in collectors:
        collector.begin(image.name for image in plan.waiting)
    with target.log() if target else nullcontext(), progress, stop.heard():
        for note in plan.notes:
            progress.say(note)
            log.warning("%s", note)
        for left in plan.left_out:
            progress.say(f"{left} is a background, dark or mask file: left out of the images")
        if done and not plan.settings.quiet:
            progress.say(f"{len(done)} of {len(plan.images)} images were done before")
        told: set[str] = set()
        log.info("%d frames, %s", len(plan.waiting), plan.identity["program"])
        try:
            outcomes = _outcomes(recipe, plan, unreadable, keep)
            for outcome in outcomes:
                outcome = replace(outcome, record=collected(collectors, outcome.record, outcome.results))
                name = outcome.record.name
                records[name] = outcome.record
                if target is not None:
                    target.note(outcome.record)
                _tell(progress, outcome, told)
                _tell_missing(progress, outcome.record, images[name], lacking)
                if not judged and outcome.record.status == "done":
                    judged = True
                    if doubt := _doubt(plan, images[name]):
                        progress.say(doubt)
                        log.warning(doubt)
                if outcome.pattern is not None and keep:
                    result.patterns[name] = outcome.pattern
                if outcome.sectors:
                    result.sectors[name] = outcome.sectors
                if outcome.cake is not None:
                    result.cakes[name] = outcome.cake
                if outcome.mask is not None:
                    result.masks.bits[name] = outcome.mask
                if stop.asked():
                    outcomes.throw(KeyboardInterrupt)
        except KeyboardInterrupt:
            result.stopped = True
            _tidy(plan, recipe, target, records)
            progress.say(f"stopped after {progress.done} of {progress.total} frames; what is done is saved")
        for column, count in lacking.items():
            some = f"{count} of {progress.done}" if count < progress.done else "all"
            progress.say(f"source.columns={column}: empty for {some} frames")
        result.frames = list(records.values())
        kept: list[dict[str, Any]] = [result.patterns, result.sectors, result.cakes, result.masks.bits]
        for found in kept:  # in the order of the frames
            ordered = {name: found[name] for name in records if name in found}
            found.clear()
            found.update(ordered)
        if target is not None:
            for trouble in ended(collectors, {**target.records, **records}):
                progress.say(trouble)
                log.error(trouble)
            status = "stopped" if result.stopped else "failed" if result.failed else "done"
            target.record({**made, "status": status, "seconds": round(time.monotonic() - clock, 3)}, result.frames)
            _finish(plan, target, progress)
    return result


def _finish(plan: Plan, target: Folder, progress: Progress) -> None:
    # The frames are done and recorded: a full disk or a bug here must not cost that.
    notes = []
    for name, stage in plan.pipeline.stages.items():
        try:
            notes += stage.finish(target.path, list(target.records.values()))
        except Exception as error:
            notes.append(f"{name}: {type(error).__name__}: {error}")
            log.exception("%s could not finish", name)
    if plan.settings.report:
        try:
            write_report(target.path)
        except Exception as error:
            notes.append(f"no report.html: {error}; xrdpipe report {target.path} makes it")
            log.exception("no report.html")
    for note in notes:
        progress.say(note)
        log.warning("%s", note)


def _tidy(plan: Plan, recipe: Recipe | None, target: Folder | None, records: Mapping[str, Record]) -> None:
    # A frame that nobody waited for leaves nothing: neither half a file nor one that the record does not know.
    if recipe is None or target is None:
        return
    _stopped.add(recipe)
    while any(each == recipe for each, _ in list(_running)):
        time.sleep(0.01)
    waiting = [name for name, record in records.items() if record.status == "waiting"]
    for path in [*target.parts(), *(target.path / file for name in waiting for file in plan.outputs()[name])]:
        path.unlink(missing_ok=True)


def _record(image: Reference) -> Record:
    if image.array is not None:
        return Record(given(image), image.name)
    return Record(given(image), image.name, path=absolute(image), parts=[absolute(part) for part in image.parts])


def _shape(plan: Plan) -> tuple[tuple[int, int] | None, str, dict[str, str]]:
    """The shape of the run: that of the first image that can be read and fits the detector; None if no image can be.

    Also says where it is from, and which images could not be read and why.
    """
    unreadable: dict[str, str] = {}
    refused: dict[tuple[int, int], ConfigError] = {}
    for image in plan.waiting:
        try:
            shape = shaped(image, plan.pipeline.source)
        except FrameError as error:
            unreadable[image.name] = str(error)
            continue
        if shape in refused:
            continue
        try:
            where = f"{image.location} has"
            geometry(plan.poni, shape, where, plan.settings.cache).check()
            return shape, where, unreadable
        except ConfigError as error:
            refused[shape] = error
    if refused:
        raise next(iter(refused.values()))
    return None, "", unreadable


def _outcomes(recipe: Recipe | None, plan: Plan, unreadable: Mapping[str, str], keep: bool) -> Generator[Outcome]:
    if recipe is None:
        for image in plan.waiting:
            yield Outcome(replace(_record(image), status="failed", error=unreadable[image.name]))
        return
    _stopped.discard(recipe)
    parallel = plan.settings.parallel
    n_jobs = min(cores() if parallel.n_jobs == -1 else parallel.n_jobs, len(plan.waiting))
    if n_jobs == 1:
        yield from (process(recipe, image, keep, image.name in plan.shown) for image in plan.waiting)
        return
    from joblib import Parallel, delayed

    arrays = any(image.array is not None for image in plan.waiting)
    backend = "threading" if parallel.backend == "auto" or arrays else parallel.backend
    with stop.deaf(backend == "loky"):
        outcomes = Parallel(n_jobs=n_jobs, backend=backend, return_as="generator_unordered")(
            delayed(_unless_stopped)(recipe, image, keep, image.name in plan.shown) for image in plan.waiting
        )
    yield from outcomes


def _unless_stopped(recipe: Recipe, image: Reference, keep: bool, show: bool) -> Outcome:
    _running.add(key := (recipe, image.name))
    try:
        return Outcome(_record(image)) if recipe in _stopped else process(recipe, image, keep, show)
    finally:
        _running.discard(key)


def process(recipe: Recipe, image: Reference, keep: bool, show: bool = False) -> Outcome:
    """One frame, in whatever process or thread; a failure is that frame's alone.

    ``keep``: pattern and mask come back; ``show``: a small picture for the report stays in the folder.
    """
    clock = time.monotonic()
    record = _record(image)
    try:
        if image.array is None:
            size, mtime_ns = files.changed(image)
            record = replace(record, size=size, mtime_ns=mtime_ns)
        pipeline = prepared(recipe)
        frame, steps = pipeline(image)
        if show and recipe.folder is not None:
            write_preview(recipe.folder, frame)
        outputs = {} if recipe.folder is None else _hashes(recipe.folder, pipeline.pipeline.outputs(image.name))
    except FrameError as error:
        return Outcome(replace(record, status="failed", error=str(error), seconds=time.monotonic() - clock))
    except Exception as error:  # a full disk, a bug in a stage: it must not cost the other frames
        reason = f"{type(error).__name__}: {error}"
        failed = replace(record, status="failed", error=reason, seconds=time.monotonic() - clock)
        return Outcome(failed, trace=traceback.format_exc())
    masked = frame.masked
    done = replace(
        record,
        status="done",
        masked_fraction=round(np.count_nonzero(masked) / masked.size, 6),
        seconds=round(time.monotonic() - clock, 4),
        hash=frame.digest,
        method=frame.pattern.method if frame.pattern else "",
        outputs=outputs,
        metrics=metrics(frame),
        columns=pipeline.pipeline.source.values(frame.header),
        steps=steps,
        notes=list(frame.notes),
    )
    mask = np.packbits(pipeline.pipeline.source.to_raw(masked)) if keep else None
    return Outcome(done, frame.pattern, mask, frame.sectors, frame.cake)


def _hashes(folder: Path, files: list[str]) -> dict[str, str]:
    return {file: file_hash(folder / file) for file in files if (folder / file).exists()}


def _tell(progress: Progress, outcome: Outcome, told: set[str]) -> None:
    record = outcome.record
    failure = f"{record.file}: {record.error}" if record.status == "failed" else ""
    progress.advance(failure)
    if failure:
        log.error("%s%s", failure, f"\n{outcome.trace}" if outcome.trace else "")
    for note in record.notes:
        words = re.sub(r"[\d.]+", "", note)
        if words not in told:  # the same words are said once a run, of the first frame; all are in the log
            progress.say(f"{record.file}: {note}")
            told.add(words)
        log.warning("%s: %s", record.file, note)


def _with_columns(record: Record, image: Reference, plan: Plan) -> Record:
    """The record of a frame that was done before, with the columns that are wanted now."""
    if list(record.columns) == plan.pipeline.source.columns:
        return record
    return replace(record, columns=plan.pipeline.source.values(header(image)))


def _tell_missing(progress: Progress, record: Record, image: Reference, lacking: dict[str, int]) -> None:
    """Say of each column the first time that a frame has no value for it; count the others in ``lacking``."""
    for name, value in record.columns.items():
        if value is None:
            lacking[name] = lacking.get(name, 0) + 1
            if lacking[name] == 1:
                progress.say(f"source.columns={name}: {record.file}: {header(image).missing(name)}")


def _doubt(plan: Plan, image: Reference) -> str:
    """What to say where the rings of a frame are much sharper in another orientation; nothing, as a rule."""
    first = image.parts[0] if image.parts else image
    try:
        raw = memory.read(first)[0] if first.array is None else files.as_image(first.array)
    except FrameError:
        return ""
    verdict = judge(raw, plan.poni, plan.pipeline.source.transform, plan.settings.cache)
    if not verdict.wrong:
        return ""
    there = f"{typed(verdict.best)} (rings {verdict.ratio:.0f} times sharper in {image.name})"
    return f"is this the orientation of the PONI? {there} may be; xrdpipe doctor says more"


def _run_json(
    plan: Plan,
    values: Mapping[str, Any],
    command: Sequence[str],
    started: datetime,
) -> dict[str, Any]:
    inputs = {
        what: {"path": os.path.abspath(path), "given": path, "hash": files.content_of(path)}
        for what, path in plan.pipeline.inputs().items()
    }
    if (poni := plan.settings.poni) is not None:
        path, inside = poni_place(poni)
        place = {"path": os.path.abspath(path), "given": poni, "hash": file_hash(path)}
        inputs = {"poni": place | ({"inside": f"::{inside}"} if inside else {}), **inputs}
    return {
        "program": "xrdpipe",
        "started": started.isoformat(timespec="seconds"),
        "host": platform.node(),
        "cwd": str(Path.cwd()),
        "command": list(command),
        "config": values,
        "identity": plan.identity,
        "versions": versions(),
        "inputs": inputs,
        "outputs": plan.outputs(),
    }


def save_hydra(folder: Path, values: Mapping[str, Any], command: Sequence[str]) -> None:
    """Hydra's own record: ``.hydra/config.yaml`` and ``.hydra/overrides.yaml``."""
    from omegaconf import OmegaConf

    write_text(folder / ".hydra" / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(literal(dict(values)))))
    write_text(folder / ".hydra" / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(literal(list(command)))))
