"""What a large number of frames costs: memory and time before the first frame do not grow with it."""

from __future__ import annotations

import csv
import json
import os
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from command import call

from xrdpipe.execution import listing
from xrdpipe.execution.engines import local
from xrdpipe.execution.plan import Plan
from xrdpipe.io.files import list_frames
from xrdpipe.io.paths import expand, numbered
from xrdpipe.model.record import Outcome, Record, pending_record
from xrdpipe.model.reference import Reference
from xrdpipe.results.folder import Folder
from xrdpipe.stages.simulation import Simulation

SIDE = 8
WORDS = ("mask.edge=0", "integ.npt=20", "plot=none", "quiet=true", "parallel.n_jobs=1")


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a geometry for small frames, as working directory."""
    monkeypatch.chdir(tmp_path)
    simulation = Simulation(shape=(SIDE, SIDE), pixel=(0.05, 0.05))
    Path("tiny.poni").write_text(simulation.poni_text(), encoding="utf-8")
    return tmp_path


def stack(path: str, count: int) -> str:
    """A stack of so many equal frames."""
    frames = np.full((count, SIDE, SIDE), 7, "u1")
    with h5py.File(path, "w") as file:
        file.create_dataset("/entry/data/data", data=frames, chunks=(min(count, 1000), SIDE, SIDE), compression=1)
    return path


def files(folder: str, count: int, **others: int) -> str:
    """Numbered files with one frame; ``others`` have more."""
    os.mkdir(folder)
    image = np.random.default_rng(0).poisson(50, (SIDE, SIDE)).astype(np.uint8)
    for number in range(count):
        tifffile.imwrite(f"{folder}/f_{number:03d}.tif", image, photometric="minisblack")
    for name, frames in others.items():
        tifffile.imwrite(f"{folder}/{name}.tif", np.stack([image] * frames), photometric="minisblack")
    return f"{folder}/*.tif"


def rows(folder: str = "out") -> list[dict[str, Any]]:
    content: dict[str, Any] = json.loads(Path(folder, "run.json").read_text(encoding="utf-8"))
    return list(content["images"])


def test_a_plan_of_a_million_frames_makes_no_million_objects(work: Path) -> None:
    values = {"poni": "tiny.poni", "images": stack("many.h5", 1_000_000), **_groups()}
    Plan.of({**values, "images": stack("few.h5", 10)}, {}, False, {})
    tracemalloc.start()
    plan = Plan.of(values, {}, True, {})
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 10_000_000
    assert len(plan.images) == len(plan.waiting) == 1_000_000
    assert plan.images[-1] == Reference("many_999999", Path("many.h5"), None, "/entry/data/data", 999_999)
    assert plan.shown == {f"many_{number}" for number in ("0000", 250_000, 500_000, 749_999, 999_999)}


def _groups() -> dict[str, Any]:
    from xrdpipe.config.loader import Loader, force_overrides, to_builtin

    return {
        key: each
        for key, each in to_builtin(Loader(None).compose(force_overrides(list(WORDS)))).items()
        if key not in ("poni", "images")
    }


@pytest.mark.slow
def test_a_record_takes_a_hundred_bytes_of_memory_at_most(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process, real = local.process_frame, list[Outcome]()

    def made_up(recipe: Any, image: Reference, keep: bool, show: bool = False) -> Outcome:
        if not real:
            real.append(process(recipe, image, keep, show))
            return real[0]
        own = pending_record(image)
        return Outcome(replace(real[0].record, file=own.file, name=own.name, path=own.path))

    monkeypatch.setattr(local, "process_frame", made_up)
    most = {}
    for count in (1000, 1000, 6000):  # the first run imports and compiles
        real.clear()
        tracemalloc.start()
        told = call(
            "poni=tiny.poni",
            stack(f"{count}.h5", count),
            *WORDS,
            f"output_dir=out{count}",
            "report=false",
            "overwrite=true",
        )
        _, most[count] = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert told.status == 0, told.err
    assert (most[6000] - most[1000]) / 5000 < 100
    assert len(rows("out6000")) == 6000
    with open("out6000/summary.csv", encoding="utf-8", newline="") as table:
        assert [row["name"] for row in csv.DictReader(table)] == [f"6000_{number:04d}" for number in range(6000)]


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few files count as many."""
    monkeypatch.setattr(listing, "MANY", 10)


