"""The NeXus file of a series: what stands in it, that others read it, and that it survives whatever happens."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from command import LIMIT, call
from nexus_files import AXIS, WORDS, content, frame, series

import xrdpipe
from xrdpipe.io.nexus import NexusFile
from xrdpipe.io.nexus_read import read
from xrdpipe.stages.output_nexus import NexusFiles


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


def test_the_content_does_not_depend_on_the_number_of_jobs(run: Path, here: Path) -> None:
    assert call(*WORDS, "output_dir=again", "parallel=serial").status == 0
    assert content(here / "again" / "patterns.nxs") == content(run)


def test_the_order_in_which_frames_come_does_not_change_a_byte(tmp_path: Path) -> None:
    for folder, order in (("a", [0, 1, 2, 3]), ("b", [3, 1, 0, 2])):
        (tmp_path / folder).mkdir()
        file = NexusFile(series(tmp_path / folder, 4), "patterns", [f"f{number}" for number in range(4)])
        file.waiting.update(file.names)
        for number in order:
            file.add(*frame(number))
        file.end({f"f{number}": frame(number)[0] for number in range(4)})
    assert (tmp_path / "a" / "patterns.nxs").read_bytes() == (tmp_path / "b" / "patterns.nxs").read_bytes()


def test_a_replay_finds_it_identical_whatever_the_date(run: Path) -> None:
    with h5py.File(run, "r+") as file:
        file["entry/reduction/date"][()] = "2026-01-01T00:00:00+00:00"
    told = call("replay", "out")
    assert "identical: 4 of 4 files" in told.out


@pytest.mark.slow
def test_a_replay_names_frames_that_differ(run: Path, here: Path) -> None:
    tifffile.imwrite(here / "data" / "ni_2.tiff", tifffile.imread(here / "data" / "ni_2.tiff") * 2)
    told = call("replay", "out")
    assert told.status == 1
    assert "patterns.nxs: 1 frames differ (ni_2" in told.out
