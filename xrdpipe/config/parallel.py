"""How many frames are processed at once, and by what: the configuration group ``parallel``, and its checks."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..model.errors import ConfigError, choice, require
from ..model.plugins import ENGINES, plugins

BACKENDS = ("auto", "threading", "loky", "dask", "slurm")


COMMON = ("cores", "memory", "processes", "queue", "account", "walltime", "job_name", "interface", "local_directory")


CLUSTERS = {  # of dask-jobqueue: which of its options a configuration may set
    "slurm": (*COMMON, "log_directory", "job_cpu", "job_mem"),
    "pbs": (*COMMON, "log_directory", "resource_spec"),
    "lsf": (*(name for name in COMMON if name != "account"), "log_directory", "project", "ncpus", "mem"),
}


ARRAYS = ("slurm", "local")  # where the chunks of a run are done


SBATCH = (  # of Slurm's sbatch: which of its options a configuration may set
    *("partition", "account", "qos", "time", "mem", "mem_per_cpu", "constraint", "reservation"),
    *("nodelist", "exclude", "exclusive"),
)


OWNERS = {"address": "dask", "cluster": "dask slurm", "options": "dask slurm", "chunks": "slurm"}


@dataclass(frozen=True)
class Parallel:
    """How many frames are processed at once (``n_jobs``, -1: all cores) and by what (``backend``).

    With ``backend`` dask: ``address`` of a scheduler that runs, or ``cluster``, a batch system (`CLUSTERS`) that is
    asked for ``n_jobs`` jobs with these ``options``; neither: ``n_jobs`` processes of this computer.

    With ``backend`` slurm: ``chunks`` tasks of an array job, each with ``n_jobs`` cores and these ``options``
    (`SBATCH`); ``cluster`` local: processes of this computer in place of the tasks.
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
            given = getattr(self, name)
            groups = " or ".join(f"parallel={owner}" for owner in owners.split())
            fits = given in (None, {}) or self.backend in owners.split() or self.backend not in BACKENDS
            require(fits, name, given, f"say {groups} as well")
        if self.backend == "slurm":
            self._check_array()
        elif self.backend == "dask":
            self._check_dask()

    @property
    def elsewhere(self) -> bool:
        """Whether frames are processed by other computers."""
        if self.backend == "slurm":
            return self.cluster != "local"
        return self.address is not None or self.cluster is not None

    def _check_array(self) -> None:
        require(self.chunks is not None, "chunks", self.chunks, "say how many tasks the array has")
        require((self.chunks or 0) >= 1, "chunks", self.chunks, "a number >= 1 expected")
        choice("cluster", self.cluster or "slurm", ARRAYS)
        require(self.elsewhere or not self.options, "options", self.options, "are of Slurm; leave out cluster=local")
        one_word("options", self.options, SBATCH)

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
        one_word("options", self.options, CLUSTERS[self.cluster])


def one_word(where: str, options: Mapping[str, Any], allowed: Container[str]) -> None:
    """Raise ConfigError unless all are ``allowed`` options of a batch system, each one word.

    They become a part of a shell script: words in which a shell sees nothing to do.
    """
    for name, value in options.items():
        choice(where, name, allowed)
        if not re.fullmatch(r"[\w./+@%=:,][\w./+@%=:,-]*", str(value), re.ASCII):
            raise ConfigError(f"{where}.{name}={value}: one word of letters, digits and ./+@%=:,_- expected")
