"""Process many frames with the pipeline; record results, failures and interruptions."""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config.loader import save_hydra
from ..config.parallel import Parallel
from ..config.schema import build
from ..config.settings import Settings, parse_settings
from ..io import files
from ..model.errors import ConfigError
from ..model.naming import compact_names
from ..model.record import Outcome, failed_outcome
from ..model.reference import Taken
from ..pipeline.pipeline import Pipeline
from ..pipeline.recipe import Recipe, check_first, prepared
from ..report.report import try_report
from ..results.folder import WAYS_OUT, Folder
from ..results.journal import ARRAY
from ..results.judgement import judgement
from ..results.new_folder import new_folder
from ..results.records import Records
from ..stages.arrivals import Arrivals
from ..stages.collector import finish_collectors
from ..stages.source import Source
from . import interruption, preflight
from .engines.engine import Process, engine_for
from .folder_lock import locked_folder
from .listeners import (
    CollectorFeed,
    Journal,
    Listener,
    MissingColumns,
    OrientationCheck,
    ProgressReport,
    ResultKeeper,
)
from .live import live_report
from .plan import Plan, run_shape
from .progress import Progress
from .result import Masks, Run
from .run_record import run_json, with_columns
from .state import RunState
from .static_mask_files import with_static_masks

log = logging.getLogger("xrdpipe")

RESUME_HINT = "what is done stays, resume=true goes on once there is room"


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
    """Process every image of a configuration.

    Parameters
    ----------
    values
        Configuration as plain Python, see `config.loader.to_builtin`.
    command
        Arguments of the command line, stored in ``run.json``.
    arrays
        Frames in memory, by name: counts of shape (slow, fast).
    write, keep
        Write results into the configured folder; return patterns and masks.
    job
        Number of the job in a sweep.
    names
        Names of images that are fixed, name -> path, as in a replay. The source then supplies no frames.

    Returns
    -------
    Run
        Records of all frames; patterns and masks if ``keep`` is set.

    Raises
    ------
    ConfigError
        The configuration is invalid or conflicts with the results folder. Nothing is written.
    """
    settings, groups = parse_settings(values)
    source = build(groups.get("source", {}), "source", Source)
    with ExitStack() as stack:
        if write and settings.output_dir and not settings.dry_run:
            stack.enter_context(locked_folder(Path(settings.output_dir)))
        _check_combination(source, settings, bool(arrays) or job is not None)
        arrivals, values = _watch(source, settings, values, write, stack)
        if source.supplies and names is None:
            values = _supply_frames(source, settings, values, write, stack)
        values, merged = with_static_masks(values, arrays or {}, write, arrivals is not None, stack)
        plan = Plan.of(values, arrays or {}, write, names or {}, arrivals, merged, looks_late=True)
        stack.callback(files.forget_files)
        return _describe(plan) if settings.dry_run else _execute(plan, values, command, keep, job, stack)


def _check_combination(source: Source, settings: Settings, arrays: bool) -> None:
    source.check_combination(queued=not engine_for(settings.parallel).takes_arrivals, arrays=arrays)


def _describe(plan: Plan) -> Run:
    print(plan.describe())
    print(preflight.describe_space(plan))
    return Run(None)


def _watch(
    source: Source, settings: Settings, values: Mapping[str, Any], write: bool, stack: ExitStack
) -> tuple[Arrivals | None, Mapping[str, Any]]:
    excluded = Path(settings.output_dir).resolve() if settings.output_dir and write else None
    notify = partial(_print_message, settings.quiet)
    arrivals, values = source.watch(values, excluded, notify, interruption.stop_requested)
    if arrivals is not None and not settings.dry_run:
        stack.enter_context(interruption.handle_signals())
        stack.enter_context(arrivals.notified())
    return arrivals, values


def _print_message(quiet: bool, text: str) -> None:
    if not quiet:
        print(f"xrdpipe: {text}", file=sys.stderr, flush=True)


def _supply_frames(
    source: Source, settings: Settings, values: Mapping[str, Any], write: bool, stack: ExitStack
) -> dict[str, Any]:
    """Let the source create its frames in the results folder, or in a temporary folder if nothing is written."""
    Pipeline.of(parse_settings(values)[1], settings.stages)  # a wrong value is refused before anything is made
    if not write or settings.dry_run:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="xrdpipe-", ignore_cleanup_errors=True))
        return source.supply(dict(values), Path(folder))
    holds_results = settings.output_dir and Folder(Path(settings.output_dir)).run
    if holds_results and not (settings.overwrite or settings.resume):
        raise ConfigError(f"output_dir={settings.output_dir}: holds results already; {WAYS_OUT}")
    folder = settings.output_dir or str(new_folder())
    if not settings.output_dir:
        stack.enter_context(locked_folder(Path(folder)))
    _print_message(settings.quiet, f"making frames in {folder}")
    return source.supply({**values, "output_dir": folder}, Path(folder))


