"""What cannot be is refused before anything is written; a bad frame fails alone. Always in one or two lines."""

from __future__ import annotations

import csv
import json
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from command import FAST, LIMIT, P, call, start, tree, xrdpipe

from xrdpipe import ConfigError, integrate

F = "data/ni_1.tiff"
USUAL = f"{P} {F}"

SHAPE = (120, 100)


# what is typed -> what the message must say
REFUSED = {
    # inputs
    P: ["images", "missing"],
    F: ["poni", "missing"],
    f"{P} images=data/none_*.tiff": ["data/none_\\*.tiff", "no file matches"],
    f"{P} images=@data/empty.txt": ["@data/empty.txt", "empty"],
    f"{P} images=@data/none.txt": ["@data/none.txt", "cannot be read"],
    f"poni=data/none.poni {F}": ["poni=data/none.poni", "no such file"],
    f"poni=data {F}": ["poni=data", "not a file"],
    f"poni=data/empty.poni {F}": ["empty.poni", "empty"],
    f"poni=data/words.poni {F}": ["words.poni", "not a PONI", "distance"],
    f"poni=data/garbled.poni {F}": ["garbled.poni", "distance", "'far'", "number"],
    f"poni=data/negative.poni {F}": ["negative.poni", "distance", "-0.5"],
    f"poni=data/shape.poni {F}": ["shape.poni", "max_shape is \\['a', 'b'\\], two numbers"],
    f"poni=data/far.poni {F}": ["far.poni", "distance is 10000000.0, which cannot be"],
    f"poni=data/half.poni {F}": ["half.poni", "distance"],
    f"poni=data/binary.poni {F}": ["binary.poni", "not a text file"],
    f"poni=data/no_wavelength.poni {F}": ["integ.unit=q_A", "wavelength", "no_wavelength.poni"],
    f"poni=data/pilatus.poni {F}": ["pilatus.poni", "1043 x 981", "120 x 100"],
    f"poni=data/pilatos.poni {F}": ["pilatos.poni", "pilatus1m"],
    f"{USUAL} background.file=data/none.tiff": ["background", "data/none.tiff", "no such file"],
    f"{USUAL} background.dark_file=data": ["dark", "data", "not a file"],
    f"{USUAL} background.file=data/small.tiff": ["background", "small.tiff", "12 x 10", "ni_1.tiff", "120 x 100"],
    f"{USUAL} background.file=data/empty.txt": ["empty.txt", "empty"],
    f"{P} data/air.tiff background.file=data/air.tiff": ["images", "background"],
    f"{USUAL} mask.file=data/none.npy": ["mask", "data/none.npy", "no such file"],
    f"{USUAL} mask.file=data/of_greys.npy": ["mask.file", "of_greys.npy", "more values than 0"],
    f"{USUAL} mask.file=data/of_objects.npy": ["of_objects.npy", "npy"],
    f"{USUAL} mask.file=data/small.npy": ["mask.file", "small.npy", "12 x 10", "120 x 100"],
    f"{USUAL} mask.file=data/all.npy": ["mask.file", "every pixel"],
    # values
    f"{USUAL} integ.unit=q_B": ["integ.unit=q_B", "q_A"],
    f"{USUAL} integ.unit=2th_degree": ["integ.unit=2th_degree", "2th_deg"],
    f"{USUAL} integ.method=foo": ["integ.method=foo", "splitpixel"],
    f"{USUAL} integ.method=[full,csr,fortran]": ["integ.method", "fortran", "cython"],
    f"{USUAL} plot.image.cmap=viridi": ["plot.image.cmap=viridi", "'viridis'"],
    f"{USUAL} plot.image.colormap=gray": ["plot.image.colormap", "'cmap'"],
    f"{USUAL} plot.pattern.colour=red": ["plot.pattern.colour", "'color'"],
    f"{USUAL} integ.npt=0": ["integ.npt=0"],
    f"{USUAL} integ.npt=-5": ["integ.npt=-5"],
    f"{USUAL} integ.npt=1.5": ["integ.npt=1.5", "int"],
    f"{USUAL} integ.npt=12001": ["integ.npt=12001", "pixels", "120 x 100"],
    f"{USUAL} integ.radial_range=[3,1]": ["integ.radial_range", "smaller one first"],
    f"{USUAL} integ.radial_range=[70,80]": ["integ.radial_range", "outside the detector", "q_A"],
    f"{USUAL} integ.radial_range=3": ["integ.radial_range=3"],
    f"{USUAL} integ.error_model=poison": ["integ.error_model=poison", "'poisson'"],
    f"{USUAL} mask.alpha=abc": ["mask.alpha=abc", "a number or null expected"],
    f"{USUAL} mask.edge=60": ["mask.edge=60", "every pixel"],
    f"{USUAL} mask.lower_thresh=nan": ["mask.lower_thresh=nan"],
    f"{USUAL} background.scale=-1": ["background.scale=-1"],
    f"{USUAL} source.transform=[flipp]": ["source.transform=flipp", "flip(lr|ud)"],
    f"{USUAL} output.format=xyz": ["output.format=xyz", "chi"],
    f"{USUAL} parallel.n_jobs=0": ["parallel.n_jobs=0", "-1"],
    f"{USUAL} parallel.backend=dusk": ["parallel.backend=dusk", "loky"],
    f"{USUAL} overwrite=maybe": ["overwrite=maybe", "true or false expected"],
    # names
    f"{USUAL} mask=nope": ["mask=nope", "'none'"],
    f"{USUAL} maks=strict": ["maks", "'mask'"],
    f"{USUAL} mask=null": ["group", "null"],
    f"{USUAL} mask.alhpa=3": ["mask.alhpa", "'mask.alpha'"],
    f"{USUAL} +mask.alhpa=3": ["mask.alhpa", "'mask.alpha'"],
    f"{USUAL} ++mask.alhpa=3": ["mask.alhpa", "'mask.alpha'"],
    f"{USUAL} overwrit=true": ["overwrit", "'overwrite'"],
    f"{USUAL} +overwrit=true": ["overwrit", "'overwrite'"],
    f"{USUAL} stages=[mask,intec,output]": ["stages", "intec", "integ"],
    f"{USUAL} stages=[mask,mask]": ["stages", "mask", "twice"],
    f"{USUAL} mask.alpha=1,2": ["mask.alpha=1,2", "-m"],
    f"{USUAL} --config-dir conf mask=typo": ["mask.alhpa", "'mask.alpha'"],
    f"{USUAL} --config-dir conf mask=torn": ["torn.yaml", "line 1"],
    f"{USUAL} --config-dir conf mask=bare": ["mask", "_target_"],
    f"{USUAL} --config-dir conf mask=wrong": ["mask.alpha=many", "a number or null expected"],
    f"{USUAL} --config-dir conf --config-name top": ["overwrit", "'overwrite'"],
    f"{USUAL} --config-dir nowhere": ["nowhere", "no such folder"],
    f"{USUAL} --config-name nothing": ["nothing"],
    f"{USUAL} --bogus": ["--bogus"],
    # where to
    f"{USUAL} output_dir=data/tiny.poni/out": ["output_dir", "tiny.poni", "not a folder"],
    f"{USUAL} output_dir=/proc/out": ["output_dir=/proc/out", "cannot be made|not writable"],
    f"{USUAL} hydra.run.dir=out": ["hydra.run.dir=out", "output_dir"],
    f"{USUAL} hydra.job.chdir=true": ["hydra.job.chdir"],
    # a sweep, refused as a whole
    f"-m {USUAL} integ.npt=50,60 mask.alhpa=3": ["mask.alhpa", "'mask.alpha'"],
    f"-m {USUAL} mask.alhpa=1,2 integ.npt=abc": ["integ.npt=abc"],
    f"-m {P} integ.npt=50,60": ["images", "missing"],
    f"-m {F} integ.npt=50,60": ["poni", "missing"],
    f"-m {P} images=data/none_* integ.npt=50,60": ["none_"],
    f"-m {USUAL} output_dir=a,b": ["output_dir"],
    f"-m {USUAL} hydra/launcher=none_such integ.npt=50,60": ["hydra/launcher=none_such", "joblib"],
}


