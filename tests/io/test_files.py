"""Which frames are in a file, how one is read, what it is called; and runs over stacks."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import fabio
import h5py
import hdf5plugin
import numpy as np
import pytest
import tifffile
from command import FAST, call, results, xrdpipe
from fabio.cbfimage import CbfImage
from fabio.edfimage import EdfImage
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from xrdpipe import integrate
from xrdpipe.io import files, hdf5
from xrdpipe.io.files import references
from xrdpipe.io.header import header
from xrdpipe.io.paths import split_path
from xrdpipe.model.errors import ConfigError, FrameError
from xrdpipe.model.reference import Reference
from xrdpipe.stages.source import Source
from xrdpipe.stages.stage import Setup

IMAGES = np.random.default_rng(0).poisson(3, (6, 20, 30)).astype(np.uint32)
Images = NDArray[Any]


@pytest.fixture(autouse=True)
def _fresh() -> None:
    files.forget_files()


def arrays(path: str | Path) -> Images:
    return np.array([files.read(each)[0] for each in files.look(path).references])


def numbers(path: str | Path) -> list[int | None]:
    return [each.index for each in files.look(path).references]


def eiger(folder: Path, images: Images = IMAGES, each: int = 2, **filters: Any) -> Path:
    """A master file that leads to data files of a few images each, as Dectris' detectors write them."""
    with h5py.File(folder / "scan_master.h5", "w") as master:
        data = master.create_group("entry/data")
        for at in range(0, len(images), each):
            name = f"data_{at // each + 1:06d}"
            data[name] = h5py.ExternalLink(f"scan_{name}.h5", "/entry/data/data")
            with h5py.File(folder / f"scan_{name}.h5", "w") as file:
                some = images[at : at + each]
                file.create_dataset("entry/data/data", data=some, chunks=(1, *images.shape[1:]), **filters)
        mask = np.zeros(images.shape[1:], np.uint32)
        mask[3, 4] = 1
        master["entry/instrument/detector/detectorSpecific/pixel_mask"] = mask
        master["entry/instrument/detector/count_time"] = 0.5
        master["entry/sample/temperature"] = np.arange(300.0, 300 + len(images))
    return folder / "scan_master.h5"


# --- what is in a file


def test_an_eiger_master_is_its_series_whatever_the_compression(tmp_path: Path) -> None:
    path = eiger(tmp_path, **hdf5plugin.Bitshuffle(cname="lz4"))
    assert numbers(path) == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(arrays(path), IMAGES)
    assert files.read(files.look(path).references[3])[0].dtype == np.uint32


def test_a_data_file_that_is_missing_is_named_and_its_frames_are_left_out(tmp_path: Path) -> None:
    path = eiger(tmp_path)
    (tmp_path / "scan_data_000003.h5").unlink()
    content = files.look(path)
    assert len(content.references) == 4
    assert "scan_data_000003.h5, which is not there" in content.notes[0]
    np.testing.assert_array_equal(arrays(path), IMAGES[:4])


def test_the_default_plot_of_nexus_comes_before_what_is_larger(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.nxs", "w") as file:
        file["entry/larger"] = np.zeros((9, 40, 50))
        file["entry/measured/frames"] = IMAGES
        file["entry/shown/signal"] = h5py.SoftLink("/entry/measured/frames")
        file.attrs["default"] = "entry"
        file["entry"].attrs["default"] = "shown"
        file["entry/shown"].attrs["signal"] = "signal"
    np.testing.assert_array_equal(arrays(tmp_path / "a.nxs"), IMAGES)


def test_without_a_default_the_largest_stack_is_taken_and_a_rival_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["flat"] = np.zeros((100, 100))
        file["spectra"] = np.zeros((1000, 4))
        file["x/images"] = IMAGES
        file["x/again"] = h5py.SoftLink("/x/images")
    content = files.look(tmp_path / "a.h5")
    assert (len(content.references), content.notes) == (6, ())
    files.forget_files()
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["x/others"] = IMAGES
    assert "/x/others has the same shape" in files.look(tmp_path / "a.h5").notes[0]


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        ("::/entry/data/data_*", [0, 1, 2, 3, 4, 5]),
        ("::/entry/data/data_000002", [0, 1]),
        ("::/entry/data/data_*[1:3]", [1, 2]),
        ("::[2:]", [2, 3, 4, 5]),
        ("::[::2]", [0, 2, 4]),
        ("::[-2:]", [4, 5]),
        ("::[3]", [3]),
        ("::[-1]", [5]),
        ("::", [0, 1, 2, 3, 4, 5]),
    ],
)
def test_a_dataset_and_a_slice_can_be_named(tail: str, expected: list[int], tmp_path: Path) -> None:
    path = eiger(tmp_path)
    assert numbers(f"{path}{tail}") == expected


