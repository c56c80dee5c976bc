"""A run: many frames through the pipeline, side by side; failures, interruption, the record."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config.loader import save_hydra
from ..config.schema import build
from ..config.settings import parse_settings
from ..geometry.orientation import judge, override_text
from ..io import files
from ..io.header import header
from ..io.memory import memory
from ..model.errors import ConfigError, FrameError
from ..model.record import Outcome, Record, pending_record
from ..model.reference import Reference
from ..pipeline.recipe import Recipe, prepared
from ..report.report import try_report
from ..results.folder import WAYS_OUT, Folder
from ..results.journal import ARRAY
from ..results.new_folder import new_folder
from ..stages.collector import Collector, feed_collectors, finish_collectors
from ..stages.source import Source
from ..stages.source_watch import Arrivals, Watch
from . import interruption, preflight, slurm_array
from .folder_lock import locked_folder
from .live import arriving_batches, live_report
from .plan import Plan, run_shape
from .progress import Progress
from .result import Masks, Run
from .run_record import _run_json
from .workers import Engine, drain, open_engine

log = logging.getLogger("xrdpipe")


GO_ON = "what is done stays, resume=true goes on once there is room"


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
    top, groups = parse_settings(values)
    source = build(groups.get("source", {}), "source", Source)
    with ExitStack() as stack:
        if write and top.output_dir and not top.dry_run:
            stack.enter_context(locked_folder(Path(top.output_dir)))
        arrivals = None
        if isinstance(source, Watch):
            if top.parallel.backend == "slurm":
                raise ConfigError(
                    "source=watch: not with parallel=slurm, whose jobs wait in a queue; say parallel=dask"
                )
            arrivals, values = _watch(source, values, write, bool(arrays) or job is not None)
            if not top.dry_run:
                stack.enter_context(interruption.handle_signals())
                stack.enter_context(arrivals.notified())
        if source.supplies and names is None:
            if write and not top.dry_run:
                if top.output_dir and Folder(Path(top.output_dir)).run and not (top.overwrite or top.resume):
                    raise ConfigError(f"output_dir={top.output_dir}: holds results already; {WAYS_OUT}")
                place = top.output_dir or str(new_folder())
                if not top.output_dir:
                    stack.enter_context(locked_folder(Path(place)))
                values = {**values, "output_dir": place}
                if not top.quiet:
                    print(f"xrdpipe: making frames in {place}", file=sys.stderr, flush=True)
            else:
                place = stack.enter_context(tempfile.TemporaryDirectory(prefix="xrdpipe-"))
            values = source.supply(dict(values), Path(place))
        plan = Plan.of(values, arrays or {}, write, names or {}, arrivals)
        if plan.settings.dry_run:
            print(plan.told())
            print(preflight.describe_space(plan))
            return Run(None)
        stack.callback(files.forget_files)
        return _execute(plan, values, command, keep, job, stack)


def _watch(source: Watch, values: Mapping[str, Any], write: bool, other: bool) -> tuple[Arrivals, dict[str, Any]]:
    """What finds the frames, and the configuration of the run that they make; ``other``: of a sweep, or with arrays."""
    if other:
        raise ConfigError("source=watch: waits for files, so neither with arrays nor in a sweep")
    values = source.settled(values)
    output_dir, quiet = values.get("output_dir"), values.get("quiet")
    apart = Path(output_dir).resolve() if output_dir and write else None
    say = partial(_say_unless, quiet)
    return Arrivals(source, apart, say, interruption.stop_requested), values


def _say_unless(quiet: Any, text: str) -> None:
    if not quiet:
        print(f"xrdpipe: {text}", file=sys.stderr)


def _execute(
    plan: Plan, values: Mapping[str, Any], command: Sequence[str], keep: bool, job: int | None, stack: ExitStack
) -> Run:
    started, clock = datetime.now(UTC), time.monotonic()
    shape, shape_from, unreadable = run_shape(plan)
    target = plan.folder or (Folder(new_folder()) if plan.write else None)
    recipe, engine = _ready(plan, shape, shape_from, target, stack)
    if target is not None and plan.folder is None:
        stack.enter_context(locked_folder(target.path))
    raw_shape = plan.pipeline.source.to_raw(np.empty(shape or (0, 0), np.bool_)).shape
    result = Run(target.path if target else None, masks=Masks(raw_shape))
    before = target.records if target else {}
    done = {image.name for image in plan.images} - {image.name for image in plan.waiting}
    records = {
        image.name: _with_columns(before[image.name], image, plan) if image.name in done else pending_record(image)
        for image in plan.images
    }
    images = {image.name: image for image in plan.images}
    lacking: dict[str, int] = {}
    progress = Progress(len(plan.waiting), plan.settings.quiet, plan.arrivals is not None)

    def batches() -> Iterator[Sequence[Reference]]:
        if plan.waiting:
            yield plan.waiting
        for batch in arriving_batches(plan, target):
            images.update({image.name: image for image in batch})
            records.update({image.name: pending_record(image) for image in batch})
            progress.total += len(batch)
            yield batch

    judged = bool(job)  # once a run, once a sweep
    made = {
        **_run_json(plan, values, command, started),
        "shape": shape or (target.run.get("shape") if target else None),
        **({} if job is None else {"job": job}),
    }
    collectors = plan.collectors(target, made["started"]) if target else []
    if target is not None:
        made["together"] = plan.together(collectors)
        if replaced := target.replaced(plan.identity):
            progress.say(f"{replaced} results of another configuration in {target.path} are replaced")
        target.begin({**made, "status": "running"}, plan.outputs(plan.waiting))
        save_hydra(target.path, values, command)
    for collector in collectors:
        collector.begin(image.name for image in plan.waiting)
    stack.enter_context(target.log() if target else nullcontext())
    stack.enter_context(progress)
    stack.enter_context(interruption.handle_signals())
    fresh: AbstractContextManager[None] = nullcontext()
    if plan.arrivals is not None:
        plan.arrivals.say = progress.say
        if target is not None and plan.settings.report:
            fresh = live_report(target.path)
    _tell_first(plan, shape, progress, len(before), len(done))
    told: set[str] = set()
    try:
        with fresh:
            for outcome in _outcomes(engine, recipe, plan, batches(), unreadable, keep):
                outcome = replace(outcome, record=feed_collectors(collectors, outcome.record, outcome.results))
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
                if keep:
                    result.take(outcome)
            for part in target.parts() if target else ():  # what workers left that died while they wrote
                with suppress(OSError):
                    part.unlink()
    except KeyboardInterrupt:
        result.stopped = True
        _tidy(plan, recipe, target, records)
        progress.say(f"stopped after {progress.done} of {progress.total} frames; what is done is saved")
    for left in plan.arrivals.incomplete() if plan.arrivals else ():
        progress.say(left)
    for column, count in lacking.items():
        some = f"{count} of {progress.done}" if count < progress.done else "all"
        progress.say(f"source.columns={column}: empty for {some} frames")
    if plan.arrivals is not None and target is not None:  # those that were done before came among the others
        records = {image.name: records.get(image.name) or target.records[image.name] for image in plan.images}
    result.order(records.values())
    if target is not None:
        first = [each for each in collectors if each.takes_results]
        for trouble in finish_collectors(first, {**target.records, **records}):
            progress.say(trouble)
            log.error(trouble)
        status = "stopped" if result.stopped else "failed" if result.failed else "done"
        made["outputs"] = plan.outputs()  # also of those that came meanwhile
        try:
            target.record({**made, "status": status, "seconds": round(time.monotonic() - clock, 3)}, result.frames)
        except OSError as error:
            result.unwritten = True
            progress.say(f"{target.path}: the record of the run could not be written ({error.strerror}); {GO_ON}")
        _finish(plan, target, progress, collectors)
    return result


def _ready(
    plan: Plan, shape: tuple[int, int] | None, shape_from: str, target: Folder | None, stack: ExitStack
) -> tuple[Recipe | None, Engine | None]:
    """What workers prepare, and who they are; nothing where no frame could be read.

    What does not fit is refused here, before the folder is touched.
    """
    if shape is None:
        return None, None
    if target is not None and not plan.settings.overwrite:
        target.check_shape(plan.identity, shape)
    path = target.path if target else None
    config = json.dumps(plan.pipeline.config)
    recipe = Recipe(config, tuple(plan.pipeline.stages), plan.poni, shape, shape_from, path, plan.settings.cache)
    try:
        prepared(recipe)
        preflight.check_space(plan, shape, path)
        if path is not None and (path / ARRAY).exists():
            slurm_array.check_ended(path)
        return recipe, stack.enter_context(
            open_engine(plan.settings.parallel, plan.waiting, plan.arrivals is not None, path)
        )
    except (ConfigError, KeyboardInterrupt):
        if target is not None and plan.folder is None:
            os.removedirs(target.path)
        raise


def _outcomes(
    engine: Engine | None,
    recipe: Recipe | None,
    plan: Plan,
    batches: Iterator[Sequence[Reference]],
    unreadable: Mapping[str, str],
    keep: bool,
) -> Generator[Outcome]:
    if engine is not None and recipe is not None:
        for batch in batches:
            yield from engine(recipe, batch, plan.shown, keep)
        return
    for image in plan.waiting:
        yield Outcome(replace(pending_record(image), status="failed", error=unreadable[image.name]))


def _finish(plan: Plan, target: Folder, progress: Progress, collectors: Sequence[Collector]) -> None:
    notes = finish_collectors([each for each in collectors if not each.takes_results], target.records)
    if plan.settings.report:
        notes += try_report(target.path)
    for note in notes:
        progress.say(note)
        log.warning("%s", note)


def _tidy(plan: Plan, recipe: Recipe | None, target: Folder | None, records: Mapping[str, Record]) -> None:
    # A frame that nobody waited for leaves nothing: neither half a file nor one that the record does not know.
    if recipe is None or target is None:
        return
    drain(recipe)
    waiting = [name for name, record in records.items() if record.status == "waiting"]
    for path in [*target.parts(), *(target.path / file for name in waiting for file in plan.pipeline.outputs(name))]:
        with suppress(OSError):
            path.unlink()


def _tell_first(plan: Plan, shape: tuple[int, int] | None, progress: Progress, before: int, done: int) -> None:
    doubts = [doubt] if shape is not None and (doubt := preflight.space_warning(plan, shape)) else []
    for note in [*plan.notes, *doubts]:
        progress.say(note)
        log.warning("%s", note)
    for left in plan.left_out:
        progress.say(f"{left} is a background, dark or mask file: left out of the images")
    if done and not plan.settings.quiet:
        of = f"{done} of {len(plan.images)} images" if plan.arrivals is None else f"{before} images"
        progress.say(f"{of} were done before")
    log.info("%d frames, %s", len(plan.waiting), plan.identity["program"])


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
    there = f"{override_text(verdict.best)} (rings {verdict.ratio:.0f} times sharper in {image.name})"
    return f"is this the orientation of the PONI? {there} may be; xrdpipe doctor says more"
