"""Jobs: functions handed to Slurm, or to processes of this computer, by submitit; asked after, and ended."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...model.errors import ConfigError
from .. import interruption

ANSWER = 60  # seconds in which Slurm answers


SOON = 30  # seconds before its time is over that a job is told so


FOREVER = 60 * 24 * 365  # minutes


class Slurm:
    """Jobs of Slurm, with these ``options`` of sbatch and ``n_jobs`` cores each (-1: what Slurm gives them)."""

    name, pause = "Slurm", 10.0  # seconds between two looks at the queue, which all users of a cluster ask

    def __init__(self, options: Mapping[str, Any], n_jobs: int) -> None:
        self.options = {name.replace("_", "-"): value for name, value in options.items() if value not in (None, False)}
        self.srun_args = [] if n_jobs == -1 else [f"--cpus-per-task={n_jobs}"]
        if n_jobs != -1:
            self.options["cpus-per-task"] = n_jobs

    def check(self, count: int, where: str) -> None:
        """Let Slurm say whether it would take an array of ``count`` tasks; ConfigError with its words if not.

        ``where``: the setting that wants them.
        """
        missing = [program for program in ("sbatch", "srun", "squeue", "scancel") if shutil.which(program) is None]
        if missing:
            raise ConfigError(f"{where}: there is no {missing[0]} here; start it on a computer that has Slurm")
        flags = [f"--{name}" if value is True else f"--{name}={value}" for name, value in self.options.items()]
        asked = _run("sbatch", "--test-only", f"--array=0-{count - 1}", *flags, "--wrap=true")
        if asked.returncode:
            raise ConfigError(f"{where}: {_said(asked)}")

    def submit(self, folder: Path, calls: Sequence[Callable[[], object]]) -> list[str]:
        """The names of new jobs, tasks of one array that load ``calls`` from ``folder``; OSError if Slurm refuses."""
        import submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        try:
            with submitit.helpers.clean_env():  # this process may be in a job itself
                executor = submitit.SlurmExecutor(folder, max_num_timeout=0)
                executor.update_parameters(
                    job_name="xrdpipe",
                    time=None,  # what the partition gives, not submitit's five minutes
                    wckey=None,
                    signal_delay_s=SOON,
                    array_parallelism=len(calls),
                    srun_args=self.srun_args,
                    additional_parameters=self.options,
                )
                return [job.job_id for job in executor.submit_array(calls)]
        except (FailedJobError, FailedSubmissionError, RuntimeError) as error:
            raise OSError(f"sbatch: {' '.join(str(error).split())}") from error

    def alive(self, jobs: Iterable[str]) -> set[str]:
        """Which of them wait or run; all, where Slurm does not answer."""
        jobs = set(jobs)
        arrays = {job.partition("_")[0] for job in jobs}
        asked = _run("squeue", "--noheader", "--array", "--format=%i", f"--jobs={','.join(sorted(arrays))}")
        if asked.returncode:
            return set() if "Invalid job id" in asked.stderr else jobs  # it forgets them after a while
        return jobs & set(asked.stdout.split())

    def end(self, jobs: Iterable[str], running: bool) -> None:
        """Cancel those that wait, and also those that are ``running``."""
        _run("scancel", *([] if running else ["--state=PENDING"]), *jobs)

    def reason(self, job: str) -> str:
        """What became of a job, in the words of Slurm."""
        asked = _run("sacct", "--noheader", "--allocations", "--parsable2", "--format=State,ExitCode", f"--jobs={job}")
        if not asked.returncode and (line := asked.stdout.partition("\n")[0].strip()):
            state, _, code = line.partition("|")
            return f"{state}, exit code {code}"
        asked = _run("scontrol", "--oneliner", "show", "job", job)  # where there is no accounting, for some minutes
        values = dict(word.partition("=")[::2] for word in asked.stdout.split())
        if "JobState" in values:
            return f"{values['JobState']}, exit code {values.get('ExitCode')}"
        return "gone, and Slurm does not say why"


class Local:
    """The same with processes of this computer, which outlive the one that starts them."""

    name, pause = "this computer", 0.2

    def __init__(self) -> None:
        self.jobs: dict[str, Any] = {}

    def check(self, count: int, where: str) -> None:
        """They can always be started."""

    def submit(self, folder: Path, calls: Sequence[Callable[[], object]]) -> list[str]:
        """As `Slurm.submit`."""
        import submitit

        executor = submitit.LocalExecutor(folder, max_num_timeout=0)
        executor.update_parameters(timeout_min=FOREVER)
        with interruption.ignore_signals():  # a Ctrl-C reaches them too, but it is this process that ends them
            jobs = executor.submit_array(calls)
        self.jobs |= {job.job_id: job for job in jobs}
        return [job.job_id for job in jobs]

    def alive(self, jobs: Iterable[str]) -> set[str]:
        """As `Slurm.alive`, also of those that another process has started."""
        jobs = set(jobs)
        ours = {job for job in jobs if job in self.jobs}
        return {job for job in ours if not self.jobs[job].done()} | {job for job in jobs - ours if _is_ours(job)}

    def end(self, jobs: Iterable[str], running: bool) -> None:
        """As `Slurm.end`: none waits."""
        for job in self.alive(jobs) if running else ():
            with suppress(ProcessLookupError):
                os.kill(int(job), signal.SIGTERM)

    def reason(self, job: str) -> str:
        """As `Slurm.reason`."""
        return f"ended, process {job}"


def log_tail(folder: Path, job: str) -> str:
    """The last lines that a job wrote to its standard error."""
    try:
        lines = (folder / f"{job}_0_log.err").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-20:])


def needs_submitit(where: str) -> None:
    """Raise ConfigError where submitit is not installed."""
    try:
        import submitit  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"{where}: {error}; pip install 'xrdpipe[slurm]'") from error


def check_private(folder: Path) -> None:
    """Raise ConfigError where everybody could put another folder in the place of this one.

    Jobs load code from it, as submitit hands functions over as pickles. Who shares the folders above it is trusted.
    """
    for path in (each for each in folder.resolve().parents if each.exists()):
        mode = path.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise ConfigError(
                f"{folder}: everybody may write into {path}, and jobs load code there; say chmod o-w {path}"
            )


def make_private(folder: Path) -> None:
    """Make a folder that nobody but its user reads or writes, see `trusted`."""
    check_private(folder)
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made ({error.strerror}); remove it") from error


def _is_ours(process: str) -> bool:
    return "submitit" in _run("ps", "-o", "args=", "-p", process).stdout


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=ANSWER, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(words, 1, "", str(error))


def _said(asked: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in asked.stderr.splitlines() if line.strip()]
    return " ".join(lines) or f"{asked.args[0]} ended with {asked.returncode}"
