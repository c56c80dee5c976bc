"""`xrdpipe new experiment`: the last run as a commented YAML, which runs to the same bytes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from command import FAST, P, call, results

from xrdpipe.config.described import every_key


@pytest.fixture
def here(data: Path, poni: Path, frames: list[Path], air: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(data.parent)
    return data.parent


RUN = (P, "data/ni_*.tiff", "background.file=data/air.tiff", "mask=robust", "mask.alpha=6", "output.mask=true", *FAST)


@pytest.mark.slow
def test_the_experiment_of_a_run_gives_its_bytes_from_any_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(*RUN).status == 0
    told = call("new", "experiment", "mine")
    (folder,) = (path.parent for path in here.glob("outputs/*/*/run.json"))
    assert told.out.splitlines() == [
        f"written: {Path('my_conf/experiment/mine.yaml')}, from {folder.relative_to(here)}",
        "next: xrdpipe --config-dir my_conf experiment=mine",
    ]
    elsewhere = here / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert call("--config-dir", "../my_conf", "experiment=mine", "output_dir=again").status == 0
    assert results(elsewhere / "again") == results(folder)
    assert len(results(folder)) == 6


def test_paths_on_the_command_line_replace_the_images_of_an_experiment(here: Path) -> None:
    folder = here / "my" / "experiment"
    folder.mkdir(parents=True)
    (folder / "day.yaml").write_text("# @package _global_\nimages: data/ni_1.tiff\n")
    words = ("--config-dir", "my", "experiment=day", P, "dry_run=true", "plot=none")
    for images, expected in {
        (): {"ni_1"},
        ("data/ni_2.tiff",): {"ni_2"},
        ("images=data/ni_2.tiff", "data/ni_3.tiff"): {"ni_2", "ni_3"},
    }.items():
        told = call(*words, *images)
        assert {name for name in ("ni_1", "ni_2", "ni_3") if f"{name}.chi" in told.out} == expected


def test_it_holds_what_differs_with_its_meaning_and_nothing_else(here: Path) -> None:
    assert call(*RUN, "output_dir=old", "quiet=true").status == 0
    assert call("new", "experiment", "mine", "from=old", "to=conf").status == 0
    text = (here / "conf" / "experiment" / "mine.yaml").read_text()
    values = yaml.safe_load(text)
    assert values.pop("defaults") == [{"override /mask": "robust"}, {"override /plot": "none"}]
    assert {group: set(keys) for group, keys in values.items() if isinstance(keys, dict)} == {
        "background": {"file"},
        "mask": {"alpha"},
        "integ": {"npt"},
        "output": {"mask"},
    }
    assert set(values) == {"poni", "images", "report", "background", "mask", "integ", "output"}
    meanings = dict(every_key())
    assert f"  alpha: 6  # {meanings['mask.alpha'].text}" in text.splitlines()
    assert text.startswith("# @package _global_\n# The run of ")


@pytest.mark.slow
def test_the_best_job_of_a_sweep_and_a_demo_can_be_taken(here: Path) -> None:
    assert (
        call("-m", "mask.alpha=2,3", P, "data/ni_1.tiff", "output_dir=sweep", "hydra/launcher=basic", *FAST).status == 0
    )
    assert call("new", "experiment", "best", "from=sweep").status == 0
    made = results(here / "sweep" / call("--json", "new", "experiment", "x", "from=sweep").out.split("sweep/")[1][0])
    assert call("--config-dir", "my_conf", "experiment=best", "output_dir=again").status == 0
    assert results(here / "again") == made
    assert call("source=demo", "source.frames=1", "output_dir=demo", "stages=[background]", "report=false").status == 0
    assert call("new", "experiment", "demo", "from=demo").status == 0
    assert "poni" not in yaml.safe_load((here / "my_conf" / "experiment" / "demo.yaml").read_text())


def test_it_replaces_nothing_and_refuses_what_it_cannot_take(here: Path) -> None:
    assert call(*RUN, "output_dir=old").status == 0
    (here / "my_conf" / "experiment").mkdir(parents=True)
    taken = here / "my_conf" / "experiment" / "mine.yaml"
    os.symlink("nowhere", taken)
    (here / "run.json").write_text("{}")
    for words, expected in {
        ("experiment", "mine", "from=old"): "mine.yaml is already there and stays as it is; choose another name",
        ("experiment", "new"): "no run under outputs/ here; say from=",
        ("experiment", "new", "from=nowhere"): "name a results folder",
        ("experiment", "new", "from=."): "not the record of a run",
        ("experiment", "../x", "from=old"): "a plain name expected",
        ("experiment", "null", "from=old"): "not a name that experiment=null finds",
        ("experiment", "new", "form=old"): "did you mean 'from'?",
        ("experiment",): "say xrdpipe new experiment NAME",
        ("stage", "x"): "say xrdpipe new experiment NAME",
        ("experiment", "new", "from=old", "to=run.json"): "say another folder with to=",
    }.items():
        told = call("new", *words)
        assert (told.status, told.out) == (2, ""), words
        assert expected in told.err, told.err
        assert len(told.err.splitlines()) == 1
    assert os.readlink(taken) == "nowhere"
    assert list((here / "my_conf" / "experiment").iterdir()) == [taken]
