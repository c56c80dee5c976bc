"""A run over many frames: what it leaves, what it refuses to touch, and that the same input gives the same bytes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from command import FAST, LIMIT, P, call, results, run_record, start, summary_rows, tree


def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, f"still waiting for {what}"
        time.sleep(0.02)


@pytest.mark.slow
def test_ctrl_c_stops_at_once_and_what_is_done_is_saved(here: Path, poni: Path) -> None:
    # Frames large enough that there are always some to come.
    count = 400
    poni.write_text(poni.read_text().replace("[120, 100]", "[600, 500]").replace("0.001", "0.0002"))
    tifffile.imwrite("data/big.tiff", np.random.default_rng(0).poisson(100, (600, 500)).astype(np.uint16))
    for number in range(count):
        os.link("data/big.tiff", f"data/f_{number}.tiff")
    out = here / "out"
    process = start(P, "images=data/f_*.tiff", "output.mask=true", "output_dir=out", cwd=here)
    until(lambda: len(list(out.glob("*.chi"))) >= 5 or process.poll() is not None, "the first frames")
    os.killpg(process.pid, signal.SIGINT)
    told_out, told_err = process.communicate(timeout=LIMIT)
    assert process.returncode == 130, (told_out, told_err)
    stopped = re.search(rf"stopped after (\d+) of {count} frames", told_err)
    assert stopped, told_err
    assert "Traceback" not in told_err
    rows = {row["name"]: row["status"] for row in summary_rows(out)}
    done = {name for name, status in rows.items() if status == "done"}
    assert 3 <= len(done) < count
    assert set(rows.values()) == {"done", "waiting"}
    assert run_record(out)["status"] == "stopped"
    assert {path.stem for path in out.glob("*.chi")} == done
    assert done <= {path.stem for path in (out / "masks").glob("*.npy")}
    assert all((out / "figures" / f"{name}_pattern.png").exists() for name in done)
    assert not [name for name in tree(out) if name.endswith(".part")]
    assert len({path.read_bytes()[-200:] for path in out.glob("*.chi")}) == 1  # all whole


@pytest.mark.slow
def test_stopped_worker_processes_leave_no_broken_files(here: Path) -> None:
    for copy in range(400):
        os.link("data/ni_1.tiff", f"data/f_{copy}.tiff")
    out = here / "out"
    keys = ["output.mask=true", "parallel.backend=loky", "parallel.n_jobs=2", "output_dir=out"]
    process = start(P, "images=data/f_*.tiff", *keys, cwd=here)
    until(lambda: len(list(out.glob("*.chi"))) >= 3 or process.poll() is not None, "the first frames")
    os.killpg(process.pid, signal.SIGTERM)
    told = process.communicate(timeout=LIMIT)
    assert process.returncode == 130, told
    assert "Traceback" not in told[1]
    done = {row["name"] for row in summary_rows(out) if row["status"] == "done"}
    assert {path.stem for path in out.glob("*.chi")} == done
    assert len({path.read_bytes()[-200:] for path in out.glob("*.chi")}) == 1
    assert not [name for name in tree(out) if name.endswith(".part")]


@pytest.mark.slow
def test_the_program_can_be_killed_while_it_writes_and_no_half_file_has_a_name(here: Path) -> None:
    for number in range(100):
        os.link("data/ni_1.tiff", f"data/f_{number}.tiff")
    out = here / "out"
    process = start(P, "images=data/f_*.tiff", "output_dir=out", cwd=here, stderr=subprocess.DEVNULL)
    until(lambda: len(list(out.glob("*.chi"))) >= 3 or process.poll() is not None, "the first frames")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=LIMIT)
    assert len({path.read_bytes()[-200:] for path in out.glob("*.chi")}) == 1


def test_a_report_of_no_run_is_refused(here: Path) -> None:
    told = call("report", "data")
    assert (told.status, told.out) == (2, "")
    assert "neither a run nor a sweep" in told.err
    assert call("report").status == 2


@pytest.mark.slow
def test_worker_processes_follow_to_another_folder(here: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(here / "data", elsewhere / "data")
    for folder in (here, elsewhere):
        os.chdir(folder)
        keys = ("parallel.backend=loky", "parallel.n_jobs=2", "quiet=true", "output_dir=out")
        assert call(P, "images=data/ni_*.tiff", *FAST, *keys).status == 0
        assert len(results(folder / "out")) == 3
