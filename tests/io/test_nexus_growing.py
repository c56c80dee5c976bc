"""The NeXus file of a series: what stands in it, that others read it, and that it survives whatever happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from command import LIMIT, call, start, tree
from nexus_files import AXIS, WORDS, content, frame, series

from xrdpipe.io.nexus import NexusFile, Stored
from xrdpipe.io.nexus_read import read
from xrdpipe.model.errors import FrameError


def test_it_can_be_read_while_it_grows_by_anybody_in_any_way(tmp_path: Path) -> None:
    names = [f"f{number}" for number in range(5)]
    file = NexusFile(series(tmp_path, 5), "patterns", names)
    file.waiting.update(names)
    reader = None
    for number in (4, 0, 2):
        record, pattern = frame(number)
        file.add(record, pattern)
        with h5py.File(file.path) as stored:
            place = names.index(record.name)
            assert stored["entry/frames/status"][place] == b"done"
            np.testing.assert_array_equal(stored["entry/data/I"][place], pattern.intensity)
            assert np.isnan(stored["entry/data/I"][1]).all()
            assert stored["entry/frames/status"][1] == b"waiting"
        reader = reader or h5py.File(file.path)  # that somebody keeps it open does not matter
    assert reader is not None
    reader.close()
    found = read(tmp_path, "f2")
    assert found is not None
    np.testing.assert_array_equal(found.radial, np.delete(AXIS, 2))
    assert read(tmp_path, "f1") is None


@pytest.mark.parametrize("order", [range(6), (5, 0, 3, 1, 4), (2,)])
def test_frames_that_come_together_are_written_together_as_if_one_by_one(tmp_path: Path, order: Sequence[int]) -> None:
    contents = []
    for folder, together in (("a", True), ("b", False)):
        (tmp_path / folder).mkdir()
        file = NexusFile(series(tmp_path / folder, 6), "patterns", [f"f{number}" for number in range(6)])
        file.waiting.update(file.names)
        for number in order:
            file.keep(*frame(number))
            if not together:
                file.flush()
        file.flush()
        contents.append(file.path.read_bytes())
        assert all(Stored.of(file.path).is_complete(f"f{number}") for number in order)  # type: ignore[union-attr]
    assert contents[0] == contents[1]


def test_frames_that_could_not_be_written_are_written_later_but_not_one_that_failed(tmp_path: Path) -> None:
    file = NexusFile(series(tmp_path, 3), "patterns", ["f0", "f1", "f2"])
    file.waiting.update(file.names)
    for number in (0, 1, 2):
        file.keep(*frame(number))
    away = file.path.rename(tmp_path / "away")
    with pytest.raises(OSError, match="No such file"):
        file.flush("f1")
    away.rename(file.path)
    file.end(
        {f"f{number}": replace(frame(number)[0], status="failed" if number == 1 else "done") for number in (0, 1, 2)}
    )
    with h5py.File(file.path) as stored:
        assert stored["entry/frames/status"][()].tolist() == [b"done", b"failed", b"done"]


def test_a_pattern_on_another_axis_is_refused_for_its_frame_alone(tmp_path: Path) -> None:
    file = NexusFile(series(tmp_path, 3), "patterns", ["f0", "f1", "f2"])
    file.waiting.update(file.names)
    file.add(*frame(0))
    record, pattern = frame(1)
    with pytest.raises(FrameError, match="another axis"):
        file.add(record, replace(pattern, radial=AXIS + 1))
    file.add(*frame(2))
    assert Stored.of(file.path).is_complete("f2")  # type: ignore[union-attr]
    later = NexusFile(series(tmp_path, 3), "patterns", ["f0", "f1", "f2"])
    later.waiting.add("f1")
    with pytest.raises(FrameError, match="another axis"):
        later.add(record, replace(pattern, radial=AXIS + 1))
    assert Stored.of(file.path).is_complete("f0")  # type: ignore[union-attr]


def test_a_frame_that_was_being_written_counts_as_not_there(tmp_path: Path) -> None:
    file = NexusFile(series(tmp_path, 2), "patterns", ["f0", "f1"])
    file.waiting.update(file.names)
    for number in (0, 1):
        file.add(*frame(number))
    offset = Stored.of(file.path).offsets["I"]  # type: ignore[union-attr]
    with open(file.path, "r+b") as torn:
        torn.seek(offset + 8 * 7)
        torn.write(b"\x00" * 8)
    again = NexusFile(series(tmp_path, 2), "patterns", ["f0", "f1"])
    assert again.holds(frame(0)[0])
    assert not again.holds(frame(1)[0])
    assert not again.holds(replace(frame(0)[0], hash="xxh128:0"))


@pytest.mark.parametrize("spoilt", [b"", b"no HDF5", None])
def test_a_file_that_is_no_longer_ours_is_made_anew(tmp_path: Path, spoilt: bytes | None) -> None:
    file = NexusFile(series(tmp_path, 1), "patterns", ["f0"])
    file.waiting.add("f0")
    file.add(*frame(0))
    whole = file.path.read_bytes()
    file.path.write_bytes(whole[: len(whole) // 2] if spoilt is None else spoilt)
    again = NexusFile(series(tmp_path, 1), "patterns", ["f0"])
    assert not again.holds(frame(0)[0])
    again.waiting.add("f0")
    again.add(*frame(0))
    assert file.path.read_bytes() == whole


def test_a_file_that_promises_more_than_it_holds_is_not_read(tmp_path: Path) -> None:
    file = NexusFile(series(tmp_path, 1), "patterns", ["f0"])
    file.waiting.add("f0")
    file.add(*frame(0))
    with h5py.File(file.path, "r+") as stored:
        del stored["entry/frames/name"]
        stored["entry/frames"].create_dataset("name", (1 << 40,), "S8", chunks=(1 << 20,), compression="gzip")
    assert Stored.of(file.path) is None
    assert read(tmp_path, "f0") is None


@pytest.mark.slow
def test_a_run_json_that_names_anything_as_shared_does_no_harm(run: Path, here: Path) -> None:
    precious = here / "precious.nxs"
    precious.write_text("mine")
    for value in (5, ["../precious.nxs"]):
        record = json.loads((run.parent / "run.json").read_text())
        (run.parent / "run.json").write_text(json.dumps({**record, "together": value}))
        assert call(*WORDS, "output_dir=out", "overwrite=true", "mask.alpha=3").status == 0
    assert precious.read_text() == "mine"


@pytest.mark.slow
def test_a_killed_run_leaves_a_file_that_opens_and_goes_on_with_another_backend_to_the_same_end(here: Path) -> None:
    for number in range(9):
        image = tifffile.imread(here / "data" / f"ni_{number % 3 + 1}.tiff")
        tifffile.imwrite(here / "data" / f"more_{number}.tiff", image + np.uint16(number))
    words = [*WORDS[:-2], "output.format=nxs", "integ.npt=1000"]
    assert call(*words, "output_dir=whole").status == 0
    process = start(*words, "output_dir=out", "parallel.n_jobs=2", cwd=here, stderr=subprocess.DEVNULL)
    limit, path = time.monotonic() + LIMIT, here / "out" / "patterns.nxs"
    while process.poll() is None and not path.exists() and time.monotonic() < limit:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=LIMIT)
    with h5py.File(path) as file, h5py.File(here / "whole" / "patterns.nxs") as whole:
        done = file["entry/frames/status"][()] == b"done"
        np.testing.assert_array_equal(file["entry/data/I"][done], whole["entry/data/I"][done])
    assert call(*words, "output_dir=out", "resume=true", "parallel.backend=loky").status == 0
    assert content(path) == content(here / "whole" / "patterns.nxs")


def test_more_frames_come_into_the_same_file(here: Path) -> None:
    words = [word for word in WORDS if word != "data/*.tiff"]
    assert call(*words, "data/ni_2.tiff", "output_dir=out").status == 0
    assert call(*words, "data/ni_1.tiff", "data/ni_3.tiff", "output_dir=out").status == 0
    with h5py.File("out/patterns.nxs") as file:
        assert file["entry/frames/name"].asstr()[()].tolist() == ["ni_2", "ni_1", "ni_3"]
        assert set(file["entry/frames/status"][()]) == {b"done"}
        assert np.isfinite(file["entry/frames/ring_scatter"][()]).all()


def test_resume_does_what_is_missing_in_it_and_nothing_else(run: Path) -> None:
    whole, before = content(run), run.stat().st_mtime_ns
    assert "3 of 3 images were done before" in call(*WORDS, "output_dir=out", "resume=true").err
    assert run.stat().st_mtime_ns == before
    with h5py.File(run, "r+") as file:
        file["entry/data/I"][1] = 0
    assert "2 of 3 images were done before" in call(*WORDS, "output_dir=out", "resume=true").err
    assert content(run) == whole


@pytest.mark.slow
def test_another_configuration_leaves_nothing_of_the_one_before(run: Path) -> None:
    assert call(*WORDS, "output_dir=out", "integ.npt=50", "overwrite=true").status == 0
    with h5py.File(run) as file:
        assert file["entry/data/I"].shape == (3, 50)
    words = [word for word in WORDS if "format" not in word]
    assert call(*words, "output_dir=out", "overwrite=true").status == 0
    assert not run.exists()


def test_a_file_of_that_name_that_is_none_of_ours_is_refused(here: Path) -> None:
    (here / "out").mkdir()
    (here / "out" / "patterns.nxs").write_text("mine")
    before = tree(here)
    told = call(*WORDS, "output_dir=out")
    assert told.status == 2
    assert "patterns.nxs is already there" in told.err
    assert tree(here) == before


def test_a_disk_that_is_full_fails_frames_and_not_the_program(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("xrdpipe.io.nexus.write_whole", full)
    told = call(*WORDS, "output_dir=out")
    assert told.status == 1
    assert "No space left" in told.err


def test_a_dry_run_names_it(here: Path) -> None:
    assert "patterns.nxs" in call(*WORDS, "output_dir=out", "dry_run=true").out
