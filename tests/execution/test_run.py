"""A run over many frames: what it leaves, what it refuses to touch, and that the same input gives the same bytes."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import tifffile
from command import FAST, LIMIT, P, call, results, run_record, start, summary_rows, tree, xrdpipe

from xrdpipe import __version__
from xrdpipe.execution import progress
from xrdpipe.execution.listeners import Journal


@pytest.mark.slow
def test_a_run_leaves_what_the_contract_lists(here: Path) -> None:
    told = call(P, "images=data/ni_*.tiff", "output.mask=true", "integ.npt=100", "output_dir=out")
    assert told.status == 0
    names = ["ni_1", "ni_2", "ni_3"]
    expected = {f"{name}.chi" for name in names} | {f"masks/{name}.npy" for name in names}
    expected |= {f"figures/{name}_{kind}.png" for name in names for kind in ("image", "pattern")}
    expected |= {f"previews/{name}.png" for name in names}
    expected |= {"summary.csv", "run.json", "report.html", "xrdpipe.log", ".hydra/config.yaml", ".hydra/overrides.yaml"}
    files = {name for name in tree(here / "out") if (here / "out" / name).is_file()}
    assert files == expected
    mask = np.load(here / "out" / "masks" / "ni_1.npy")
    assert (mask.dtype, mask.shape, set(np.unique(mask))) == (np.uint8, (120, 100), {0, 1})
    rows = summary_rows(here / "out")
    assert list(rows[0])[:6] == ["file", "name", "status", "masked_fraction", "seconds", "error"]
    assert [row["name"] for row in rows] == names
    assert float(rows[0]["masked_fraction"]) == pytest.approx(mask.mean(), abs=1e-6)
    assert "3 of 3 frames done" in told.out


@pytest.mark.parametrize("backend", ["serial", "default"])
def test_no_thread_begins_after_the_first_frame(here: Path, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python waits for ever for a thread that begins when memory has run out, see docs/reliability.md."""
    events: list[str] = []
    begin, frame = Thread.start, Journal.frame
    monkeypatch.setattr(Thread, "start", lambda thread: events.append(f"thread {thread.name}") or begin(thread))
    monkeypatch.setattr(Journal, "frame", lambda *words: events.append("frame") or frame(*words))
    words = (P, "images=data/ni_*.tiff", *FAST, "output_dir=out", f"parallel={backend}", "parallel.n_jobs=2")
    assert call(*words).status == 0
    assert events.count("frame") == 3
    assert any(event.startswith("thread ") for event in events)
    assert events[-3:] == ["frame"] * 3


def test_a_pattern_says_how_it_was_made_but_not_when_or_where(here: Path, air: Path) -> None:
    keys = ["background.file=data/air.tiff", "integ.error_model=poisson", "plot=none", "output_dir=out"]
    assert call(P, "data/ni_1.tiff", *keys).status == 0
    lines = (here / "out" / "ni_1.chi").read_text().splitlines()
    header = [line[2:] for line in lines if line.startswith("#")]
    text = "\n".join(header)
    assert lines[: len(header)] == [f"# {line}" for line in header]
    assert header[-1].split() == ["q_A^-1", "intensity", "sigma"]
    assert f"xrdpipe {__version__}" in text
    assert "pyFAI" in text
    for file in ("ni_1.tiff", "tiny.poni", "air.tiff"):
        assert re.search(rf"{file} \w+:[0-9a-f]{{32,}}", text)
    config = json.loads(next(line for line in header if line.startswith("config: ")).removeprefix("config: "))
    assert config["mask"]["alpha"] == 2.0
    assert config["background"]["file"] == "air.tiff"
    assert str(here) not in text
    assert os.uname().nodename not in text
    rows = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"( *-?\d\.\d{6}e[+-]\d\d){3}", row) for row in rows)


def test_run_json_says_what_ran_on_what(here: Path) -> None:
    words = [P, "data/ni_1.tiff", "background.file=data/air.tiff", "mask.alpha=3", *FAST, "output_dir=out"]
    assert call(*words).status == 0
    made = run_record(here / "out")
    assert made["command"] == words
    assert made["config"]["mask"]["alpha"] == 3.0
    assert set(made["versions"]) >= {"xrdpipe", "python", "numpy", "pyFAI", "fabio", "hydra", "numba"}
    assert made["status"] == "done"
    assert all(re.fullmatch(r"\w+:[0-9a-f]+", each["hash"]) for each in [*made["inputs"].values(), *made["images"]])
    assert set(made["inputs"]) == {"poni", "background"}
    assert made["images"][0]["seconds"] <= made["seconds"]
    assert made["images"][0]["method"]


@pytest.mark.slow
@pytest.mark.parametrize("keys", [["parallel.n_jobs=2"], ["parallel.backend=threading"], ["parallel.backend=loky"]])
def test_the_bytes_do_not_depend_on_the_number_of_jobs_or_the_backend(keys: list[str], here: Path) -> None:
    words = ["output.mask=true", *FAST]
    assert call(P, "data", "images=data/ni_*.tiff", *words, "parallel=serial", "output_dir=one").status == 1
    told = xrdpipe(P, "images=data/ni_*.tiff", *words, "parallel.n_jobs=2", *keys, "output_dir=many", cwd=here)
    assert told.status == 0, told
    assert len(results(here / "many")) == 6
    assert results(here / "many") == results(here / "one")


