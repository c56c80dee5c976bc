"""`--json`: stdout is one JSON document, whatever happens; the rest is on stderr, and the exit status is as ever."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command import FAST, CommandResult, P, call, run_record, xrdpipe

from xrdpipe.cli.document import finite
from xrdpipe.cli.main import COMMANDS, WITHOUT_JSON


@pytest.fixture
def here(data: Path, poni: Path, frames: list[Path], air: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(data.parent)
    return data.parent


def document(told: CommandResult) -> dict[str, Any]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    said: dict[str, Any] = json.loads(told.out, parse_constant=refuse)
    assert (said["program"], said["exit_status"]) == ("xrdpipe", told.status)
    return said


@pytest.mark.slow
def test_a_run_says_its_paths_counts_failures_and_verdict(here: Path) -> None:
    told = xrdpipe("--json", P, "data/ni_1.tiff", "data/gone.tiff", "output_dir=out", *FAST, cwd=here)
    said, record = document(told), run_record(here / "out")
    assert told.status == 1
    assert "failed: data/gone.tiff: no such file" in told.err
    assert said["counts"] == {"frames": 2, "done": 1, "failed": 1, "waiting": 0}
    assert said["failures"] == [{"name": "gone", "file": "data/gone.tiff", "error": "no such file"}]
    assert said["verdict"] == record["judgement"]
    for row, recorded in zip(said["frames"], record["images"], strict=True):
        assert row["outputs"] == list(recorded["outputs"])
        assert row["status"] == recorded["status"]
    assert Path(said["record"]).samefile(here / "out" / "run.json")
    assert Path(said["summary"]).is_file()
    assert said["report"] is None
    assert record["command"][0] == P  # the word itself changes no result and is no part of the record


def test_a_refused_run_and_a_dry_run_are_documents_too(here: Path) -> None:
    told = call(P, "data/ni_1.tiff", "mask.alhpa=3", "--json")
    assert told.status == 2
    assert told.err == f"xrdpipe: {document(told)['error']}\n"
    told = call("--json", P, "data/ni_1.tiff", "dry_run=true", *FAST)
    assert document(told)["folder"] is None
    assert "would read" in told.err
    told = call("--json")
    assert (told.status, document(told).keys() >= {"exit_status"}) == (2, True)


@pytest.mark.slow
def test_a_sweep_says_its_jobs_and_the_best(here: Path) -> None:
    words = ("-m", "mask.alpha=2,3", P, "data/ni_1.tiff", "output_dir=out", "hydra/launcher=basic", *FAST)
    said = document(call("--json", *words))
    verdict = json.loads((here / "out" / "sweep.json").read_text())
    assert said["verdict"]["best"] == verdict["best"] == said["jobs"][0]["job"]
    assert [row["mask.alpha"] for row in sorted(said["jobs"], key=lambda row: row["job"])] == ["2", "3"]


@pytest.mark.slow
def test_the_other_commands_say_what_they_print(here: Path) -> None:
    assert call(P, "data/ni_1.tiff", "output_dir=out", *FAST).status == 0
    said = document(call("--json", "inspect", "data/ni_1.tiff", "data/tiny.poni"))
    assert said["files"][0]["shape"] == [120, 100]
    assert said["files"][1].keys() == {"file", "error"}
    assert document(call("--json", "config", "mask.alpha", "mask=strict"))["value"] == 1.5
    assert document(call("--json", "replay", "out"))["identical"] == ["ni_1.chi"]
    assert Path(document(call("--json", "report", "out"))["pages"][0]).is_file()
    assert document(call("--json", "new", "experiment", "mine", "from=out"))["written"].endswith("mine.yaml")
    said = document(call("--json", "doctor", P, "data/ni_1.tiff"))
    assert sum(row["yours"] for row in said["orientations"]) == 1
    said = document(call("--json", "mask", P, "data/ni_1.tiff", "data/ni_2.tiff", "data/ni_3.tiff", "save=m.npy"))
    assert said["frames"] == 3
    for name in WITHOUT_JSON:
        assert document(call("--json", name))["error"].startswith(f"--json: not for xrdpipe {name}")
    assert set(WITHOUT_JSON) < set(COMMANDS)
    assert "--json: not with options of Hydra" in document(call("--json", "--cfg", "job"))["error"]


def test_numbers_that_json_does_not_know_become_null() -> None:
    assert finite({"a": [float("nan"), 1.5, Path("x")], "b": float("inf"), 3: None}) == {
        "a": [None, 1.5, "x"],
        "b": None,
        "3": None,
    }