@pytest.mark.slow
def test_many_numbered_files_give_the_same_results_as_few(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = files("in", 12, f_003=3, f_012=2)
    assert call("poni=tiny.poni", images, *WORDS, "output_dir=early").status == 0
    opened: list[Path] = []
    monkeypatch.setattr(listing, "MANY", 10)
    monkeypatch.setattr(listing.files, "list_frames", lambda path: opened.append(path) or list_frames(path))
    for jobs in (1, 2):
        opened.clear()
        assert call("poni=tiny.poni", images, *WORDS, f"parallel.n_jobs={jobs}", f"output_dir=late{jobs}").status == 0
        assert sorted(set(opened)) == [Path(f"in/f_{number:03d}.tif") for number in range(13)]
        early, now = rows("early"), rows(f"late{jobs}")
        assert [row["name"] for row in now] == [row["name"] for row in early]
        assert [(row["path"], row["hash"], row["outputs"]) for row in now] == [
            (row["path"], row["hash"], row["outputs"]) for row in early
        ]
    assert [row["name"] for row in now][3:6] == ["f_003_0000", "f_003_0001", "f_003_0002"]


@pytest.mark.slow
@pytest.mark.usefixtures("late")
def test_many_files_among_which_one_cannot_be_read_fail_alone(work: Path) -> None:
    images = files("in", 12)
    Path("in/f_000.tif").write_bytes(b"nothing")
    told = call("poni=tiny.poni", images, *WORDS, "output_dir=out")
    assert told.status == 1
    assert [row["status"] for row in rows()] == ["failed"] + ["done"] * 11


@pytest.mark.usefixtures("late")
def test_a_background_among_many_files_is_left_out(work: Path) -> None:
    images = files("in", 12)
    told = call("poni=tiny.poni", images, *WORDS, "background.file=in/f_004.tif", "output_dir=out", "quiet=false")
    assert "in/f_004.tif is a background" in told.err
    assert "f_004" not in [row["name"] for row in rows()]


@pytest.mark.usefixtures("late")
def test_results_of_many_files_are_refused_a_folder_that_holds_some(work: Path) -> None:
    images = files("in", 12)
    assert call("poni=tiny.poni", images, *WORDS, "output_dir=out").status == 0
    told = call("poni=tiny.poni", images, *WORDS, "output_dir=out")
    assert told.status == 2
    assert "f_000.chi is already there" in told.err
    assert (
        "12 of 12 images were done before"
        in call("poni=tiny.poni", images, *WORDS, "resume=true", "output_dir=out", "quiet=false").err
    )


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (["f_1.tif", "f_10.tif"], "*.tif"),  # of two lengths
        (["f_1.tif", "g_1.tif"], "*.tif"),  # other letters
        (["f_1.tif", "f_1.edf"], "*"),
        (["é_1.tif", "é_2.tif"], "*.tif"),
        (["f.001", "f.002"], "f.*"),  # one stem
        (["f_1.tif"], "*.tif"),  # too few
    ],
)
def test_names_that_are_not_numbered_are_left_to_expand(tmp_path: Path, names: list[str], pattern: str) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert numbered(f"{tmp_path}/{pattern}", 2) is None


def test_numbered_files_are_those_of_the_glob_in_its_order(tmp_path: Path) -> None:
    for number in (7, 12, 3, 40):
        (tmp_path / f"a2_{number:03d}_x.tif").touch()
    for name in (".a2_001_x.tif", "a2_001_x.edf"):
        (tmp_path / name).touch()
    found = numbered(f"{tmp_path}/*.tif", 2)
    assert found is not None
    before, width, after, numbers = found
    paths = [Path(f"{before}{number:0{width}d}{after}") for number in numbers]
    assert paths == expand(f"{tmp_path}/*.tif")
    (tmp_path / "a2_050_x.tif").symlink_to(tmp_path / "a2_040_x.tif")
    assert numbered(f"{tmp_path}/*.tif", 2) is None


def test_a_killed_run_of_another_configuration_leaves_no_file_of_a_frame_in_work(work: Path) -> None:
    folder = Folder(Path("out"))
    run = {"program": "xrdpipe", "identity": {"a": 1}, "files": ["*.chi"], "waiting": [["s_", 0, 3, 4, ""], "t"]}
    folder.begin({**run, "status": "running"}, {name: [f"{name}.chi"] for name in ("s_0000", "s_0001", "s_0002", "t")})
    folder.note(Record("s.h5", "s_0000", "done", outputs={"s_0000.chi": ""}))
    for name in ("s_0000", "s_0001", "t", "mine"):
        Path(f"out/{name}.chi").touch()
    Folder(Path("out")).begin({**run, "identity": {"a": 2}, "waiting": []}, {"u": ["u.chi"]})
    assert [path.name for path in Path("out").glob("*.chi")] == ["mine.chi"]
