"""Jobs of a sweep that Hydra's submitit launcher hands to Slurm, or to processes of this computer.

The launcher waits for the result of every job, and Slurm may not tell that one died. Who died is given a result here,
so that a sweep ends in its verdict whatever became of its jobs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..config.multirun import failed_job
from ..config.refusals import FOLDER
from ..execution import interruption
from ..execution.engines.queues import Local, Slurm, log_tail, make_private, needs_submitit
from ..io.writing import write_json

SBATCH = ("partition", "account", "qos", "constraint", "exclude")  # keys of the launcher that sbatch knows as well


def queue_for(launcher: Mapping[str, Any], count: int) -> Slurm | Local | None:
    """Where ``count`` jobs of this launcher run; None where it is not submitit's. ConfigError if they cannot."""
    if "hydra_submitit_launcher" not in launcher["_target_"]:
        return None
    needs_submitit("hydra.launcher")
    if not launcher["_target_"].endswith("SlurmLauncher"):
        return Local()
    options = {name: launcher.get(name) for name in SBATCH} | dict(launcher.get("additional_parameters") or {})
    memory = {} if launcher.get("mem_gb") is None else {"mem": f"{launcher['mem_gb']}G"}
    queue = Slurm({**options, **memory, "time": launcher["timeout_min"]}, int(launcher.get("cpus_per_task") or 1))
    queue.check(count, "hydra/launcher=slurm")
    os.environ["SRUN_CPUS_PER_TASK"] = str(launcher.get("cpus_per_task") or 1)  # it does not take that of sbatch
    return queue


@contextmanager
def attend_jobs(queue: Slurm | Local | None, folder: Path) -> Iterator[None]:
    """Attend meanwhile to the jobs of a sweep into ``folder``; in the end they are all gone, and what they loaded."""
    if queue is None:
        yield
        return
    home = folder.absolute() / FOLDER
    shutil.rmtree(home, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    make_private(home)
    _ask_nobody()
    ended = threading.Event()
    thread = threading.Thread(target=_attend, args=(queue, folder, home, ended), name="jobs", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        if left := queue.alive(_away(home)):
            queue.end(left, running=True)
        shutil.rmtree(home, ignore_errors=True)


def _ask_nobody() -> None:
    # The launcher's jobs would ask Slurm's accounting, which many clusters do without: a result is all they need.
    from submitit.slurm.slurm import SlurmJob

    SlurmJob.watcher.update = lambda: None


def _attend(queue: Slurm | Local, folder: Path, home: Path, ended: threading.Event) -> None:
    suspects: set[str] = set()
    while not ended.wait(1 if interruption.stop_requested() else queue.pause):
        away = _away(home)
        if interruption.stop_requested() and away:
            queue.end(away, running=False)
        gone = away - queue.alive(away) if away else set()
        for job in gone & suspects:  # a result may be late on a shared file system
            if job in _away(home):
                _bury(queue, folder, home, job)
        suspects = gone


def _away(home: Path) -> set[str]:
    """The jobs without a result."""
    jobs = {path.name for path in home.iterdir() if re.fullmatch(r"\d+(_\d+)?", path.name)} if home.is_dir() else ()
    return {
        job
        for job in jobs
        if (home / job / f"{job}_submitted.pkl").exists() and not (home / job / f"{job}_0_result.pkl").exists()
    }


def _bury(queue: Slurm | Local, folder: Path, home: Path, job: str) -> None:
    """Give a job that died the result of one that failed, and say so in its record."""
    from submitit.core.utils import DelayedSubmission, cloudpickle_dump

    # Written by this process, into a folder that is its user's alone.
    overrides, _, number, *_ = DelayedSubmission.load(home / job / f"{job}_submitted.pkl").args
    if not interruption.stop_requested():
        words = log_tail(home / job, job).rpartition("\n")[2][:200]
        error = f"its job {job} ended early ({queue.reason(job)}){f': {words}' if words else ''}"
        path, record = _record(folder, number)
        command = {"command": [text.removeprefix("++") for text in overrides], "images": []}
        write_json(path, {"program": "xrdpipe", "job": number, **command, **record, "status": "failed", "error": error})
    result = failed_job(overrides)
    beside = home / job / "result"
    cloudpickle_dump(("success", result), beside)
    os.replace(beside, home / job / f"{job}_0_result.pkl")


def _record(folder: Path, number: int) -> tuple[Path, dict[str, Any]]:
    """Where the record of a job is, and what it says; a new one where it never came so far."""
    for path in folder.rglob("run.json"):
        with suppress(OSError, ValueError):
            record = json.loads(path.read_text(encoding="utf-8"))
            if record.get("job") == number and record.get("status") == "running":
                return path, record
    return folder / str(number) / "run.json", {}
