"""Description of the machine and measurement of its memory bandwidth."""

import os
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any


def describe() -> dict[str, Any]:
    """Return CPU model, number of cores, memory (GB), operating system and load, without the host name."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    load = round(os.getloadavg()[0], 1)
    return {"CPU": model, "cores": cores(), "GB": round(memory / 1e9), "system": platform.system(), "load before": load}


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def bandwidth(megabytes: int = 64, repeats: int = 20) -> float:
    """Measure the STREAM "add" (a = b + c, float32) with numpy and one thread per core.

    Return bytes per second, the best of `repeats`.
    """
    import numpy as np

    size = megabytes * 1_000_000 // 4
    arrays = [tuple(np.ones(size, np.float32) for _ in range(3)) for _ in range(cores())]
    best = float("inf")
    with ThreadPoolExecutor(cores()) as pool:
        for _ in range(repeats):
            start = time.perf_counter()
            list(pool.map(lambda abc: np.add(abc[1], abc[2], out=abc[0]), arrays))
            best = min(best, time.perf_counter() - start)
    return 3 * 4 * size * cores() / best
