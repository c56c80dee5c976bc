"""`parallel=dask`: real schedulers and workers on loopback, and what is refused before one is asked."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import tifffile
from command import FAST, call, results, start, xrdpipe

pytest.importorskip("distributed")

WORDS = ("poni=data/tiny.poni", "images=data/f_*.tiff", *FAST, "output.mask=true", "mask.edge=5")


class Crew:
    """A scheduler and workers, processes of their own; workers have no guardian that would start them anew."""

    def __init__(self, folder: Path, workers: int, *more: str) -> None:
        self.folder, self.file, self.more = folder, folder / "scheduler.json", more
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
            [sys.executable, "-m", module, f"--scheduler-file={self.file}", *words, *self.more],
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


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    """Three workers, standing in another folder than the run."""
    crew = Crew(tmp_path_factory.mktemp("dask"), 3)
    try:
        yield crew
    finally:
        crew.end()


def serial(here: Path) -> dict[str, bytes]:
    assert call(*WORDS, "parallel=serial", "output_dir=serial").status == 0
    return results(here / "serial")


def records(folder: Path) -> dict[str, dict[str, Any]]:
    images = json.loads((folder / "run.json").read_text(encoding="utf-8"))["images"]
    return {image["name"]: image for image in images}


def wait_for(folder: Path, frames: int) -> None:
    """Wait until so many frames are done."""
    journal = folder / "run.jsonl"
    for _ in range(3000):
        if journal.exists() and journal.read_text(encoding="utf-8").count("\n") >= frames:
            return
        time.sleep(0.01)
    raise AssertionError(f"no {frames} frames in {folder}")


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_costs_nothing(here: Path, crew: Crew) -> None:
    run = start(*WORDS, "parallel=dask", f"parallel.address={crew.address}", "output_dir=out", cwd=here)
    wait_for(here / "out", 10)
    crew.workers[0].send_signal(signal.SIGKILL)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    assert results(here / "out") == serial(here)
    assert len(results(here / "out", "*.chi")) == 30
    assert not list((here / "out").rglob("*.part"))
    assert records(here / "out")["f_0"]["file"] == "data/f_0.tiff"  # as it was given here


@pytest.mark.slow
def test_a_stopped_run_ends_with_whole_results_and_goes_on(here: Path, crew: Crew) -> None:
    words = (*WORDS, "parallel=dask", f"parallel.address={crew.address}", "output_dir=out")
    run = start(*words, cwd=here)
    wait_for(here / "out", 1)
    run.send_signal(signal.SIGTERM)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    done = {name for name, image in records(here / "out").items() if image["status"] == "done"}
    assert {path.stem for path in (here / "out").glob("*.chi")} == done
    assert call(*WORDS, "output_dir=out", "resume=true").status == 0
    assert results(here / "out") == serial(here)


@pytest.mark.slow
def test_the_static_mask_of_the_first_pass_reaches_workers_that_stand_elsewhere(here: Path, crew: Crew) -> None:
    words = (*WORDS, "mask=series", "mask.lower_thresh=0")
    assert call(*words, "parallel=serial", "output_dir=serial").status == 0
    assert call(*words, "parallel=dask", f"parallel.address={crew.address}", "output_dir=out").status == 0
    assert results(here / "out") == results(here / "serial")
    assert (here / "out/series_mask.npy").read_bytes() == (here / "serial/series_mask.npy").read_bytes()
    assert len(results(here / "out", "masks/*.npy")) == 30


@pytest.mark.slow
def test_with_tls_the_certificates_are_those_of_dasks_configuration(here: Path) -> None:
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("no openssl that makes certificates")
    key, certificate = here / "key.pem", here / "certificate.pem"
    new = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=xrdpipe")
    subprocess.run([openssl, *new, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    tls = (f"--tls-ca-file={certificate}", f"--tls-cert={certificate}", f"--tls-key={key}")
    crew = Crew(here, 1, "--protocol=tls", *tls)
    try:
        words = (*WORDS, "images=data/f_[1-3].tiff", "parallel=dask", f"parallel.address={crew.address}")
        assert crew.address.startswith("tls://127.0.0.1:")
        names = ("CA_FILE", "CLIENT__CERT", "CLIENT__KEY")
        env = {
            f"DASK_DISTRIBUTED__COMM__TLS__{name}": str(key if name.endswith("KEY") else certificate) for name in names
        }
        told = xrdpipe(*words, "output_dir=out", cwd=here, env=env)
        assert told.status == 0, told.err
        assert len(results(here / "out", "*.chi")) == 3
        told = call(*words, "output_dir=without")
        assert told.status == 2
        assert "no scheduler answers there" in told.err
    finally:
        crew.end()


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "parallel: {backend: dask, address: 'tcp://127.0.0.1:1'}",
        "x: {y: 'tcp://127.0.0.1:1'}\nparallel: {backend: dask, address: '${x.y}'}",
        "hydra: {overrides: {hydra: ['parallel.backend=dask', 'parallel.address=tcp://127.0.0.1:1']}}",
        "hydra: {mode: MULTIRUN, sweeper: {params: {'++parallel.address': 'tcp://127.0.0.1:1', integ.npt: '50,60'}}}",
    ],
)
def test_no_file_names_a_scheduler(here: Path, text: str) -> None:
    (here / "mine" / "experiment").mkdir(parents=True)
    (here / "mine" / "experiment" / "theirs.yaml").write_text(f"# @package _global_\n{text}\n", encoding="utf-8")
    told = call("--config-dir", "mine", "experiment=theirs", *WORDS, "output_dir=out")
    assert (told.status, "refused" in told.err) == (2, True), told
    assert re.search(r"say it on the command line|belong on the command line", told.err)
    assert not (here / "out").exists()


@pytest.mark.slow
def test_a_replay_connects_nowhere(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(*WORDS, "images=data/f_[1-2].tiff", "output_dir=out").status == 0
    record = json.loads((here / "out" / "run.json").read_text(encoding="utf-8"))
    record["config"]["parallel"] = {"backend": "dask", "address": "tcp://127.0.0.1:1"}
    (here / "out" / "run.json").write_text(json.dumps(record), encoding="utf-8")
    monkeypatch.setitem(sys.modules, "distributed", None)
    told = call("replay", "out")
    assert (told.status, "identical: 4 of 4" in told.out) == (0, True), told


POISON = """
import os
from xrdpipe.execution.engines import dask
from xrdpipe.pipeline.process import process_frame
def poisoned(recipe, image, *more):
    return os._exit(1) if image.name == "f_7" else process_frame(recipe, image, *more)