def test_without_an_output_dir_each_run_has_a_new_folder(here: Path) -> None:
    for _ in range(2):
        assert call(P, "data/ni_1.tiff", *FAST).status == 0
    folders = [path.parent for path in here.glob("outputs/*/*/ni_1.chi")]
    assert len(folders) == 2
    assert all(re.fullmatch(r"outputs/\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d(_2)?", str(f.relative_to(here))) for f in folders)


def test_a_folder_with_the_name_of_a_date_is_that_folder(here: Path) -> None:
    assert call(P, "data/ni_1.tiff", *FAST, "output_dir=2024_01_15").status == 0
    assert (here / "2024_01_15" / "ni_1.chi").exists()


def test_home_and_variables_are_expanded_in_paths(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.setenv("RUN", "run_7")
    assert call("poni=~/data/tiny.poni", "images=~/data/ni_1.tiff", *FAST, "output_dir=~/$RUN").status == 0
    assert (here / "run_7" / "ni_1.chi").exists()


def test_dry_run_says_what_would_happen_and_writes_nothing(here: Path) -> None:
    before = tree(here)
    told = call(P, "images=data/*.tiff", "background.file=data/air.tiff", "output_dir=out", "dry_run=true")
    assert told.status == 0
    for expected in ("tiny.poni", "ni_1.tiff", "air.tiff", "out", "ni_3.chi", "figures/ni_2_image.png", "Integ("):
        assert expected in told.out
    assert tree(here) == before


def test_quiet_says_failures_only(here: Path) -> None:
    told = call(P, "data/ni_1.tiff", *FAST, "mask.edge=5", "quiet=true", "output_dir=out")
    assert told == (0, "", "")
    told = call(P, "data/ni_2.tiff", "data/none.tiff", *FAST, "mask.edge=5", "quiet=true", "output_dir=out")
    assert (told.status, told.out) == (1, "")
    assert told.err.splitlines() == ["xrdpipe: failed: data/none.tiff: no such file"]


def test_where_stderr_is_no_terminal_progress_is_plain_lines(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    told = call(P, "images=data/ni_*.tiff", "data/none.tiff", *FAST, "mask.edge=5", "output_dir=out")
    lines = told.err.splitlines()
    assert any(re.fullmatch(r"xrdpipe: \d/4 frames, [\d.]+ frames/s, .* left(, 1 failed)?", line) for line in lines)
    assert "\x1b" not in told.err


@pytest.mark.slow
def test_on_a_terminal_a_bar_moves(here: Path) -> None:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    process = start(P, "images=data/ni_*.tiff", *FAST, "output_dir=out", cwd=here, stderr=theirs, env={"TERM": "xterm"})
    os.close(theirs)
    seen = b""
    try:
        while chunk := os.read(ours, 4096):
            seen += chunk
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    out, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, out
    assert "━".encode() in seen
    assert b"3/3" in seen
    assert b"\x1b[" in seen


def test_globs_are_sorted_naturally_and_an_explicit_list_keeps_its_order(here: Path, frames: list[Path]) -> None:
    for name in ("f_10", "f_2", "f_1"):
        shutil.copy(frames[0], here / "data" / f"{name}.tiff")
    call(P, "images=data/f_*.tiff", *FAST, "output_dir=glob")
    call(P, "data/f_10.tiff", "data/f_1.tiff", "data/f_10.tiff", "./data/f_1.tiff", *FAST, "output_dir=list")
    assert [row["name"] for row in summary_rows(here / "glob")] == ["f_1", "f_2", "f_10"]
    assert [row["name"] for row in summary_rows(here / "list")] == ["f_10", "f_1"]


def test_two_stars_and_lists_of_paths_find_frames(here: Path, frames: list[Path]) -> None:
    (here / "data" / "deep" / "er").mkdir(parents=True)
    shutil.copy(frames[0], here / "data" / "deep" / "er" / "x.tiff")
    (here / "list.txt").write_text("data/ni_2.tiff\n\ndata/ni_1.tiff\n")
    call(P, "images=[data/**/x.tiff,@list.txt]", "@list.txt", *FAST, "output_dir=out")
    assert [row["name"] for row in summary_rows(here / "out")] == ["x", "ni_2", "ni_1"]


def test_options_and_overrides_come_in_any_order(here: Path) -> None:
    told = call(
        "mask.edge=5", "--config-dir", "data", P, "plot=none", "data/ni_1.tiff", "integ.npt=100", "output_dir=o"
    )
    assert told.status == 0


def test_background_and_mask_files_among_the_images_are_left_out_with_a_note(here: Path) -> None:
    tifffile.imwrite("data/mask.tiff", np.zeros((120, 100), np.uint8))
    told = call(
        P, "images=data/*.tiff", "background.file=data/air.tiff", "mask.file=data/mask.tiff", *FAST, "output_dir=out"
    )
    assert told.status == 0
    assert "air.tiff" in told.err
    assert "mask.tiff" in told.err
    assert [row["name"] for row in summary_rows(here / "out")] == ["ni_1", "ni_2", "ni_3"]


def test_a_mask_on_disk_can_be_passed_back_whatever_the_transform(here: Path) -> None:
    words = [P, "data/ni_1.tiff", "source.transform=[flipud,fliplr]", "output.mask=true", *FAST]
    assert call(*words, "output_dir=a").status == 0
    assert call(*words, "mask=none", "mask.file=a/masks/ni_1.npy", "output_dir=b").status == 0
    assert results(here / "a", "masks/*") == results(here / "b", "masks/*")


@pytest.mark.slow
def test_of_40_copies_with_two_truncated_and_one_empty_37_are_done(reference: Path, here: Path) -> None:
    source = reference / "ceo2" / "CeO2_Pilatus1M.tif"
    content = source.read_bytes()
    (here / "many").mkdir()
    for number in range(40):
        copy = here / "many" / f"c_{number}.tif"
        if number in (7, 31):
            copy.write_bytes(content[: len(content) // 3])
        elif number == 12:
            copy.write_bytes(b"")
        else:
            copy.symlink_to(source)
    told = xrdpipe(
        f"poni={reference}/ceo2/CeO2_Pilatus1M.poni",
        "images=many/c_*.tif",
        "source.transform=[flipud]",
        "plot=none",
        "output_dir=out",
        cwd=here,
    )
    assert told.status == 1
    assert len(list((here / "out").glob("*.chi"))) == 37
    assert len({path.read_bytes()[-1000:] for path in (here / "out").glob("*.chi")}) == 1
    failed = {row["name"]: row["error"] for row in summary_rows(here / "out") if row["status"] == "failed"}
    assert set(failed) == {"c_7", "c_12", "c_31"}
    assert all(f"{name}.tif: {error}" in told.err for name, error in failed.items())
    assert "37 of 40 frames done, 3 failed" in told.out


@pytest.mark.slow
def test_the_series_runs_in_one_command_and_agrees_with_pyfai(reference: Path, here: Path) -> None:
    told = call(
        f"poni={reference}/series/pixium.poni",
        f"images={reference}/series/pixium_0315?.tif",
        "integ.npt=5000",
        "integ.unit=2th_deg",
        "integ.correctSolidAngle=true",
        "integ.polarization_factor=0.99",
        "mask=none",
        "plot=none",
        "output_dir=out",
    )
    assert told.status == 0
    assert len(results(here / "out", "*.chi")) == 6
    radial, intensity = np.loadtxt(here / "out" / "pixium_03150.chi", unpack=True)
    expected = np.loadtxt(reference / "series" / "pixium_03150_expected.dat")[:, :2].T
    assert np.allclose(radial, expected[0], rtol=1e-5)
    seen = expected[1] != 0
    assert np.median(np.abs(intensity[seen] / expected[1][seen] - 1)) < 1e-5


def test_a_record_is_enough_to_run_it_again(here: Path) -> None:
    assert call(P, "images=data/ni_*.tiff", "mask=strict", "mask.edge=7", *FAST, "output_dir=a").status == 0
    words = [word for word in run_record(here / "a")["command"] if not word.startswith("output_dir=")]
    assert call(*words, "output_dir=b").status == 0
    assert results(here / "a") == results(here / "b")


def test_the_saved_configuration_is_one_to_run_with(here: Path) -> None:
    assert call(P, "data/ni_1.tiff", "mask=strict", "mask.edge=7", *FAST, "output_dir=a").status == 0
    (here / "saved").mkdir()
    text = (here / "a" / ".hydra" / "config.yaml").read_text()
    (here / "saved" / "again.yaml").write_text(f"defaults: [config, _self_]\n{text}")
    assert call("--config-dir=saved", "--config-name=again", "output_dir=b").status == 0
    assert results(here / "a") == results(here / "b")


def test_a_run_ends_with_a_report_and_small_pictures_of_some_frames(here: Path) -> None:
    for number in range(9):
        os.link("data/ni_1.tiff", f"data/f_{number}.tiff")
    assert call(P, "images=data/f_*.tiff", "plot=none", "quiet=true", "output_dir=out").status == 0
    assert sorted(path.name for path in (here / "out/previews").iterdir()) == [f"f_{n}.png" for n in (0, 2, 4, 6, 8)]
    page = (here / "out/report.html").read_text()
    assert page.count('alt="Image of f_') == 5
    assert "f_7" in page
    (here / "out/report.html").unlink()
    told = call("report", "out")
    assert (told.status, told.out.strip()) == (0, str(Path("out/report.html")))
    assert call(P, "images=data/f_*.tiff", *FAST, "quiet=true", "output_dir=bare").status == 0
    assert not {"report.html", "previews"} & {path.name for path in (here / "bare").iterdir()}
