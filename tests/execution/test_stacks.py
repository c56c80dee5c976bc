"""Which frames are in a file, how one is read, what it is called; and runs over stacks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
import tifffile
from command import FAST, call, results, xrdpipe
from hdf5_files import IMAGES, arrays, eiger

from xrdpipe import integrate
from xrdpipe.io import files
from xrdpipe.io.files import references
from xrdpipe.model.reference import Reference
from xrdpipe.stages.source import Source
from xrdpipe.stages.stage import Setup


def test_frames_of_a_stack_are_numbered_as_in_the_file(tmp_path: Path) -> None:
    path = eiger(tmp_path)
    assert [each.name for each in references([f"{path}::[1:3]"])] == ["scan_master_0001", "scan_master_0002"]


def test_a_stack_and_a_file_that_would_be_called_the_same_are_told_apart(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", IMAGES, photometric="minisblack")
    tifffile.imwrite(tmp_path / "a_0001.tif", IMAGES[0])
    names = [each.name for each in references([tmp_path / "a_0001.tif", tmp_path / "a.tif"])]
    assert len(set(names)) == 7
    assert names[1:] == [f"a_tif_{number:04d}" for number in range(6)]
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["x/data"] = file["y/data"] = IMAGES[:1]
    names = [each.name for each in references([f"{tmp_path}/b.h5::/x/data", f"{tmp_path}/b.h5::/y/data"])]
    assert len(set(names)) == 2


def test_a_name_once_given_to_a_frame_stays_with_it(tmp_path: Path) -> None:
    path = eiger(tmp_path)
    taken = {"old": f"{path}::/entry/data/data_*[1]"}
    assert [each.name for each in references([path], taken)][:3] == ["scan_master_0000", "old", "scan_master_0002"]


@pytest.mark.parametrize(("key", "divisor"), [("average", 4), ("sum", 1)])
def test_merged_frames_have_the_variance_of_independent_ones(key: str, divisor: int, setup: Setup) -> None:
    rng = np.random.default_rng(1)
    many = rng.poisson(50, (6, 120, 100)).astype(np.uint16)
    source = Source(**{key: 4})  # type: ignore[arg-type]
    given = [Reference(f"a_{at}", Path("a"), array) for at, array in enumerate(many)]
    setup = Setup(setup.geometry, setup.read, setup.to_raw, variance=True)
    first, rest = (source.prepare(setup)(each) for each in source.merged(given))
    assert (first.name, rest.name) == ("a_0", "a_4")
    assert first.variance is not None
    np.testing.assert_allclose(first.image, many[:4].sum(axis=0) / divisor)
    np.testing.assert_allclose(first.variance, np.maximum(many[:4], 1).sum(axis=0) / divisor**2)
    assert (first.info.exposures, rest.info.exposures) == ((1, 1) if key == "average" else (4, 2))
    np.testing.assert_allclose(rest.image, many[4:].sum(axis=0) / (2 if key == "average" else 1))


def test_arrays_are_merged_as_files_are(frames: list[Path], poni: Path) -> None:
    given = {path.stem: tifffile.imread(path) for path in frames}
    keys: dict[str, Any] = {"source": {"average": 2}, "plot": "none", "output_dir": None}
    of_arrays = integrate(poni, given, **keys)
    of_files = integrate(poni, *frames, **keys)
    assert list(of_arrays.patterns) == list(of_files.patterns) == ["ni_1", "ni_3"]
    np.testing.assert_array_equal(of_arrays.patterns["ni_1"].intensity, of_files.patterns["ni_1"].intensity)


def test_frames_of_different_stacks_are_not_merged(tmp_path: Path) -> None:
    paths = []
    for name in "ab":
        paths.append(tmp_path / f"{name}.tif")
        tifffile.imwrite(paths[-1], IMAGES[:3], photometric="minisblack")
    merged = Source(average=2).merged(references(paths))
    assert [each.name for each in merged] == ["a_0000", "a_0002", "b_0000", "b_0002"]
    assert [len(each.parts) for each in merged] == [2, 1, 2, 1]


@pytest.fixture
def scan(frames: list[Path], poni: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An Eiger-like master file of five frames beside a PONI that fits, `data/scan_master.h5`."""
    monkeypatch.chdir(tmp_path)
    images = np.array([tifffile.imread(frames[at % 3]) for at in range(5)])
    images += np.arange(5, dtype=np.uint16)[:, np.newaxis, np.newaxis]
    return eiger(poni.parent, images, **hdf5plugin.Bitshuffle(cname="lz4"))


