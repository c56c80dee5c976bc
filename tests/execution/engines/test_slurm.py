"""`parallel=slurm` and the launchers of sweeps: with processes of this computer, and with a stand-in for Slurm."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from command import FAST, call, results, start, xrdpipe

import xrdpipe as package
from xrdpipe.config.loader import Loader, force_overrides
from xrdpipe.model.cores import available_cores
from xrdpipe.model.errors import ConfigError
from xrdpipe.results.journal import ARRAY

pytest.importorskip("submitit")

WORDS = ("poni=data/tiny.poni", "images=data/f_*.tiff", *FAST, "output.mask=true", "mask.edge=5")
ONE = ("parallel=slurm", "parallel.cluster=local", "parallel.chunks=1", "parallel.n_jobs=1")
LOCAL = ("parallel=slurm", "parallel.cluster=local", "parallel.chunks=2", "parallel.n_jobs=1")

# In jobs: some frames kill them, once or always; one waits until it may go on.
POISON = """
import os, signal, sys, time
if "submitit.core._submit" in sys.orig_argv:
    from pathlib import Path
    from xrdpipe.execution.engines import local
    process = local.process_frame
    def poisoned(recipe, image, *more):
        here = Path(os.environ["POISON"])
        once = here / f"once_{image.name}"
        if once.exists() or image.name in os.environ.get("KILLS", "").split() or '"npt": 66' in recipe.config:
            once.unlink(missing_ok=True)
            os.kill(os.getpid(), signal.SIGKILL)
        while (here / f"hold_{image.name}").exists():
            time.sleep(0.02)
        return process(recipe, image, *more)
    local.process_frame = poisoned