@pytest.mark.slow
@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_be_is_refused_in_words_and_nothing_is_written(words: str, here: Path) -> None:
    before = tree(here)
    told = call(*words.split())
    assert told.status == 2, told
    assert told.out == ""
    lines = told.err.splitlines()
    assert 1 <= len(lines) <= 2, told.err
    assert lines[0].startswith("xrdpipe: ")
    for expected in REFUSED[words]:
        assert re.search(expected, told.err), told.err
    assert "Traceback" not in told.err
    assert "+" not in told.err.replace("log(1+q", "")  # Hydra's hint; pyFAI has a unit of that name
    assert tree(here) == before


@pytest.mark.slow
@pytest.mark.parametrize("words", [f"{USUAL} +mask.alhpa=3", f"{USUAL} mask=nope", f"poni=data/garbled.poni {F}"])
def test_the_command_refuses_with_status_2_and_a_line_of_its_own(words: str, here: Path) -> None:
    before = tree(here)
    told = xrdpipe(*words.split(), cwd=here)
    assert (told.status, told.out, len(told.err.splitlines())) == (2, "", 1), told
    assert told.err.startswith("xrdpipe: ")
    assert tree(here) == before


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join(['*' + old] * 9)}]\n" for old, new in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LAUGHS, "mine.yaml: its aliases"),
        ("alpha: &a [*a]\n", "mine.yaml: its aliases"),
        (f"alpha: {'[' * 500}{']' * 500}\n", "nested too deeply"),
    ],
)
def test_a_configuration_that_grows_beyond_measure_is_refused(text: str, expected: str, here: Path) -> None:
    (here / "huge" / "mask").mkdir(parents=True)
    (here / "huge" / "mask" / "mine.yaml").write_text(text)
    told = call(*USUAL.split(), "--config-dir=huge", "mask=mine")
    assert (told.status, told.out, len(told.err.splitlines())) == (2, "", 1), told
    assert expected in told.err


