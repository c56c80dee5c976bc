"""Masks in whole runs: user masks of every format, what detectors say, reasons, the static mask, the note."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fabio.edfimage
import fabio.fit2dmaskimage
import h5py
import numpy as np
import pytest
import tifffile
from command import FAST, call
from numpy.typing import NDArray

from xrdpipe.geometry.geometry import Geometry
from xrdpipe.geometry.poni import Poni
from xrdpipe.io.image_file import read_file
from xrdpipe.model.errors import ConfigError
from xrdpipe.numerics import constants, outliers
from xrdpipe.stages.mask import Mask
from xrdpipe.stages.source import sentinel_pixels

USER = np.zeros((120, 100), np.uint8)
USER[:40, 60:] = 1
USER[100, 3] = 1


def write(path: Path, mask: NDArray[np.uint8]) -> str:
    match path.suffix:
        case ".npy":
            np.save(path, mask)
        case ".edf":
            fabio.edfimage.EdfImage(data=mask).write(str(path))
        case ".msk":
            fabio.fit2dmaskimage.Fit2dMaskImage(data=mask).write(str(path))
        case ".mask":  # as Dioptas: deflated, the last row of the frame first
            tifffile.imwrite(path.with_suffix(".tif"), mask[::-1], compression="deflate")
            path.with_suffix(".tif").rename(path)
        case ".h5":
            with h5py.File(path, "w") as file:
                file["entry/mask"] = mask
            return f"{path}::/entry/mask"
        case _:
            tifffile.imwrite(path, mask)
    return str(path)


@pytest.mark.parametrize("suffix", [".npy", ".edf", ".tif", ".msk", ".mask", ".h5"])
def test_a_mask_of_any_format_masks_the_same_pixels(
    suffix: str, data: Path, poni: Path, frames: list[Path], tmp_path: Path
) -> None:
    path = write(data / f"mine{suffix}", USER)
    out = tmp_path / "out"
    words = ("mask=none", f"mask.file={path}", "output.mask=true", f"output_dir={out}")
    assert call(f"poni={poni}", frames[0], *words, *FAST).status == 0
    np.testing.assert_array_equal(np.load(out / "masks" / "ni_1.npy"), USER)
    header = (out / "ni_1.chi").read_text()
    assert f"# mask: {Path(path).name if suffix != '.h5' else 'mine.h5::' + path.split('::')[1]} xxh128:" in header
    assert str(data) not in header
    assert call("replay", out).status == 0


def test_several_masks_are_united_and_inverted_only_when_told(
    data: Path, poni: Path, frames: list[Path], tmp_path: Path
) -> None:
    other = np.zeros_like(USER)
    other[50:60] = 1
    a, b = write(data / "a.npy", USER), write(data / "b.edf", other)
    words = (f"poni={poni}", frames[0], "mask=none", "output.mask=true", *FAST)
    assert call(*words, f"mask.file=[{a},{b}]", f"output_dir={tmp_path / 'both'}").status == 0
    np.testing.assert_array_equal(np.load(tmp_path / "both/masks/ni_1.npy"), USER | other)
    inverted = write(data / "c.npy", 1 - USER)
    assert call(*words, f"mask.file={inverted}", "mask.invert=true", f"output_dir={tmp_path / 'inv'}").status == 0
    np.testing.assert_array_equal(np.load(tmp_path / "inv/masks/ni_1.npy"), USER)
    record = json.loads((tmp_path / "both" / "run.json").read_text())
    assert set(record["inputs"]) == {"poni", "mask", "mask_2"}
    assert call("replay", tmp_path / "both").status == 0


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("mask.file=[a.npy,gone.npy]", "gone.npy: no such file"),
        ("mask.file=m.h5::/entry/nothing", "m.h5 has no /entry/nothing"),
        ("mask.invert=true", "there is no mask.file to invert"),
        ("mask.grow=-1", "from 0 to 100"),
        ("mask.max_iter=0", "a number >= 1"),
        ("output.mask=reason", "reasons"),
        ("output.static_mask=0.9", "output.mask=true"),
        ("output.static_mask=1.5", "from 0 to below 1"),
        ("mask.file={a:1}", "no such file"),
    ],
)
def test_what_cannot_be_is_refused_before_any_frame(
    word: str, told: str, data: Path, poni: Path, frames: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data)
    write(data / "a.npy", USER)
    write(data / "m.h5", USER)
    run = call(f"poni={poni}", frames[0], word, "output_dir=out", *FAST)
    assert run.status == 2
    assert told in run.err
    assert "Traceback" not in run.err
    assert not (data / "out").exists()


def test_a_mask_from_python_may_be_a_list_and_nothing_else() -> None:
    assert Mask(file=["a", "b"]).needs.files == {"mask": "a", "mask_2": "b"}
    for wrong in (3, [1], {"a": 1}):
        with pytest.raises(ConfigError, match=r"file=.*paths expected"):
            Mask(file=wrong)


# --- what the detector says


@pytest.mark.parametrize(
    ("dtype", "value", "bad"),
    [
        (np.uint32, 2**32 - 1, True),
        (np.uint32, 2**32 - 2, False),
        (np.uint16, 65535, True),
        (np.dtype(">u2"), 65535, True),
        (np.int32, -1, True),
        (np.int32, 2**31 - 1, False),
        (np.float32, -5.0, False),
        (np.float64, 4294967295.0, False),
    ],
)
def test_sentinels_are_seen_before_they_become_floats(dtype: Any, value: float, bad: bool) -> None:
    raw = np.full((3, 4), 7, dtype)
    raw[1, 2] = value
    found = sentinel_pixels(raw)
    assert (found is not None and np.argwhere(found).tolist() == [[1, 2]]) if bad else found is None


@pytest.mark.slow
def test_a_photon_counters_sentinels_are_masked_by_default_and_not_with_mask_none(
    data: Path, poni: Path, frames: list[Path], tmp_path: Path
) -> None:
    raw = tifffile.imread(frames[0]).astype(np.uint32)
    raw[60:64, 50:80] = 2**32 - 1
    tifffile.imwrite(data / "eiger.tif", raw)
    words = (f"poni={poni}", data / "eiger.tif", "output.mask=reasons", "source.transform=[fliplr]", *FAST)
    for option in ("default", "gentle", "robust", "sigma_clip"):
        assert call(*words, f"mask={option}", f"output_dir={tmp_path / option}").status == 0
        why = np.load(tmp_path / option / "masks" / "eiger_reasons.npy")
        np.testing.assert_array_equal((why & constants.DETECTOR) != 0, raw == 2**32 - 1)
    assert call(*words, "mask=none", f"output_dir={tmp_path / 'none'}").status == 0
    assert not np.load(tmp_path / "none/masks/eiger.npy").any()


@pytest.mark.slow
def test_the_gaps_of_a_detector_that_pyfai_knows_are_masked(tmp_path: Path) -> None:
    text = "poni_version: 2\nDetector: Pilatus100k\nDetector_config: {}\nDistance: 0.1\nPoni1: 0.01\nPoni2: 0.04\n"
    text += "Rot1: 0\nRot2: 0\nRot3: 0\nWavelength: 1e-10\n"
    from pyFAI.detectors import detector_factory

    assert Geometry(Poni("x", text), (195, 487)).blind is None  # one module, no gaps
    text = text.replace("Pilatus100k", "Pilatus300k")
    gaps = detector_factory("Pilatus300k").mask
    blind = Geometry(Poni("x", text), gaps.shape).blind
    assert blind is not None
    np.testing.assert_array_equal(blind, gaps != 0)
    plain = text.replace("Pilatus300k", "Detector").replace("{}", '{"pixel1": 1e-4, "pixel2": 1e-4}')
    assert Geometry(Poni("x", plain), gaps.shape).blind is None


# --- who masked what


def test_reasons_say_who_masked_each_pixel_and_metrics_count_all(
    data: Path, poni: Path, frames: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = (f"mask.file={write(data / 'mine.npy', USER)}", "mask.edge=4", "mask.upper_thresh=3000", "mask.grow=1")
    assert call(f"poni={poni}", *frames, *words, "output.mask=reasons", f"output_dir={out}", *FAST).status == 0
    for row in json.loads((out / "run.json").read_text())["images"]:
        why, mask = (np.load(out / "masks" / f"{row['name']}{suffix}.npy") for suffix in ("_reasons", ""))
        np.testing.assert_array_equal(mask, why != 0)
        np.testing.assert_array_equal((why & constants.USER) != 0, USER != 0)
        assert (why & constants.EDGE).any()
        assert (why & constants.OUTLIER).any()
        assert (why & outliers.GROWN).any()
        total = sum(share for name, share in row["metrics"].items() if name.startswith("masked_"))
        assert total == pytest.approx(row["masked_fraction"], abs=1e-5)
        assert row["metrics"]["masked_grown"] > 0


def test_two_frames_that_would_write_one_file_are_refused(poni: Path, frames: list[Path], tmp_path: Path) -> None:
    frames[1].rename(frames[1].with_name("ni_1_reasons.tiff"))
    words = (f"poni={poni}", frames[0], frames[1].with_name("ni_1_reasons.tiff"), f"output_dir={tmp_path / 'out'}")
    run = call(*words, "output.mask=reasons", *FAST)
    assert run.status == 2
    assert "ni_1 and ni_1_reasons would both write masks/ni_1_reasons.npy" in run.err
    assert call(*words, "output.mask=true", *FAST).status == 0


# --- the static mask


@pytest.mark.slow
def test_the_static_mask_is_what_is_bad_in_most_frames_and_can_be_used_as_mask_file(
    poni: Path, frames: list[Path], tmp_path: Path
) -> None:
    words = (f"poni={poni}", "output.mask=true", "output.static_mask=0.5", *FAST)
    made = {}
    for n_jobs in (1, 3):
        out = tmp_path / f"jobs_{n_jobs}"
        assert call(*words, *frames, f"parallel.n_jobs={n_jobs}", f"output_dir={out}").status == 0
        made[n_jobs] = (out / "static_mask.npy").read_bytes()
    masks = [np.load(tmp_path / "jobs_1/masks" / f"{frame.stem}.npy") for frame in frames]
    np.testing.assert_array_equal(np.load(tmp_path / "jobs_1/static_mask.npy"), np.sum(masks, axis=0) >= 2)
    later = tmp_path / "later"
    assert call(*words, frames[2], f"output_dir={later}").status == 0
    assert call(*words, *frames[:2], f"output_dir={later}").status == 0  # added to the folder
    (later / "masks" / "ni_1.npy").unlink()
    assert call(*words, *frames, "resume=true", f"output_dir={later}").status == 0
    assert made[1] == made[3] == (later / "static_mask.npy").read_bytes()
    use = (f"mask.file={later / 'static_mask.npy'}", "mask=none", f"output_dir={tmp_path / 'used'}")
    assert call(f"poni={poni}", *frames, *use, *FAST).status == 0


# --- the trap of the lower threshold


def test_rings_spoilt_by_the_lower_threshold_are_said_once_a_run(
    data: Path, poni: Path, frames: list[Path], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for path in [*frames, data / "bg.tif"]:
        tifffile.imwrite(path, rng.poisson(1000, (120, 100)).astype(np.uint16))
    words = (f"poni={poni}", *frames, f"background.file={data / 'bg.tif'}", "mask.edge=0", *FAST)
    run = call(*words, f"output_dir={tmp_path / 'a'}")
    assert run.err.count("takes more than a quarter of many rings") == 1
    assert "mask=robust" in run.err
    rows = json.loads((tmp_path / "a/run.json").read_text())["images"]
    assert all(any("lower_thresh=0 takes" in note for note in row["notes"]) for row in rows)
    assert "quarter" not in call(*words, "mask=robust", f"output_dir={tmp_path / 'b'}").err


def test_an_ordinary_frame_says_nothing_of_it(poni: Path, frames: list[Path], tmp_path: Path) -> None:
    assert "quarter" not in call(f"poni={poni}", *frames, f"output_dir={tmp_path / 'a'}", *FAST).err


# --- real masks


def test_the_mask_of_dioptas_is_read_and_turned(reference: Path) -> None:
    mask, _ = read_file(reference / "series" / "pixium.mask")
    frame, _ = read_file(reference / "series" / "pixium_03150.tif")
    assert mask.shape == frame.shape
    np.testing.assert_array_equal(mask, tifffile.imread(reference / "series" / "pixium.mask")[::-1])
    assert set(np.unique(mask)) == {0, 1}
