"""Supervise the jobs of a sweep that Hydra's submitit launcher runs in Slurm or in local processes.

The launcher waits for the result of every job, but Slurm may not report that a job died. This module writes a result
for such a job, so that every sweep ends with its verdict.
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

SBATCH = ("partition", "account", "qos", "constraint", "exclude")  # keys of the launcher that are options of sbatch


def queue_for(launcher: Mapping[str, Any], count: int) -> Slurm | Local | None:
    """Return the queue of a launcher.

    Parameters
    ----------
    launcher
        Configuration of Hydra's launcher.
    count
        Number of jobs.

    Returns
    -------
    Slurm, Local or None
        The queue in which the jobs run; None if the launcher is not one of submitit.

    Raises
    ------
    ConfigError
        The jobs cannot run there.
    """
    if "hydra_submitit_launcher" not in launcher["_target_"]:
        return None
    needs_submitit("hydra.launcher")
    if not launcher["_target_"].endswith("SlurmLauncher"):
        return Local()
    options = {name: launcher.get(name) for name in SBATCH} | dict(launcher.get("additional_parameters") or {})
    memory = {} if launcher.get("mem_gb") is None else {"mem": f"{launcher['mem_gb']}G"}
    queue = Slurm({**options, **memory, "time": launcher["timeout_min"]}, int(launcher.get("cpus_per_task") or 1))
    queue.check(count, "hydra/launcher=slurm")
    os.environ["SRUN_CPUS_PER_TASK"] = str(launcher.get("cpus_per_task") or 1)  # srun does not inherit it from sbatch
    return queue


@contextmanager
def supervise_jobs(queue: Slurm | Local | None, folder: Path) -> Iterator[None]:
    """Supervise the jobs of a sweep in this context; at its end, all jobs have ended and their files are removed.

    Parameters
    ----------
    queue
        Queue of the jobs; None supervises nothing.
    folder
        Folder of the sweep.
    """
    if queue is None:
        yield
        return
    home = folder.absolute() / FOLDER
    shutil.rmtree(home, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    make_private(home)
    _disable_accounting()
    ended = threading.Event()
    thread = threading.Thread(target=_supervise, args=(queue, folder, home, ended), name="jobs", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        if remaining := queue.alive(_unfinished_jobs(home)):
            queue.end(remaining, running=True)
        shutil.rmtree(home, ignore_errors=True)


def _disable_accounting() -> None:
    # submitit would query the accounting of Slurm, which many clusters lack; the files of results are enough.
    from submitit.slurm.slurm import SlurmJob

    SlurmJob.watcher.update = lambda: None


def _supervise(queue: Slurm | Local, folder: Path, home: Path, ended: threading.Event) -> None:
    suspects: set[str] = set()
    while not ended.wait(1 if interruption.stop_requested() else queue.pause):
        unfinished = _unfinished_jobs(home)
        if interruption.stop_requested() and unfinished:
            queue.end(unfinished, running=False)
        gone = unfinished - queue.alive(unfinished) if unfinished else set()
        for job in gone & suspects:  # a result may be late on a shared file system
            if job in _unfinished_jobs(home):
                _fail_job(queue, folder, home, job)
        suspects = gone


def _unfinished_jobs(home: Path) -> set[str]:
    """Return the jobs without a result."""
    jobs = {path.name for path in home.iterdir() if re.fullmatch(r"\d+(_\d+)?", path.name)} if home.is_dir() else ()
    return {
        job
        for job in jobs
        if (home / job / f"{job}_submitted.pkl").exists() and not (home / job / f"{job}_0_result.pkl").exists()
    }


def _fail_job(queue: Slurm | Local, folder: Path, home: Path, job: str) -> None:
    """Write the result of a failed job for one that died, and the reason into its record."""
    from submitit.core.utils import DelayedSubmission, cloudpickle_dump

    # Safe to unpickle: this process wrote the file, into a folder that only its user can access.
    overrides, _, number, *_ = DelayedSubmission.load(home / job / f"{job}_submitted.pkl").args
    if not interruption.stop_requested():
        last_line = log_tail(home / job, job).rpartition("\n")[2][:200]
        error = f"its job {job} ended early ({queue.reason(job)}){f': {last_line}' if last_line else ''}"
        path, record = _record(folder, number)
        command = {"command": [text.removeprefix("++") for text in overrides], "images": []}
        write_json(path, {"program": "xrdpipe", "job": number, **command, **record, "status": "failed", "error": error})
    result = failed_job(overrides)
    part = home / job / "result"
    cloudpickle_dump(("success", result), part)
    os.replace(part, home / job / f"{job}_0_result.pkl")


def _record(folder: Path, number: int) -> tuple[Path, dict[str, Any]]:
    """Return the path and the content of the record of a running job; an empty record if it has none."""
    for path in folder.rglob("run.json"):
        with suppress(OSError, ValueError):
            record = json.loads(path.read_text(encoding="utf-8"))
            if record.get("job") == number and record.get("status") == "running":
                return path, record
    return folder / str(number) / "run.json", {}
