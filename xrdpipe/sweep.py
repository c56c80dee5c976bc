"""A sweep: one configuration after another over the same frames, a job each, and a table of what came of them."""

from __future__ import annotations

import csv
import io
import json
import logging
import math
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hydra._internal.hydra import Hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from .argv import quoted
from .config import Loader, cores, listed, new_folder, plain, settings
from .folder import WAYS_OUT
from .paths import expand, expand_user
from .provenance import write_json, write_text
from .run import geometry_file, run
from .source import Source, memory
from .stage import ConfigError, build

log = logging.getLogger("xrdpipe")

MEMORY = 1 << 29  # bytes of frames that a worker keeps from job to job
COLUMNS = ("status", "done", "failed", "masked_fraction", "seconds", "error")


def sweep(loader: Loader, overrides: Sequence[str], images: Sequence[str], config_name: str = "config") -> int:
    """Run every job of a sweep with Hydra's sweeper and launcher; 0 if all went well, 1 if a job failed.

    ``images``: bare paths, beyond those in ``overrides``. ConfigError where the whole sweep is refused.
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    swept = {each.get_key_element().lstrip("+"): each for each in parsed if each.is_sweep_override()}
    if "output_dir" in swept:
        raise ConfigError("output_dir: cannot vary in a sweep; each job has a numbered folder in it")
    cfg = loader.load_configuration(config_name, list(overrides), RunMode.MULTIRUN)
    fixed = [str(each.input_line) for each in parsed if not each.is_sweep_override()]
    top, groups = settings(plain(loader.compose(fixed, config_name)))
    if top.dry_run:
        raise ConfigError("dry_run: not for a sweep; leave out -m and give each key one value")
    source = build(groups.get("source", {}), "source", Source)
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
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("run.json")}
    if ((folder / "sweep.csv").exists() or any(folder.glob("[0-9]*/run.json"))) and not (top.overwrite or top.resume):
        raise ConfigError(f"{folder}: holds a sweep already; {WAYS_OUT}")
    jobs = math.prod(len(list(each.sweep_iterator())) for each in swept.values())
    if jobs > 1 and cfg.hydra.launcher._target_.endswith("JoblibLauncher"):
        # Workers start and import while Hydra composes and checks the configuration of every job.
        threading.Thread(target=_start_workers, args=(cfg.hydra.launcher.n_jobs,), daemon=True).start()
        # A value always composes, and its job refuses it; an option may not exist, and then the sweep is refused.
        loader.elsewhere = all("." in key for key in swept)
    supplied = None
    if supplies:  # once for all jobs
        folder.mkdir(parents=True, exist_ok=True)
        supplied = source.supply({"background": groups.get("background", {})}, folder)
    task = Job(tuple(images), supplied, tuple(swept), max(1, cores() // jobs), top.quiet)
    stopped = False
    told, threading.excepthook = threading.excepthook, _unheard
    try:
        Hydra("xrdpipe", loader).multirun(config_name, task, [*overrides, f"hydra.sweep.dir={quoted(str(folder))}"])
    except KeyboardInterrupt:
        stopped = True
        print(f"xrdpipe: stopped; what is done is in {folder}", file=sys.stderr)
    finally:
        threading.excepthook = told
    rows = table(folder, before)
    write_text(folder / "sweep.csv", _csv(rows))
    if not top.quiet:
        _show(rows, folder)
    return 130 if stopped else int(any(row["status"] != "done" for row in rows))


@dataclass(frozen=True)
class Job:
    """One job of a sweep, in whatever process the launcher runs it: its result stays in its folder."""

    images: tuple[str, ...]
    supplied: dict[str, Any] | None
    swept: tuple[str, ...]
    n_jobs: int
    quiet: bool

    def __call__(self, cfg: DictConfig) -> float:
        """Run it; the result is the mean masked fraction, NaN where the job failed. Nothing is raised."""
        memory.room = MEMORY
        hydra = HydraConfig.get()
        folder, number = Path(hydra.runtime.output_dir), int(hydra.job.num)
        command = [text.removeprefix("++") for text in hydra.overrides.task]
        try:
            values = plain(cfg)
            values["output_dir"], values["quiet"] = str(folder), True
            values["images"] = [*listed(values["images"]), *self.images]
            if isinstance(values.get("parallel"), dict) and values["parallel"].get("n_jobs") == -1:
                values["parallel"] = {**values["parallel"], "n_jobs": self.n_jobs}
            if self.supplied is not None:
                values |= {"poni": self.supplied["poni"], "images": self.supplied["images"]}
                if isinstance(values.get("background"), dict) and not values["background"].get("file"):
                    values["background"]["file"] = self.supplied["background"]["file"]
            result = run(values, command, job=number, names=None if self.supplied is None else {})
        except (ConfigError, OSError) as error:
            record = {"program": "xrdpipe", "status": "refused", "error": str(error), "command": command, "job": number}
            write_json(folder / "run.json", {**record, "images": []})
            print(f"xrdpipe: job {number} refused: {error}", file=sys.stderr, flush=True)
            return math.nan
        if result.stopped:
            raise KeyboardInterrupt
        if not self.quiet:
            done = len(result.frames) - len(result.failed)
            varied = " ".join(text for text in command if text.partition("=")[0] in self.swept)
            print(f"xrdpipe: job {number}, {varied}: {done} of {len(result.frames)} done", file=sys.stderr, flush=True)
        fractions = [record.masked_fraction for record in result.frames if record.masked_fraction is not None]
        return sum(fractions) / len(fractions) if fractions else math.nan


def _unheard(failure: threading.ExceptHookArgs) -> None:
    # Where Ctrl-C kills the workers, joblib's threads miss them; what concerns a job is in its folder.
    log.debug("a thread of the launcher ended", exc_info=failure.exc_value)


def _start_workers(n_jobs: int) -> None:
    from joblib import Parallel, delayed

    Parallel(n_jobs=n_jobs, backend="loky")(delayed(_import)() for _ in range(cores() if n_jobs < 0 else n_jobs))


def _import() -> None:
    from . import kernels  # noqa: F401


def table(folder: Path, before: Mapping[Path, int] = MappingProxyType({})) -> list[dict[str, Any]]:
    """A row a job: number, what varied, `COLUMNS`; read from the record that each job left in its folder.

    ``before``: records of an earlier sweep, path -> mtime in ns; those that are unchanged are no jobs of this one.
    """
    records = [path for path in folder.rglob("run.json") if path.stat().st_mtime_ns != before.get(path)]
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in records]
    runs = sorted((each for each in runs if each.get("job") is not None), key=lambda each: int(each["job"]))
    commands = [dict(text.lstrip("+").partition("=")[::2] for text in each["command"]) for each in runs]
    keys = list(dict.fromkeys(key for command in commands for key in command))
    varied = [key for key in keys if len({command.get(key) for command in commands}) > 1]
    return [_row(each, command, varied) for each, command in zip(runs, commands, strict=True)]


def _row(each: dict[str, Any], command: dict[str, str], varied: list[str]) -> dict[str, Any]:
    images = each["images"]
    fractions = [image["masked_fraction"] for image in images if image["status"] == "done"]
    failures = [f"{image['file']}: {image['error']}" for image in images if image["status"] == "failed"]
    return {
        "job": each["job"],
        **{key: command.get(key, "") for key in varied},
        "status": each["status"],
        "done": len(fractions),
        "failed": len(failures),
        "masked_fraction": round(sum(fractions) / len(fractions), 6) if fractions else "",
        "seconds": each.get("seconds", ""),
        "error": each.get("error", "; ".join(failures)),
    }


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["job", *COLUMNS], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _show(rows: list[dict[str, Any]], folder: Path) -> None:
    from .progress import show

    show(rows)
    print(f"{len(rows)} jobs in {folder}, see sweep.csv there")