@pytest.mark.slow
def test_a_name_in_another_encoding_is_a_name(here: Path) -> None:
    shutil.copy(here / F, here / "data" / "\udcff.tiff")
    strict = {"PYTHONIOENCODING": "utf-8:strict"}
    with start(P, "data/\udcff.tiff", *FAST, "output_dir=out", cwd=here, env=strict, errors="replace") as process:
        _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert (here / "out" / "\udcff.chi").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [("output_dir=" + "x" * 5000,), ("x" * 5000,), ("images=['a\0b']",), ("\ud800",), ("-sc",), ("~x@\0",)]
)
def test_names_that_no_system_takes_are_refused(words: tuple[str, ...], here: Path) -> None:
    told = call(P, *words, *([F] if "=" in words[0] and "images" not in words[0] else []))
    assert (told.status, told.out, len(told.err.splitlines())) == (2, "", 1), told


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"integ": {"unit": "q_B"}}, "integ.unit=q_B"),
        ({"integ": {"untt": "q_A^-1"}}, "did you mean 'integ.unit'"),
        ({"mask": "nope"}, "mask=nope"),
        ({"mask": {"alpha": "abc"}}, "mask.alpha=abc"),
        ({"mazk": {"alpha": 3}}, "mazk"),
        ({"overrides": ["mask.alhpa=3"]}, "did you mean 'mask.alpha'"),
        ({"background": {"file": "none.tiff"}}, "none.tiff"),
    ],
)
def test_python_raises_what_the_command_refuses(keys: dict[str, Any], expected: str, here: Path) -> None:
    before = tree(here)
    with pytest.raises(ConfigError, match=re.escape(expected)):
        integrate("data/tiny.poni", F, **keys)
    assert tree(here) == before


