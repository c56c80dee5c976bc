"""`xrdpipe.integrate` does what the command does, byte for byte, wherever Python runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from command import FAST, LIMIT, call, results, tree
from hydra import initialize
from hydra.core.global_hydra import GlobalHydra

import xrdpipe
from xrdpipe import ConfigError, integrate
from xrdpipe.model.record import Record

NPT: dict[str, Any] = {"plot": "none", "integ": {"npt": 100}}


@pytest.fixture
def here(data: Path, poni: Path, frames: list[Path], air: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(data.parent)
    return data.parent


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "keys"),
    [
        ("", {}),
        ("mask=gentle", {"mask": "gentle"}),
        ("mask.alpha=3", {"mask": {"alpha": 3}}),
        ("mask=strict mask.edge=10", {"mask": ("strict", {"edge": 10})}),
        ("background.file=data/air.tiff background.scale=0.1", {"background": {"file": "data/air.tiff", "scale": 0.1}}),
        ("background.file=data/air.tiff", {"background": {"file": Path("data/air.tiff")}}),
        ("integ.radial_range=[1,3] integ.npt=64", {"integ": {"radial_range": (1, 3), "npt": 64}}),
        ("integ=two_theta integ.method=splitpixel", {"integ": ("two_theta", {"method": "splitpixel"})}),
        ("integ.method=[bbox,csr,cython]", {"integ": {"method": ("bbox", "csr", "cython")}}),
        (
            "integ.unit=q_nm^-1 integ.error_model=azimuthal",
            {"overrides": ["integ.unit=q_nm^-1", "integ.error_model=azimuthal"]},
        ),
        ("source.transform=[rot90,rot90]", {"source": {"transform": ["rot90", "rot90"]}}),
        ("stages=[integ,output]", {"stages": ["integ", "output"]}),
        ("parallel=serial", {"parallel": "serial"}),
    ],
)
def test_python_and_command_leave_the_same_bytes(words: str, keys: dict[str, Any], here: Path) -> None:
    usual = ["plot=none", "output.mask=true", "output_dir=command"]
    assert call("poni=data/tiny.poni", "images=data/ni_*.tiff", *usual, *words.split()).status == 0
    run = integrate(
        "data/tiny.poni", "data/ni_*.tiff", output_dir="python", **{"plot": "none", "output": {"mask": True}, **keys}
    )
    assert run.status == 0
    assert results(here / "python") == results(here / "command") != {}


def test_what_is_returned_is_what_is_written(here: Path) -> None:
    run = integrate(
        "data/tiny.poni",
        "data/ni_1.tiff",
        "data/ni_2.tiff",
        mask={"edge": 5},
        integ={"npt": 100, "error_model": "poisson"},
        source={"transform": ["flipud"]},
        output={"mask": True},
        output_dir=here / "out",
        plot="none",
    )
    assert run.folder == here / "out"
    assert list(run.patterns) == list(run.masks) == ["ni_1", "ni_2"]
    pattern = run.patterns["ni_1"]
    assert (pattern.radial.shape, pattern.intensity.dtype, pattern.unit) == ((100,), np.float64, "q_A^-1")
    assert pattern.sigma is not None
    written = np.loadtxt(here / "out" / "ni_1.chi", unpack=True)
    full = ~np.isnan(pattern.intensity)
    for column, values in zip(written, (pattern.radial, pattern.intensity, pattern.sigma), strict=True):
        assert np.allclose(column, values[full], rtol=1e-6)
    assert np.array_equal(run.masks["ni_1"], np.load(here / "out" / "masks" / "ni_1.npy"))
    assert run.masks["ni_1"].dtype == np.uint8
    assert np.array_equal(run.patterns["ni_1"].radial, run.patterns["ni_2"].radial)
    assert [(frame.name, frame.status) for frame in run.frames] == [("ni_1", "done"), ("ni_2", "done")]


def test_arrays_give_what_their_files_give(here: Path, frames: list[Path]) -> None:
    images = {path.stem: tifffile.imread(path) for path in frames}
    arrays = integrate("data/tiny.poni", images, output_dir=None, **NPT)
    files = integrate("data/tiny.poni", *frames, output_dir=None, **NPT)
    assert list(arrays.patterns) == list(files.patterns) == ["ni_1", "ni_2", "ni_3"]
    for name in images:
        assert np.array_equal(arrays.patterns[name].intensity, files.patterns[name].intensity, equal_nan=True)
        assert np.array_equal(arrays.masks[name], files.masks[name])


def test_the_arrays_of_the_caller_are_not_changed(here: Path, frames: list[Path]) -> None:
    image = tifffile.imread(frames[0]).astype(np.float32)
    image.setflags(write=False)
    before = image.copy()
    integrate("data/tiny.poni", {"a": image}, background={"file": "data/air.tiff"}, output_dir=None, **NPT)
    assert np.array_equal(image, before)


def test_arrays_can_be_written_and_go_with_any_backend(here: Path, frames: list[Path]) -> None:
    images = {f"scan {number}": tifffile.imread(path) for number, path in enumerate(frames)}
    one = integrate("data/tiny.poni", images, output_dir="one", parallel="serial", **NPT)
    integrate("data/tiny.poni", images, output_dir="two", parallel={"backend": "loky", "n_jobs": 2}, **NPT)
    assert one.status == 0
    assert results(here / "one") == results(here / "two")
    assert (here / "one" / "scan 0.chi").exists()


def test_with_no_output_dir_nothing_is_written(here: Path, frames: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(here / "temporary"))
    (here / "temporary").mkdir()
    before = tree(here)
    run = integrate("data/tiny.poni", "data/ni_1.tiff", {"a": tifffile.imread(frames[1])}, output_dir=None)
    assert run.folder is None
    assert list(run.patterns) == ["ni_1", "a"]
    assert tree(here) == before


def test_by_default_a_new_folder_is_made(here: Path) -> None:
    runs = [integrate("data/tiny.poni", "data/ni_1.tiff", **NPT) for _ in range(2)]
    folders = [run.folder for run in runs]
    assert folders[0] != folders[1]
    assert all(folder is not None and (folder / "ni_1.chi").exists() for folder in folders)


def test_a_frame_that_fails_is_in_the_table_and_raises_nothing(here: Path) -> None:
    run = integrate("data/tiny.poni", "data/ni_1.tiff", "data/none.tiff", {"flat": np.zeros(7)}, output_dir=None, **NPT)
    assert run.status == 1
    assert list(run.patterns) == ["ni_1"]
    assert [(frame.name, frame.error) for frame in run.failed] == [
        ("none", "no such file"),
        ("flat", "not one greyscale frame but 1-dimensional, shape 7"),
    ]


def test_a_run_that_cannot_check_the_orientation_goes_on(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: Any) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr("xrdpipe.execution.listeners.compare_orientations", no_room)
    run = integrate(images="data/ni_*.tiff", poni="data/tiny.poni", output_dir="out", report=False, **NPT)
    assert [record.status for record in run.frames] == ["done"] * 3
    assert "MemoryError: no room" in Path("out", "xrdpipe.log").read_text()


@pytest.mark.parametrize(
    "images",
    [
        ("data/ni_1.tiff", {"ni_1": np.ones((120, 100))}),
        ({"a": np.ones((120, 100))}, {"a": np.zeros((120, 100))}),
        ({"../a": np.ones((120, 100))},),
        ({"": np.ones((120, 100))},),
        (np.ones((120, 100)),),
        (),
    ],
    ids=["of a file", "twice", "outside", "empty", "none", "no image"],
)
def test_an_array_needs_a_name_of_its_own(images: tuple[Any, ...], here: Path) -> None:
    before = tree(here)
    with pytest.raises(ConfigError, match="images"):
        integrate("data/tiny.poni", *images, output_dir="out", **NPT)
    assert tree(here) == before


def test_python_refuses_to_mix_results_as_the_command_does(here: Path) -> None:
    integrate("data/tiny.poni", "data/ni_1.tiff", output_dir="out", **NPT)
    with pytest.raises(ConfigError, match="overwrite=true"):
        integrate("data/tiny.poni", "data/ni_1.tiff", output_dir="out", **NPT)
    integrate("data/tiny.poni", "data/ni_1.tiff", output_dir="out", overwrite=True, **NPT)
    run = integrate("data/tiny.poni", "data/ni_2.tiff", output_dir="out", overrides=FAST)
    assert run.status == 0


def test_home_and_variables_are_expanded_in_python_too(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here))
    background = {"file": "~/data/air.tiff"}
    run = integrate("~/data/tiny.poni", "~/data/ni_1.tiff", background=background, output_dir="~/out", **NPT)
    assert run.folder == here / "out"


@pytest.mark.slow
def test_numbers_of_numpy_are_numbers(here: Path) -> None:
    integ = {"npt": np.int64(100), "radial_range": np.array([0.5, 4.0])}
    mask = {"alpha": np.float32(3), "edge": np.uint8(5)}
    numpy = integrate("data/tiny.poni", "data/ni_1.tiff", integ=integ, mask=mask, plot="none", output_dir="a")
    integ, mask = {"npt": 100, "radial_range": [0.5, 4.0]}, {"alpha": 3.0, "edge": 5}
    integrate("data/tiny.poni", "data/ni_1.tiff", integ=integ, mask=mask, plot="none", output_dir="b")
    assert numpy.status == 0
    assert results(here / "a") == results(here / "b")


def test_a_config_dir_brings_options_of_your_own(here: Path) -> None:
    (here / "conf" / "mask").mkdir(parents=True)
    (here / "conf" / "mask" / "mine.yaml").write_text("defaults: [default]\nedge: 7\n")
    run = integrate("data/tiny.poni", "data/ni_1.tiff", config_dir=here / "conf", mask="mine", output_dir=None, **NPT)
    assert run.masks["ni_1"][:7].all()
    assert not run.masks["ni_1"][7].all()


def test_an_initialised_hydra_is_left_as_it_is(here: Path) -> None:
    with initialize(version_base=None, config_path=None):
        before = GlobalHydra.instance().hydra
        assert integrate("data/tiny.poni", "data/ni_1.tiff", output_dir=None, **NPT).status == 0
        assert GlobalHydra.instance().hydra is before
    assert not GlobalHydra.instance().is_initialized()
    assert integrate("data/tiny.poni", "data/ni_1.tiff", output_dir=None, **NPT).status == 0
    assert not GlobalHydra.instance().is_initialized()


APPLICATION = """
import json, sys
import hydra, xrdpipe
from hydra.core.hydra_config import HydraConfig

