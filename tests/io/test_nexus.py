"""The NeXus file of a series: what stands in it, that others read it, and that it survives whatever happens."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from command import FAST, LIMIT, call, start, tree

import xrdpipe
from xrdpipe.io.nexus import NexusFile, Stored
from xrdpipe.io.nexus_read import read
from xrdpipe.model.errors import FrameError
from xrdpipe.model.pattern import Pattern
from xrdpipe.model.record import Record
from xrdpipe.model.series import Series
from xrdpipe.stages.output_nexus import NexusFiles

WORDS = ("poni=data/tiny.poni", "data/*.tiff", *FAST, "output.format=[chi,nxs]", "integ.error_model=poisson")
AXIS = np.linspace(0.5, 5, 7)


@pytest.fixture
def here(frames: list[Path], poni: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder to run in, with three frames and a geometry in `data`."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(here: Path) -> Path:
    """The file of a run over three frames, and beside it their .chi files."""
    assert call(*WORDS, "output_dir=out").status == 0
    return here / "out" / "patterns.nxs"


def content(path: Path) -> dict[str, Any]:
    """Every dataset and attribute but the date."""
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        found.update({f"{name}@{key}": str(value) for key, value in item.attrs.items()})
        if isinstance(item, h5py.Dataset):
            found[name] = item[()].tobytes() if item.shape else item[()]

    with h5py.File(path) as file:
        file.visititems(visit)
    assert found.pop("entry/reduction/date")
    return found


def frame(number: int, shape: tuple[int, ...] = (7,)) -> tuple[Record, Pattern]:
    name = f"f{number}"
    values = np.random.default_rng(number).normal(size=shape)
    values.flat[2] = np.nan
    return Record(f"data/{name}.tiff", name, "done", hash=f"xxh128:{number:032d}"), Pattern(
        AXIS, values, abs(values), "q_A^-1", method="csr"
    )


def series(folder: Path, count: int, stack: str = "") -> Series:
    names = {f"f{number}": stack for number in range(count)}
    return Series(folder, names, {"program": "xrdpipe", "config": {"integ": {}}}, "Distance: 1", 1e-10, "2026-01-01")


# ------------------------------------------------------------------------------------------------- what stands in it


@pytest.mark.slow
def test_the_numbers_are_those_of_the_patterns_to_the_last_bit(here: Path) -> None:
    made = xrdpipe.integrate(
        "data/tiny.poni",
        "data/ni_1.tiff",
        "data/ni_2.tiff",
        integ={"npt": 300, "error_model": "poisson", "radial_range": [0, 9]},  # bins beyond the detector
        output={"format": ["nxs"]},
        plot="none",
        output_dir="out",
    )
    with h5py.File("out/patterns.nxs") as file:
        data = file["entry/data"]
        for place, pattern in enumerate(made.patterns.values()):
            assert np.isnan(pattern.intensity).any()
            np.testing.assert_array_equal(data["radial_axis"][()], pattern.radial)
            np.testing.assert_array_equal(data["I"][place], pattern.intensity)
            np.testing.assert_array_equal(data["I_errors"][place], pattern.sigma)


def test_it_says_how_it_was_made(run: Path, poni: Path) -> None:
    record = json.loads((run.parent / "run.json").read_text())
    with h5py.File(run) as file:
        process = file["entry/reduction"]
        given = {name: value.asstr()[()] for name, value in process["input"].items()}
        assert process["date"].asstr()[()] == record["started"]
        assert process["version"].asstr()[()] == record["versions"]["xrdpipe"]
        assert given["poni_text"] == poni.read_text()
        assert json.loads(given["config"]) == record["identity"]["config"]
        assert given["unit"] == "q_A^-1"
        hashes = [value.decode() for value in file["entry/frames/image_hash"]]
        assert hashes == [image["hash"] for image in record["images"]]
        fractions = [image["masked_fraction"] for image in record["images"]]
        np.testing.assert_array_equal(file["entry/frames/masked_fraction"][()], fractions)
        scatter = [image["metrics"]["ring_scatter"] for image in record["images"]]
        np.testing.assert_array_equal(file["entry/frames/ring_scatter"][()], scatter)


def test_a_frame_that_failed_keeps_its_place_without_numbers_and_says_why(here: Path) -> None:
    (here / "data" / "ni_2.tiff").write_bytes(b"")
    assert call(*WORDS, "output_dir=out").status == 1
    with h5py.File("out/patterns.nxs") as file:
        assert file["entry/frames/name"].asstr()[()].tolist() == ["ni_1", "ni_2", "ni_3"]
        assert file["entry/frames/status"][()].tolist() == [b"done", b"failed", b"done"]
        assert "empty" in file["entry/frames/error"].asstr()[1]
        assert np.isnan(file["entry/data/I"][1]).all()
        assert not np.isnan(file["entry/data/I"][2]).all()


def test_an_axis_that_the_definition_does_not_know_is_written_without_naming_the_definition(here: Path) -> None:
    assert call(*WORDS, "integ.unit=r_mm", "output_dir=out").status == 0
    with h5py.File("out/patterns.nxs") as file:
        assert "definition" not in file["entry"]
        assert file["entry/data/radial_axis"].attrs["units"] == "mm"


def test_the_frames_of_a_stack_are_in_a_file_of_their_own(tmp_path: Path) -> None:
    names = {"scan_0": "scan", "scan_1": "scan", "single": ""}
    files = NexusFiles(replace(series(tmp_path, 0), stacks=names))
    assert files.files == ("scan.nxs", "patterns.nxs")
    files.begin(names)
    for name in names:
        files.add(replace(frame(1)[0], name=name), {"": frame(1)[1]})
    files.end({})
    assert {path.name for path in tmp_path.iterdir()} == {"scan.nxs", "patterns.nxs"}
    assert read(tmp_path, "scan_1") is not None
    assert read(tmp_path, "single") is not None


def test_every_other_part_of_a_frame_is_in_a_file_of_its_own_and_may_be_missing(tmp_path: Path) -> None:
    given = replace(series(tmp_path, 2), parts=("", "north"))
    records = {f"f{number}": frame(number)[0] for number in (0, 1)}
    files = NexusFiles(given)
    assert files.files == ("patterns.nxs", "patterns_north.nxs")
    files.begin(records)
    files.add(records["f0"], {"": frame(0)[1], "north": frame(2)[1]})
    files.add(records["f1"], {"": frame(1)[1]})
    files.end(records)
    with h5py.File(tmp_path / "patterns_north.nxs") as file:
        np.testing.assert_array_equal(file["entry/data/I"][0], frame(2)[1].intensity)
        assert file["entry/frames/status"][()].tolist() == [b"done", b"empty"]
    assert all(NexusFiles(given).holds(record) for record in records.values())


@dataclass(frozen=True)
class Map:
    """What a 2D integration gives: intensity (azimuthal, radial)."""

    radial: np.ndarray
    azimuthal: np.ndarray
    intensity: np.ndarray
    sigma: np.ndarray | None
    unit: str
    method: str = ""


def test_a_2d_pattern_follows_the_definition_for_2d(tmp_path: Path) -> None:
    record, pattern = frame(3, (4, 7))
    file = NexusFile(series(tmp_path, 4), "maps", ["f3"])
    file.waiting.add("f3")
    file.add(record, Map(AXIS, np.arange(4.0), pattern.intensity, None, "2th_deg"))  # type: ignore[arg-type]
    file.end({"f3": record})
    with h5py.File(file.path) as stored:
        assert stored["entry/definition"].asstr()[()] == "NXazint2d"
        assert stored["entry/data"].attrs["axes"].tolist() == [".", "azimuthal_axis", "radial_axis"]
        np.testing.assert_array_equal(stored["entry/data/I"][0], pattern.intensity)
    pytest.importorskip("nexusformat", reason="nexusformat is not installed")
    assert validated(file.path) == (0, 0)


# ------------------------------------------------------------------------------------------------- read by others


def validated(path: Path) -> tuple[int, int]:
    """How many warnings and errors nexusformat's validator finds, with the definitions it brings."""
    from nexusformat.nexus.validate import logger, validate_application

    logger.setLevel(logging.WARNING)
    found: tuple[int, int] = validate_application(str(path))
    return found