RUN = ("poni=data/tiny.poni", "data/scan_master.h5", *FAST, "output.mask=true")


def records(folder: str) -> list[dict[str, Any]]:
    images: list[dict[str, Any]] = json.loads(Path(folder, "run.json").read_text())["images"]
    return images


@pytest.mark.slow
def test_a_stack_gives_what_its_frames_give_as_files_in_threads_and_processes(scan: Path) -> None:
    for at, image in enumerate(arrays(scan)):
        tifffile.imwrite(f"data/one_{at}.tif", image)
    assert call(*RUN[:1], "data/one_*.tif", *RUN[2:], "output_dir=single").status == 0
    assert call(*RUN, "output_dir=threads").status == 0
    assert call(*RUN, "output_dir=processes", "parallel.backend=loky", "parallel.n_jobs=2").status == 0
    assert results(Path("threads")) == results(Path("processes"))
    for at in range(5):
        one, stacked = (np.loadtxt(f"{name}.chi") for name in (f"single/one_{at}", f"threads/scan_master_{at:04d}"))
        np.testing.assert_array_equal(one, stacked)
    assert records("threads")[2]["path"] == f"{scan}::/entry/data/data_*[2]"
    assert records("threads")[2]["hash"] == files.read(files.list_frames(scan).references[2])[1]


def test_a_dry_run_tells_a_stack_in_a_line(scan: Path) -> None:
    told = call(*RUN, "dry_run=true").out
    assert "data/scan_master.h5::/entry/data/data_*[0:5]  (5 frames)" in told
    assert "scan_master_0004.chi" in told


@pytest.mark.slow
def test_a_stack_that_grew_is_resumed(scan: Path) -> None:
    (scan.parent / "scan_data_000003.h5").rename("kept")
    told = call(*RUN, "output_dir=out")
    assert told.status == 0
    assert "scan_data_000003.h5, which is not there" in told.err
    shutil.move("kept", scan.parent / "scan_data_000003.h5")
    told = call(*RUN, "output_dir=out", "resume=true")
    assert "4 of 5 images were done before" in told.err
    assert call(*RUN, "output_dir=whole").status == 0
    assert results(Path("out")) == results(Path("whole"))


@pytest.mark.slow
def test_a_file_is_read_while_another_program_writes_it(scan: Path) -> None:
    images = arrays(scan)
    files.forget_files()
    words = (*RUN[:1], "data/live.h5", *RUN[2:], "output_dir=out")
    with h5py.File("data/live.h5", "w", libver="latest") as file:
        data = file.create_dataset("data", (3, 120, 100), np.uint16, maxshape=(None, 120, 100), chunks=(1, 120, 100))
        file.swmr_mode = True
        data[:2] = images[:2]
        data.flush()
        told = xrdpipe(*words, cwd=Path.cwd())
        assert told.status == 0
        assert "/data has 2 of 3 frames" in told.err
        data.resize(5, axis=0)
        data[:] = images
    assert "2 of 5 images were done before" in call(*words, "resume=true").err
    assert len(results(Path("out"), "*.chi")) == 5


def test_a_changed_frame_of_a_stack_is_done_again_and_the_others_stay(scan: Path) -> None:
    assert call(*RUN, "output_dir=out").status == 0
    with h5py.File(scan.parent / "scan_data_000002.h5", "a") as file:
        file["entry/data/data"][0] += 5
    assert "4 of 5 images were done before" in call(*RUN, "output_dir=out", "resume=true").err


def test_a_merged_frame_is_done_again_when_any_of_its_files_has_changed(scan: Path) -> None:
    words = (*RUN, "source.average=3", "output_dir=out")  # frames 0 to 2 lie in two files
    assert call(*words).status == 0
    with h5py.File(scan.parent / "scan_data_000001.h5", "a") as file:
        file["entry/data/data"][0] += 5
    assert "1 of 2 images were done before" in call(*words, "resume=true").err


@pytest.mark.parametrize("words", [(), ("source.average=2",), ("images=data/scan_master.h5::[1:3]",)])
def test_a_run_over_a_stack_is_replayed(words: tuple[str, ...], scan: Path) -> None:
    images = () if words and words[0].startswith("images") else RUN[1:2]
    assert call(RUN[0], *images, *RUN[2:], *words, "output_dir=out").status == 0
    told = call("replay", "out")
    assert (told.status, told.out.splitlines()[-1][:9]) == (0, "identical")
    with h5py.File(scan.parent / "scan_data_000001.h5", "a") as file:
        file["entry/data/data"][1, 60, 50] += 5
    told = call("replay", "out")
    assert told.status == 1
    assert "image" in told.out
    assert "has changed" in told.out


