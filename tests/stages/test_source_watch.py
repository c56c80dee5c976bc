"""Live: files that appear while a run goes on, each taken once, when it is complete."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from browser import chromium
from command import FAST, LIMIT, call, results, start

from xrdpipe.results.journal import journal

IDLE = "source.idle=1"


@pytest.fixture
def live(frames: list[Path], poni: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data/, where the PONI is, and in/, where files will appear."""
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(live: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((live / "data").glob("ni_*.tiff"))]


def watch(*words: object) -> list[str]:
    fixed = ("poni=data/tiny.poni", "source=watch", "source.folder=in", "output_dir=out", *FAST)
    return [*fixed, *map(str, words)]


def drop(live: Path, numbers: range, pause: float = 0.0, seed: int = 0) -> None:
    """Write frames as detectors and people do: in bursts, in two halves, under another name, all in the same folder."""
    chance, content = random.Random(seed), contents(live)
    for number in numbers:
        path, whole = live / "in" / f"f_{number:03d}.tif", content[number % 3]
        way = chance.choice(["plain", "halves", "moved", "plain"])
        if way == "halves":
            with open(path, "wb") as file:
                file.write(whole[: len(whole) // 2])
                file.flush()
                time.sleep(0.3 if chance.random() < 0.2 else 0.01)
                file.write(whole[len(whole) // 2 :])
        elif way == "moved":
            beside = path.with_suffix(".part")
            beside.write_bytes(whole)
            os.replace(beside, path)
        else:
            path.write_bytes(whole)
        if chance.random() < 0.3:
            time.sleep(pause)


def meanwhile(action: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=action)
    thread.start()
    return thread


def wait_for(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


def taken(live: Path) -> int:
    """How many frames are done while the run goes on."""
    return len(journal(live / "out"))


def records(live: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads((live / "out" / "run.json").read_text())["images"]
    return found


def plain(live: Path, folder: str = "plain") -> dict[str, bytes]:
    """The results of an ordinary run over the same files."""
    assert call("poni=data/tiny.poni", "images=in/*.tif", f"output_dir={folder}", *FAST).status == 0
    return results(live / folder)


@pytest.mark.slow
def test_frames_that_arrive_in_any_way_are_all_taken_once_and_give_the_bytes_of_an_ordinary_run(live: Path) -> None:
    drop(live, range(5))
    writer = meanwhile(lambda: drop(live, range(5, 60), 0.05))
    told = call(*watch(IDLE))
    writer.join()
    assert told.status == 0, told.err
    assert [record["status"] for record in records(live)] == ["done"] * 60
    assert len({record["name"] for record in records(live)}) == 60
    assert results(live / "out") == plain(live)
    assert (live / "out" / "summary.csv").read_text().count("done") == 60


@pytest.mark.slow
def test_a_watch_killed_at_any_moment_goes_on_when_it_is_started_again(live: Path) -> None:
    writer = meanwhile(lambda: drop(live, range(40), 0.3))
    for wanted in (1, 12):
        process = start(*watch(), cwd=live, stderr=subprocess.DEVNULL)
        limit = time.monotonic() + LIMIT
        while process.poll() is None and len(list((live / "out").glob("*.chi"))) < wanted and time.monotonic() < limit:
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=LIMIT)
    told = call(*watch("source.frames=40"))
    writer.join()
    assert told.status == 0, told.err
    assert "were done before" in told.err
    assert [record["status"] for record in records(live)] == ["done"] * 40
    assert results(live / "out") == plain(live)
    assert not list((live / "out").rglob("*.part"))


@pytest.mark.slow
def test_what_is_done_is_not_done_again_and_new_frames_are_added(live: Path) -> None:
    drop(live, range(3))
    assert call(*watch("source.frames=3")).status == 0
    before = {path: path.stat().st_mtime_ns for path in (live / "out").glob("*.chi")}
    drop(live, range(3, 5))
    assert call(*watch("source.frames=5")).status == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(records(live)) == 5
    assert "5 of 5 frames done" in call(*watch("source.frames=5")).out
    assert "would read data/tiny.poni and 5 images" in call(*watch("dry_run=true", "overwrite=true")).out


@pytest.mark.slow
def test_a_signal_ends_a_watch_that_waits_and_the_results_are_complete(live: Path) -> None:
    drop(live, range(2))
    process = start(*watch(), cwd=live)
    wait_for(lambda: taken(live) == 2)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=LIMIT)
    assert process.returncode == 130
    assert json.loads((live / "out" / "run.json").read_text())["status"] == "stopped"
    assert [record["status"] for record in records(live)] == ["done"] * 2
    assert (live / "out" / "summary.csv").exists()


@pytest.mark.slow
def test_a_watch_can_be_stopped_before_the_first_frame(live: Path) -> None:
    process = start(*watch(), cwd=live)
    assert process.stderr is not None
    assert "waiting for in/*.tif" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=LIMIT)
    assert process.returncode == 130
    assert not (live / "out").exists()


@pytest.mark.slow
def test_a_file_that_is_never_complete_fails_alone_in_the_end(live: Path) -> None:
    drop(live, range(2))
    (live / "in" / "half.tif").write_bytes(contents(live)[0][:5000])
    told = call(*watch("source.idle=0.6"))
    assert told.status == 1
    assert {str(record["name"]): record["status"] for record in records(live)} == {
        "f_000": "done",
        "f_001": "done",
        "half": "failed",
    }
    assert "truncated" in told.err


@pytest.mark.slow
def test_a_file_that_is_moved_after_it_was_taken_is_not_taken_again(live: Path) -> None:
    drop(live, range(3))

    def move() -> None:
        wait_for(lambda: taken(live) == 3)
        (live / "in" / "f_001.tif").rename(live / "in" / "g_001.tif")
        (live / "in" / "f_002.tif").unlink()

    mover = meanwhile(move)
    assert call(*watch(IDLE)).status == 0
    mover.join()
    assert sorted(str(record["name"]) for record in records(live)) == ["f_000", "f_001", "f_002"]
    assert call(*watch("source.idle=0.5")).status == 0
    assert sorted(str(record["name"]) for record in records(live)) == ["f_000", "f_001", "f_002"]


@pytest.mark.slow
def test_a_file_that_changes_after_it_was_taken_is_done_again(live: Path) -> None:
    drop(live, range(2))
    late = contents(live)[2]

    def change() -> None:
        wait_for(lambda: taken(live) == 2)
        (live / "in" / "f_000.tif").write_bytes(late)

    writer = meanwhile(change)
    assert call(*watch(IDLE)).status == 0
    writer.join()
    assert len(records(live)) == 2
    assert results(live / "out") == plain(live)


def test_the_background_is_left_out_wherever_it_appears(live: Path) -> None:
    drop(live, range(2))
    (live / "in" / "air.tif").write_bytes(contents(live)[0])
    assert call(*watch("background.file=in/air.tif", "source.frames=2")).status == 0
    assert [record["name"] for record in records(live)] == ["f_000", "f_001"]


@pytest.mark.slow
def test_results_of_another_configuration_are_not_touched(live: Path) -> None:
    drop(live, range(2))
    assert call(*watch("source.frames=2")).status == 0
    before = results(live / "out")
    told = call(*watch("source.frames=2", "mask.alpha=3"))
    assert told.status == 2
    assert "another configuration" in told.err
    assert results(live / "out") == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["source.folder=nowhere"], "source.folder=nowhere: no such folder"),
        (["source.folder=null"], "source.folder"),
        (["images=data/*.tiff"], "source=watch finds its own"),
        (["source.average=2"], "not while watching"),
        (["source.pattern=/tmp/*.tif"], "a glob within source.folder"),
        (["source.idle=0"], "seconds > 0"),
        (["source.frames=0"], "a number of frames >= 1"),
        (["source.settle=-1"], "seconds >= 0"),
        (["source.idle=0.1"], "no complete file matches source.pattern=*.tif, in source.idle=0.1 seconds"),
        (["dry_run=true"], "a run would wait"),
        (["-m", "mask.alpha=1,2"], "not in a sweep"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_watched_is_refused(live: Path, words: list[str], said: str) -> None:
    told = call(*watch(*words))
    assert told.status == 2
    assert said in told.err


GROWS = """
import time, h5py, tifffile
raw = [tifffile.imread(f"data/ni_{number}.tiff") for number in (1, 2, 3)]
for number in range(0, 8, 2):
    with h5py.File("in/scan.h5", "a") as file:
        stack = file.require_dataset("data", (0, 120, 100), "u2", maxshape=(None, 120, 100), chunks=(1, 120, 100)) \
            if not number else file["data"]
        for at in (number, number + 1):
            stack.resize(at + 1, 0)
            stack[at] = raw[at % 3]
            time.sleep(0.05)
    time.sleep(0.5)
"""


@pytest.mark.slow
def test_a_stack_that_grows_gives_each_frame_once(live: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", GROWS], cwd=live) as writer:
        told = call(*watch("source.pattern=*.h5", "source.frames=8", "source.idle=10"))
        assert told.status == 0, told.err
        assert writer.wait(LIMIT) == 0
    assert [record["name"] for record in records(live)] == [f"scan_{number:04d}" for number in range(8)]
    assert {record["status"] for record in records(live)} == {"done"}
    assert call("poni=data/tiny.poni", "images=in/scan.h5", "output_dir=plain", *FAST).status == 0
    assert results(live / "out") == results(live / "plain")


@pytest.mark.slow
def test_the_page_shows_what_is_done_and_reloads_itself_until_the_run_ends(
    live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xrdpipe.execution.live.REPORT_INTERVAL", 0.5)
    page = live / "out" / "report.html"
    with chromium() as browser:
        drop(live, range(3))

        def look() -> None:
            wait_for(page.exists)
            browser.open(page)
            seen.append(browser.texts(".verdict")[0])
            browser.run("scrollTo(0, 100)")
            drop(live, range(3, 5))
            wait_for(lambda: "5 of 5" in browser.texts(".verdict")[0])
            seen.append(browser.texts(".verdict")[0])
            seen.append(browser.run("return scrollY"))
            drop(live, range(5, 6))

        seen: list[object] = []
        thread = meanwhile(look)
        assert call(*watch("report=true", "source.frames=6", "source.idle=60")).status == 0
        thread.join()
        assert "running" in str(seen[0])
        assert seen[2] == 100
        wait_for(lambda: "done" in browser.texts(".verdict")[0] and "6 of 6" in browser.texts(".verdict")[0])
        assert browser.run("return 'running' in document.documentElement.dataset") is False
        assert not browser.problems()