dask.process_frame = poisoned
"""


@pytest.mark.slow
def test_on_this_computer_a_frame_that_kills_its_workers_fails_alone(here: Path) -> None:
    psutil = pytest.importorskip("psutil")
    (here / "poison.py").write_text(POISON, encoding="utf-8")
    env = {
        "DASK_DISTRIBUTED__WORKER__PRELOAD": str(here / "poison.py"),
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
    }
    run = start(
        *WORDS, "images=data/f_[5-9].tiff", "parallel=dask", "parallel.n_jobs=2", "output_dir=out", cwd=here, env=env
    )
    listening = set()
    while run.poll() is None:
        with suppress(psutil.Error):
            for process in (main := psutil.Process(run.pid), *main.children(recursive=True)):
                found = process.net_connections("inet")
                listening |= {each.laddr.ip for each in found if each.status == psutil.CONN_LISTEN}
        time.sleep(0.2)
    _, err = run.communicate()
    assert run.returncode == 1, err
    assert listening == {"127.0.0.1"}
    assert "f_7.tiff: every worker that had it in hand died" in err
    made = results(here / "out")
    assert {name for name in made if name.endswith(".chi")} == {f"f_{number}.chi" for number in (5, 6, 8, 9)}
    assert made.items() <= serial(here).items()


SBATCH = """#!/bin/sh
cp "$1" job.sh
sh job.sh >/dev/null 2>&1 &
echo "Submitted batch job $!"
"""


@pytest.mark.slow
def test_jobs_of_slurm_are_workers(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dask_jobqueue")
    for name, text in {"sbatch": SBATCH, "scancel": "#!/bin/sh\nkill $1\n"}.items():
        (here / name).write_text(text, encoding="utf-8")
        (here / name).chmod(0o755)
    options = "parallel.options={cores: 1, memory: 1GB, interface: lo, walltime: '00:10:00', queue: short}"
    words = ("images=data/f_[1-5].tiff", "parallel=dask", "parallel.cluster=slurm", "parallel.n_jobs=1", options)
    path = f"{here}{os.pathsep}{os.environ['PATH']}"
    told = xrdpipe(*WORDS, *words, "output_dir=out", cwd=here, env={"PATH": path})
    assert told.status == 0, told.err
    assert results(here / "out", "*.chi").items() <= serial(here).items()
    assert len(results(here / "out", "*.chi")) == 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("parallel.address=tcp://127.0.0.1:8786", r"parallel\.address=.*say parallel=dask as well"),
        ("parallel=dask parallel.address=127.0.0.1", r"parallel\.address=127\.0\.0\.1: expected as Dask says it"),
        ("parallel=dask parallel.cluster=slrum parallel.n_jobs=2", r"parallel\.cluster=slrum: .*'slurm'"),
        ("parallel=dask parallel.cluster=slurm", r"parallel\.n_jobs=-1: say how many jobs slurm"),
        ("parallel=dask parallel.options.queue=a", r"parallel\.options=.*say parallel\.cluster=slurm"),
        ("parallel=dask parallel.cluster=pbs parallel.address=tcp://a:1 parallel.n_jobs=1", "choose one"),
        ("parallel=dask parallel.cluster=lsf parallel.n_jobs=1 parallel.options.quue=a", r"options=quue.*'queue'"),
        (
            "parallel=dask parallel.cluster=slurm parallel.n_jobs=1 parallel.options.python=x",
            r"options=python: unknown",
        ),
        (
            "parallel=dask parallel.cluster=slurm parallel.n_jobs=1 parallel.options.job_cls=x",
            r"options=job_cls: unknown",
        ),
        (
            "parallel=dask parallel.cluster=slurm parallel.n_jobs=1 parallel.options.job_script_prologue=[ls]",
            r"options=job_script_prologue: unknown",
        ),
        ("parallel=dask parallel.cluster=slurm parallel.n_jobs=1 'parallel.options.queue=\"a;ls\"'", "one word"),
        ("parallel=dask parallel.cluster=slurm parallel.n_jobs=1 'parallel.options.queue=\"$(ls)\"'", "one word"),
        ("parallel=dask parallel.cluster=slurm parallel.n_jobs=1 'parallel.options.memory=\"1 GB\"'", "one word"),
        ("parallel=dask parallel.cluster=slurm parallel.n_jobs=1 parallel.options.queue=--wrap=ls", "one word"),
    ],
)
def test_what_no_cluster_can_be_made_of_is_refused(here: Path, words: str, message: str) -> None:
    told = call(*WORDS, *shlex.split(words), "output_dir=out")
    assert told.status == 2
    assert re.search(message, told.err), told.err
    assert not (here / "out").exists()


@pytest.mark.slow
def test_a_scheduler_that_does_not_answer_is_said_before_anything_is_written(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xrdpipe.execution.engines.dask.ANSWER_TIMEOUT", 0.5)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"  # nobody listens there
        told = call(*WORDS, "parallel=dask", f"parallel.address={address}", "output_dir=out")
    assert told.status == 2
    assert f"parallel.address={address}: no scheduler answers there" in told.err
    assert not (here / "out").exists()


@pytest.mark.slow
def test_without_dask_it_says_what_to_install(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    told = call(*WORDS, "parallel=dask", "output_dir=out")
    assert told.status == 2
    assert "pip install 'xrdpipe[dask]'" in told.err
