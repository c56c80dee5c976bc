"""A stage of somebody else's package, with its own YAML folder: the package in plugin/ is installed and used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from command import FAST, call, results, tree, xrdpipe

from xrdpipe import ConfigError, integrate
from xrdpipe.io.formats import read_pattern

LINE = "stages=[background,mask,integ,smooth,plot,output]"
WORDS = ("poni=data/tiny.poni", "images=data/ni_*.tiff", *FAST)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example plug-in installed into it."""
    pytest.importorskip("pip")
    folder = tmp_path_factory.mktemp("site")
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--disable-pip-version-check", "--target", str(folder)]
    package = Path(__file__).parent / "plugin"
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(package)], check=True)
    return folder


@pytest.fixture
def here(data: Path, poni: Path, frames: list[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(data.parent)
    return data.parent


@pytest.fixture
def conf(site: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The YAML folder of the plug-in, which can be imported."""
    monkeypatch.syspath_prepend(str(site))
    return site / "xrdpipe_smooth" / "conf"


@pytest.mark.slow
def test_a_mask_of_a_plug_in_is_an_option_like_any_other(conf: Path, here: Path) -> None:
    told = call("--config-dir", conf, *WORDS, "mask=hot", "mask.limit=1500", "output.mask=true", "output_dir=out")
    assert told.status == 0, told
    run = integrate("data/tiny.poni", "data/ni_1.tiff", mask="none", output_dir=None)
    mask = np.load(here / "out" / "masks" / "ni_1.npy")
    assert 0 < mask.mean() < 0.5
    assert not run.masks["ni_1"].any()
    assert '"limit": 1500.0' in (here / "out" / "ni_1.chi").read_text()


@pytest.mark.slow
def test_a_stage_of_a_plug_in_can_be_added_to_the_line(conf: Path, here: Path) -> None:
    full = [*WORDS, "mask=none", "integ.npt=40"]  # no bin is empty
    assert call("--config-dir", conf, *full, LINE, "smooth.width=5", "output_dir=smooth").status == 0
    assert call(*full, "output_dir=rough").status == 0
    smooth, rough = (np.loadtxt(here / folder / "ni_1.chi")[:, 1] for folder in ("smooth", "rough"))
    assert np.allclose(smooth, np.convolve(rough, np.ones(5) / 5, mode="same"), rtol=1e-5)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["mask=hot", "mask.limmit=5"], "mask.limmit: no such key; did you mean 'mask.limit'? allowed: mask.limit"),
        (["mask=hot", "mask.limit=much"], "mask.limit=much: a number expected"),
        (["mask=hot", "mask.limit=-1"], "mask.limit=-1.0: a number of counts > 0 expected"),
        (
            ["mask=hut"],
            "mask=hut: no such option; did you mean 'hot'? "
            "allowed: default, gentle, hot, none, robust, series, sigma_clip, strict",
        ),
        ([LINE, "smooth.width=wide"], "smooth.width=wide: a whole number expected"),
    ],
)
def test_the_class_of_a_plug_in_is_its_schema(words: list[str], expected: str, conf: Path, here: Path) -> None:
    before = tree(here)
    told = call("--config-dir", conf, *WORDS, *words, "output_dir=out")
    assert (told.status, told.err) == (2, f"xrdpipe: {expected}\n")
    assert tree(here) == before


def test_a_source_of_a_plug_in_brings_its_own_frames(conf: Path, here: Path) -> None:
    images = {path.stem: tifffile.imread(path) for path in sorted(Path("data").glob("ni_*.tiff"))}
    np.savez("frames.npz", **images)
    words = ["poni=data/tiny.poni", *FAST]
    told = call("--config-dir", conf, *words, "source=archive", "output_dir=out")
    assert told.status == 0, told
    assert call(*words, "images=data/ni_*.tiff", "output_dir=files").status == 0
    for name in images:
        ours, theirs = (np.loadtxt(here / folder / f"{name}.chi") for folder in ("out", "files"))
        assert np.array_equal(ours, theirs)
    told = call("--config-dir", conf, *words, "source=archive", "source.file=no.npz", "output_dir=none")
    assert (told.status, "source.file=no.npz" in told.err) == (2, True)


def test_an_engine_of_a_plug_in_leaves_the_bytes_of_ours(conf: Path, here: Path) -> None:
    told = call(*WORDS, "parallel.backend=backwards", "output_dir=out")
    assert told.status == 0, told
    assert call(*WORDS, "parallel=serial", "output_dir=serial").status == 0
    assert results(here / "out") == results(here / "serial")
    assert integrate("data/tiny.poni", "data/ni_*.tiff", parallel={"backend": "backwards"}, output_dir=None).status == 0


def test_a_format_of_a_plug_in_is_written_and_read(conf: Path, here: Path) -> None:
    told = call(*WORDS, "output.format=[chi,json]", "output_dir=out")
    assert told.status == 0, told
    ours, theirs = np.loadtxt(here / "out" / "ni_1.chi"), read_json((here / "out" / "ni_1.json").read_text())
    assert np.allclose(ours, theirs, rtol=1e-6)
    assert call(*WORDS, "output.format=json", "output_dir=alone").status == 0
    pattern = read_pattern(here / "alone", "ni_1")
    assert pattern is not None
    assert (pattern.unit, len(pattern.radial)) == ("q_A^-1", len(ours))


def read_json(text: str) -> np.ndarray:
    return np.array(json.loads(text)["columns"]).T


def test_a_frame_that_a_plug_in_refuses_fails_alone(conf: Path, here: Path) -> None:
    tifffile.imwrite("data/ni_9.tiff", np.full((120, 100), 5000, np.uint16))
    told = call("--config-dir", conf, *WORDS, "mask=hot", "output_dir=out", "quiet=true")
    assert (told.status, told.err) == (1, "xrdpipe: failed: data/ni_9.tiff: every pixel is hot\n")
    assert len(results(here / "out")) == 3


def test_a_plug_in_works_from_python(conf: Path, here: Path) -> None:
    stages = ["background", "mask", "integ", "smooth", "plot", "output"]
    run = integrate(
        "data/tiny.poni",
        "data/ni_*.tiff",
        config_dir=conf,
        mask=("hot", {"limit": 1500}),
        smooth={"width": 5},
        stages=stages,
        plot="none",
        integ={"npt": 100},
        output_dir="python",
    )
    assert run.status == 0
    keys = ["mask=hot", "mask.limit=1500", "smooth.width=5", LINE, "output_dir=command"]
    assert call("--config-dir", conf, *WORDS, *keys).status == 0
    assert results(here / "python") == results(here / "command")


@pytest.mark.slow
def test_worker_processes_and_sweeps_know_the_plug_in(site: Path, here: Path) -> None:
    conf = site / "xrdpipe_smooth" / "conf"
    words = ["--config-dir", conf, *WORDS, LINE, "mask=hot"]
    env = {"PYTHONPATH": str(site)}
    told = xrdpipe(*words, "parallel.backend=loky", "parallel.n_jobs=2", "output_dir=out", cwd=here, env=env)
    assert told.status == 0, told
    told = xrdpipe("-m", *words, "smooth.width=3,5", "output_dir=sweep", cwd=here, env=env)
    assert told.status == 0, told
    assert results(here / "out") == results(here / "sweep" / "0")
    assert len(results(here / "sweep" / "1")) == 3


def test_a_package_that_is_not_installed_as_a_plug_in_is_refused(site: Path, here: Path) -> None:
    conf = site / "xrdpipe_smooth" / "conf"
    told = call("--config-dir", conf, *WORDS, "mask=hot", "output_dir=out")
    assert (told.status, len(told.err.splitlines())) == (2, 1)
    assert "xrdpipe_smooth.Hot: not a stage of xrdpipe or of an installed plug-in" in told.err
    with pytest.raises(ConfigError, match="installed plug-in"):
        integrate("data/tiny.poni", "data/ni_1.tiff", config_dir=conf, mask="hot")


def test_a_stage_that_no_option_describes_is_refused_by_name(here: Path) -> None:
    told = call(*WORDS, LINE, "output_dir=out")
    assert (told.status, len(told.err.splitlines())) == (2, 1)
    assert "stages: there is no stage 'smooth'" in told.err