@pytest.mark.slow
def test_a_bad_frame_fails_alone_with_its_name_and_reason(here: Path, frames: list[Path]) -> None:
    data, good = here / "data", frames[0].read_bytes()
    (data / "truncated.tiff").write_bytes(good[: len(good) // 2])
    (data / "head.tiff").write_bytes(good[:6])
    (data / "empty.tiff").write_bytes(b"")
    (data / "words.tiff").write_text("Dear diary, no frame today.\n")
    (data / "folder.tiff").mkdir()
    np.save(data / "objects.npy", np.array([{}, []], object))
    (data / "pickle.npy").write_bytes(pickle.dumps([1, 2]))
    pictures: dict[str, Any] = {
        "nan": np.full(SHAPE, np.nan, np.float32),
        "negative": np.full(SHAPE, -5, np.int32),
        "colour": np.zeros((*SHAPE, 3), np.uint8),
        "turned": np.ones(SHAPE[::-1], np.uint16),
        "complex": np.ones(SHAPE, np.complex64),
    }
    for name, picture in pictures.items():
        tifffile.imwrite(data / f"{name}.tiff", picture, photometric="rgb" if name == "colour" else "minisblack")
    reasons = {
        "truncated.tiff": "truncated",
        "head.tiff": "fabio|truncated",
        "empty.tiff": "empty",
        "words.tiff": "fabio",
        "folder.tiff": "folder",
        "objects.npy": "npy",
        "pickle.npy": "fabio",
        "nan.tiff": "mask.*every pixel",
        "negative.tiff": "mask.*every pixel",
        "colour.tiff": "colour",
        "turned.tiff": "100 x 120.*120 x 100",
        "complex.tiff": "complex",
        "missing.tiff": "no such file",
    }
    bad = [f"data/{name}" for name in reasons]
    told = call(P, F, *bad, frames[1], *FAST, "output_dir=out", "quiet=true")
    assert told.status == 1
    with (here / "out" / "summary.csv").open(newline="") as file:
        rows = {Path(row["file"]).name: row for row in csv.DictReader(file)}
    record = json.loads((here / "out" / "run.json").read_text())
    recorded = {Path(image["file"]).name: image for image in record["images"]}
    for name, reason in reasons.items():
        lines = [line for line in told.err.splitlines() if f"data/{name}:" in line]
        assert len(lines) == 1, told.err
        assert re.search(reason, lines[0]), lines[0]
        assert rows[name]["status"] == recorded[name]["status"] == "failed"
        assert rows[name]["error"] == recorded[name]["error"] != ""
        assert rows[name]["error"] in lines[0]
    assert "Traceback" not in told.err
    assert record["status"] == "failed"
    assert {name for name, row in rows.items() if row["status"] == "done"} == {"ni_1.tiff", "ni_2.tiff"}
    assert sorted(path.name for path in (here / "out").glob("*.chi")) == ["ni_1.chi", "ni_2.chi"]


@pytest.mark.slow
def test_an_odd_frame_that_comes_first_does_not_decide_for_the_others(here: Path, frames: list[Path]) -> None:
    tifffile.imwrite("data/a.tiff", np.ones((12, 10), np.uint16))
    told = call(P, "data/a.tiff", *frames, *FAST, "output_dir=out")
    assert told.status == 1
    assert len(list((here / "out").glob("*.chi"))) == 3


def test_when_every_frame_fails_each_is_named(here: Path) -> None:
    Path("data/x.tiff").write_bytes(b"")
    Path("data/y.tiff").write_text("no picture")
    told = call(P, "data/x.tiff", "data/y.tiff", *FAST, "output_dir=out")
    assert told.status == 1
    assert "x.tiff: the file is empty" in told.err
    assert "y.tiff: not an image" in told.err
    assert not list((here / "out").glob("*.chi"))


def test_when_no_image_exists_the_run_is_refused(here: Path) -> None:
    told = call(P, "data/x.tiff", "data/y.tiff", *FAST, "output_dir=out")
    assert told.status == 2
    assert "data/x.tiff" in told.err
    assert not (here / "out").exists()


def test_a_frame_of_zeros_is_a_frame(here: Path) -> None:
    tifffile.imwrite("data/zero.tiff", np.zeros(SHAPE, np.uint16))
    assert call(P, "data/zero.tiff", *FAST, "output_dir=out").status == 0
    assert not np.loadtxt("out/zero.chi")[:, 1].any()


def test_a_mask_that_covers_more_than_half_is_used_with_a_warning(here: Path) -> None:
    told = call(P, F, *FAST, "mask.edge=45", "output_dir=out")
    assert told.status == 0
    assert re.search(r"ni_1.tiff: \d+ % of the pixels are masked", told.err)