def _execute(
    plan: Plan, values: Mapping[str, Any], command: Sequence[str], keep: bool, job: int | None, stack: ExitStack
) -> Run:
    started, clock = datetime.now(UTC), time.monotonic()
    shape, shape_from, unreadable = run_shape(plan)
    target = plan.folder or (Folder(new_folder()) if plan.write else None)
    recipe, process = _start_engine(plan, shape, shape_from, target, job is not None, stack)
    if target is not None and plan.folder is None:
        stack.enter_context(locked_folder(target.path))
    raw_shape = plan.pipeline.source.to_raw(np.empty(shape or (0, 0), np.bool_)).shape
    result = Run(target.path if target else None, masks=Masks(raw_shape), config=values)
    progress = Progress(len(plan.waiting), plan.settings.quiet, plan.arrivals is not None)
    if plan.arrivals is not None:
        plan.arrivals.report_to(progress.say)
    state = RunState(plan, target, progress, target.records if target else Records())
    record = {
        **run_json(plan, values, command, started),
        "shape": shape or (target.run.get("shape") if target else None),
        **({} if job is None else {"job": job}),
    }
    recorded = len(target.records) if target else 0
    state.collectors = plan.collectors(target, record["started"]) if target else []
    if target is not None:
        _begin_folder(state, target, record, values, command)
    state.listeners = _listeners(state, result, keep, check_orientation=not job)
    for listener in state.listeners:
        listener.begin()
    stack.enter_context(target.log() if target else nullcontext())
    stack.enter_context(state.progress)
    stack.enter_context(interruption.handle_signals())
    _report_start(plan, shape, state.progress, recorded)
    try:
        with _live_report(state):
            for outcome in _outcomes(process, recipe, state, unreadable, keep):
                state.take(outcome)
        _remove_partial_files(target)
    except KeyboardInterrupt:
        result.stopped = True
        _discard_unfinished(plan, recipe, target, state)
        done, total = state.progress.done, state.progress.total
        state.progress.say(f"stopped after {done} of {total} frames; what is done is saved")
    _conclude(state, result, record, clock)
    return result


def _begin_folder(
    state: RunState, target: Folder, record: dict[str, Any], values: Mapping[str, Any], command: Sequence[str]
) -> None:
    plan = state.plan
    record["together"] = plan.together(state.collectors)
    if replaced := target.replaced(plan.identity):
        state.progress.say(f"{replaced} results of another configuration in {target.path} are replaced")
    running = {**record, "status": "running", "waiting": compact_names(plan.waiting)}
    target.begin(running, plan.outputs(plan.waiting))
    if len(plan.waiting) < len(plan.images):  # of an earlier run, perhaps with other columns
        for image in plan.images:
            if (before := target.records.get(image.name)) and (now := with_columns(before, image, plan)) is not before:
                target.records.add(now)
    save_hydra(target.path, values, command)


def _listeners(state: RunState, result: Run, keep: bool, check_orientation: bool) -> list[Listener]:
    """Return the listeners in the order in which they receive a frame.

    Collectors come first because a frame fails if one rejects it. The journal precedes everything that is shown.
    """
    plan, progress = state.plan, state.progress
    listeners: list[Listener] = [CollectorFeed(state.collectors, plan.waiting, progress)]
    if state.target is not None:
        listeners.append(Journal(state.target))
    listeners += [ProgressReport(progress), MissingColumns(progress)]
    if check_orientation and not plan.poni.lookups:  # once a run, once a sweep
        listeners.append(OrientationCheck(plan, progress))
    if keep:
        listeners.append(ResultKeeper(result))
    return listeners


def _live_report(state: RunState) -> Any:
    plan, target = state.plan, state.target
    if plan.arrivals is None or target is None or not plan.settings.report:
        return nullcontext()
    return live_report(target.path)


