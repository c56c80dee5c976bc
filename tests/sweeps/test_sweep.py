"""A sweep: a job a configuration, each complete in its own folder, and a table above them."""

from __future__ import annotations

import csv
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command import FAST, LIMIT, call, results, start, tree, xrdpipe

P = "poni=data/tiny.poni"
BASIC = "hydra/launcher=basic"


@pytest.fixture
def here(data: Path, poni: Path, frames: list[Path], air: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(data.parent)
    return data.parent


def table(folder: Path) -> list[dict[str, str]]:
    """The rows of sweep.csv by job; their order there is for test_verdict.py."""
    with (folder / "sweep.csv").open(newline="") as file:
        return sorted(csv.DictReader(file), key=lambda row: int(row["job"]))


@pytest.mark.slow
def test_a_sweep_leaves_a_complete_folder_a_job_whatever_the_launcher(here: Path) -> None:
    words = ["-m", "mask.alpha=1.5,3", "integ.npt=50,100", P, "images=data/ni_*.tiff", "plot=none"]
    told = xrdpipe(*words, "output_dir=joblib", cwd=here)
    assert told.status == 0, told
    told = call(*words, "output_dir=basic", BASIC)
    assert told.status == 0, told
    jobs = [(alpha, npt) for alpha in ("1.5", "3") for npt in ("50", "100")]
    for number, (alpha, npt) in enumerate(jobs):
        folder = here / "joblib" / str(number)
        assert len(results(folder)) == 3
        assert {"summary.csv", "run.json", "xrdpipe.log", ".hydra/config.yaml"} <= set(tree(folder))
        config = json.loads((folder / "run.json").read_text())["config"]
        assert (config["mask"]["alpha"], config["integ"]["npt"]) == (float(alpha), int(npt))
        assert results(folder) == results(here / "basic" / str(number))
    for name in ("joblib", "basic"):
        rows = table(here / name)
        assert [(row["mask.alpha"], row["integ.npt"]) for row in rows] == jobs
        assert [row["job"] for row in rows] == list("0123")
        assert all((row["status"], row["done"], row["failed"]) == ("done", "3", "0") for row in rows)
        assert all(0 < float(row["masked_fraction"]) < 1 and float(row["seconds"]) > 0 for row in rows)
    alone = call(P, "images=data/ni_*.tiff", "plot=none", "mask.alpha=3", "integ.npt=100", "output_dir=alone")
    assert alone.status == 0
    assert results(here / "alone") == results(here / "joblib" / "3")


@pytest.mark.slow
def test_a_failing_job_does_not_stop_the_others(here: Path) -> None:
    told = call("-m", "integ.npt=50,0,60", P, "data/ni_1.tiff", "plot=none", "output_dir=out", BASIC)
    assert told.status == 1
    assert "job 1 refused: integ.npt=0" in told.err
    assert "Traceback" not in told.err
    rows = table(here / "out")
    assert [row["status"] for row in rows] == ["done", "refused", "done"]
    assert "integ.npt=0" in rows[1]["error"]
    assert len(results(here / "out", "*/*.chi")) == 2


@pytest.mark.slow
def test_a_failing_frame_fails_in_every_job_and_the_others_are_done(here: Path) -> None:
    words = ["-m", "integ.npt=50,60", P, "data/ni_1.tiff", "data/none.tiff", "plot=none"]
    assert call(*words, "output_dir=out", BASIC).status == 1
    rows = table(here / "out")
    assert [(row["done"], row["failed"], row["error"]) for row in rows] == [
        ("1", "1", "data/none.tiff: no such file")
    ] * 2


@pytest.mark.slow
def test_without_an_output_dir_a_sweep_has_a_new_folder(here: Path) -> None:
    for _ in range(2):
        assert call("-m", "integ.npt=50,60", P, "data/ni_1.tiff", "plot=none", BASIC).status == 0
    folders = [path.parent for path in here.glob("outputs/sweeps/*/*/sweep.csv")]
    assert len(folders) == 2
    assert all(len(results(folder, "*/*.chi")) == 2 for folder in folders)


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["hydra.sweep.dir=my sweep", "output_dir=my sweep"])
def test_a_sweep_goes_where_it_is_told(folder: str, here: Path) -> None:
    assert call("-m", "integ.npt=50,60", P, "data/ni_1.tiff", "plot=none", folder, BASIC).status == 0
    assert len(results(here / "my sweep", "*/*.chi")) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "varied"),
    [
        ("mask=none,gentle", {"mask": ["none", "gentle"]}),
        ("integ.unit=q_A^-1,2th_deg", {"integ.unit": ["q_A^-1", "2th_deg"]}),
        ("integ.radial_range=[1,3],[2,4]", {"integ.radial_range": ["[1,3]", "[2,4]"]}),
        ("background.file=data/air.tiff,null", {"background.file": ["data/air.tiff", "null"]}),
        ("mask.edge=choice(5,10)", {"mask.edge": ["5", "10"]}),
    ],
)
def test_whatever_can_be_set_can_vary(words: str, varied: dict[str, list[str]], here: Path) -> None:
    told = call("-m", words, P, "data/ni_1.tiff", *FAST, "output_dir=out", BASIC)
    assert told.status == 0, told
    rows = table(here / "out")
    assert {key: [row[key].strip("'") for row in rows] for key in varied} == varied
    made = results(here / "out", "*/*.chi")
    assert made["0/ni_1.chi"] != made["1/ni_1.chi"]


