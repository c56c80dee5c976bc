"""A run that was stopped, in whatever way, goes on where it was."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from command import FAST, LIMIT, call, results, start


@pytest.fixture
def many(frames: list[Path], poni: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to write in, and beside it a series of twelve frames."""
    for number in range(9):
        image = tifffile.imread(frames[number % 3])
        tifffile.imwrite(poni.parent / f"more_{number}.tiff", image + np.uint16(number))
    monkeypatch.chdir(tmp_path)
    return tmp_path


COMMAND = ("poni=data/tiny.poni", "data/*.tiff", *FAST, "output.mask=true")


def statuses(folder: Path) -> list[str]:
    return [record["status"] for record in json.loads((folder / "run.json").read_text())["images"]]


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_in_the_same_bytes_when_resumed(many: Path) -> None:
    assert call(*COMMAND, "output_dir=whole").status == 0
    moments = random.Random(1)
    for _ in range(4):
        process = start(
            *COMMAND, "output_dir=out", "resume=true", "parallel.n_jobs=2", cwd=many, stderr=subprocess.DEVNULL
        )
        wanted = moments.randint(0, 11)
        limit = time.monotonic() + LIMIT
        while process.poll() is None and len(list((many / "out").glob("*.chi"))) < wanted and time.monotonic() < limit:
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=LIMIT)
    assert call(*COMMAND, "output_dir=out", "resume=true").status == 0
    assert results(many / "out") == results(many / "whole")
    assert statuses(many / "out") == ["done"] * 12
    assert not list((many / "out").rglob("*.part"))
    assert not (many / "out" / "run.jsonl").exists()
    assert (many / "out" / "summary.csv").read_text().count("done") == 12


def test_what_is_done_is_not_done_again(many: Path) -> None:
    call(*COMMAND, "output_dir=out")
    before = {path: path.stat().st_mtime_ns for path in (many / "out").glob("*.chi")}
    told = call(*COMMAND, "output_dir=out", "resume=true")
    assert "12 of 12 images were done before" in told.err
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_changed_failed_or_spoilt_frame_is_done_again(many: Path) -> None:
    (many / "data" / "late.tiff").write_bytes(b"")
    assert call(*COMMAND, "output_dir=out").status == 1
    tifffile.imwrite(many / "data" / "late.tiff", tifffile.imread(many / "data" / "more_1.tiff"))
    tifffile.imwrite(many / "data" / "more_2.tiff", tifffile.imread(many / "data" / "more_3.tiff"))
    (many / "out" / "more_4.chi").write_text("spoilt")
    (many / "out" / "masks" / "more_5.npy").unlink()
    told = call(*COMMAND, "output_dir=out", "resume=true")
    assert told.status == 0
    assert "9 of 13 images were done before" in told.err
    call(*COMMAND, "output_dir=whole")
    assert results(many / "out") == results(many / "whole")


def test_the_same_size_and_time_count_as_unchanged_until_one_asks_to_verify(many: Path) -> None:
    call(*COMMAND, "output_dir=out")
    image = many / "data" / "more_2.tiff"
    state = image.stat()
    content = bytearray(image.read_bytes())
    content[-50] ^= 1
    image.write_bytes(content)
    os.utime(image, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert "12 of 12" in call(*COMMAND, "output_dir=out", "resume=true").err
    assert "11 of 12" in call(*COMMAND, "output_dir=out", "resume=verify").err


def test_a_touched_frame_with_the_same_content_stays(many: Path) -> None:
    call(*COMMAND, "output_dir=out")
    (many / "data" / "more_2.tiff").touch()
    assert "12 of 12" in call(*COMMAND, "output_dir=out", "resume=true").err


@pytest.mark.slow
def test_another_configuration_does_all_frames_again(many: Path) -> None:
    call(*COMMAND, "output_dir=out")
    assert call(*COMMAND, "output_dir=out", "resume=true", "mask.alpha=3").status == 0
    call(*COMMAND, "output_dir=whole", "mask.alpha=3")
    assert results(many / "out") == results(many / "whole")


def test_without_resume_a_folder_with_results_is_refused_with_three_ways_out(many: Path) -> None:
    call(*COMMAND, "output_dir=out")
    told = call(*COMMAND, "output_dir=out")
    assert told.status == 2
    for way in ("resume=true", "overwrite=true", "another output_dir"):
        assert way in told.err


def test_resume_and_overwrite_exclude_each_other(many: Path) -> None:
    told = call(*COMMAND, "output_dir=out", "resume=true", "overwrite=true")
    assert told.status == 2
    assert call(*COMMAND, "output_dir=out", "resume=perhaps").status == 2


@pytest.mark.slow
def test_jobs_of_a_sweep_that_are_done_are_not_run_again(many: Path) -> None:
    sweep = ("-m", "mask.alpha=2,3", "hydra/launcher=basic", *COMMAND)
    assert call(*sweep, "output_dir=whole").status == 0
    assert call(*sweep, "output_dir=out").status == 0
    (many / "out" / "1" / "more_3.chi").unlink()
    (many / "out" / "sweep.csv").unlink()
    kept = {path: path.stat().st_mtime_ns for path in (many / "out").rglob("*.chi")}
    assert call(*sweep, "output_dir=out").status == 2
    assert call(*sweep, "output_dir=out", "resume=true").status == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    for job in "01":
        assert results(many / "out" / job) == results(many / "whole" / job)
    assert (many / "out" / "sweep.csv").read_text().count("done") == 3  # the header names a column so


def no_room(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_record_for_which_there_is_no_room_is_said_and_the_run_can_be_resumed(
    many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("xrdpipe.results.folder.Folder.record", no_room)
        told = call(*COMMAND, "output_dir=out")
    assert told.status == 1
    assert "the record of the run could not be written (No space left on device); what is done stays" in told.err
    assert "12 of 12 images were done before" in call(*COMMAND, "output_dir=out", "resume=true").err
    assert statuses(many / "out") == ["done"] * 12


def test_a_folder_that_cannot_be_written_to_is_refused_in_words(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("xrdpipe.results.folder.write_run", "xrdpipe.config.loader.write_text"):
        with monkeypatch.context() as patch:
            patch.setattr(place, no_room)
            told = call(*COMMAND, "output_dir=out", "overwrite=true")
        assert told.status == 2
        assert "output_dir=out: cannot be written to (No space left on device)" in told.err


def test_memory_that_does_not_suffice_anywhere_ends_the_run_in_words(
    many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("xrdpipe.execution.run.prepared", none)
    told = call(*COMMAND, "output_dir=out")
    assert (told.status, told.out) == (1, "")
    assert told.err == "xrdpipe: not enough memory; lower parallel.n_jobs; resume=true keeps what is done\n"
