"""``xrdpipe new experiment``: write the configuration of a run as an experiment, to be edited and run again."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..config.experiment import check_experiment, experiment_yaml, nearest_options
from ..config.targets import current_target
from ..io.paths import expand_user
from ..io.writing import write_text
from ..model.errors import ConfigError, nearest
from ..results.command import repeat_command
from ..stages.source_demo import Demo
from .replay import read_record

USAGE = "xrdpipe new experiment NAME [from=results/folder] [to=my_conf]"
KEYS = {"from": "", "to": "my_conf"}
ONE_RUN = ("output_dir", "overwrite", "resume", "dry_run", "quiet")  # keys of one run, which an experiment leaves open


def main(arguments: Sequence[str], document: dict[str, Any] | None = None) -> int:
    """Run ``xrdpipe new experiment NAME [from=FOLDER] [to=FOLDER]``; return 0."""
    said = _write(arguments)
    if document is not None:
        document |= said
    else:
        print(f"written: {said['written']}, from {said['from']}")
        print(f"next: {said['next']}")
    return 0


def _write(arguments: Sequence[str]) -> dict[str, Any]:
    """Write the experiment; return its path, that of the run, and the command line that runs it.

    Raises
    ------
    ConfigError
        There is no run to take, the name is taken or no name, or an experiment cannot say the configuration.
    """
    name, keys = _words(arguments)
    folder = _run_folder(expand_user(keys["from"]))
    path = Path(expand_user(keys["to"]), "experiment", f"{name}.yaml")
    if os.path.lexists(path):
        raise ConfigError(f"new: {path} is already there and stays as it is; choose another name")
    record = read_record(folder / "run.json")
    values = _values(record)
    text = experiment_yaml(values, nearest_options(values), _comment(folder, record, keys["to"], name), record["cwd"])
    check_experiment(text, values, name, record["cwd"])
    try:
        write_text(path, text)
    except OSError as error:
        raise ConfigError(f"new: {path} cannot be written ({error.strerror}); say another folder with to=") from error
    return {"written": str(path), "from": str(folder), "next": _command(keys["to"], name)}


def _words(arguments: Sequence[str]) -> tuple[str, dict[str, str]]:
    bare = [word for word in arguments if "=" not in word]
    given = dict(word.split("=", 1) for word in arguments if "=" in word)
    for key in given:
        if key not in KEYS:
            raise ConfigError(f"new: {key}: no such key; {nearest(key, KEYS)}")
    if len(bare) != 2 or bare[0] != "experiment":
        raise ConfigError(f"new: say {USAGE}")
    if not bare[1].isprintable() or set(bare[1]) & set("/\\") or bare[1].startswith((".", "-")):
        raise ConfigError(f"new: {bare[1]!r}: a plain name expected, as in xrdpipe new experiment mine")
    return bare[1], {**KEYS, **{key: value for key, value in given.items() if value}}


def _run_folder(named: str) -> Path:
    """Return the results folder: the one that is named, the best job of a sweep, or the newest one."""
    if named:
        folder = Path(named).parent if Path(named).name == "run.json" else Path(named)
        return folder / str(_best_job(folder)) if (folder / "sweep.json").is_file() else folder
    runs = sorted(Path("outputs").glob("*/*/run.json"), key=lambda path: path.stat().st_mtime_ns)
    if not runs:
        raise ConfigError("new: no run under outputs/ here; say from=results/folder, the output_dir of a run")
    return runs[-1].parent


def _best_job(folder: Path) -> int:
    try:
        return int(json.loads((folder / "sweep.json").read_text(encoding="utf-8"))["best"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"new: {folder}: a sweep without a best job; say from={folder}/0, or another job") from error


def _values(record: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of a run as an experiment says it: without what belongs to that run alone."""
    values = {key: value for key, value in record["config"].items() if key not in ONE_RUN}
    for group in values.values():
        if isinstance(group, dict) and "_target_" in group:
            group["_target_"] = current_target(str(group["_target_"]))
    if values.get("source", {}).get("_target_") == f"{Demo.__module__}.{Demo.__name__}":
        made = Path(str(values["poni"])).parent  # the demo makes its files anew
        values |= {"poni": None, "images": None}
        if Path(str(values["background"].get("file"))).parent == made:
            values["background"] = {**values["background"], "file": None}
    return {**dict.fromkeys(("output_dir",)), **dict.fromkeys(ONE_RUN[1:], False), **values}


def _comment(folder: Path, record: dict[str, Any], to: str, name: str) -> str:
    return "\n".join(
        [
            f"The run of {record['started'][:10]} in {folder.absolute()}: what differs from the defaults",
            "",
            f"  {_command(to, name)}",
            f"  {_command(to, name)} other/*.tiff",
            "",
            "What is typed wins over this file.",
        ]
    )


def _command(to: str, name: str) -> str:
    return repeat_command({"command": ["--config-dir", to, f"experiment={name}"]})