@hydra.main(version_base=None, config_path=None)
def main(cfg):
    before = HydraConfig.get().runtime.output_dir
    runs = [xrdpipe.integrate(cfg.poni, cfg.image, mask={"alpha": alpha}, plot="none", output_dir=f"out_{alpha}")
            for alpha in (2, 3)]
    assert HydraConfig.get().runtime.output_dir == before
    print(json.dumps([run.status for run in runs]))

main()
"""


@pytest.mark.slow
def test_it_runs_inside_another_hydra_program(here: Path) -> None:
    (here / "application.py").write_text(APPLICATION)
    words = ["+poni=data/tiny.poni", "+image=data/ni_1.tiff", "hydra.run.dir=theirs"]
    command = [sys.executable, "-W", "error::UserWarning", "application.py", *words]
    told = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout.splitlines()[-1]) == [0, 0]
    assert call("poni=data/tiny.poni", "data/ni_1.tiff", "plot=none", "mask.alpha=3", "output_dir=command").status == 0
    assert results(here / "out_3") == results(here / "command")


def test_a_pattern_shows_itself_as_a_picture(here: Path) -> None:
    run = integrate("data/tiny.poni", "data/ni_1.tiff", output_dir=None, **NPT)
    assert run.patterns["ni_1"]._repr_png_().startswith(b"\x89PNG")


def test_a_run_shows_itself_as_a_table_with_pictures_that_escapes_names(here: Path) -> None:
    run = integrate("data/tiny.poni", "data/ni_1.tiff", "data/ni_2.tiff", "data/<b>&.tiff", output_dir=None, **NPT)
    html = run._repr_html_()
    assert "&lt;b&gt;&amp;.tiff" in html
    assert "<b>" not in html
    assert "no such file" in html
    assert html.count("data:image/png;base64,") == 2
    assert "2 of 3 frames done, 1 failed, nothing written" in html


def test_a_long_run_shows_its_first_and_last_frames() -> None:
    run = xrdpipe.Run(None, [Record(f"f_{number}.tiff", f"f_{number}", "failed") for number in range(1000)])
    html = run._repr_html_()
    assert html.count("<tr>") == 22
    assert "... 980 more" in html
    assert "f_16.tiff" in html
    assert "f_999.tiff" in html


def test_a_name_that_is_no_text_does_not_break_a_notebook() -> None:
    html = xrdpipe.Run(None, [Record("\udcff.tiff", "\udcff", columns={"\udcff": "\udcff"})])._repr_html_()
    assert b"<td>\\udcff.tiff</td>" in html.encode("utf-8")


def test_results_say_in_a_line_what_they_are(here: Path) -> None:
    integ = {"npt": 40, "npt_azim": 8, "error_model": "poisson"}
    run = integrate("data/tiny.poni", "data/ni_1.tiff", integ=("cake", integ), plot="none", output_dir=None)
    assert repr(run) == "<Run: 1 of 1 frames done, nothing written>"
    assert repr(run.masks) == "<Masks of 1 frames, 120 x 100 pixels>"
    assert re.fullmatch(r"<Pattern: 40 bins.*, q_A\^-1 from \S+ to \S+, with sigma>", repr(run.patterns["ni_1"]))
    assert re.fullmatch(r"<Cake: 8 azimuths of 40 bins.*, with sigma>", repr(run.cakes["ni_1"]))
    assert run.cakes["ni_1"]._repr_png_().startswith(b"\x89PNG")
    assert run.masks._repr_html_().count("data:image/png;base64,") == 1


def test_a_static_mask_shows_itself_with_its_reasons() -> None:
    reasons = np.zeros((30, 40), np.uint16)
    reasons[3] = 2
    found = xrdpipe.StaticMask(reasons, np.ones((30, 40), np.float32), 0, ("a", "b"), {"c": "no such file"}, ("few",))
    told = "<StaticMask of 2 frames, 1 more failed: 40 of 1200 pixels masked; not to be trusted: few>"
    assert repr(found) == told
    assert found._repr_png_().startswith(b"\x89PNG")


def test_patterns_become_a_table_with_a_row_for_each_frame_and_bin(here: Path) -> None:
    run = integrate("data/tiny.poni", "data/ni_[12].tiff", "data/none.tiff", output_dir=None, **NPT)
    table = run.to_dataframe()
    assert list(table.columns) == ["frame", "radial", "intensity"]
    assert table.attrs == {"radial_unit": "q_A^-1"}
    wide = table.pivot(index="radial", columns="frame", values="intensity")
    assert np.array_equal(wide["ni_2"], run.patterns["ni_2"].intensity, equal_nan=True)
    summary = run.summary()
    assert list(summary["status"]) == ["done", "done", "failed"]
    assert list(summary.columns[:3]) == ["file", "name", "status"]


def test_patterns_sectors_and_cakes_become_a_dataset_with_units(here: Path) -> None:
    pytest.importorskip("xarray")
    integ = {"npt": 40, "error_model": "poisson"}
    keys: dict[str, Any] = {"plot": "none", "output_dir": None}
    run = integrate("data/tiny.poni", "data/ni_*.tiff", integ=("sectors", integ | {"number": 3}), **keys)
    data = run.to_xarray()
    assert data.intensity.dims == ("frame", "radial")
    assert data.sector_sigma.dims == ("frame", "sector", "radial")
    assert data.radial.attrs == {"long_name": "q", "units": "1/angstrom", "pyfai_unit": "q_A^-1"}
    assert np.array_equal(data.sigma.sel(frame="ni_2"), run.patterns["ni_2"].sigma, equal_nan=True)
    last = list(run.sectors["ni_3"])[2]
    chosen = data.sector_intensity.sel(frame="ni_3", sector=last)
    assert np.array_equal(chosen, run.sectors["ni_3"][last].intensity, equal_nan=True)
    assert float(chosen.sector_last) == 180
    assert data.masked_fraction.dims == ("frame",)
    cakes = integrate("data/tiny.poni", "data/ni_1.tiff", integ=("cake", integ | {"npt_azim": 8}), **keys).to_xarray()
    assert cakes.cake_intensity.shape == (1, 8, 40)
    assert cakes.azimuthal.attrs["units"] == "degree"


def test_a_library_that_is_missing_is_named_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, call_it in (("xarray", xrdpipe.Run(None).to_xarray), ("pandas", xrdpipe.Run(None).to_dataframe)):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(ImportError, match=rf"{name} is not installed; pip install 'xrdpipe\[notebook\]'"):
            call_it()


def test_importing_xrdpipe_is_light() -> None:
    code = "import sys, xrdpipe; print(sorted({'numpy', 'hydra', 'pyFAI', 'matplotlib'} & set(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT, check=True)
    assert told.stdout.strip() == "[]"
    assert set(xrdpipe.__all__) >= {"integrate", "load", "calibrate", "Pattern", "Frame", "Stage", "ConfigError"}
    assert all(getattr(xrdpipe, name) is not None for name in xrdpipe.__all__)


def test_a_mask_that_changed_between_two_runs_of_a_process_is_read_again(here: Path) -> None:
    mask = np.zeros((120, 100), np.uint8)
    for rows in (10, 20):
        mask[:rows] = 1
        np.save("mask.npy", mask)
        run = integrate("data/tiny.poni", "data/ni_1.tiff", mask=("none", {"file": "mask.npy"}), output_dir=None, **NPT)
        assert run.masks["ni_1"].sum() == rows * 100
