"""A sweep: one configuration after another over the same frames, a job each, and a table of what came of them."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hydra._internal.hydra import Hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from . import stop
from .argv import quoted, translate
from .config import ADDRESS, Loader, cores, forced, listed, new_folder, plain, settings
from .folder import WAYS_OUT
from .jobs import Slurm
from .launched import attended, queue_of
from .lock import InUseError, held
from .metrics import METRICS
from .paths import expand, expand_user
from .plan import geometry_file
from .provenance import write_json, write_text
from .report import try_report
from .run import run
from .source import Source, memory
from .stage import ConfigError, build
from .verdict import Terms, alone, as_good, means, ranked, score, spreads, terms
from .watch import Watch
from .workers import go_to

MEMORY = 1 << 29  # bytes of frames that a worker keeps from job to job
FIRST, LAST = ("rank", "score", "status", "done", "failed"), ("error",)  # columns, with the metrics between them
LONGEST = 2000  # characters of a command line on the terminal


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
    top, groups = settings(plain(single))
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
    if ours and not supplies and "images" not in swept and not expand([*listed(top.images), *images]):
        raise ConfigError("images: missing; say which frames, images='data/*.tiff' or their paths")
    own = OmegaConf.to_yaml(cfg.hydra.sweep).partition("\n")[0] != "dir: ${output_dir}"
    given = expand_user(cfg.hydra.sweep.dir) if own else top.output_dir
    if given and "${" in given:
        raise ConfigError(f"{given}: Hydra cannot keep a sweep in a folder with ${{ in its name")
    folder = Path(given) if given else new_folder("sweeps")
    with held(folder):
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("run.json")}
        there = (folder / "sweep.csv").exists() or any(folder.glob("[0-9]*/run.json"))
        if there and not (top.overwrite or top.resume):
            raise ConfigError(f"{folder}: holds a sweep already; {WAYS_OUT}")
        jobs = _at_once(cfg, swept)
        queue = queue_of(OmegaConf.to_container(cfg.hydra.launcher, resolve=True), jobs)  # type: ignore[arg-type] # a mapping
        if jobs > 1 and cfg.hydra.launcher._target_.endswith("JoblibLauncher"):
            # Workers start and import while Hydra composes and checks the configuration of every job.
            _start_workers(cfg.hydra.launcher.n_jobs)
            # A value always composes, and its job refuses it; an option may not exist, and then the sweep is refused.
            loader.elsewhere = all("." in key for key in swept)
        supplied = None
        if supplies:  # once for all jobs
            folder.mkdir(parents=True, exist_ok=True)
            supplied = source.supply({"background": groups.get("background", {})}, folder)
        rank = terms(top.sweep.rank)
        chosen = (
            *_options(loader, config_name),
            *(["hydra.mode=RUN"] if single.hydra.mode == RunMode.MULTIRUN else []),
        )
        told = folder.absolute() / f".stop_{time.time_ns()}"
        n_jobs = -1 if isinstance(queue, Slurm) else max(1, cores() // jobs)  # Slurm gives each job its cores
        task = Job(tuple(images), supplied, tuple(swept), n_jobs, top.quiet, told, os.getcwd(), rank, chosen)
        with stop.heard(told), attended(queue, folder):
            try:
                Hydra("xrdpipe", loader).multirun(
                    config_name, task, [*overrides, f"hydra.sweep.dir={quoted(str(folder))}"]
                )
                stopped = stop.asked()
            except BaseException:  # also of a worker that did not live to hear of it
                if not (stopped := stop.asked()):
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
    return [*forced(translate(words, multirun=True)[0]), "hydra.sweeper.params=null"]


def _refuse_address(params: Mapping[str, Any]) -> None:
    if any(str(key).lstrip("+~").partition("=")[0].strip() == ADDRESS for key in params):
        raise ConfigError(f"hydra.sweeper.params: {ADDRESS} is refused in a file; say it on the command line")


@dataclass(frozen=True)
class Job:
    """One job of a sweep, in whatever process the launcher runs it: its result stays in its folder."""

    images: tuple[str, ...]
    supplied: dict[str, Any] | None
    swept: tuple[str, ...]
    n_jobs: int
    quiet: bool
    told: Path  # see `stop.join`
    here: str  # the folder that relative paths are in
    rank: Terms
    options: tuple[str, ...] = ()  # of the command line, that a job alone needs too

    def __call__(self, cfg: DictConfig) -> float:
        """Run it; the result is its score, the less the better, infinite where it failed. Nothing is raised.

        Not NaN, on which the sweeper of Optuna breaks off.
        """
        go_to(self.here)
        memory.room = MEMORY
        hydra = HydraConfig.get()
        folder, number = Path(hydra.runtime.output_dir), int(hydra.job.num)
        stop.join(self.told)
        if stop.asked():
            with suppress(OSError):  # Hydra has made it; one that holds something stays
                folder.rmdir()
            return math.inf
        overrides = [text.removeprefix("++") for text in hydra.overrides.task]
        command = [*self.options, *overrides, *self.images]
        try:
            values = plain(cfg)
            values["output_dir"], values["quiet"] = str(folder), True
            values["images"] = [*listed(values["images"]), *self.images]
            parallel = values.get("parallel")
            if isinstance(parallel, dict) and parallel.get("n_jobs") == -1 and parallel.get("backend") != "slurm":
                values["parallel"] = {**parallel, "n_jobs": self.n_jobs}
            if self.supplied is not None:
                values |= {"poni": self.supplied["poni"], "images": self.supplied["images"]}
                if isinstance(values.get("background"), dict) and not values["background"].get("file"):
                    values["background"]["file"] = self.supplied["background"]["file"]
            result = run(values, command, job=number, names=None if self.supplied is None else {})
        except InUseError:  # its record stays that of the run that goes on there
            raise
        except (ConfigError, OSError) as error:
            record = {"program": "xrdpipe", "status": "refused", "error": str(error), "command": command, "job": number}
            write_json(folder / "run.json", {**record, "images": []})
            print(f"xrdpipe: job {number} refused: {error}", file=sys.stderr, flush=True)
            return math.inf
        if not self.quiet and not result.stopped:
            done = len(result.frames) - len(result.failed)
            varied = " ".join(text for text in overrides if text.partition("=")[0] in self.swept)
            print(f"xrdpipe: job {number}, {varied}: {done} of {len(result.frames)} done", file=sys.stderr, flush=True)
        total = score(means([asdict(record) for record in result.frames]), self.rank)
        return total if math.isfinite(total) else math.inf


def _start_workers(n_jobs: int) -> None:
    from joblib import Parallel, delayed

    calls = [delayed(_import)() for _ in range(cores() if n_jobs < 0 else n_jobs)]
    with stop.deaf():
        imported = Parallel(n_jobs=n_jobs, backend="loky", return_as="generator_unordered")(calls)
    threading.Thread(target=list, args=(imported,), daemon=True).start()


def _import() -> None:
    from . import kernels  # noqa: F401


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


def conclude(
    folder: Path, rank: Terms, before: Mapping[Path, int] = MappingProxyType({}), *, quiet: bool = False
) -> list[dict[str, Any]]:
    """Write ``sweep.csv`` (a row a job, best first) and ``sweep.json`` (the verdict), show both, return the rows.

    Read from the records that the jobs left. ``before``: those of an earlier sweep, path -> mtime in ns; where it is
    unchanged, they are no jobs of this one.
    """
    records = [path for path in folder.rglob("run.json") if path.stat().st_mtime_ns != before.get(path)]
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in records]
    runs = sorted((each for each in runs if each.get("job") is not None), key=lambda each: int(each["job"]))
    commands = [dict(text.lstrip("+").partition("=")[::2] for text in each["command"]) for each in runs]
    keys = list(dict.fromkeys(key for command in commands for key in command))
    varied = [key for key in keys if len({command.get(key) for command in commands}) > 1]
    rows = ranked([_row(each, command, varied, rank) for each, command in zip(runs, commands, strict=True)])
    columns = ["job", *varied, *FIRST, *(name for name in METRICS if any(name in row for row in rows)), *LAST]
    write_text(folder / "sweep.csv", _csv(rows, columns))
    best = next((row["job"] for row in rows if row["rank"] == 1), None)
    verdict = {
        "program": "xrdpipe",
        "rank": [{"metric": metric, "weight": weight} for weight, metric in rank],
        "best": best,
        "command": next((alone(each) for each in runs if each["job"] == best), ""),
        "as_good": as_good(rows),
        "spreads": spreads(rows, varied),
        "failures": [_failure(row, varied) for row in rows if row["status"] != "done"],
    }
    write_json(folder / "sweep.json", verdict)
    if not quiet:
        _show(rows, varied, rank, verdict, folder)
    return rows


def _row(each: dict[str, Any], command: dict[str, str], varied: list[str], rank: Terms) -> dict[str, Any]:
    images = each["images"]
    failures = [f"{image['file']}: {image['error']}" for image in images if image["status"] == "failed"]
    metrics = means(images)
    total = score(metrics, rank)
    return {
        "job": each["job"],
        **{key: command.get(key, "") for key in varied},
        "score": float(f"{total:.6g}") if math.isfinite(total) else "",
        "status": each["status"],
        "done": sum(image["status"] == "done" for image in images),
        "failed": len(failures),
        **{name: float(f"{value:.6g}") for name, value in metrics.items()},
        "seconds": each.get("seconds", ""),
        "error": each.get("error", "; ".join(failures) or _unfinished(each)),
    }


def _unfinished(each: Mapping[str, Any]) -> str:
    waiting = sum(image["status"] == "waiting" for image in each["images"])
    return f"{waiting} of {len(each['images'])} frames are not done; resume=true does them" if waiting else ""


def _failure(row: Mapping[str, Any], varied: Sequence[str]) -> dict[str, Any]:
    what = " ".join(f"{key}={row[key]}" for key in varied)
    return {"job": row["job"], "what": what, "status": row["status"], "reason": row["error"]}


def _csv(rows: list[dict[str, Any]], columns: list[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _show(rows: list[dict[str, Any]], varied: list[str], rank: Terms, verdict: Mapping[str, Any], folder: Path) -> None:
    from .progress import show

    states = ("status", "done", "failed") if verdict["failures"] else ()
    metrics = [metric for _, metric in rank if rank != ((1.0, metric),)]  # a single one is the score
    told = dict.fromkeys(["rank", "job", *varied, "score", *metrics, "masked_fraction", *states, "seconds"])
    show([{key: _short(row.get(key, "")) for key in told} for row in rows])
    for failure in verdict["failures"]:
        print(f"job {failure['job']} {failure['status']} ({failure['what']}): {failure['reason']}")
    shares = [f"{each['key']} {100 * each['share']:.0f} %" for each in verdict["spreads"]]
    if shares:
        print(f"what matters (means of its values apart, of the spread of all scores): {', '.join(shares)}")
    if verdict["best"] is not None:
        equals = ", ".join(map(str, verdict["as_good"]))
        line = verdict["command"] if len(verdict["command"]) <= LONGEST else "(its command line is in sweep.json)"
        print(f"best: job {verdict['best']}{f', within 1 % of it job {equals}' if equals else ''}; it alone:\n  {line}")
    elif any(row["status"] == "done" for row in rows):
        missing = ", ".join(metric for _, metric in rank if all(metric not in row for row in rows))
        print(f"no job is ranked: none has {missing}; name another metric with sweep.rank=...")
    print(f"{len(rows)} jobs in {folder}, see sweep.csv there")


def _short(value: Any) -> Any:
    """A cell for the terminal: no number with more digits than mean anything."""
    try:
        return f"{float(value):.4g}" if len(str(value)) > 6 else value
    except ValueError:
        return value
