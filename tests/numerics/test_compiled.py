"""What the compiled loops promise, against definitions written out in plain numpy, and against pyFAI."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from xrdpipe.numerics import integration, kernels, reduction, ring_statistics
from xrdpipe.numerics import outliers as outlier_loops

CALL = """
import json, sys
import numpy as np
from numerics import kernels
mask = np.zeros(2, np.uint8)
kernels.threshold(np.array([1, np.nan], np.float32), mask, 0.0, 9.0)
found = sum(kernels.threshold.stats.cache_hits.values())
print(json.dumps([mask.tolist(), type(kernels.threshold._cache).__name__, found]))
"""


def test_every_loop_lets_other_threads_run() -> None:
    modules = (kernels, ring_statistics, integration, reduction, outlier_loops)
    loops = [loop for module in modules for loop in vars(module).values() if hasattr(loop, "targetoptions")]
    assert integration.integrate in loops
    assert all(loop.targetoptions["nogil"] for loop in loops)


def copy_kernels(folder: Path) -> None:
    """The loops as a package of their own, which has not been compiled yet."""
    (folder / "numerics").mkdir()
    for path in Path(kernels.__file__).parent.glob("*.py"):
        (folder / "numerics" / path.name).write_bytes(path.read_bytes())


def in_a_new_process(folder: Path, **environment: str) -> Any:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA_")}
    done = subprocess.run(
        [sys.executable, "-B", "-c", CALL],
        cwd=folder,
        env=kept | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_without_any_writable_folder_they_compile_all_the_same(tmp_path: Path) -> None:
    """Files where folders are wanted keep even root from writing."""
    copy_kernels(tmp_path)
    (tmp_path / "numerics" / "__pycache__").write_text("in the way")
    nowhere = dict.fromkeys(("NUMBA_CACHE_DIR", "HOME", "XDG_CACHE_HOME"), "/dev/null/nowhere")
    assert in_a_new_process(tmp_path, **nowhere) == [[0, 64], "NullCache", 0]


@pytest.mark.slow
def test_a_second_process_finds_the_machine_code_on_disk(tmp_path: Path) -> None:
    copy_kernels(tmp_path)
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    assert [in_a_new_process(tmp_path, **cache)[2] for _ in range(2)] == [0, 1]