@pytest.mark.parametrize("words", [(), ("integ=two_theta", "integ.error_model=null")])
def test_a_validator_accepts_it_as_nxazint1d(here: Path, words: tuple[str, ...]) -> None:
    pytest.importorskip("nexusformat", reason="nexusformat is not installed")
    assert call(*WORDS, *words, "output_dir=out").status == 0
    path = here / "out" / "patterns.nxs"
    assert validated(path) == (0, 0)
    with h5py.File(path, "r+") as file:  # and it is one that refuses
        del file["entry/data/radial_axis"]
    assert validated(path)[1] > 0


def test_pynxtools_finds_nothing_that_it_would_not_find_in_any_file_of_that_definition(run: Path) -> None:
    # It asks for the units that the definition names, and leaves out all attributes of that name before it looks.
    program = shutil.which("pynx") or shutil.which("pynx", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("pynxtools is not installed")
    told = subprocess.run([program, "validate", str(run)], capture_output=True, text=True, timeout=LIMIT)
    said = [line for line in (told.stdout + told.stderr).splitlines() if line.startswith(("WARNING", "ERROR"))]
    unexpected = [line for line in said if "@units hasn't been supplied" not in line and "is NOT valid" not in line]
    assert not unexpected


def test_nexusformat_plots_it_by_default(run: Path) -> None:
    nexus = pytest.importorskip("nexusformat.nexus", reason="nexusformat is not installed")
    with nexus.nxopen(run) as root:
        data = root.get_default()
        assert data.nxsignal.shape == (3, 100)
        assert data.nxaxes[-1].nxname == "radial_axis"
        assert data.nxerrors.nxname == "I_errors"


def test_silx_sees_spectra_with_their_axis_and_errors(run: Path) -> None:
    nxdata = pytest.importorskip("silx.io.nxdata", reason="silx is not installed")
    import silx.io

    with silx.io.open(str(run)) as file:
        data = nxdata.get_default(file)
        assert data.is_valid
        assert data.interpretation == "spectrum"
        assert data.signal.shape == data.errors.shape == (3, 100)
        assert data.axes[-1].shape == (100,)


# ------------------------------------------------------------------------------------------------- the same bytes


def test_the_content_does_not_depend_on_the_number_of_jobs(run: Path, here: Path) -> None:
    assert call(*WORDS, "output_dir=again", "parallel=serial").status == 0
    assert content(here / "again" / "patterns.nxs") == content(run)


def test_the_order_in_which_frames_come_does_not_change_a_byte(tmp_path: Path) -> None:
    for folder, order in (("a", [0, 1, 2, 3]), ("b", [3, 1, 0, 2])):
        (tmp_path / folder).mkdir()
        file = NexusFile(series(tmp_path / folder, 4), "patterns", [f"f{number}" for number in range(4)])
        file.waiting.update(file.given)
        for number in order:
            file.add(*frame(number))
        file.end({f"f{number}": frame(number)[0] for number in range(4)})
    assert (tmp_path / "a" / "patterns.nxs").read_bytes() == (tmp_path / "b" / "patterns.nxs").read_bytes()


def test_a_replay_finds_it_identical_whatever_the_date(run: Path) -> None:
    with h5py.File(run, "r+") as file:
        file["entry/reduction/date"][()] = "2026-01-01T00:00:00+00:00"
    told = call("replay", "out")
    assert "identical: 4 of 4 files" in told.out


def test_a_replay_names_frames_that_differ(run: Path, here: Path) -> None:
    tifffile.imwrite(here / "data" / "ni_2.tiff", tifffile.imread(here / "data" / "ni_2.tiff") * 2)
    told = call("replay", "out")
    assert told.status == 1
    assert "patterns.nxs: 1 frames differ (ni_2" in told.out


# ------------------------------------------------------------------------------------------------- while it grows


def test_it_can_be_read_while_it_grows_by_anybody_in_any_way(tmp_path: Path) -> None:
    names = [f"f{number}" for number in range(5)]
    file = NexusFile(series(tmp_path, 5), "patterns", names)
    file.waiting.update(names)
    reader = None
    for number in (4, 0, 2):
        record, pattern = frame(number)
        file.add(record, pattern)
        with h5py.File(file.path) as stored:
            place = names.index(record.name)
            assert stored["entry/frames/status"][place] == b"done"
            np.testing.assert_array_equal(stored["entry/data/I"][place], pattern.intensity)
            assert np.isnan(stored["entry/data/I"][1]).all()
            assert stored["entry/frames/status"][1] == b"waiting"
        reader = reader or h5py.File(file.path)  # that somebody keeps it open does not matter
    assert reader is not None
    reader.close()
    found = read(tmp_path, "f2")
    assert found is not None
    np.testing.assert_array_equal(found.radial, np.delete(AXIS, 2))
    assert read(tmp_path, "f1") is None


def test_a_pattern_on_another_axis_is_refused_for_its_frame_alone(tmp_path: Path) -> None:
    file = NexusFile(series(tmp_path, 3), "patterns", ["f0", "f1", "f2"])
    file.waiting.update(file.given)
    file.add(*frame(0))
    record, pattern = frame(1)
    with pytest.raises(FrameError, match="another axis"):
        file.add(record, replace(pattern, radial=AXIS + 1))
    file.add(*frame(2))
    assert Stored.of(file.path).whole("f2")  # type: ignore[union-attr]
    later = NexusFile(series(tmp_path, 3), "patterns", ["f0", "f1", "f2"])
    later.waiting.add("f1")
    with pytest.raises(FrameError, match="another axis"):
        later.add(record, replace(pattern, radial=AXIS + 1))
    assert Stored.of(file.path).whole("f0")  # type: ignore[union-attr]


def test_a_frame_that_was_being_written_counts_as_not_there(tmp_path: Path) -> None:
    file = NexusFile(series(tmp_path, 2), "patterns", ["f0", "f1"])
    file.waiting.update(file.given)
    for number in (0, 1):
        file.add(*frame(number))
    offset = Stored.of(file.path).offsets["I"]  # type: ignore[union-attr]
    with open(file.path, "r+b") as torn:
        torn.seek(offset + 8 * 7)
        torn.write(b"\x00" * 8)
    again = NexusFile(series(tmp_path, 2), "patterns", ["f0", "f1"])
    assert again.holds(frame(0)[0])
    assert not again.holds(frame(1)[0])
    assert not again.holds(replace(frame(0)[0], hash="xxh128:0"))


@pytest.mark.parametrize("spoilt", [b"", b"no HDF5", None])
def test_a_file_that_is_no_longer_ours_is_made_anew(tmp_path: Path, spoilt: bytes | None) -> None:
    file = NexusFile(series(tmp_path, 1), "patterns", ["f0"])
    file.waiting.add("f0")
    file.add(*frame(0))
    whole = file.path.read_bytes()
    file.path.write_bytes(whole[: len(whole) // 2] if spoilt is None else spoilt)
    again = NexusFile(series(tmp_path, 1), "patterns", ["f0"])
    assert not again.holds(frame(0)[0])
    again.waiting.add("f0")
    again.add(*frame(0))
    assert file.path.read_bytes() == whole


def test_a_file_that_promises_more_than_it_holds_is_not_read(tmp_path: Path) -> None:
    file = NexusFile(series(tmp_path, 1), "patterns", ["f0"])
    file.waiting.add("f0")
    file.add(*frame(0))
    with h5py.File(file.path, "r+") as stored:
        del stored["entry/frames/name"]
        stored["entry/frames"].create_dataset("name", (1 << 40,), "S8", chunks=(1 << 20,), compression="gzip")
    assert Stored.of(file.path) is None
    assert read(tmp_path, "f0") is None


def test_a_run_json_that_names_anything_as_shared_does_no_harm(run: Path, here: Path) -> None:
    precious = here / "precious.nxs"
    precious.write_text("mine")
    for value in (5, ["../precious.nxs"]):
        record = json.loads((run.parent / "run.json").read_text())
        (run.parent / "run.json").write_text(json.dumps({**record, "together": value}))
        assert call(*WORDS, "output_dir=out", "overwrite=true", "mask.alpha=3").status == 0
    assert precious.read_text() == "mine"


@pytest.mark.slow
def test_a_killed_run_leaves_a_file_that_opens_and_goes_on_with_another_backend_to_the_same_end(here: Path) -> None:
    for number in range(9):
        image = tifffile.imread(here / "data" / f"ni_{number % 3 + 1}.tiff")
        tifffile.imwrite(here / "data" / f"more_{number}.tiff", image + np.uint16(number))
    words = [*WORDS[:-2], "output.format=nxs", "integ.npt=1000"]
    assert call(*words, "output_dir=whole").status == 0
    process = start(*words, "output_dir=out", "parallel.n_jobs=2", cwd=here, stderr=subprocess.DEVNULL)
    limit, path = time.monotonic() + LIMIT, here / "out" / "patterns.nxs"
    while process.poll() is None and not path.exists() and time.monotonic() < limit:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=LIMIT)
    with h5py.File(path) as file, h5py.File(here / "whole" / "patterns.nxs") as whole:
        done = file["entry/frames/status"][()] == b"done"
        np.testing.assert_array_equal(file["entry/data/I"][done], whole["entry/data/I"][done])
    assert call(*words, "output_dir=out", "resume=true", "parallel.backend=loky").status == 0
    assert content(path) == content(here / "whole" / "patterns.nxs")


# ------------------------------------------------------------------------------------------------- a folder that grows


def test_more_frames_come_into_the_same_file(here: Path) -> None:
    words = [word for word in WORDS if word != "data/*.tiff"]
    assert call(*words, "data/ni_2.tiff", "output_dir=out").status == 0
    assert call(*words, "data/ni_1.tiff", "data/ni_3.tiff", "output_dir=out").status == 0
    with h5py.File("out/patterns.nxs") as file:
        assert file["entry/frames/name"].asstr()[()].tolist() == ["ni_2", "ni_1", "ni_3"]
        assert set(file["entry/frames/status"][()]) == {b"done"}
        assert np.isfinite(file["entry/frames/ring_scatter"][()]).all()


def test_resume_does_what_is_missing_in_it_and_nothing_else(run: Path) -> None:
    whole, before = content(run), run.stat().st_mtime_ns
    assert "3 of 3 images were done before" in call(*WORDS, "output_dir=out", "resume=true").err
    assert run.stat().st_mtime_ns == before
    with h5py.File(run, "r+") as file:
        file["entry/data/I"][1] = 0
    assert "2 of 3 images were done before" in call(*WORDS, "output_dir=out", "resume=true").err
    assert content(run) == whole


@pytest.mark.slow
def test_another_configuration_leaves_nothing_of_the_one_before(run: Path) -> None:
    assert call(*WORDS, "output_dir=out", "integ.npt=50", "overwrite=true").status == 0
    with h5py.File(run) as file:
        assert file["entry/data/I"].shape == (3, 50)
    words = [word for word in WORDS if "format" not in word]
    assert call(*words, "output_dir=out", "overwrite=true").status == 0
    assert not run.exists()


def test_a_file_of_that_name_that_is_none_of_ours_is_refused(here: Path) -> None:
    (here / "out").mkdir()
    (here / "out" / "patterns.nxs").write_text("mine")
    before = tree(here)
    told = call(*WORDS, "output_dir=out")
    assert told.status == 2
    assert "patterns.nxs is already there" in told.err
    assert tree(here) == before


def test_a_disk_that_is_full_fails_frames_and_not_the_program(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("xrdpipe.io.nexus.write_whole", full)
    told = call(*WORDS, "output_dir=out")
    assert told.status == 1
    assert "No space left" in told.err


def test_a_dry_run_names_it(here: Path) -> None:
    assert "patterns.nxs" in call(*WORDS, "output_dir=out", "dry_run=true").out
