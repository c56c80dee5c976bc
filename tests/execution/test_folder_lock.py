"""One run at a time writes into a folder."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command import FAST, call, results, tree

from xrdpipe.execution import folder_lock
from xrdpipe.execution.folder_lock import LOCK, locked_folder
from xrdpipe.model.errors import InUseError

WORDS = ("poni=data/tiny.poni", "data/*.tiff", *FAST, "parallel=serial")


@pytest.fixture
def here(frames: list[Path], poni: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_second_run_is_refused_with_who_has_the_folder_and_touches_nothing(here: Path) -> None:
    assert call(*WORDS, "output_dir=out").status == 0
    with locked_folder(here / "out"):
        before = tree(here / "out")
        for way in ("resume=true", "overwrite=true"):
            told = call(*WORDS, "output_dir=out", way)
            assert told.status == 2
            owner = (
                rf"output_dir=out: another run writes into it \(process {os.getpid()} on .*, since 2.*\); wait for it"
            )
            assert re.search(owner, told.err)
        assert tree(here / "out") == before
    assert call(*WORDS, "output_dir=out", "resume=true").status == 0


def test_what_only_looks_at_a_folder_does_so_while_a_run_has_it(here: Path) -> None:
    assert call(*WORDS, "output_dir=out").status == 0
    with locked_folder(here / "out"):
        assert call("report", "out").status == 0
        assert call("replay", "out").status == 0
        assert call(*WORDS, "output_dir=out", "resume=true", "dry_run=true").status == 0


def test_the_lock_goes_with_the_run_and_with_it_a_folder_in_which_nothing_came(here: Path) -> None:
    assert call(*WORDS, "output_dir=out").status == 0
    assert not (here / "out" / LOCK).exists()
    assert call(*WORDS, "output_dir=a/b", "integ.unit=furlong").status == 2
    assert not (here / "a").exists()


def test_the_lock_of_a_process_that_was_killed_locks_nothing(here: Path) -> None:
    (here / "out").mkdir()
    text = "import os; from pathlib import Path; from xrdpipe.execution.folder_lock import locked_folder;"
    text = f"{text} owner = locked_folder(Path('out')); owner.__enter__(); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", text], cwd=here).returncode == 9
    assert (here / "out" / LOCK).exists()
    assert call(*WORDS, "output_dir=out").status == 0
    assert not (here / "out" / LOCK).exists()


def test_who_waited_for_a_lock_file_that_its_owner_removed_makes_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = locked_folder(tmp_path)
    owner.__enter__()
    real = folder_lock._lock

    def ends_first(file: int) -> None:
        monkeypatch.setattr(folder_lock, "_lock", real)
        owner.__exit__(None, None, None)
        real(file)

    monkeypatch.setattr(folder_lock, "_lock", ends_first)
    with locked_folder(tmp_path):
        assert (tmp_path / LOCK).exists()
        with pytest.raises(InUseError), locked_folder(tmp_path):
            pass


def test_a_file_system_without_locks_is_told_of_and_the_run_goes_on(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(file: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(folder_lock, "_lock", none)
    told = call(*WORDS, "output_dir=out")
    assert told.status == 0
    assert "no lock can be had there (No locks available); make sure that no other run writes into it" in told.err
    assert len(results(here / "out")) == 3


@pytest.mark.slow
def test_a_sweep_keeps_others_out_and_leaves_the_job_that_another_run_has(here: Path) -> None:
    sweep = ("-m", "mask.alpha=2,3", "hydra/launcher=basic", *WORDS, "output_dir=out")
    assert call(*sweep).status == 0
    with locked_folder(here / "out"):
        assert call(*sweep, "resume=true").status == 2
    before = (here / "out" / "1" / "run.json").read_bytes()
    with locked_folder(here / "out" / "1"):
        told = call(*sweep, "resume=true")
    assert told.status == 2
    assert "another run writes into it" in told.err
    assert (here / "out" / "1" / "run.json").read_bytes() == before
    assert json.loads(before)["status"] == "done"
