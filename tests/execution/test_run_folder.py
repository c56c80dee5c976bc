"""A run over many frames: what it leaves, what it refuses to touch, and that the same input gives the same bytes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from command import FAST, P, call, results, run_record, summary_rows, tree


def test_a_folder_takes_more_frames_of_the_same_configuration(here: Path) -> None:
    assert call(P, "data/ni_1.tiff", *FAST, "output_dir=out").status == 0
    first = results(here / "out")
    assert call(P, "data/ni_2.tiff", "data/ni_3.tiff", "plot=none", "integ.npt=100", "output_dir=out").status == 0
    assert [row["name"] for row in summary_rows(here / "out")] == ["ni_1", "ni_2", "ni_3"]
    assert [image["name"] for image in run_record(here / "out")["images"]] == ["ni_1", "ni_2", "ni_3"]
    assert first.items() <= results(here / "out").items()


def test_a_frame_that_failed_can_be_tried_again(here: Path) -> None:
    assert call(P, "data/ni_1.tiff", "data/late.tiff", *FAST, "output_dir=out").status == 1
    shutil.copy("data/ni_2.tiff", "data/late.tiff")
    assert call(P, "data/late.tiff", *FAST, "output_dir=out").status == 0
    assert [(row["name"], row["status"]) for row in summary_rows(here / "out")] == [("ni_1", "done"), ("late", "done")]


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
    assert [row["name"] for row in summary_rows(here / "out")] == ["ni_1"]


def test_images_of_one_stem_never_overwrite_each_other(here: Path, frames: list[Path]) -> None:
    for number, name in enumerate(("a/x.tiff", "b/x.tiff", "y.tif", "y.tiff", "Z.tiff", "z.tiff")):
        (here / name).parent.mkdir(exist_ok=True)
        shutil.copy(frames[number % 3], here / name)
    told = call(P, "a/x.tiff", "b/x.tiff", "y.tif", "y.tiff", "Z.tiff", "z.tiff", *FAST, "output_dir=out")
    assert told.status == 0
    names = {row["file"]: row["name"] for row in summary_rows(here / "out")}
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
    assert [row["name"] for row in summary_rows(here / "out")] == ["x", "b_x"]
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
    assert {Path(image["file"]).name for image in run_record(here / "out")["images"]} == set(names)


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
