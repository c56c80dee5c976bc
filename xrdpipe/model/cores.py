"""How many cores this process may use."""

from __future__ import annotations

import os
import re


def available_cores() -> int:
    """How many cores this process may use; in a job of Slurm, those that it has there."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = os.environ.get("SLURM_CPUS_ON_NODE", "")
    return min(here, int(given)) if re.fullmatch(r"[1-9]\d{0,5}", given, re.ASCII) else here