def _conclude(state: RunState, result: Run, record: dict[str, Any], clock: float) -> None:
    """Finish the listeners and write the record and the report of the run."""
    plan, target, progress = state.plan, state.target, state.progress
    result.incomplete = plan.arrivals.incomplete() if plan.arrivals else []
    for line in result.incomplete:
        progress.say(line)
        log.warning("%s", line)
    state.complete()
    result.order(state.records.arranged)
    for listener in state.listeners:
        listener.end(state.records)
    result.judgement = judgement(result.frames, plan.pipeline.source.gain)
    record["judgement"] = result.judgement
    record["together"] = plan.together(state.collectors)
    if target is None:
        return
    if result.incomplete:
        record["incomplete"] = result.incomplete
    status = "stopped" if result.stopped else "failed" if result.status else "done"
    try:
        target.record({**record, "status": status, "seconds": round(time.monotonic() - clock, 3)})
    except OSError as error:
        result.unwritten = True
        progress.say(f"{target.path}: the record of the run could not be written ({error.strerror}); {RESUME_HINT}")
    notes = finish_collectors([each for each in state.collectors if not each.takes_results], target.records)
    if plan.settings.report:
        notes += try_report(target.path)
    for note in notes:
        progress.say(note)
        log.warning("%s", note)


def _start_engine(
    plan: Plan, shape: tuple[int, int] | None, shape_from: str, target: Folder | None, judged: bool, stack: ExitStack
) -> tuple[Recipe | None, Process | None]:
    """Prepare the recipe and start the workers; return (None, None) if no frame can be read.

    Raise ConfigError before the folder is changed if the configuration does not fit the frames.
    """
    if shape is None:
        return None, None
    if target is not None and not plan.settings.overwrite:
        target.check_shape(plan.identity, shape)
    path = target.path if target else None
    config = json.dumps(plan.pipeline.config)
    order, cache = tuple(plan.pipeline.stages), plan.settings.cache
    growing = plan.arrivals is not None
    parallel = plan.settings.parallel if plan.waiting or growing else Parallel()
    cuda = parallel.backend == "cuda"
    recipe = Recipe(config, order, plan.poni, shape, shape_from, path, cache, judged, cuda, plan.input_hash)
    try:
        check_first(prepared(recipe), plan.waiting)
        preflight.check_space(plan, shape, path)
        if path is not None and (path / ARRAY).exists():
            from .engines.slurm import check_ended

            check_ended(path)
        engine = engine_for(parallel, plan.waiting)
        return recipe, stack.enter_context(engine.open(None if growing else len(plan.waiting), path))
    except (ConfigError, KeyboardInterrupt):
        if target is not None and plan.folder is None:
            os.removedirs(target.path)
        raise


def _outcomes(
    process: Process | None,
    recipe: Recipe | None,
    state: RunState,
    unreadable: Mapping[str, str],
    keep: bool,
) -> Generator[Outcome]:
    if process is not None and recipe is not None:
        for batch in state.batches():
            yield from process(recipe, batch, state.plan.shown, keep)
        return
    for image in Taken(state.plan.waiting, state.in_work):
        yield failed_outcome(image, unreadable[image.name])


def _remove_partial_files(target: Folder | None) -> None:
    """Remove partial files of workers that died while writing."""
    for part in target.parts() if target else ():
        with suppress(OSError):
            part.unlink()


def _discard_unfinished(plan: Plan, recipe: Recipe | None, target: Folder | None, state: RunState) -> None:
    """Wait for the workers, then remove the files of frames that they did not finish."""
    if recipe is None or target is None:
        return
    from .engines.local import drain

    drain(recipe)
    unfinished = (
        target.path / file
        for name in state.in_work
        if name not in state.records
        for file in plan.pipeline.outputs(name)
    )
    for path in [*target.parts(), *unfinished]:
        with suppress(OSError):
            path.unlink()


def _report_start(plan: Plan, shape: tuple[int, int] | None, progress: Progress, recorded: int) -> None:
    """Show the notes of the plan, the frames that are left out and the number of frames that are done already."""
    done = len(plan.images) - len(plan.waiting)
    warnings = [text] if shape is not None and (text := preflight.space_warning(plan, shape)) else []
    for note in [*plan.notes, *warnings]:
        progress.say(note)
        log.warning("%s", note)
    for path in plan.left_out:
        progress.say(f"{path} is a background, dark or mask file: left out of the images")
    if done and not plan.settings.quiet:
        count = f"{done} of {len(plan.images)} images" if plan.arrivals is None else f"{recorded} images"
        progress.say(f"{count} were done before")
    log.info("%d frames, %s", len(plan.waiting), plan.identity["program"])
