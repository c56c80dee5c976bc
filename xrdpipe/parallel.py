"""How many frames are processed at once, and by what: the configuration group ``parallel``, and its checks."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from .stage import ConfigError, choice, require

BACKENDS = ("auto", "threading", "loky", "dask")
COMMON = ("cores", "memory", "processes", "queue", "account", "walltime", "job_name", "interface", "local_directory")
CLUSTERS = {  # of dask-jobqueue: which of its options a configuration may set
    "slurm": (*COMMON, "log_directory", "job_cpu", "job_mem"),
    "pbs": (*COMMON, "log_directory", "resource_spec"),
    "lsf": (*(name for name in COMMON if name != "account"), "log_directory", "project", "ncpus", "mem"),
}


@dataclass(frozen=True)
class Parallel:
    """How many frames are processed at once (``n_jobs``, -1: all cores) and by what (``backend``).

    With ``backend`` dask: ``address`` of a scheduler that runs, or ``cluster``, a batch system (`CLUSTERS`) that is
    asked for ``n_jobs`` jobs with these ``options``; neither: ``n_jobs`` processes of this computer.
    """

    n_jobs: int = -1
    backend: str = "auto"
    address: str | None = None
    cluster: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(
            self.n_jobs == -1 or self.n_jobs >= 1, "n_jobs", self.n_jobs, "-1 (all cores) or a number >= 1 expected"
        )
        choice("backend", self.backend, BACKENDS)
        for name in ("address", "cluster", "options"):
            given = getattr(self, name)
            require(not given or self.backend == "dask", name, given, "is for Dask; say parallel=dask as well")
        if self.address is not None:
            good = re.fullmatch(r"(tcp|tls)://\S+:\d+", self.address)
            require(bool(good), "address", self.address, "expected as Dask says it, tcp://127.0.0.1:8786 or tls://...")
            require(self.cluster is None, "cluster", self.cluster, "together with an address; choose one")
        if self.cluster is None:
            require(not self.options, "options", self.options, "are of a batch system; say parallel.cluster=slurm")
            return
        choice("cluster", self.cluster, CLUSTERS)
        require(self.n_jobs != -1, "n_jobs", self.n_jobs, f"say how many jobs {self.cluster} is asked for")
        for name, value in self.options.items():
            if name not in CLUSTERS[self.cluster]:
                choice("options", name, CLUSTERS[self.cluster])
            # It becomes a part of a shell script: one word, in which a shell sees nothing to do.
            if not re.fullmatch(r"[\w./+@%=:,][\w./+@%=:,-]*", str(value), re.ASCII):
                raise ConfigError(f"options.{name}={value}: one word of letters, digits and ./+@%=:,_- expected")