@pytest.mark.slow
def test_images_can_vary(here: Path) -> None:
    assert call("-m", "images=data/ni_1.tiff,data/ni_2.tiff", P, *FAST, "output_dir=out", BASIC).status == 0
    assert set(results(here / "out", "*/*.chi")) == {"0/ni_1.chi", "1/ni_2.chi"}


@pytest.mark.slow
def test_a_sweep_is_not_written_over_unasked(here: Path) -> None:
    words = ["-m", P, "data/ni_1.tiff", "plot=none", "output_dir=out", BASIC]
    assert call(*words, "integ.npt=50,60,70").status == 0
    for remaining in ("sweep.csv and the jobs", "the jobs"):
        before = tree(here)
        told = call(*words, "integ.npt=80,90")
        assert (told.status, len(told.err.splitlines())) == (2, 1), remaining
        assert "overwrite=true" in told.err
        assert tree(here) == before
        (here / "out" / "sweep.csv").unlink(missing_ok=True)
    assert call(*words, "integ.npt=80,90", "overwrite=true").status == 0
    assert [row["integ.npt"] for row in table(here / "out")] == ["80", "90"]


@pytest.mark.slow
def test_a_quiet_sweep_says_nothing(here: Path) -> None:
    told = call("-m", "integ.npt=50,60", P, "data/ni_1.tiff", "plot=none", "mask.edge=5", "quiet=true", BASIC)
    assert told == (0, "", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "send"),
    [("joblib", lambda pid: os.killpg(pid, signal.SIGINT)),
     ("joblib", lambda pid: os.kill(pid, signal.SIGTERM)),  # as a batch system does: its workers hear nothing
     ("basic", lambda pid: os.killpg(pid, signal.SIGINT))],
    ids=["joblib, Ctrl-C", "joblib, terminated", "basic, Ctrl-C"],
)  # fmt: skip
def test_a_stopped_sweep_keeps_what_is_done(launcher: str, send: Callable[[int], None], here: Path) -> None:
    for number in range(150):
        os.link("data/ni_1.tiff", f"data/f_{number}.tiff")
    words = ["-m", "integ.npt=range(50,57)", P, "images=data/f_*.tiff", f"hydra/launcher={launcher}", "output_dir=out"]
    process = start(*words, cwd=here)
    end = time.monotonic() + LIMIT
    while len(list(here.glob("out/0/*.chi"))) < 3 and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.02)
    send(process.pid)
    told = process.communicate(timeout=LIMIT)
    assert process.returncode == 130, told
    assert "Traceback" not in told[1]
    assert not (here / "out" / "3").exists()
    assert not [*here.rglob("*.part"), *here.rglob(".stop_*")]
    kept = [json.loads(path.read_text()) for path in here.rglob("run.json")]
    assert {run["status"] for run in kept} <= {"done", "stopped"}
    done = [image["name"] for run in kept for image in run["images"] if image["status"] == "done"]
    assert sorted(done) == sorted(path.stem for path in here.rglob("*.chi"))