@pytest.mark.parametrize("tail", ["::data", "::[1:2:3:4]", "::[a]", "::/a[1", "::[]"])
def test_what_is_neither_dataset_nor_slice_is_refused(tail: str) -> None:
    with pytest.raises(ConfigError, match=r"after :: the path of a dataset"):
        split_path(f"a.h5{tail}") if tail != "::/a[1" else split_path("a.h5::[1")


def test_a_slice_without_frames_is_refused_and_a_frame_that_is_not_there_fails(tmp_path: Path) -> None:
    path = eiger(tmp_path)
    with pytest.raises(ConfigError, match="none of the 6 frames"):
        files.look(f"{path}::[6:]")
    (missing,) = files.look(f"{path}::[6]").references
    with pytest.raises(FrameError, match="no frame 6"):
        files.read(missing)


def test_a_dataset_of_more_dimensions_is_a_row_of_frames(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["map"] = IMAGES.reshape(2, 3, 20, 30)
        file["one"] = IMAGES[4]
    np.testing.assert_array_equal(arrays(tmp_path / "a.h5"), IMAGES)
    assert numbers(f"{tmp_path}/a.h5::/one") == [None]
    np.testing.assert_array_equal(arrays(f"{tmp_path}/a.h5::/one")[0], IMAGES[4])


def test_a_virtual_dataset_is_read_and_what_it_lacks_is_told(tmp_path: Path) -> None:
    layout = h5py.VirtualLayout((6, 20, 30), np.uint32)
    for at in range(3):
        with h5py.File(tmp_path / f"part_{at}.h5", "w") as file:
            file["data"] = IMAGES[2 * at : 2 * at + 2]
        layout[2 * at : 2 * at + 2] = h5py.VirtualSource(f"part_{at}.h5", "data", (2, 20, 30))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("entry/data", layout)
    np.testing.assert_array_equal(arrays(tmp_path / "a.h5"), IMAGES)
    files.forget_files()
    (tmp_path / "part_1.h5").unlink()
    content = files.look(tmp_path / "a.h5")
    assert [each.index for each in content.references] == [0, 1, 4, 5]
    assert "4 of 6 frames" in content.notes[0]


@pytest.mark.parametrize("chunks", [(1, 20, 30), (2, 20, 30), (1, 7, 11)])
def test_frames_that_were_not_written_yet_are_left_out(chunks: tuple[int, ...], tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("data", (6, 20, 30), np.uint32, chunks=chunks)
        data[:4] = IMAGES[:4]
    content = files.look(tmp_path / "a.h5")
    assert [each.index for each in content.references] == [0, 1, 2, 3]
    assert "4 of 6 frames" in content.notes[0]
    np.testing.assert_array_equal(arrays(tmp_path / "a.h5"), IMAGES[:4])


def write_edf(path: Path) -> None:
    image = fabio.edfimage.EdfImage(data=IMAGES[0].astype(np.int32), header={"temperature": "300"})
    for number, each in enumerate(IMAGES[1:], 301):
        image.append_frame(data=each.astype(np.int32), header={"temperature": str(number)})
    image.write(str(path))


def write_tiff(path: Path) -> None:
    with tifffile.TiffWriter(path) as file:
        for number, each in enumerate(IMAGES, 300):
            file.write(each, contiguous=False, description=f"temperature: {number}", metadata=None)


@pytest.mark.parametrize(("write", "suffix"), [(write_edf, "edf"), (write_tiff, "tif")])
def test_files_of_several_frames_give_each_with_its_header(write: Any, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    write(path)
    np.testing.assert_array_equal(arrays(path), IMAGES)
    found = files.look(path).references
    assert [header(each)["temperature"] for each in found] == [300, 301, 302, 303, 304, 305]
    assert numbers(f"{path}::[1:3]") == [1, 2]


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"byteorder": ">"}, {"compression": "zlib"}])
def test_pages_of_tiffs_of_every_layout_are_frames(options: dict[str, Any], tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", IMAGES, photometric="minisblack", **options)
    np.testing.assert_array_equal(arrays(tmp_path / "a.tif"), IMAGES)
    np.save(tmp_path / "a.npy", IMAGES)
    np.testing.assert_array_equal(arrays(tmp_path / "a.npy"), IMAGES)


def test_a_truncated_tiff_gives_its_whole_pages_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write_tiff(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    content = files.look(path)
    assert 0 < len(content.references) < 6
    assert "truncated" in content.notes[0]
    np.testing.assert_array_equal(arrays(path), IMAGES[: len(content.references)])


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # fabio leaves files open that it cannot read
@given(st.sampled_from([b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"]), st.binary(max_size=60), st.integers(0, 40))
@settings(max_examples=50, deadline=None)
def test_a_tiff_of_nonsense_is_a_frame_that_fails(start: bytes, rest: bytes, at: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.tif")
        path.write_bytes(start + at.to_bytes(4, "little") + rest)
        for reference in files.look(path).references:
            with pytest.raises(FrameError):
                files.read(reference)


def test_values_of_each_frame_and_of_the_file_are_its_header(tmp_path: Path) -> None:
    found = [header(each) for each in files.look(eiger(tmp_path)).references]
    assert [each["/entry/sample/temperature"] for each in found] == [300, 301, 302, 303, 304, 305]
    assert {each["count_time"] for each in found} == {0.5}
    assert header(files.look(f"{tmp_path}/scan_master.h5::[4]").references[0])["temperature"] == 304


def test_the_detectors_own_mask_is_found(tmp_path: Path) -> None:
    path = eiger(tmp_path)
    mask = hdf5.pixel_mask(path, (20, 30))
    assert mask is not None
    assert (mask.dtype, mask.sum(), mask[3, 4]) == (np.uint32, 1, 1)
    assert hdf5.pixel_mask(path, (30, 20)) is None


# --- what must not be trusted


def test_a_huge_dataset_of_nothing_costs_no_memory(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("wide", (2, 1 << 20, 1 << 20), np.uint8, chunks=(1, 1024, 1024))
        bomb = file.create_dataset("bomb", (2, 30000, 30000), np.uint8, chunks=(1, 30000, 30000), compression="gzip")
        bomb.id.write_direct_chunk((0, 0, 0), b"x" * 1000)
    for name, reason in (("wide", "speaks of"), ("bomb", "bytes where 1000 are stored")):
        (reference,) = files.look(f"{tmp_path}/a.h5::/{name}").references
        with pytest.raises(FrameError, match=reason):
            files.read(reference)


def _lying(name: str, path: Path) -> Path:
    """A file of some kilobytes whose header speaks of much more."""
    path = path / name
    if name.endswith(".npy"):
        shape = (10**12, 0, 5) if name == "frames.npy" else (60_000, 50_000)
        header = str({"descr": "<u2", "fortran_order": False, "shape": shape}).ljust(117).encode() + b"\n"
        path.write_bytes(b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + bytes(100))
    elif name.endswith(".h5"):
        with h5py.File(path, "w") as file:
            if name == "virtual.h5":
                layout = h5py.VirtualLayout((10**13, 10, 10), "u2")
                layout[0] = h5py.VirtualSource("gone.h5", "raw", (10, 10))
                file.create_virtual_dataset("data", layout)
            else:
                file.create_dataset("data", (10**9, 8, 8), "u1", chunks=(10**6, 8, 8), compression="gzip")[0] = 1
    elif name.endswith(".cbf"):
        CbfImage(data=np.ones((20, 30), np.int32)).write(str(path))
        content = path.read_bytes().replace(b"Dimension: 20", b"Dimension: 16000")
        content = content.replace(b"Dimension: 30", b"Dimension: 16000").replace(
            b"Elements: 600", b"Elements: 256000000"
        )
        path.write_bytes(content)
    else:
        path.write_bytes(gzip.compress(bytes(10 << 20)) * 100)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("square.npy", "truncated, 59999"),
        ("frames.npy", "3-dimensional"),
        ("virtual.h5", "speaks of 10000000000000 frames"),
        ("many.h5", "speaks of 1000000000 frames"),
        ("square.cbf", "speaks of 2048000000 bytes"),
        ("bomb.edf.gz", "unpacked it has more than 256 MB"),
    ],
)
def test_a_header_that_lies_about_its_size_costs_no_memory(name: str, reason: str, tmp_path: Path) -> None:
    path = _lying(name, tmp_path)
    tracemalloc.start()
    try:
        (reference,) = files.look(path).references
        with pytest.raises(FrameError, match=reason):
            files.read(reference)
        assert tracemalloc.get_traced_memory()[1] < 1 << 25
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("signature", [b"SNOD", b"TREE", b"HEAP", b"GCOL"])
def test_a_damaged_hdf5_file_fails_alone(signature: bytes, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["default"], file["entry/data"] = "entry", IMAGES
    content = (tmp_path / "a.h5").read_bytes()
    assert signature in content
    (tmp_path / "a.h5").write_bytes(content.replace(signature, b"XXXX"))
    (reference,) = files.look(tmp_path / "a.h5").references
    with pytest.raises(FrameError):
        files.read(reference)
    hdf5.forget()


def test_a_number_of_thousands_of_digits_is_no_size(tmp_path: Path) -> None:
    (tmp_path / "a.edf").write_bytes(b"{\nDim_1 = 5 ;\nDim_2 = 5 ;\nSize = " + b"9" * 5000 + b" ;\n}\n" + bytes(50))
    (reference,) = files.look(tmp_path / "a.edf").references
    with pytest.raises(FrameError, match="fabio"):
        files.read(reference)


def test_a_number_of_dimensions_that_never_ends_is_refused(tmp_path: Path) -> None:
    EdfImage(data=IMAGES[0]).write(str(tmp_path / "a.edf"))
    content = (tmp_path / "a.edf").read_bytes()
    (tmp_path / "a.edf").write_bytes(content.replace(b"Dim_2", b"Dim_4611686018427387904") + b" ")
    (reference,) = files.look(tmp_path / "a.edf").references
    with pytest.raises(FrameError, match="speaks of 4611686018427387904 dimensions"):
        files.read(reference)


def test_a_file_that_never_ends_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", IMAGES[:2], photometric="minisblack", compression="zlib")
    content = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        first, second = (page.offset for page in tiff.pages)
    at = content.find(second.to_bytes(4, "little"), first)
    content[at : at + 4] = first.to_bytes(4, "little")
    (tmp_path / "a.tif").write_bytes(content)
    CbfImage(data=IMAGES[0].astype(np.int32)).write(str(tmp_path / "a.cbf"))
    cbf = (tmp_path / "a.cbf").read_bytes()
    (tmp_path / "a.cbf").write_bytes(cbf.replace(b"\x0c\x1a\x04\xd5", b"XXXX"))
    for name, reason in (("a.tif", "lead to one another"), ("a.cbf", "no numbers begin")):
        (reference,) = files.look(tmp_path / name).references
        with pytest.raises(FrameError, match=reason):
            files.read(reference)


@pytest.mark.parametrize("filters", [hdf5plugin.Bitshuffle(), hdf5plugin.Bitshuffle(cname="zstd"), hdf5plugin.LZ4()])
@pytest.mark.parametrize(("shape", "parts"), [((20, 30), 1), ((999, 1001), 1), ((999, 1001), 3), ((3, 5), 1)])
def test_a_damaged_chunk_fails_before_it_is_unpacked(
    filters: Any, shape: tuple[int, int], parts: int, tmp_path: Path
) -> None:
    images = np.random.default_rng(1).poisson(2, (2, *shape)).astype(np.uint32)
    chunk = (1, -(-shape[0] // parts), shape[1])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("data", data=images, chunks=chunk, **filters)
    assert np.array_equal(arrays(f"{tmp_path}/a.h5::/data"), images)
    files.forget_files()
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        mask, content = file["data"].id.read_direct_chunk((0, 0, 0))
        spoiled = content[:12] + (1 << 20).to_bytes(4, "big") + content[16:] if len(content) > 16 else content[:12]
        file["data"].id.write_direct_chunk((0, 0, 0), spoiled, mask)
    first, second = files.look(f"{tmp_path}/a.h5::/data").references
    with pytest.raises(FrameError, match="damaged"):
        files.read(first)
    assert np.array_equal(files.read(second)[0], images[1])


def _objects(file: h5py.File) -> None:
    file.create_dataset("x", (2, 20, 30), h5py.special_dtype(vlen=np.uint8))


def _outside(file: h5py.File) -> None:
    file.create_dataset("x", (2, 20, 30), np.uint8, external=[("/etc/passwd", 0, 1200)])


def _fifo(file: h5py.File) -> None:
    os.mkfifo(Path(file.filename).parent / "fifo")
    file["x"] = h5py.ExternalLink("fifo", "/x")


def _circle(file: h5py.File) -> None:
    file["y"] = h5py.SoftLink("/x")
    file["x"] = h5py.SoftLink("/y")


def _text(file: h5py.File) -> None:
    (Path(file.filename).parent / "text").write_text("no HDF5")
    file["x"] = h5py.ExternalLink("text", "/x")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_objects, "no images"),
        (_outside, "refused"),
        (_fifo, "not there"),
        (_circle, "lead to one another"),
        (_text, "HDF5 cannot read"),
        (lambda file: file.create_group("x/images"), "is a group"),
        (lambda file: file.create_dataset("X", data=IMAGES), "there is X"),
        (lambda file: file.create_dataset("x", data=np.zeros(9)), "no images"),
        (lambda file: None, "has no /x"),
    ],
)
def test_what_holds_no_images_fails_with_a_reason_of_one_line(make: Any, reason: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        make(file)
    (reference,) = files.look(f"{tmp_path}/a.h5::/x").references
    with pytest.raises(FrameError, match=reason) as error:
        files.read(reference)
    assert len(str(error.value).splitlines()) == 1


def test_a_damaged_file_is_one_frame_that_fails(tmp_path: Path) -> None:
    path = eiger(tmp_path)
    path.write_bytes(path.read_bytes()[:-500])
    (reference,) = files.look(path).references
    with pytest.raises(FrameError, match="truncated"):
        files.read(reference)


# --- names


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


# --- merging


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
    assert (first.exposures, rest.exposures) == ((1, 1) if key == "average" else (4, 2))
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


# --- runs


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
    assert records("threads")[2]["hash"] == files.read(files.look(scan).references[2])[1]


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
        found = files.look(reference / "hdf5" / name).references
        assert ({each.dataset for each in found}, len(found)) == ({dataset}, count)
        assert files.read(found[-1])[0].max() > 0


class Reading:
    """Reads a frame; what is given happens at the first times that it does."""

    def __init__(self, *happens: Any) -> None:
        self.happens, self.times = list(happens), 0

    def __call__(self, reference: Reference) -> Images:
        self.times += 1
        raw = files.read(reference)[0]
        if self.happens:
            self.happens.pop(0)()
        return raw


@pytest.fixture
def single(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reference:
    monkeypatch.setattr("xrdpipe.io.files._PAUSE", 0.0)
    tifffile.imwrite(tmp_path / "f.tif", IMAGES[0])
    return Reference("f", tmp_path / "f.tif")


def test_a_file_that_is_replaced_while_it_is_read_is_read_again(single: Reference) -> None:
    reading = Reading(lambda: tifffile.imwrite(single.path, IMAGES[1][:10]))
    raw, state = files.read_steady(single, reading)
    assert np.array_equal(raw, IMAGES[1][:10])
    assert state == files.reference_state(single)


def test_a_file_that_changes_again_and_again_fails(single: Reference) -> None:
    changes = [lambda size=size: tifffile.imwrite(single.path, IMAGES[1][:size]) for size in (5, 6, 7)]
    with pytest.raises(FrameError, match=r"^it changed while it was read$"):
        files.read_steady(single, Reading(*changes))


def test_a_file_that_is_empty_while_it_is_written_anew_is_read_again(single: Reference) -> None:
    def written_anew(reference: Reference) -> tuple[Images, str]:
        try:
            return files.read(reference)
        except FrameError:
            tifffile.imwrite(single.path, IMAGES[2])
            raise

    single.path.write_bytes(b"")
    with pytest.raises(FrameError, match="empty"):  # it stays so
        files.read_steady(single, files.read)
    (raw, _), _ = files.read_steady(single, written_anew)
    assert np.array_equal(raw, IMAGES[2])


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO, errno.ETIMEDOUT])
def test_what_a_network_file_system_says_once_is_asked_again_and_what_it_says_twice_fails(
    number: int, single: Reference
) -> None:
    def stale() -> None:
        raise FrameError("cannot be read") from OSError(number, os.strerror(number))

    def stale_in_hdf5() -> None:
        raise FrameError("cannot be read") from OSError(f"Can't read data (time = Mon, errno = {number}, error = ...)")

    for each in (stale, stale_in_hdf5):
        assert np.array_equal(files.read_steady(single, Reading(each))[0], IMAGES[0])
        with pytest.raises(FrameError, match="cannot be read"):
            files.read_steady(single, Reading(each, each))


def test_a_file_that_is_not_there_is_not_waited_for(single: Reference) -> None:
    single.path.unlink()
    reading = Reading()
    with pytest.raises(FrameError, match="no such file"):
        files.read_steady(single, reading)
    assert reading.times == 0


def test_a_stack_may_grow_while_a_frame_of_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "stack.npy"
    np.save(path, IMAGES[:2])
    reading = Reading(lambda: np.save(path, IMAGES))
    raw, _ = files.read_steady(Reference("f", path, None, "", 1), reading)
    assert reading.times == 1
    assert np.array_equal(raw, IMAGES[1])
