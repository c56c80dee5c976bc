"""A record can be run again, and says whether the same comes out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tifffile
from command import FAST, call, tree


@pytest.fixture
def here(frames: list[Path], air: Path, poni: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with inputs and a finished run, `out`."""
    monkeypatch.chdir(tmp_path)
    words = ("poni=data/tiny.poni", "data/ni_*.tiff", "background.file=data/air.tiff", "output.mask=true")
    assert call(*words, *FAST, "output_dir=out").status == 0
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["parallel=serial", "parallel.backend=threading", "parallel.backend=loky"])
def test_a_run_replays_to_identical_bytes(here: Path, backend: str) -> None:
    call("poni=data/tiny.poni", "data/ni_*.tiff", *FAST, "output_dir=other", backend)
    before = tree(here)
    told = call("replay", "other")
    assert told.status == 0
    assert "identical: 3 of 3 files" in told.out
    assert tree(here) == before


def test_a_run_json_will_do_and_the_results_can_be_kept(here: Path) -> None:
    told = call("replay", "out/run.json", "output_dir=again")
    assert told.status == 0
    assert "6 of 6" in told.out
    assert (here / "again" / "ni_1.chi").read_bytes() == (here / "out" / "ni_1.chi").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny.poni", "ni_2.tiff", "air.tiff"])
def test_a_changed_input_is_named(here: Path, name: str) -> None:
    path = here / "data" / name
    content = bytearray(path.read_bytes())
    at = content.rindex(b"1") if name.endswith("poni") else len(content) // 2
    content[at] ^= 2
    path.write_bytes(content)
    told = call("replay", "out")
    assert told.status == 1
    assert "has changed" in told.out
    assert name in told.out
    assert "NOT identical" in told.out


def test_differences_are_told_point_by_point(here: Path) -> None:
    image = tifffile.imread(here / "data" / "ni_2.tiff")
    tifffile.imwrite(here / "data" / "ni_2.tiff", image * 2)
    told = call("replay", "out")
    assert "ni_2.chi: " in told.out
    assert "points differ" in told.out
    assert "4 of 6 files are the same bytes" in told.out


def test_a_result_that_somebody_edited_is_told_from_a_changed_input(here: Path) -> None:
    path = here / "out" / "ni_1.chi"
    path.write_text(path.read_text() + "\n")
    told = call("replay", "out")
    assert told.status == 1
    assert "ni_1.chi was changed after the run" in told.out


def test_inputs_that_moved_are_found_by_their_content(here: Path) -> None:
    shutil.move(here / "data", here / "archive")
    (here / "archive" / "ni_1.tiff").rename(here / "archive" / "renamed.tiff")
    told = call("replay", "out")
    assert told.status == 2
    assert "inputs=FOLDER" in told.err
    told = call("replay", "out", "inputs=archive")
    assert told.status == 0, told.out
    assert "6 of 6" in told.out


@pytest.mark.slow
def test_a_job_of_a_sweep_and_the_demo_replay(here: Path) -> None:
    call("-m", "mask.alpha=2,3", "hydra/launcher=basic", "poni=data/tiny.poni", "data/ni_*.tiff", *FAST, "output_dir=s")
    assert call("replay", "s/1").status == 0
    assert call("source=demo", "source.frames=1", *FAST, "mask=none", "output_dir=d").status == 0
    assert call("replay", "d").status == 0


@pytest.mark.parametrize("words", [(), ("nothing",), ("data",), ("out", "into=x"), ("out", "data")])
def test_what_is_no_record_is_refused(here: Path, words: tuple[str, ...]) -> None:
    told = call("replay", *words)
    assert told.status == 2
    assert len(told.err.splitlines()) == 1
