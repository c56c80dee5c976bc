"""Queues of jobs: functions that submitit runs as jobs of Slurm or as processes of this computer."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...model.errors import ConfigError
from .. import interruption

COMMAND_TIMEOUT = 60  # seconds in which a command of Slurm answers
SIGNAL_DELAY = 30  # seconds between the warning signal and the time limit of a job
NO_LIMIT = 60 * 24 * 365  # minutes


class Slurm:
    """The queue of Slurm.

    Parameters
    ----------
    options
        Options of ``sbatch``.
    n_jobs
        Cores of each job; -1 leaves the number to Slurm.
    """

    name, pause = "Slurm", 10.0  # seconds between two queries, as all users of a cluster share the scheduler

    def __init__(self, options: Mapping[str, Any], n_jobs: int) -> None:
        self.options = {name.replace("_", "-"): value for name, value in options.items() if value not in (None, False)}
        self.srun_args = [] if n_jobs == -1 else [f"--cpus-per-task={n_jobs}"]
        if n_jobs != -1:
            self.options["cpus-per-task"] = n_jobs

    def check(self, count: int, where: str) -> None:
        """Check that Slurm accepts an array job.

        Parameters
        ----------
        count
            Number of tasks.
        where
            Setting that the error message names.

        Raises
        ------
        ConfigError
            Slurm is not installed here or refuses the job.
        """
        missing = [program for program in ("sbatch", "srun", "squeue", "scancel") if shutil.which(program) is None]
        if missing:
            raise ConfigError(f"{where}: there is no {missing[0]} here; start it on a computer that has Slurm")
        flags = [f"--{name}" if value is True else f"--{name}={value}" for name, value in self.options.items()]
        result = _run("sbatch", "--test-only", f"--array=0-{count - 1}", *flags, "--wrap=true")
        if result.returncode:
            raise ConfigError(f"{where}: {_error_text(result)}")

    def submit(self, folder: Path, calls: Sequence[Callable[[], object]]) -> list[str]:
        """Submit an array job with a task for each call.

        Parameters
        ----------
        folder
            Folder through which submitit passes the calls.
        calls
            Functions without arguments.

        Returns
        -------
        list of str
            Names of the jobs, in the order of ``calls``.

        Raises
        ------
        OSError
            Slurm refuses the job.
        """
        import submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        try:
            with submitit.helpers.clean_env():  # this process may run in a job itself
                executor = submitit.SlurmExecutor(folder, max_num_timeout=0)
                executor.update_parameters(
                    job_name="xrdpipe",
                    time=None,  # the default of the partition, not the five minutes of submitit
                    wckey=None,
                    signal_delay_s=SIGNAL_DELAY,
                    array_parallelism=len(calls),
                    srun_args=self.srun_args,
                    additional_parameters=self.options,
                )
                return [job.job_id for job in executor.submit_array(calls)]
        except (FailedJobError, FailedSubmissionError, RuntimeError) as error:
            raise OSError(f"sbatch: {' '.join(str(error).split())}") from error

    def alive(self, jobs: Iterable[str]) -> set[str]:
        """Return the jobs that wait or run; all of them if Slurm does not answer."""
        jobs = set(jobs)
        arrays = {job.partition("_")[0] for job in jobs}
        result = _run("squeue", "--noheader", "--array", "--format=%i", f"--jobs={','.join(sorted(arrays))}")
        if result.returncode:
            return set() if "Invalid job id" in result.stderr else jobs  # Slurm forgets finished jobs after a while
        return jobs & set(result.stdout.split())

    def end(self, jobs: Iterable[str], running: bool) -> None:
        """Cancel jobs that wait, and with ``running`` also those that run."""
        _run("scancel", *([] if running else ["--state=PENDING"]), *jobs)

    def reason(self, job: str) -> str:
        """Return the final state of a job, as Slurm reports it."""
        result = _run("sacct", "--noheader", "--allocations", "--parsable2", "--format=State,ExitCode", f"--jobs={job}")
        if not result.returncode and (line := result.stdout.partition("\n")[0].strip()):
            state, _, code = line.partition("|")
            return f"{state}, exit code {code}"
        result = _run("scontrol", "--oneliner", "show", "job", job)  # works without accounting, for some minutes
        values = dict(word.partition("=")[::2] for word in result.stdout.split())
        if "JobState" in values:
            return f"{values['JobState']}, exit code {values.get('ExitCode')}"
        return "gone, and Slurm does not say why"


class Local:
    """A queue of processes on this computer, with the methods of `Slurm`; they outlive the process that starts them."""

    name, pause = "this computer", 0.2

    def __init__(self) -> None:
        self.jobs: dict[str, Any] = {}

    def check(self, count: int, where: str) -> None:
        """Accept any number of tasks."""

    def submit(self, folder: Path, calls: Sequence[Callable[[], object]]) -> list[str]:
        """Start a process for each call, see `Slurm.submit`."""
        import submitit

        executor = submitit.LocalExecutor(folder, max_num_timeout=0)
        executor.update_parameters(timeout_min=NO_LIMIT)
        with interruption.ignore_signals():  # Ctrl-C reaches them too, but this process ends them
            jobs = executor.submit_array(calls)
        self.jobs |= {job.job_id: job for job in jobs}
        return [job.job_id for job in jobs]

    def alive(self, jobs: Iterable[str]) -> set[str]:
        """Return the jobs that run, including those that another process started."""
        jobs = set(jobs)
        ours = {job for job in jobs if job in self.jobs}
        return {job for job in ours if not self.jobs[job].done()} | {job for job in jobs - ours if _is_submitit(job)}

    def end(self, jobs: Iterable[str], running: bool) -> None:
        """Terminate the jobs if ``running`` is set; no job waits."""
        for job in self.alive(jobs) if running else ():
            with suppress(ProcessLookupError):
                os.kill(int(job), signal.SIGTERM)

    def reason(self, job: str) -> str:
        """Return the number of the process that ended."""
        return f"ended, process {job}"


def log_tail(folder: Path, job: str) -> str:
    """Return the last lines that a job wrote to its standard error."""
    try:
        lines = (folder / f"{job}_0_log.err").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-20:])


def needs_submitit(where: str) -> None:
    """Raise ConfigError if submitit is not installed or of no use; ``where`` is the setting that needs it."""
    if sys.platform == "win32":
        raise ConfigError(f"{where}: not on Windows, where submitit cannot start jobs; parallel.backend=loky works")
    try:
        import submitit  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"{where}: {error}; pip install 'xrdpipe[slurm]'") from error


def check_private(folder: Path) -> None:
    """Raise ConfigError if any user could replace this folder by another one.

    Jobs load code from the folder, because submitit passes functions as pickles. The owners of its parents are trusted.
    """
    for path in (each for each in folder.resolve().parents if each.exists()):
        mode = path.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise ConfigError(
                f"{folder}: everybody may write into {path}, and jobs load code there; say chmod o-w {path}"
            )


def make_private(folder: Path) -> None:
    """Create a folder that only its owner can read and write; raise ConfigError if that fails, see `check_private`."""
    check_private(folder)
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made ({error.strerror}); remove it") from error


def _is_submitit(process: str) -> bool:
    return "submitit" in _run("ps", "-o", "args=", "-p", process).stdout


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=COMMAND_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(words, 1, "", str(error))


def _error_text(result: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in result.stderr.splitlines() if line.strip()]
    return " ".join(lines) or f"{result.args[0]} ended with {result.returncode}"
