"""`parallel=dask`: real schedulers and workers on loopback, and what is refused before one is asked."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import tifffile
from command import FAST, call, results, start, xrdpipe

from xrdpipe.config import settings
from xrdpipe.stage import ConfigError

pytest.importorskip("distributed")

WORDS = ("poni=data/tiny.poni", "images=data/f_*.tiff", *FAST, "output.mask=true")


class Crew:
    """A scheduler and workers, processes of their own; workers have no guardian that would start them anew."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.folder, self.file = folder, folder / "scheduler.json"
        self.scheduler = self._start("distributed.cli.dask_scheduler", "--port=0", "--host=127.0.0.1", "--no-dashboard")
        self.workers = [self._worker(number) for number in range(workers)]
        for _ in range(300):
            if self.file.exists():
                break
            time.sleep(0.1)
        self.address = json.loads(self.file.read_text(encoding="utf-8"))["address"]

    def _worker(self, number: int) -> subprocess.Popen[bytes]:
        words = ("--no-nanny", "--nthreads=1", f"--name=w{number}", "--no-dashboard", "--host=127.0.0.1")
        return self._start("distributed.cli.dask_worker", *words)

    def _start(self, module: str, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", module, f"--scheduler-file={self.file}", *words],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def end(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@pytest.fixture
def here(tmp_path: Path, frames: list[Path], poni: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data/: 30 frames."""
    image = tifffile.imread(frames[0])
    for number in range(30):
        tifffile.imwrite(tmp_path / "data" / f"f_{number}.tiff", image + number)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    """Two workers, standing in another folder than the run."""
    crew = Crew(tmp_path_factory.mktemp("dask"), 2)
    try:
        yield crew
    finally:
        crew.end()


def test_a_worker_killed_in_the_middle_costs_nothing(here: Path, crew: Crew) -> None:
    assert call(*WORDS, "parallel=serial", "output_dir=serial").status == 0
    run = start(*WORDS, "parallel=dask", f"parallel.address={crew.address}", "output_dir=out", cwd=here)
    journal = here / "out" / "run.jsonl"
    for _ in range(600):
        if journal.exists() and journal.read_text(encoding="utf-8").count("\n") >= 10:
            break
        time.sleep(0.02)
    crew.workers[0].send_signal(signal.SIGKILL)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    assert results(here / "out") == results(here / "serial")
    assert len(results(here / "out", "*.chi")) == 30
    assert not list((here / "out").rglob("*.part"))
    record = json.loads((here / "out" / "run.json").read_text(encoding="utf-8"))
    assert [image["file"] for image in record["images"]][0] == "data/f_0.tiff"  # as it was given here


def test_a_local_cluster_gives_the_same_bytes_and_listens_on_loopback_alone(here: Path) -> None:
    psutil = pytest.importorskip("psutil")
    assert call(*WORDS, "parallel=serial", "output_dir=serial").status == 0
    run = start(*WORDS, "parallel=dask", "parallel.n_jobs=2", "output_dir=out", cwd=here)
    seen = set()
    while run.poll() is None:
        try:
            family = [psutil.Process(run.pid), *psutil.Process(run.pid).children(recursive=True)]
            found = [each for process in family for each in process.net_connections("inet")]
        except psutil.Error:
            continue
        seen |= {each.laddr.ip for each in found if each.status == psutil.CONN_LISTEN}
        time.sleep(0.1)
    assert run.returncode == 0, run.communicate()[1]
    assert seen == {"127.0.0.1"}
    assert results(here / "out") == results(here / "serial")


def test_a_stopped_run_ends_with_whole_results_and_goes_on(here: Path, crew: Crew) -> None:
    words = (*WORDS, "parallel=dask", f"parallel.address={crew.address}", "output_dir=out")
    run = start(*words, cwd=here)
    while not (here / "out" / "run.jsonl").exists():
        time.sleep(0.02)
    run.send_signal(signal.SIGTERM)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    record = json.loads((here / "out" / "run.json").read_text(encoding="utf-8"))
    done = {image["name"] for image in record["images"] if image["status"] == "done"}
    assert {path.stem for path in (here / "out").glob("*.chi")} == done
    assert xrdpipe(*words, "resume=true", cwd=here).status == 0
    assert call(*WORDS, "parallel=serial", "output_dir=serial").status == 0
    assert results(here / "out") == results(here / "serial")
