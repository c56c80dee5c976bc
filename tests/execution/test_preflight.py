"""Room first: a run that cannot end well says so before its first frame, and one that can is never refused."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from command import FAST, call, tree

from xrdpipe.execution import preflight

WORDS = ("poni=data/tiny.poni", "images=data/ni_*.tiff", "mask.edge=5", "report=false", "output_dir=out")
Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, frames: list[Path], poni: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def free(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 10**12 - count, count))


def test_a_disk_that_is_too_small_is_said_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 30_000)
    told = call(*WORDS, "plot=none", "output.mask=true")  # masks alone: 3 x 12 kB
    assert told.status == 2
    assert "output_dir=out: 30 kB are free there, and 3 frames will leave at least" in told.err
    assert not Path("out").exists()


def test_a_new_folder_that_was_made_for_a_refused_run_goes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 10)
    assert call(*WORDS[:-1], "plot=none").status == 2
    assert not Path("outputs").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        FAST,
        ("plot=default", "output.mask=reasons"),
        ("plot=none", "integ=cake", "integ.npt=50"),
        ("plot=none", "integ=sectors", "output.format=[chi,xy,csv]"),
        ("plot=none", "integ.edges=[1.0,2.0,3.0]"),
        ("plot=none", "integ.radial_range=[2.0,4.0]"),
    ],
)
def test_no_run_is_said_to_need_more_than_it_leaves(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    estimates = []
    estimate = preflight.written_bytes
    monkeypatch.setattr(preflight, "written_bytes", lambda *args: estimates.append(estimate(*args)) or estimates[-1])
    assert call(*WORDS, *words).status == 0
    there = sum(len(content) for name, content in tree(Path("out")).items() if not name.startswith(("run.", ".")))
    assert estimates[0] <= there
    assert estimates[0] > 0.02 * there or "edges" in str(words)


def test_what_is_replaced_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(*WORDS, *FAST, "output.mask=true").status == 0
    free(monkeypatch, 10_000)
    assert call(*WORDS, *FAST, "output.mask=true", "overwrite=true").status == 0


def test_a_dry_run_says_how_much(monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 2_500_000)
    told = call(*WORDS, *FAST, "output.mask=true", "dry_run=true")
    assert told.status == 0
    assert "at least 39 kB; 2.5 MB are free" in told.out


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions as on POSIX systems")
def test_a_folder_inside_that_cannot_be_written_is_said_first(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("out/masks").mkdir(parents=True)
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "masks" and access(path, mode))
    told = call(*WORDS, *FAST, "output.mask=true")
    assert (told.status, "masks is not writable" in told.err) == (2, True)


def test_a_file_in_the_place_of_a_folder_is_said_first() -> None:
    Path("out").mkdir()
    Path("out/masks").write_text("mine", encoding="utf-8")
    told = call(*WORDS, *FAST, "output.mask=true")
    assert (told.status, "masks is a file, not a folder" in told.err) == (2, True)
    assert tree(Path("out")) == {"masks": b"mine"}


def test_memory_that_may_not_suffice_is_a_note_and_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "available_bytes", lambda: 1000)
    told = call(*WORDS, *FAST)
    assert told.status == 0
    assert "memory may not suffice" in told.err
    assert "1 kB available" in told.err


def test_where_memory_cannot_be_known_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "available_bytes", lambda: None)
    assert "memory" not in call(*WORDS, *FAST).err