def test_a_stack_that_moved_is_found_by_its_name_and_content(scan: Path) -> None:
    assert call(*RUN, "output_dir=out").status == 0
    shutil.move("data", "moved")
    shutil.copytree("moved", "data", ignore=lambda _, names: [name for name in names if "scan" in name])
    assert call("replay", "out").status == 2
    assert call("replay", "out", "inputs=moved").status == 0


def test_a_group_of_fewer_frames_is_told(scan: Path) -> None:
    told = call(*RUN, "source.sum=2", "source.columns=[temperature]", "output_dir=out")
    assert "scan_master_0004 is of 1 frames, not 2" in told.err
    assert [record["name"] for record in records("out")] == [f"scan_master_{at:04d}" for at in (0, 2, 4)]
    assert [record["columns"]["temperature"] for record in records("out")] == [300.5, 302.5, 304]


@pytest.mark.slow
def test_background_dark_and_mask_may_be_in_hdf5_files(scan: Path, air: Path) -> None:
    with h5py.File("data/more.h5", "w") as file:
        file["air"] = tifffile.imread(air)
        file["bad"] = np.eye(120, 100, dtype=np.uint8)
        file["stack"] = np.zeros((2, 120, 100))
    np.save("data/bad.npy", np.eye(120, 100, dtype=np.uint8))
    inside = ("background.file=data/more.h5::/air", "mask.file=data/more.h5::/bad")
    assert call(*RUN, *inside, "output_dir=inside").status == 0
    assert call(*RUN, f"background.file={air}", "mask.file=data/bad.npy", "output_dir=files").status == 0
    assert results(Path("inside"), "masks/*.npy") == results(Path("files"), "masks/*.npy")
    assert "# background: more.h5::/air xxh128:" in Path("inside/scan_master_0000.chi").read_text()
    for tail, reason in {
        "::/ari": "data/more.h5::/ari: more.h5 has no /ari: no 'ari' in /; did you mean 'air'?",
        "::/stack[5]": "there is no frame 5",
        "::air": "after :: the path of a dataset",
    }.items():
        told = call(*RUN, f"background.file=data/more.h5{tail}", "output_dir=no")
        assert (told.status, len(told.err.splitlines())) == (2, 1)
        assert reason in told.err
    told = call(*RUN, "mask.file=data/more.h5::/stack", "output_dir=no")
    assert (told.status, "holds 2 frames; say which, as in data/more.h5::/stack[0]" in told.err) == (2, True)


def test_a_stack_as_background_is_averaged(scan: Path, air: Path) -> None:
    image = tifffile.imread(air).astype(np.float32)
    with h5py.File("data/more.h5", "w") as file:
        file["stack"] = np.stack([image - 1, image + 1])
        file["mean"] = image
    for name in ("stack", "mean"):
        assert call(*RUN, f"background.file=data/more.h5::/{name}", f"output_dir={name}").status == 0
    found, expected = (np.loadtxt(f"{name}/scan_master_0000.chi") for name in ("stack", "mean"))
    assert np.allclose(found, expected, rtol=1e-6)


def test_a_frame_of_the_stack_that_is_the_background_is_left_out(scan: Path) -> None:
    told = call(*RUN, "background.file=data/scan_master.h5::[0]", "output_dir=out", "mask.lower_thresh=null")
    assert told.status == 0
    assert len(records("out")) == 4
    assert "left out of the images" in told.err


def test_real_files_of_beamlines_need_no_word_about_datasets(reference: Path, tmp_path: Path) -> None:
    expected = {
        "ceria_50x30_740mm_000005_Pilatus2M.hdf5": ("/imageseries/images", 1),
        "eiger9m_bitshuffle_lz4.h5": ("/entry/data/data", 2),
        "nexus-example.hdf5": ("/entry/data/frames", 10),
    }
    for name, (dataset, count) in expected.items():
        found = files.list_frames(reference / "hdf5" / name).references
        assert ({each.dataset for each in found}, len(found)) == ({dataset}, count)
        assert files.read(found[-1])[0].max() > 0
