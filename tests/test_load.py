"""`xrdpipe.load` gives a run back from its folder, and trusts nothing that lies there."""

from __future__ import annotations

import json
import pickle
import shutil
import signal
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import call, start

import xrdpipe
from xrdpipe import ConfigError, FrameError, Run, integrate, load
from xrdpipe.model.identity import content_hash

KEYS: dict[str, Any] = {"plot": "none", "report": False, "parallel": "serial"}
INTEG: dict[str, Any] = {"npt": 100, "error_model": "poisson", "unit": "2th_deg"}


@pytest.fixture
def here(data: Path, poni: Path, frames: list[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(data.parent)
    return data.parent


def run_of(formats: Any, integ: Any = INTEG, **keys: Any) -> Run:
    """A run of two frames and one that fails, by default in the folder out."""
    output = {"format": formats, "mask": True}
    images = ("data/ni_1.tiff", "data/ni_2.tiff", "data/none.tiff")
    return integrate("data/tiny.poni", *images, integ=integ, output=output, **{"output_dir": "out", **KEYS, **keys})


@pytest.mark.parametrize(
    "formats",
    [
        "nxs",
        ["xy", "chi"],
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("csv", "xye", "xye_topas", "fxye")),
    ],
)
def test_a_loaded_run_is_the_run_that_integrate_returned(formats: Any, here: Path) -> None:
    run, again = run_of(formats), load("out")
    assert list(again.frames) == list(run.frames)
    assert (again.status, again.judgement, again.folder) == (1, run.judgement, run.folder)
    assert again.config == run.config
    assert list(again.patterns) == list(run.patterns) == ["ni_1", "ni_2"]
    for name, pattern in run.patterns.items():
        found, full = again.patterns[name], slice(None) if formats == "nxs" else np.isfinite(pattern.intensity)
        assert (found.unit, found.method) == (pattern.unit, pattern.method)
        for column in ("radial", "intensity", "sigma"):
            values = getattr(pattern, column)[full]
            digits = 0 if formats == "nxs" else 1e-6
            np.testing.assert_allclose(getattr(found, column), values, rtol=digits, atol=0)
        assert np.array_equal(again.masks[name], run.masks[name])


@pytest.mark.slow
@pytest.mark.parametrize("formats", ["chi", "nxs"])
def test_cakes_and_sectors_come_back_too(formats: str, here: Path) -> None:
    cakes = run_of(formats, ("cake", {"npt": 40, "npt_azim": 8}))
    again = load("out")
    for name, cake in cakes.cakes.items():
        found = again.cakes[name]
        for column in ("radial", "azimuthal", "intensity"):
            assert np.array_equal(getattr(found, column), getattr(cake, column), equal_nan=True)
        assert (found.unit, found.sigma) == (cake.unit, None)
    sectors = run_of(formats, ("sectors", {"npt": 40, "number": 3}), overwrite=True)
    again = load("out")
    assert {name: list(each) for name, each in again.sectors.items()} == {
        name: list(each) for name, each in sectors.sectors.items()
    }
    for name, parts in sectors.sectors.items():
        for part, pattern in parts.items():
            found = again.sectors[name][part]
            assert found.azimuth_range == pytest.approx(pattern.azimuth_range, rel=1e-5)
            full = np.isfinite(pattern.intensity) if formats == "chi" else slice(None)
            np.testing.assert_allclose(found.intensity, pattern.intensity[full], rtol=1e-6)
    with pytest.raises(KeyError, match="integ=cake"):
        again.cakes["ni_1"]


def test_nothing_is_read_before_it_is_asked_for(here: Path) -> None:
    run_of("chi")
    for path in [*Path("out").glob("*.chi"), *Path("out").glob("masks/*")]:
        path.unlink()
    again = load("out")
    assert "ni_1" in again.patterns
    assert len(again.patterns) == len(again.masks) == 2
    with pytest.raises(FrameError, match=r"ni_1\.chi: No such file or directory; resume=true makes it again"):
        again.patterns["ni_1"]
    assert "2 of 3 frames done, 1 failed" in again._repr_html_()


def test_results_that_were_not_saved_are_named(here: Path) -> None:
    run_of("chi", output_dir="a")
    integrate("data/tiny.poni", "data/ni_1.tiff", integ={"npt": 50}, output_dir="b", **KEYS)
    assert len(load("b").masks) == 0
    with pytest.raises(KeyError, match=r"output\.mask=true"):
        load("b").masks["ni_1"]
    with pytest.raises(KeyError, match="failed, no such file"):
        load("a").patterns["none"]


def npy(about: str, content: bytes = b"") -> bytes:
    """An .npy file with this header."""
    return b"\x93NUMPY\x01\x00\x76\x00" + about.ljust(117).encode() + b"\n" + content


@pytest.mark.parametrize(
    ("what", "file"), [("patterns", "ni_1.chi"), ("masks", "masks/ni_1.npy"), ("cakes", "ni_1_cake.npz")]
)
def test_a_file_that_was_changed_is_refused(what: str, file: str, here: Path) -> None:
    run_of("chi", ("cake", {"npt": 40, "npt_azim": 8}))
    content = bytearray(Path("out", file).read_bytes())
    content[-2] ^= 1
    Path("out", file).write_bytes(content)
    with pytest.raises(FrameError, match="changed since the run wrote it"):
        getattr(load("out"), what)["ni_1"]


@pytest.mark.parametrize(
    "content",
    [
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", pickle.dumps([1])),
        npy("{'descr': '|u1', 'fortran_order': False, 'shape': (99999999, 99999), }"),
        b"not an array",
    ],
    ids=["pickle", "huge", "text"],
)
def test_a_hostile_mask_with_a_hash_that_fits_is_refused(content: bytes, here: Path) -> None:
    run_of("chi")
    replace("masks/ni_1.npy", content)
    with pytest.raises(FrameError, match="no array"):
        load("out").masks["ni_1"]


def replace(file: str, content: bytes) -> None:
    """Replace a file of the run in out, and the hash that the run recorded."""
    Path("out", file).write_bytes(content)
    run = json.loads(Path("out/run.json").read_text())
    run["images"][0]["outputs"][file] = content_hash(content)
    Path("out/run.json").write_text(json.dumps(run))


def test_a_name_that_leads_out_of_the_folder_is_refused(here: Path) -> None:
    run_of("chi")
    secret = here / "secret.chi"
    shutil.copy("out/ni_1.chi", secret)
    run = json.loads(Path("out/run.json").read_text())
    run["images"][0]["name"] = "../secret"
    run["images"][0]["outputs"] = {"../secret.chi": content_hash(secret.read_bytes())}
    Path("out/run.json").write_text(json.dumps(run))
    with pytest.raises(FrameError, match="outside the folder"):
        load("out").patterns["../secret"]


def test_what_is_no_run_says_so(here: Path) -> None:
    Path("empty").mkdir()
    Path("foreign").mkdir()
    Path("foreign/run.json").write_text("{}")
    for folder, words in (
        ("nowhere", "no such folder"),
        ("data/tiny.poni", "a file, not the folder of a run"),
        ("empty", "holds no run, it has no run.json"),
        ("foreign", "of no run of xrdpipe"),
    ):
        with pytest.raises(ConfigError, match=words):
            load(folder)


@pytest.mark.slow
def test_a_sweep_names_the_job_to_load(here: Path) -> None:
    words = ("-m", "poni=data/tiny.poni", "data/ni_1.tiff", "mask.alpha=2,3", "plot=none", "output_dir=sweep")
    assert call(*words).status == 0
    with pytest.raises(ConfigError, match=r"a sweep of 2 jobs; load one of them, as in load\('sweep/[01]'\), the best"):
        load("sweep")
    assert list(load("sweep/1").patterns) == ["ni_1"]


def test_a_run_that_was_stopped_says_what_is_there_and_how_to_go_on(here: Path) -> None:
    run_of("chi")
    record = json.loads(Path("out/run.json").read_text())
    first, *others = record["images"]
    waiting = [each["name"] for each in others]
    Path("out/run.jsonl").write_text(json.dumps(first) + "\n" + '{"file": "torn')
    Path("out/run.json").write_text(json.dumps({**record, "status": "running", "waiting": waiting, "images": []}))
    words = r"out: the run has not ended.*1 of 3 frames are done.*output_dir=out and resume=true"
    with pytest.warns(UserWarning, match=words):
        again = load("out")
    assert (again.stopped, again.status) == (True, 130)
    assert [frame.status for frame in again.frames] == ["done", "waiting", "waiting"]
    assert list(again.patterns) == ["ni_1"]
    assert "2 waiting, stopped" in repr(again)


@pytest.mark.slow
def test_a_killed_run_can_be_loaded(here: Path) -> None:
    words = ("source=demo", "source.frames=4", "plot=none", "output_dir=out", "parallel.n_jobs=1")
    with start(*words, cwd=here) as process:
        while not list(here.glob("out/*.chi")):
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    with pytest.warns(UserWarning, match="of 4 frames are done"):
        again = load("out")
    assert len(again.frames) == 4
    assert all(np.isfinite(pattern.intensity).any() for pattern in again.patterns.values())


def test_a_finished_run_loads_without_a_warning(here: Path) -> None:
    run_of("chi")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert repr(xrdpipe.load("out")) == "<Run: 2 of 3 frames done, 1 failed, in out>"
