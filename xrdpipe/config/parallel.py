"""Configuration group ``parallel``: how many frames are processed at once, and by which engine."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..model.errors import ConfigError, choice, require
from ..model.plugins import ENGINES, plugins

BACKENDS = ("auto", "threading", "loky", "cuda", "dask", "slurm")
COMMON = ("cores", "memory", "processes", "queue", "account", "walltime", "job_name", "interface", "local_directory")

CLUSTERS = {  # dask-jobqueue -> options that a configuration may set
    "slurm": (*COMMON, "log_directory", "job_cpu", "job_mem"),
    "pbs": (*COMMON, "log_directory", "resource_spec"),
    "lsf": (*(name for name in COMMON if name != "account"), "log_directory", "project", "ncpus", "mem"),
}

ARRAYS = ("slurm", "local")  # queues of an array job

SBATCH = (  # options of Slurm's sbatch that a configuration may set
    *("partition", "account", "qos", "time", "mem", "mem_per_cpu", "constraint", "reservation"),
    *("nodelist", "exclude", "exclusive"),
)

OWNERS = {"address": "dask", "cluster": "dask slurm", "options": "dask slurm", "chunks": "slurm"}


@dataclass(frozen=True)
class Parallel:
    """Number of frames that are processed at once, and the engine.

    Attributes
    ----------
    n_jobs
        Number of workers, -1 for all cores. With `slurm`, cores per task.
    backend
        Name of the engine.
    address
        Dask: address of a running scheduler.
    cluster
        Dask: batch system (`CLUSTERS`) that starts ``n_jobs`` jobs; None for ``n_jobs`` local processes.
        Slurm: ``local`` for local processes in place of the tasks.
    options
        Options of the batch system, see `CLUSTERS` and `SBATCH`.
    chunks
        Slurm: number of tasks of the array job.
    """

    n_jobs: int = -1
    backend: str = "auto"
    address: str | None = None
    cluster: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    chunks: int | None = None

    def __post_init__(self) -> None:
        require(
            self.n_jobs == -1 or self.n_jobs >= 1, "n_jobs", self.n_jobs, "-1 (all cores) or a number >= 1 expected"
        )
        if self.backend not in BACKENDS:
            choice("backend", self.backend, [*BACKENDS, *plugins(ENGINES)])
        for name, owners in OWNERS.items():
            value = getattr(self, name)
            groups = " or ".join(f"parallel={owner}" for owner in owners.split())
            fits = value in (None, {}) or self.backend in owners.split() or self.backend not in BACKENDS
            require(fits, name, value, f"say {groups} as well")
        if self.backend == "slurm":
            self._check_array()
        elif self.backend == "dask":
            self._check_dask()

    @property
    def remote(self) -> bool:
        """True if other computers process the frames."""
        if self.backend == "slurm":
            return self.cluster != "local"
        return self.address is not None or self.cluster is not None

    def _check_array(self) -> None:
        require(self.chunks is not None, "chunks", self.chunks, "say how many tasks the array has")
        require((self.chunks or 0) >= 1, "chunks", self.chunks, "a number >= 1 expected")
        choice("cluster", self.cluster or "slurm", ARRAYS)
        require(self.remote or not self.options, "options", self.options, "are of Slurm; leave out cluster=local")
        check_shell_words("options", self.options, SBATCH)

    def _check_dask(self) -> None:
        if self.address is not None:
            good = re.fullmatch(r"(tcp|tls)://\S+:\d+", self.address)
            require(bool(good), "address", self.address, "expected as Dask says it, tcp://127.0.0.1:8786 or tls://...")
            require(self.cluster is None, "cluster", self.cluster, "together with an address; choose one")
        if self.cluster is None:
            require(not self.options, "options", self.options, "are of a batch system; say parallel.cluster=slurm")
            return
        choice("cluster", self.cluster, CLUSTERS)
        require(self.n_jobs != -1, "n_jobs", self.n_jobs, f"say how many jobs {self.cluster} is asked for")
        check_shell_words("options", self.options, CLUSTERS[self.cluster])


def check_shell_words(where: str, options: Mapping[str, Any], allowed: Container[str]) -> None:
    """Raise ConfigError unless all options are allowed, and each value is one plain word.

    The values become part of a shell script, so characters that a shell interprets are refused.

    Parameters
    ----------
    where
        Configuration key, for error messages.
    options
        Option -> value.
    allowed
        Names of allowed options.
    """
    for name, value in options.items():
        choice(where, name, allowed)
        if not re.fullmatch(r"[\w./+@%=:,][\w./+@%=:,-]*", str(value), re.ASCII):
            raise ConfigError(f"{where}.{name}={value}: one word of letters, digits and ./+@%=:,_- expected")
