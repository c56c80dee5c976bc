"""Run a sweep: a job for each of many configurations over the same frames, and a table of the results."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..config.loader import Loader
from ..config.multirun import Multirun
from ..config.schema import build
from ..config.settings import Settings, as_list, parse_settings
from ..execution import interruption
from ..execution.engines.queues import Slurm
from ..execution.folder_lock import locked_folder
from ..execution.plan import geometry_file
from ..io.paths import expand, expand_user
from ..model.cores import available_cores
from ..model.errors import ConfigError
from ..report.report import try_report
from ..results.folder import WAYS_OUT
from ..results.new_folder import new_folder
from ..stages.source import Source
from .conclusion import conclude
from .job import Job
from .launcher import queue_for, supervise_jobs
from .verdict import INCOMPARABLE, beyond_masks


@dataclass(frozen=True)
class SweepSetup:
    """The parts of the configuration that all jobs of a sweep share.

    Attributes
    ----------
    settings
        Settings of the run.
    groups
        Configuration groups.
    supplier
        Source that makes its own frames; None if there is none, or if the source varies.
    """

    settings: Settings
    groups: dict[str, Any]
    supplier: Source | None


class Swept(NamedTuple):
    """A sweep that has ended.

    Attributes
    ----------
    status
        Exit status: 0 if all went well, 1 if a job failed, 130 if the user stopped the sweep.
    folder
        Folder of the sweep.
    rows
        Rows of its table, best first.
    """

    status: int
    folder: Path
    rows: list[dict[str, Any]]


def sweep(
    loader: Loader,
    overrides: Sequence[str],
    images: Sequence[str],
    config_name: str = "config",
    *,
    tables: bool = True,
) -> Swept:
    """Run every job of a sweep with Hydra's sweeper and launcher.

    Parameters
    ----------
    loader
        Composes the configuration.
    overrides
        Overrides of the command line, including those that vary.
    images
        Bare paths, beyond those in ``overrides``.
    config_name
        The primary configuration.
    tables
        Print the table of jobs and the verdict.

    Raises
    ------
    ConfigError
        The sweep cannot start.
    """
    multirun = Multirun.of(loader, overrides, config_name)
    setup = _check_sweep(multirun, images)
    folder = _folder(multirun, setup.settings)
    with locked_folder(folder):
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("run.json")}
        holds_sweep = (folder / "sweep.csv").exists() or any(folder.glob("[0-9]*/run.json"))
        if holds_sweep and not (setup.settings.overwrite or setup.settings.resume):
            raise ConfigError(f"{folder}: holds a sweep already; {WAYS_OUT}")
        stopped = _run_jobs(multirun, setup, images, folder)
        if stopped:
            print(f"xrdpipe: stopped; what is done is in {folder}", file=sys.stderr)
        ranking = setup.settings.sweep
        named = ranking.rank is not None
        rows = conclude(folder, ranking.terms, before, named=named, quiet=setup.settings.quiet or not tables)
        if setup.settings.report:
            for note in try_report(folder):
                print(f"xrdpipe: {note}", file=sys.stderr)
        status = 130 if stopped else int(any(row["status"] != "done" for row in rows))
        return Swept(status, folder, rows)


def _check_sweep(multirun: Multirun, images: Sequence[str]) -> SweepSetup:
    """Raise ConfigError for settings that no job can run with; each job checks the settings that vary."""
    settings, groups = parse_settings(multirun.values)
    others = beyond_masks(list(multirun.varied))
    if multirun.searches and settings.sweep.rank is None and others:
        raise ConfigError(f"{', '.join(others)}: {INCOMPARABLE}")
    if settings.dry_run:
        raise ConfigError("dry_run: not for a sweep; leave out -m and give each key one value")
    source = build(groups.get("source", {}), "source", Source)
    source.check_combination(sweep=True)
    for name, values in groups.items():
        if name != "source" and not multirun.varies(name):
            build(values, name)
    if multirun.varies("source"):
        return SweepSetup(settings, groups, None)
    if source.supplies:
        return SweepSetup(settings, groups, source)
    if "poni" not in multirun.varied:
        geometry_file(settings)
    if "images" not in multirun.varied and not expand([*as_list(settings.images), *images]):
        raise ConfigError("images: missing; say which frames, images='data/*.tiff' or their paths")
    return SweepSetup(settings, groups, None)


def _folder(multirun: Multirun, settings: Settings) -> Path:
    user_folder = multirun.named_folder
    folder = expand_user(user_folder) if user_folder is not None else settings.output_dir
    if folder and "${" in folder:
        raise ConfigError(f"{folder}: Hydra cannot keep a sweep in a folder with ${{ in its name")
    return Path(folder) if folder else new_folder("sweeps")


def _run_jobs(multirun: Multirun, setup: SweepSetup, images: Sequence[str], folder: Path) -> bool:
    """Run all jobs; return whether the user stopped them."""
    jobs, launcher = multirun.jobs_at_once, multirun.launcher
    queue = queue_for(launcher, jobs)
    if jobs > 1 and launcher["_target_"].endswith("JoblibLauncher"):
        # Workers start and import while Hydra composes and checks the configuration of every job.
        _start_workers(launcher["n_jobs"])
        # A bad value composes, and its job refuses it. A missing option does not compose, and the sweep is refused.
        multirun.loader.composed_by_workers = all("." in key for key in multirun.varied)
    supplied = None
    if setup.supplier is not None:  # once for all jobs
        folder.mkdir(parents=True, exist_ok=True)
        supplied = setup.supplier.supply({"background": setup.groups.get("background", {})}, folder)
    stop_file = folder.absolute() / f".stop_{time.time_ns()}"
    job = Job(
        images=tuple(images),
        supplied=supplied,
        varied=tuple(multirun.varied),
        n_jobs=-1 if isinstance(queue, Slurm) else max(1, available_cores() // jobs),  # Slurm gives a job its cores
        quiet=setup.settings.quiet,
        stop_file=stop_file,
        working_folder=os.getcwd(),
        rank=setup.settings.sweep.terms,
        options=multirun.job_options,
    )
    with interruption.handle_signals(stop_file), supervise_jobs(queue, folder):
        try:
            multirun.run(job, folder)
            return interruption.stop_requested()
        except BaseException:  # includes a worker that was killed before it saw the stop file
            if not interruption.stop_requested():
                raise
            return True


def _start_workers(n_jobs: int) -> None:
    from joblib import Parallel, delayed

    calls = [delayed(_import)() for _ in range(available_cores() if n_jobs < 0 else n_jobs)]
    with interruption.ignore_signals():
        imported = Parallel(n_jobs=n_jobs, backend="loky", return_as="generator_unordered")(calls)
    threading.Thread(target=list, args=(imported,), daemon=True).start()


def _import() -> None:
    from ..numerics import constants, integration, kernels, reduction, ring_statistics  # noqa: F401