"""


@pytest.fixture
def here(tmp_path: Path, frames: list[Path], poni: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data/: 12 frames."""
    image = tifffile.imread(frames[0])
    for number in range(12):
        tifffile.imwrite(tmp_path / "data" / f"f_{number}.tiff", image + number)
    (tmp_path / "sitecustomize.py").write_text(POISON, encoding="utf-8")
    monkeypatch.setenv("POISON", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def serial(here: Path) -> dict[str, bytes]:
    assert call(*WORDS, "parallel=serial", "output_dir=serial").status == 0
    return results(here / "serial")


def wait_for(what: Callable[[], bool]) -> None:
    for _ in range(6000):
        if what():
            return
        time.sleep(0.02)
    raise AssertionError("it never came")


def noted(folder: Path) -> int:
    """Frames in the journals of tasks."""
    return sum(path.read_text(encoding="utf-8").count("\n") for path in folder.glob(f"{ARRAY}/*.jsonl"))


@pytest.mark.slow
def test_a_job_that_dies_costs_nothing_and_a_frame_that_kills_jobs_fails_alone(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "once_f_2").touch()
    monkeypatch.setenv("KILLS", "f_8")
    told = call(*WORDS, *LOCAL, "output_dir=out")
    assert told.status == 1, told
    assert "failed: data/f_8.tiff: its job" in told.err
    assert "ended early" in told.err
    expected = serial(here)
    assert results(here / "out") == {name: content for name, content in expected.items() if "f_8." not in name}
    assert not (here / "out" / ARRAY).exists()
    assert not list((here / "out").rglob("*.part"))
    monkeypatch.setenv("KILLS", "")
    assert call(*WORDS, "output_dir=out", "resume=true").status == 0
    assert results(here / "out") == expected


@pytest.mark.slow
def test_tasks_outlive_the_run_that_is_killed_and_the_next_one_takes_what_they_did(here: Path) -> None:
    (here / "hold_f_3").touch()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    run = start(*WORDS, *ONE, "output_dir=out", cwd=here, **quiet)
    wait_for(lambda: noted(here / "out") == 3)
    assert stat.S_IMODE((here / "out" / ARRAY).stat().st_mode) == 0o700
    run.kill()
    run.wait()
    told = call(*WORDS, "output_dir=out", "resume=true")
    assert told.status == 2
    assert re.search(r"output_dir=out: \d tasks? of a run that was killed still go on there; .* kill \d+", told.err)
    (here / "hold_f_3").unlink()
    wait_for(lambda: noted(here / "out") == 12)
    wait_for(lambda: (told := call(*WORDS, "output_dir=out", "resume=true")).status != 2 and "12 of 12" in told.err)
    assert results(here / "out") == serial(here)
    images = json.loads((here / "out" / "run.json").read_text(encoding="utf-8"))["images"]
    assert {image["file"] for image in images} == {f"data/f_{number}.tiff" for number in range(12)}  # as given
    assert not (here / "out" / ARRAY).exists()


@pytest.mark.slow
def test_a_stopped_run_records_what_tasks_had_in_hand(here: Path) -> None:
    (here / "hold_f_3").touch()
    run = start(*WORDS, *ONE, "output_dir=out", cwd=here)
    wait_for(lambda: noted(here / "out") == 3)
    run.send_signal(signal.SIGTERM)
    wait_for(lambda: (here / "out" / ARRAY / "stop").exists())
    (here / "hold_f_3").unlink()
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    images = json.loads((here / "out" / "run.json").read_text(encoding="utf-8"))["images"]
    done = {image["name"] for image in images if image["status"] == "done"}
    assert done == {"f_0", "f_1", "f_2", "f_3"}
    assert {path.stem for path in (here / "out").glob("*.chi")} == done
    assert not (here / "out" / ARRAY).exists()


@pytest.mark.slow
def test_the_static_mask_of_the_first_pass_reaches_the_jobs(here: Path) -> None:
    assert call(*WORDS, "mask=series", "parallel=serial", "output_dir=serial").status == 0
    told = call(*WORDS, "mask=series", *LOCAL, "output_dir=out")
    assert told.status == 0, told.err
    assert results(here / "out") == results(here / "serial")
    assert (here / "out/series_mask.npy").read_bytes() == (here / "serial/series_mask.npy").read_bytes()


@pytest.mark.slow
def test_in_python_patterns_come_back_and_a_nexus_file_is_made(here: Path) -> None:
    given = {
        "plot": "none",
        "integ": {"npt": 100},
        "mask": {"edge": 5},
        "output": {"format": "nxs"},
        "overrides": ["report=false"],
    }
    array = ("slurm", {"cluster": "local", "chunks": 1})
    run = package.integrate("data/tiny.poni", "data/f_*.tiff", parallel=array, output_dir="out", **given)
    alone = package.integrate("data/tiny.poni", "data/f_*.tiff", parallel="serial", output_dir="alone", **given)
    assert [record.status for record in run.frames] == ["done"] * 12
    for name, pattern in alone.patterns.items():
        assert np.array_equal(run.patterns[name].intensity, pattern.intensity, equal_nan=True)
        assert np.array_equal(run.masks[name], alone.masks[name])
    assert len(list((here / "out").glob("*.nxs"))) == 1


# --- a stand-in for Slurm: the words of the real one, jobs are processes of this computer

PROGRAMS = {
    "sbatch": """
case "$1" in --test-only)
    echo "$@" > asked; case "$*" in *nope*) echo "sbatch: error: invalid partition" >&2; exit 1;; esac; exit 0;;
esac
cp "$1" job.sh
for n in 0 1; do
    SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=$n SLURM_JOB_ID=7$n SLURM_CPUS_ON_NODE=1 sh job.sh > log_$n 2>&1 &
    echo $! > task_$n
done
echo "Submitted batch job 7"
""",
    "srun": """
echo "$@" > step
while [ "${1#--}" != "$1" ]; do case "$1" in --output|--error) shift;; esac; shift; done
exec "$@"
""",
    "squeue": "for n in 0 1; do if kill -0 $(cat task_$n) 2>/dev/null; then echo 7_$n; fi; done\n",
    "scancel": "exit 0\n",
}


@pytest.fixture
def slurm(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of `here`, in which Slurm seems to be."""
    for name, text in PROGRAMS.items():
        (here / name).write_text(f"#!/bin/sh\n{text}", encoding="utf-8")
        (here / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{here}{os.pathsep}{os.environ['PATH']}")
    return here


@pytest.mark.slow
def test_an_array_job_of_slurm(slurm: Path) -> None:
    options = "parallel.options={partition: short, time: '00:10:00', mem: 2GB, exclusive: true}"
    told = call(*WORDS, "parallel=slurm", "parallel.chunks=2", "parallel.n_jobs=1", options, "output_dir=out")
    assert told.status == 0, told
    assert results(slurm / "out") == serial(slurm)
    script = (slurm / "job.sh").read_text(encoding="utf-8").splitlines()
    wanted = ["array=0-1%2", "partition=short", "time=00:10:00", "mem=2GB", "exclusive", "cpus-per-task=1"]
    assert {f"#SBATCH --{each}" for each in wanted} <= set(script)
    assert "--partition=short" in (slurm / "asked").read_text(encoding="utf-8")
    assert "--cpus-per-task=1" in (slurm / "step").read_text(encoding="utf-8")


@pytest.mark.slow
def test_what_slurm_would_not_take_is_said_before_anything_is_written(slurm: Path) -> None:
    told = call(*WORDS, "parallel=slurm", "parallel.options.partition=nope", "output_dir=out")
    assert told.status == 2
    assert "parallel=slurm: sbatch: error: invalid partition" in told.err
    told = call(
        "-m", "mask.alpha=2,3", *WORDS, "hydra/launcher=slurm", "hydra.launcher.partition=nope", "output_dir=out"
    )
    assert told.status == 2
    assert "hydra/launcher=slurm: sbatch: error: invalid partition" in told.err
    assert not (slurm / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("given", "expected"), [("1", 1), ("100000", None), ("0", None), ("2(x3)", None), ("", None)])
def test_in_a_job_of_slurm_the_cores_are_those_of_the_job(
    given: str, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_CPUS_ON_NODE", raising=False)
    here = available_cores()
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", given)
    assert available_cores() == (expected or here)


# --- what is refused

S = "parallel=slurm parallel.chunks=2"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("parallel.chunks=2", r"parallel\.chunks=2: say parallel=slurm as well"),
        ("parallel=dask parallel.chunks=2", r"parallel\.chunks=2: say parallel=slurm as well"),
        ("parallel=slurm parallel.chunks=0", r"parallel\.chunks=0: a number >= 1"),
        ("parallel=slurm parallel.chunks=null", r"parallel\.chunks=None: say how many tasks"),
        (f"{S} parallel.address=tcp://127.0.0.1:1", r"parallel\.address=.*say parallel=dask"),
        (f"{S} parallel.cluster=pbs", r"parallel\.cluster=pbs: unknown; .*'?slurm'?, local"),
        (f"{S} parallel.cluster=local parallel.options.mem=1G", r"parallel\.options=.*leave out cluster=local"),
        (f"{S} parallel.options.partiton=a", r"options=partiton: unknown; did you mean 'partition'"),
        (f"{S} parallel.options.setup=[ls]", r"options=setup: unknown"),
        (f"{S} parallel.options.wrap=ls", r"options=wrap: unknown"),
        (f"{S} parallel.options.output=x", r"options=output: unknown"),
        (f"{S} parallel.options.python=x", r"options=python: unknown"),
        (f"{S} 'parallel.options.partition=\"a;ls\"'", "one word"),
        (f"{S} 'parallel.options.account=\"a\\nls\"'", "one word"),
        (f"{S} 'parallel.options.account=\"$(ls)\"'", "one word"),
        (f"{S} parallel.options.qos=--wrap=ls", "one word"),
        (f"{S} 'parallel.options.mem=[1,2]'", "one word"),
    ],
)
def test_what_no_array_can_be_made_of_is_refused(here: Path, words: str, message: str) -> None:
    told = call(*WORDS, *shlex.split(words), "output_dir=out")
    assert told.status == 2
    assert re.search(message, told.err), told.err
    assert not (here / "out").exists()


@pytest.mark.slow
def test_where_it_cannot_work_it_says_so(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = call("poni=data/tiny.poni", *FAST, "source=watch", "source.folder=data", *LOCAL, "output_dir=out")
    assert (told.status, "source=watch: not with parallel=slurm" in told.err) == (2, True)
    array = ("slurm", {"cluster": "local"})
    with pytest.raises(ConfigError, match=r"parallel=slurm: its tasks leave results in a folder"):
        package.integrate("data/tiny.poni", "data/f_1.tiff", plot="none", parallel=array, output_dir=None)
    (here / "shared").mkdir()
    (here / "shared").chmod(0o777)
    told = call(*WORDS, *LOCAL, "output_dir=shared/out")
    assert (told.status, "everybody may write into" in told.err) == (2, True)
    assert not list((here / "shared").iterdir())
    monkeypatch.setenv("PATH", str(here))
    told = call(*WORDS, "parallel=slurm", "output_dir=out")
    assert (told.status, "parallel=slurm: there is no sbatch here" in told.err) == (2, True)
    monkeypatch.setitem(sys.modules, "submitit", None)
    for words in (LOCAL, ("-m", "mask.alpha=2,3", "hydra/launcher=slurm")):
        told = call(*WORDS, *words, "output_dir=out")
        assert (told.status, "pip install 'xrdpipe[slurm]'" in told.err) == (2, True)
    assert not (here / "out").exists()


# --- sweeps


@pytest.mark.slow
def test_a_sweep_ends_in_its_verdict_also_where_a_job_was_killed(here: Path) -> None:
    words = (
        "-m",
        "integ.npt=50,66",
        "sweep.rank=pattern_error",
        "poni=data/tiny.poni",
        "images=data/f_*.tiff",
        "plot=none",
        "report=false",
    )
    told = xrdpipe(*words, "hydra/launcher=submitit_local", "output_dir=out", cwd=here)
    assert told.status == 1, told
    assert "ConfigStore" not in told.err
    with (here / "out" / "sweep.csv").open(newline="") as file:
        rows = {row["job"]: row for row in csv.DictReader(file)}
    assert (rows["0"]["rank"], rows["0"]["status"], rows["0"]["done"]) == ("1", "done", "12")
    assert (rows["1"]["rank"], rows["1"]["status"]) == ("", "failed")
    assert "ended early" in rows["1"]["error"]
    assert call(*words[2:], "integ.npt=50", "output_dir=alone").status == 0
    assert results(here / "out" / "0") == results(here / "alone")
    assert not (here / "out" / ".submitit").exists()
    told = call(*words, "resume=true", "hydra/launcher=basic", "output_dir=out")
    assert told.status == 0, told


@pytest.mark.slow
@pytest.mark.parametrize(
    "override",
    [
        "+hydra.launcher.setup=[ls]",
        "hydra.launcher.submitit_folder=/tmp/%j",
        "hydra.launcher.name='a b'",
        "hydra.launcher.partition='a\nls'",
        "hydra.launcher.account='--wrap=ls'",
        "hydra.launcher.qos=${oc.env:HOME}",
        "hydra.launcher.additional_parameters={wrap: ls}",
        "hydra.launcher.additional_parameters={reservation: 'a;b'}",
        "+hydra.launcher.comment='x\ny'",
    ],
)
def test_a_launcher_puts_no_code_into_its_script(override: str) -> None:
    with pytest.raises(ConfigError, match=r"^hydra\.launcher"):
        Loader().compose(force_overrides(["hydra/launcher=slurm", override]))
    Loader().compose(["hydra/launcher=slurm", "hydra.launcher.partition=short", "hydra.launcher.mem_gb=4"])
