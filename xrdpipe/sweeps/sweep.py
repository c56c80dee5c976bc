"""A sweep: one configuration after another over the same frames, a job each, and a table of what came of them."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.hydra import Hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from ..config.arguments import quoted, translate
from ..config.loader import Loader, force_overrides, to_builtin
from ..config.rank import parse_rank
from ..config.refusals import ADDRESS
from ..config.schema import build
from ..config.settings import as_list, parse_settings
from ..execution import interruption
from ..execution.folder_lock import locked_folder
from ..execution.plan import geometry_file
from ..execution.queues import Slurm
from ..io.paths import expand, expand_user
from ..model.cores import available_cores
from ..model.errors import ConfigError
from ..report.report import try_report
from ..results.folder import WAYS_OUT
from ..results.new_folder import new_folder
from ..stages.source import Source
from ..stages.source_watch import Watch
from .conclusion import conclude
from .job import Job
from .launcher import attend_jobs, queue_for


def sweep(loader: Loader, overrides: Sequence[str], images: Sequence[str], config_name: str = "config") -> int:
    """Run every job of a sweep with Hydra's sweeper and launcher; 0 if all went well, 1 if a job failed.

    ``images``: bare paths, beyond those in ``overrides``. ConfigError where the whole sweep is refused.
    """
    cfg = loader.load_configuration(config_name, list(overrides), RunMode.MULTIRUN)
    overrides = [*_params(cfg, overrides), *overrides]
    parsed = OverridesParser.create().parse_overrides(overrides)
    swept = {each.get_key_element().lstrip("+"): each for each in parsed if each.is_sweep_override()}
    if "output_dir" in swept:
        raise ConfigError("output_dir: cannot vary in a sweep; each job has a numbered folder in it")
    swept |= dict(_searched(cfg))
    if any(key.partition(".")[0] == "sweep" for key in swept):
        raise ConfigError("sweep.rank: cannot vary in a sweep; several metrics are a list, [ring_bias,-peak_width]")
    fixed = [str(each.input_line) for each in parsed if not each.is_sweep_override()]
    single = loader.compose(fixed, config_name)
    top, groups = parse_settings(to_builtin(single))
    if top.dry_run:
        raise ConfigError("dry_run: not for a sweep; leave out -m and give each key one value")
    source = build(groups.get("source", {}), "source", Source)
    if isinstance(source, Watch):
        raise ConfigError("source=watch: not in a sweep, as its jobs need the same frames; sweep over them afterwards")
    for name, values in groups.items():  # what varies is for each job to check
        if name != "source" and not any(key.partition(".")[0] == name for key in swept):
            build(values, name)
    ours = not any(key.partition(".")[0] == "source" for key in swept)
    supplies = ours and source.supplies
    if ours and not supplies and "poni" not in swept:
        geometry_file(top)
    if ours and not supplies and "images" not in swept and not expand([*as_list(top.images), *images]):
        raise ConfigError("images: missing; say which frames, images='data/*.tiff' or their paths")
    own = OmegaConf.to_yaml(cfg.hydra.sweep).partition("\n")[0] != "dir: ${output_dir}"
    given = expand_user(cfg.hydra.sweep.dir) if own else top.output_dir
    if given and "${" in given:
        raise ConfigError(f"{given}: Hydra cannot keep a sweep in a folder with ${{ in its name")
    folder = Path(given) if given else new_folder("sweeps")
    with locked_folder(folder):
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("run.json")}
        there = (folder / "sweep.csv").exists() or any(folder.glob("[0-9]*/run.json"))
        if there and not (top.overwrite or top.resume):
            raise ConfigError(f"{folder}: holds a sweep already; {WAYS_OUT}")
        jobs = _at_once(cfg, swept)
        queue = queue_for(OmegaConf.to_container(cfg.hydra.launcher, resolve=True), jobs)  # type: ignore[arg-type] # a mapping
        if jobs > 1 and cfg.hydra.launcher._target_.endswith("JoblibLauncher"):
            # Workers start and import while Hydra composes and checks the configuration of every job.
            _start_workers(cfg.hydra.launcher.n_jobs)
            # A value always composes, and its job refuses it; an option may not exist, and then the sweep is refused.
            loader.elsewhere = all("." in key for key in swept)
        supplied = None
        if supplies:  # once for all jobs
            folder.mkdir(parents=True, exist_ok=True)
            supplied = source.supply({"background": groups.get("background", {})}, folder)
        rank = parse_rank(top.sweep.rank)
        chosen = (
            *_options(loader, config_name),
            *(["hydra.mode=RUN"] if single.hydra.mode == RunMode.MULTIRUN else []),
        )
        told = folder.absolute() / f".stop_{time.time_ns()}"
        n_jobs = -1 if isinstance(queue, Slurm) else max(1, available_cores() // jobs)  # Slurm gives each job its cores
        task = Job(tuple(images), supplied, tuple(swept), n_jobs, top.quiet, told, os.getcwd(), rank, chosen)
        with interruption.handle_signals(told), attend_jobs(queue, folder):
            try:
                Hydra("xrdpipe", loader).multirun(
                    config_name, task, [*overrides, f"hydra.sweep.dir={quoted(str(folder))}"]
                )
                stopped = interruption.stop_requested()
            except BaseException:  # also of a worker that did not live to hear of it
                if not (stopped := interruption.stop_requested()):
                    raise
        if stopped:
            print(f"xrdpipe: stopped; what is done is in {folder}", file=sys.stderr)
        rows = conclude(folder, rank, before, quiet=top.quiet)
        if top.report:
            for note in try_report(folder):
                print(f"xrdpipe: {note}", file=sys.stderr)
        return 130 if stopped else int(any(row["status"] != "done" for row in rows))


def _params(cfg: DictConfig, overrides: Sequence[str]) -> list[str]:
    """The sweep that the configuration itself names, as overrides; what was typed wins, as it does elsewhere."""
    if not cfg.hydra.sweeper._target_.endswith("BasicSweeper") or not cfg.hydra.sweeper.params:
        return []
    _refuse_address(cfg.hydra.sweeper.params)
    typed = {override.lstrip("+~").partition("=")[0] for override in overrides}
    words = [f"{key}={value}" for key, value in cfg.hydra.sweeper.params.items() if key.lstrip("+") not in typed]
    return [*force_overrides(translate(words, multirun=True)[0]), "hydra.sweeper.params=null"]


def _refuse_address(params: Mapping[str, Any]) -> None:
    if any(str(key).lstrip("+~").partition("=")[0].strip() == ADDRESS for key in params):
        raise ConfigError(f"hydra.sweeper.params: {ADDRESS} is refused in a file; say it on the command line")


def _start_workers(n_jobs: int) -> None:
    from joblib import Parallel, delayed

    calls = [delayed(_import)() for _ in range(available_cores() if n_jobs < 0 else n_jobs)]
    with interruption.ignore_signals():
        imported = Parallel(n_jobs=n_jobs, backend="loky", return_as="generator_unordered")(calls)
    threading.Thread(target=list, args=(imported,), daemon=True).start()


def _import() -> None:
    from ..numerics import kernels  # noqa: F401


def _searched(cfg: DictConfig) -> Iterator[tuple[str, Override]]:
    """What a sweeper other than Hydra's own, see `_params`, varies besides the command line."""
    if cfg.hydra.sweeper._target_.endswith("BasicSweeper"):
        return
    params = [f"{key}={value}" for key, value in (cfg.hydra.sweeper.get("params") or {}).items()]
    _refuse_address({**(cfg.hydra.sweeper.get("params") or {}), **(cfg.hydra.sweeper.get("search_space") or {})})
    for each in OverridesParser.create().parse_overrides(params):
        if each.is_sweep_override():
            yield each.get_key_element().lstrip("+"), each


def _at_once(cfg: DictConfig, swept: Mapping[str, Override]) -> int:
    """How many jobs there may be at the same time: all of them, or where a sweeper searches, as many as it asks for."""
    if "n_trials" not in cfg.hydra.sweeper:
        return math.prod(len(list(each.sweep_iterator())) for each in swept.values())
    direction = cfg.hydra.sweeper.direction
    if str(getattr(direction, "name", direction)) != "minimize":
        raise ConfigError(f"hydra.sweeper.direction={direction}: the least score is best; turn a sign in sweep.rank")
    return int(cfg.hydra.sweeper.n_jobs)


def _options(loader: Loader, config_name: str) -> tuple[str, ...]:
    given = {"--config-dir": loader.config_dir, "--config-name": config_name if config_name != "config" else None}
    return tuple(f"{name}={value}" for name, value in given.items() if value is not None)
