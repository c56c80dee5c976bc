"""A run over many frames: what it leaves, what it refuses to touch, and that the same input gives the same bytes."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from command import FAST, LIMIT, call, results, start, tree, xrdpipe

from xrdpipe import __version__
from xrdpipe.execution import progress


@pytest.fixture
def here(data: Path, poni: Path, frames: list[Path], air: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(data.parent)
    return data.parent


P = "poni=data/tiny.poni"


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "summary.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def record(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return loaded


def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, f"still waiting for {what}"
        time.sleep(0.02)


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
    rows = table(here / "out")
    assert list(rows[0])[:6] == ["file", "name", "status", "masked_fraction", "seconds", "error"]
    assert [row["name"] for row in rows] == names
    assert float(rows[0]["masked_fraction"]) == pytest.approx(mask.mean(), abs=1e-6)
    assert "3 of 3 frames done" in told.out


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
    made = record(here / "out")
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
    assert [row["name"] for row in table(here / "glob")] == ["f_1", "f_2", "f_10"]
    assert [row["name"] for row in table(here / "list")] == ["f_10", "f_1"]


def test_two_stars_and_lists_of_paths_find_frames(here: Path, frames: list[Path]) -> None:
    (here / "data" / "deep" / "er").mkdir(parents=True)
    shutil.copy(frames[0], here / "data" / "deep" / "er" / "x.tiff")
    (here / "list.txt").write_text("data/ni_2.tiff\n\ndata/ni_1.tiff\n")
    call(P, "images=[data/**/x.tiff,@list.txt]", "@list.txt", *FAST, "output_dir=out")
    assert [row["name"] for row in table(here / "out")] == ["x", "ni_2", "ni_1"]


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
    assert [row["name"] for row in table(here / "out")] == ["ni_1", "ni_2", "ni_3"]


def test_a_mask_on_disk_can_be_passed_back_whatever_the_transform(here: Path) -> None:
    words = [P, "data/ni_1.tiff", "source.transform=[flipud,fliplr]", "output.mask=true", *FAST]
    assert call(*words, "output_dir=a").status == 0
    assert call(*words, "mask=none", "mask.file=a/masks/ni_1.npy", "output_dir=b").status == 0
    assert results(here / "a", "masks/*") == results(here / "b", "masks/*")


def test_a_folder_takes_more_frames_of_the_same_configuration(here: Path) -> None:
    assert call(P, "data/ni_1.tiff", *FAST, "output_dir=out").status == 0
    first = results(here / "out")
    assert call(P, "data/ni_2.tiff", "data/ni_3.tiff", "plot=none", "integ.npt=100", "output_dir=out").status == 0
    assert [row["name"] for row in table(here / "out")] == ["ni_1", "ni_2", "ni_3"]
    assert [image["name"] for image in record(here / "out")["images"]] == ["ni_1", "ni_2", "ni_3"]
    assert first.items() <= results(here / "out").items()


def test_a_frame_that_failed_can_be_tried_again(here: Path) -> None:
    assert call(P, "data/ni_1.tiff", "data/late.tiff", *FAST, "output_dir=out").status == 1
    shutil.copy("data/ni_2.tiff", "data/late.tiff")
    assert call(P, "data/late.tiff", *FAST, "output_dir=out").status == 0
    assert [(row["name"], row["status"]) for row in table(here / "out")] == [("ni_1", "done"), ("late", "done")]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("data/ni_2.tiff mask.alpha=3", "mask.alpha: 2.0 there, 3.0 now"),
        ("data/ni_2.tiff background.file=data/air.tiff", "background"),
        ("data/ni_1.tiff", "ni_1.chi is already there"),
        ("data/ni_1.tiff data/ni_2.tiff", "ni_1.chi is already there"),
    ],
)
def test_results_are_never_mixed_or_replaced_unasked(words: str, expected: str, here: Path) -> None:
    assert call(P, "data/ni_1.tiff", *FAST, "output_dir=out").status == 0
    before = tree(here)
    told = call(P, *words.split(), *FAST, "output_dir=out")
    assert told.status == 2
    assert expected in told.err
    assert "overwrite=true" in told.err
    assert tree(here) == before


@pytest.mark.slow
def test_another_geometry_is_another_configuration(here: Path, poni: Path) -> None:
    assert call(P, "data/ni_1.tiff", *FAST, "output_dir=out").status == 0
    poni.write_text(poni.read_text().replace("Distance: 0.5", "Distance: 0.6"))
    told = call(P, "data/ni_2.tiff", *FAST, "output_dir=out")
    assert told.status == 2
    assert "distance" in told.err


def test_somebody_elses_file_is_not_replaced(here: Path) -> None:
    (here / "out").mkdir()
    (here / "out" / "ni_1.chi").write_text("mine")
    told = call(P, "data/ni_1.tiff", *FAST, "output_dir=out")
    assert (told.status, list(tree(here / "out").values())) == (2, [b"mine"])
    assert "ni_1.chi" in told.err


def test_overwrite_replaces_results_of_another_configuration(here: Path) -> None:
    assert call(P, "images=data/ni_*.tiff", *FAST, "output_dir=out").status == 0
    assert call(P, "data/ni_1.tiff", *FAST, "mask.alpha=3", "output_dir=fresh").status == 0
    assert call(P, "data/ni_1.tiff", *FAST, "mask.alpha=3", "output_dir=out", "overwrite=true").status == 0
    assert results(here / "out") == results(here / "fresh")
    assert [row["name"] for row in table(here / "out")] == ["ni_1"]


def test_images_of_one_stem_never_overwrite_each_other(here: Path, frames: list[Path]) -> None:
    for number, name in enumerate(("a/x.tiff", "b/x.tiff", "y.tif", "y.tiff", "Z.tiff", "z.tiff")):
        (here / name).parent.mkdir(exist_ok=True)
        shutil.copy(frames[number % 3], here / name)
    told = call(P, "a/x.tiff", "b/x.tiff", "y.tif", "y.tiff", "Z.tiff", "z.tiff", *FAST, "output_dir=out")
    assert told.status == 0
    names = {row["file"]: row["name"] for row in table(here / "out")}
    assert (names["a/x.tiff"], names["b/x.tiff"]) == ("a_x", "b_x")
    assert len({name.casefold() for name in names.values()}) == 6
    for file, name in names.items():
        assert f"image: {Path(file).name} " in (here / "out" / f"{name}.chi").read_text()


def test_a_name_once_given_stays_with_its_image(here: Path, frames: list[Path]) -> None:
    for name in "ab":
        (here / name).mkdir()
        shutil.copy(frames[0], here / name / "x.tiff")
    assert call(P, "a/x.tiff", *FAST, "output_dir=out").status == 0
    first = results(here / "out")
    assert call(P, "b/x.tiff", *FAST, "output_dir=out").status == 0
    assert [row["name"] for row in table(here / "out")] == ["x", "b_x"]
    assert first.items() <= results(here / "out").items()
    assert call(P, "a/x.tiff", *FAST, "output_dir=out").status == 2


HARD = [
    "two words.tiff",
    "quo'te.tiff",
    'quo"te.tiff',
    "$RUN.tiff",
    "do${llar.tiff",
    "in${oc.env:HOME}.tiff",
    "T=300.tiff",
    "run[0-9].tiff",
    "a,b.tiff",
    "{x}.tiff",
    "(x).tiff",
    "müßig 試料.tiff",
    "two\nlines.tiff",
    "-dash.tiff",
    "back\\slash.tiff",
    "~tilde.tiff",
    "#hash; rm *.tiff",
    "50%s.tiff",
    "null.tiff",
    "[red]rich.tiff",
    os.fsdecode(b"latin-\xe9.tiff"),
]


@pytest.mark.parametrize("way", ["bare", "key", "glob", "list"])
def test_no_name_of_a_file_is_too_hard(way: str, here: Path, frames: list[Path]) -> None:
    (here / "hard").mkdir()
    for name in HARD:
        shutil.copy(frames[0], here / "hard" / name)
    names = HARD
    if way == "list":
        names = [name for name in HARD if "\n" not in name and name.isprintable()]
        (here / "list.txt").write_text("\n".join(f"hard/{name}" for name in names), encoding="utf-8")
    words = {
        "bare": [f"hard/{name}" for name in names],
        "key": [f"images=hard/{names[0]}", *(f"hard/{name}" for name in names)],
        "glob": ["images=hard/*"],
        "list": ["@list.txt"],
    }[way]
    told = call(P, *words, *FAST, "mask.edge=5", "output_dir=out")
    assert told.status == 0, told
    made = {path.stem for path in (here / "out").glob("*.chi")}
    assert made == {Path(name).stem for name in names}
    assert all(np.loadtxt(path, encoding="utf-8").shape[1] == 2 for path in (here / "out").glob("*.chi"))
    assert {Path(image["file"]).name for image in record(here / "out")["images"]} == set(names)


@pytest.mark.parametrize("name", HARD)
def test_no_name_is_too_hard_for_a_background_file_or_folder(name: str, here: Path, frames: list[Path]) -> None:
    shutil.copy("data/air.tiff", here / name)
    given = f"./{name}"
    told = call(P, "data/ni_1.tiff", f"background.file={given}", f"output_dir=out/{name}", *FAST)
    assert told.status == 0, told
    assert (here / "out" / name / "ni_1.chi").exists()


def test_a_leading_dash_is_a_name_after_a_dot_slash_or_when_the_file_exists(here: Path) -> None:
    shutil.copy("data/ni_1.tiff", "-x=3.tiff")
    assert call(P, "./-x=3.tiff", *FAST, "output_dir=a").status == 0
    assert call(P, *FAST, "output_dir=b", "--", "-x=3.tiff").status == 0
    assert results(here / "a") == results(here / "b")


def test_values_that_hydra_cannot_read_are_text(here: Path) -> None:
    assert call(P, "data/ni_1.tiff", *FAST, "integ.unit=q_nm^-1", "output_dir=out").status == 0
    assert "q_nm^-1" in (here / "out" / "ni_1.chi").read_text()


@pytest.mark.slow
def test_ctrl_c_stops_at_once_and_what_is_done_is_saved(here: Path, poni: Path) -> None:
    # Frames large enough that there are always some to come.
    count = 400
    poni.write_text(poni.read_text().replace("[120, 100]", "[600, 500]").replace("0.001", "0.0002"))
    tifffile.imwrite("data/big.tiff", np.random.default_rng(0).poisson(100, (600, 500)).astype(np.uint16))
    for number in range(count):
        os.link("data/big.tiff", f"data/f_{number}.tiff")
    out = here / "out"
    process = start(P, "images=data/f_*.tiff", "output.mask=true", "output_dir=out", cwd=here)
    until(lambda: len(list(out.glob("*.chi"))) >= 5 or process.poll() is not None, "the first frames")
    os.killpg(process.pid, signal.SIGINT)
    told_out, told_err = process.communicate(timeout=LIMIT)
    assert process.returncode == 130, (told_out, told_err)
    stopped = re.search(rf"stopped after (\d+) of {count} frames", told_err)
    assert stopped, told_err
    assert "Traceback" not in told_err
    rows = {row["name"]: row["status"] for row in table(out)}
    done = {name for name, status in rows.items() if status == "done"}
    assert 3 <= len(done) < count
    assert set(rows.values()) == {"done", "waiting"}
    assert record(out)["status"] == "stopped"
    assert {path.stem for path in out.glob("*.chi")} == done
    assert done <= {path.stem for path in (out / "masks").glob("*.npy")}
    assert all((out / "figures" / f"{name}_pattern.png").exists() for name in done)
    assert not [name for name in tree(out) if name.endswith(".part")]
    assert len({path.read_bytes()[-200:] for path in out.glob("*.chi")}) == 1  # all whole


@pytest.mark.slow
def test_stopped_worker_processes_leave_no_broken_files(here: Path) -> None:
    for copy in range(400):
        os.link("data/ni_1.tiff", f"data/f_{copy}.tiff")
    out = here / "out"
    keys = ["output.mask=true", "parallel.backend=loky", "parallel.n_jobs=2", "output_dir=out"]
    process = start(P, "images=data/f_*.tiff", *keys, cwd=here)
    until(lambda: len(list(out.glob("*.chi"))) >= 3 or process.poll() is not None, "the first frames")
    os.killpg(process.pid, signal.SIGTERM)
    told = process.communicate(timeout=LIMIT)
    assert process.returncode == 130, told
    assert "Traceback" not in told[1]
    done = {row["name"] for row in table(out) if row["status"] == "done"}
    assert {path.stem for path in out.glob("*.chi")} == done
    assert len({path.read_bytes()[-200:] for path in out.glob("*.chi")}) == 1
    assert not [name for name in tree(out) if name.endswith(".part")]


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
    failed = {row["name"]: row["error"] for row in table(here / "out") if row["status"] == "failed"}
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
    words = [word for word in record(here / "a")["command"] if not word.startswith("output_dir=")]
    assert call(*words, "output_dir=b").status == 0
    assert results(here / "a") == results(here / "b")


def test_the_saved_configuration_is_one_to_run_with(here: Path) -> None:
    assert call(P, "data/ni_1.tiff", "mask=strict", "mask.edge=7", *FAST, "output_dir=a").status == 0
    (here / "saved").mkdir()
    text = (here / "a" / ".hydra" / "config.yaml").read_text()
    (here / "saved" / "again.yaml").write_text(f"defaults: [config, _self_]\n{text}")
    assert call("--config-dir=saved", "--config-name=again", "output_dir=b").status == 0
    assert results(here / "a") == results(here / "b")


@pytest.mark.slow
def test_the_program_can_be_killed_while_it_writes_and_no_half_file_has_a_name(here: Path) -> None:
    for number in range(100):
        os.link("data/ni_1.tiff", f"data/f_{number}.tiff")
    out = here / "out"
    process = start(P, "images=data/f_*.tiff", "output_dir=out", cwd=here, stderr=subprocess.DEVNULL)
    until(lambda: len(list(out.glob("*.chi"))) >= 3 or process.poll() is not None, "the first frames")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=LIMIT)
    assert len({path.read_bytes()[-200:] for path in out.glob("*.chi")}) == 1


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


def test_a_report_of_no_run_is_refused(here: Path) -> None:
    told = call("report", "data")
    assert (told.status, told.out) == (2, "")
    assert "neither a run nor a sweep" in told.err
    assert call("report").status == 2


@pytest.mark.slow
def test_worker_processes_follow_to_another_folder(here: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(here / "data", elsewhere / "data")
    for folder in (here, elsewhere):
        os.chdir(folder)
        keys = ("parallel.backend=loky", "parallel.n_jobs=2", "quiet=true", "output_dir=out")
        assert call(P, "images=data/ni_*.tiff", *FAST, *keys).status == 0
        assert len(results(folder / "out")) == 3
