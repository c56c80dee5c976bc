"""Number of cores available to this process."""

from __future__ import annotations

import os
import re


def available_cores() -> int:
    """Return the number of cores that this process may use; in a Slurm job, those of its allocation."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allocated = os.environ.get("SLURM_CPUS_ON_NODE", "")
    return min(cores, int(allocated)) if re.fullmatch(r"[1-9]\d{0,5}", allocated, re.ASCII) else cores
