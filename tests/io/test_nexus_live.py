"""The NeXus file of a run whose frames arrive: other processes follow it, and it ends as that of an ordinary run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from command import FAST, LIMIT, call, start
from nexus_files import content, frame, series

from xrdpipe.io.nexus_read import Stored, read
from xrdpipe.stages.output_nexus import NexusFiles

WATCH = ("poni=data/tiny.poni", "source=watch", "source.folder=in", "output_dir=out", *FAST, "output.format=nxs")
FOLLOWER = """
import sys, time, h5py, numpy as np
path, wanted, limit = sys.argv[1], int(sys.argv[2]), time.monotonic() + 60
while True:
    try:
        file = h5py.File(path, "r", swmr=True)
        break
    except FileNotFoundError:
        assert time.monotonic() < limit
        time.sleep(0.01)
status, signal = file["entry/frames/status"], file["entry/data/I"]
seen = 0
while seen < wanted:
    assert time.monotonic() < limit
    status.refresh()
    signal.refresh()
    if len(status) > seen:
        seen = len(status)
        assert (status[()] == b"done").all()
        assert np.isfinite(signal[: len(status)]).any(axis=1).all()
        print(seen, flush=True)
    time.sleep(0.01)
"""


def drop(here: Path, number: int) -> None:
    shutil.copy(here / "data" / f"ni_{number % 3 + 1}.tiff", here / "in" / f".f_{number}")
    (here / "in" / f".f_{number}").rename(here / "in" / f"f_{number}.tif")


@pytest.fixture
def live(frames: list[Path], poni: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_frame_that_arrives_is_in_the_file_at_once_and_the_file_ends_as_an_ordinary_one(tmp_path: Path) -> None:
    records = {f"f{number}": frame(number)[0] for number in (0, 1, 2)}
    files = NexusFiles(replace(series(tmp_path, 3), grows=True))
    for number in (2, 0, 1):  # frames are done in any order
        record, pattern = frame(number)
        files.add(record, {"": pattern})
        files.flush(record)
        found = read(tmp_path, record.name)
        assert found is not None
        np.testing.assert_array_equal(found.intensity, pattern.intensity[~np.isnan(pattern.intensity)])
    files.end(records)
    (tmp_path / "whole").mkdir()
    whole = NexusFiles(series(tmp_path / "whole", 3))
    whole.begin(records)
    for number in (0, 1, 2):
        whole.add(records[f"f{number}"], {"": frame(number)[1]})
    whole.end(records)
    assert (tmp_path / "patterns.nxs").read_bytes() == (tmp_path / "whole" / "patterns.nxs").read_bytes()


def test_a_frame_that_changed_and_then_failed_has_no_numbers_of_the_time_before(tmp_path: Path) -> None:
    given = replace(series(tmp_path, 2), grows=True)
    records = {f"f{number}": frame(number)[0] for number in (0, 1)}
    files = NexusFiles(given)
    for number in (0, 1):
        files.add(records[f"f{number}"], {"": frame(number)[1]})
    files.end(records | {"f1": replace(records["f1"], status="failed")})
    stored = Stored.of(tmp_path / "patterns.nxs")
    assert stored is not None
    assert [stored.status_of(name) for name in records] == ["done", "failed"]
    with h5py.File(tmp_path / "patterns.nxs") as file:
        assert np.isnan(file["entry/data/I"][1]).all()


@pytest.mark.slow
def test_another_process_follows_a_live_run_through_one_open_file(live: Path) -> None:
    follower = [sys.executable, "-c", FOLLOWER, str(live / "out" / "patterns.nxs"), "6"]
    run = start(*WATCH, "source.frames=6", cwd=live)
    with run, subprocess.Popen(follower, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        for number in range(6):
            drop(live, number)
            assert reader.stdout.readline() == f"{number + 1}\n"  # a frame is seen before the next one is there
        assert reader.communicate(timeout=LIMIT) == ("", "")
        assert run.communicate(timeout=LIMIT)[1]
    assert (run.returncode, reader.returncode) == (0, 0)
    assert call("poni=data/tiny.poni", "in/*.tif", "output_dir=whole", *FAST, "output.format=nxs").status == 0
    assert content(live / "out" / "patterns.nxs") == content(live / "whole" / "patterns.nxs")
    assert "identical: 1 of 1 files" in call("replay", "out").out


@pytest.mark.slow
def test_a_killed_live_run_keeps_what_it_appended_and_goes_on(live: Path) -> None:
    for number in range(4):
        drop(live, number)
    path, limit = live / "out" / "patterns.nxs", time.monotonic() + LIMIT
    process = start(*WATCH, cwd=live, stderr=subprocess.DEVNULL)
    while not (stored := Stored.of(path)) or list(stored.status).count(b"done") < 4:
        assert time.monotonic() < limit
        time.sleep(0.02)
    time.sleep(0.3)  # the journal follows the file
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=LIMIT)
    assert Stored.of(path).is_complete("f_3")  # type: ignore[union-attr]
    for number in range(4, 6):
        drop(live, number)
    told = call(*WATCH, "source.frames=6")
    assert told.status == 0
    assert "4 images were done before" in told.err
    assert call("poni=data/tiny.poni", "in/*.tif", "output_dir=whole", *FAST, "output.format=nxs").status == 0
    assert content(path) == content(live / "whole" / "patterns.nxs")
