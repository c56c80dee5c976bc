"""How a file becomes an image, how paths become frames, and what each is called."""

from __future__ import annotations

import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fabio
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from xrdpipe.geometry.orientation import TRANSFORMS
from xrdpipe.io.files import references
from xrdpipe.io.image_file import read_file
from xrdpipe.io.memory import Memory
from xrdpipe.io.paths import expand, natural
from xrdpipe.model.errors import ConfigError, FrameError
from xrdpipe.model.reference import Reference
from xrdpipe.stages.source import Source
from xrdpipe.stages.source_demo import Demo
from xrdpipe.stages.stage import Setup

RAMP = np.arange(12, dtype=np.uint16).reshape(3, 4)


@given(st.lists(st.sampled_from(sorted(TRANSFORMS)), max_size=6))
def test_every_transform_can_be_undone(names: list[str]) -> None:
    source = Source(transform=names)
    np.testing.assert_array_equal(source.to_raw(source.to_frame(RAMP)), RAMP)


def test_transforms_are_applied_in_the_order_they_are_named() -> None:
    np.testing.assert_array_equal(Source(transform=["flipud"]).to_frame(RAMP), RAMP[::-1])
    np.testing.assert_array_equal(Source(transform=["fliplr"]).to_frame(RAMP), RAMP[:, ::-1])
    np.testing.assert_array_equal(Source(transform=["transpose"]).to_frame(RAMP), RAMP.T)
    np.testing.assert_array_equal(Source(transform=["rot90"]).to_frame(RAMP), np.rot90(RAMP))
    np.testing.assert_array_equal(Source(transform=["flipud", "transpose"]).to_frame(RAMP), RAMP[::-1].T)
    np.testing.assert_array_equal(Source(transform=["transpose", "flipud"]).to_frame(RAMP), RAMP.T[::-1])


def test_an_unknown_transform_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"transform=flip_ud.*'flipud'"):
        Source(transform=["flip_ud"])


@pytest.mark.parametrize("values", [{"frames": 0}, {"frames": 502}, {"seed": -1}])
def test_an_impossible_demo_is_refused(values: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        Demo(**values)


@pytest.mark.parametrize("dtype", ["u1", "i1", "<u2", ">u2", "<i4", ">i4", "<u4", "<f4", ">f4", "<f8"])
def test_tiffs_of_every_type_and_byte_order_read_as_written(dtype: str, tmp_path: Path) -> None:
    image = RAMP.astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", image, byteorder=">" if dtype.startswith(">") else "<")
    read = Source().read(tmp_path / "a.tif")
    assert read.dtype == np.float32
    assert read.flags.c_contiguous
    np.testing.assert_array_equal(read, image)


@pytest.mark.parametrize("options", [{"rowsperstrip": 1}, {"compression": "zlib"}, {"bigtiff": True}, {"predictor": 2}])
def test_tiffs_of_other_layouts_read_the_same(options: dict[str, Any], tmp_path: Path) -> None:
    if "predictor" in options:
        options = options | {"compression": "zlib"}
    tifffile.imwrite(tmp_path / "a.tif", RAMP, **options)
    np.testing.assert_array_equal(Source().read(tmp_path / "a.tif"), RAMP)


@pytest.mark.parametrize(("form", "suffix"), [("edfimage", "edf"), ("cbfimage", "cbf"), ("tifimage", "tif")])
def test_formats_of_fabio_are_read(form: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    getattr(fabio, form).__dict__[{"edfimage": "EdfImage", "cbfimage": "CbfImage", "tifimage": "TifImage"}[form]](
        data=RAMP.astype(np.int32)
    ).write(str(path))
    np.testing.assert_array_equal(Source().read(path), RAMP)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, ">f8"])
def test_an_npy_array_is_an_image(dtype: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", RAMP.astype(dtype))
    np.testing.assert_array_equal(Source().read(tmp_path / "a.npy"), RAMP.astype(dtype).astype(np.float32))


def _text(path: Path) -> None:
    path.write_text("this is no picture")


def _truncated(path: Path) -> None:
    tifffile.imwrite(path, np.ones((64, 64), np.uint16))
    path.write_bytes(path.read_bytes()[:-100])


def _truncated_compressed(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 60000, (64, 64), np.uint16)
    tifffile.imwrite(path, noise, compression="zlib")
    path.write_bytes(path.read_bytes()[:-3000])


def _objects(path: Path) -> None:
    with open(path, "wb") as file:
        np.save(file, np.array([[{}, 1]], dtype=object), allow_pickle=True)


def _lying_npy(path: Path) -> None:
    with open(path, "wb") as file:
        np.save(file, RAMP)
    path.write_bytes(
        path.read_bytes().replace(b"(3, 4)", b"(9999999,9999999)"[:6]).replace(b"'shape': (9999", b"'shape': (9**9")
    )


def _huge_npy(path: Path) -> None:
    header = {"descr": "<f8", "fortran_order": False, "shape": (1 << 30, 1 << 30)}
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)


def _colour(path: Path) -> None:
    tifffile.imwrite(path, np.zeros((8, 9, 3), np.uint8), photometric="rgb")


def _truncated_colour(path: Path) -> None:
    _colour(path)
    path.write_bytes(path.read_bytes()[:-5])


def _stack(path: Path) -> None:
    with open(path, "wb") as file:
        np.save(file, np.zeros((2, 8, 9)))


def _pages(path: Path) -> None:
    tifffile.imwrite(path, np.zeros((2, 8, 9), np.uint16), photometric="minisblack")


def _complex(path: Path) -> None:
    with open(path, "wb") as file:
        np.save(file, np.zeros((8, 9), complex))


def _nothing(path: Path) -> None:
    with open(path, "wb") as file:
        np.save(file, np.zeros((0, 9)))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "no such file"),
        (Path.mkdir, "folder"),
        (Path.touch, "empty"),
        (_text, "not an image"),
        (_truncated, "truncated, 100 bytes"),
        (_truncated_compressed, "truncated, 3000 bytes"),
        (_objects, "not a plain .npy"),
        (_lying_npy, "not a plain .npy"),
        (_huge_npy, "truncated"),
        (_colour, "colour|3-dimensional"),
        (_truncated_colour, "truncated"),
        (_stack, "3-dimensional"),
        (_pages, "2 frames|3-dimensional"),
        (_complex, "complex128"),
        (_nothing, "no pixels"),
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # fabio leaves files open that it cannot read
def test_what_is_no_image_fails_with_a_reason_of_one_line(make: Any, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tiff"
    make(path)
    with pytest.raises(FrameError, match=reason) as error:
        read_file(path)
    assert len(str(error.value).splitlines()) == 1


def test_a_pickle_inside_a_file_is_never_loaded(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "sprung"),)

    with open(tmp_path / "a.npy", "wb") as file:
        np.save(file, np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(FrameError):
        read_file(tmp_path / "a.npy")
    assert not (tmp_path / "sprung").exists()


def test_the_same_content_has_the_same_hash_wherever_it_lies(frames: list[Path], tmp_path: Path) -> None:
    shutil.copy(frames[0], tmp_path / "copy.tiff")
    first, copy, second = (read_file(path)[1] for path in (frames[0], tmp_path / "copy.tiff", frames[1]))
    assert first == copy != second


def test_a_frame_carries_its_name_file_hash_and_float_image(setup: Setup, frames: list[Path]) -> None:
    frame = Source().prepare(setup)(Reference("mine", frames[0]))
    raw, digest = read_file(frames[0])
    assert (frame.name, frame.file, frame.digest, frame.variance) == ("mine", "ni_1.tiff", digest, None)
    assert frame.image.dtype == np.float32
    np.testing.assert_array_equal(frame.image, raw)


def test_an_array_is_a_frame_whose_hash_is_that_of_its_values(setup: Setup) -> None:
    read = Source().prepare(setup)
    array = np.arange(12000.0).reshape(120, 100)
    frame, twisted = read(Reference("a", Path("a"), array)), read(Reference("a", Path("a"), np.asfortranarray(array)))
    assert frame.digest == twisted.digest
    np.testing.assert_array_equal(frame.image, array)


def test_a_frame_of_another_shape_fails_and_says_both_shapes(setup: Setup) -> None:
    with pytest.raises(FrameError, match=r"100 x 120 pixels.*120 x 100"):
        Source().prepare(setup)(Reference("a", Path("a"), np.zeros((100, 120))))


# --- paths


def made(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return [folder / name for name in names]


def test_globs_are_sorted_as_people_count(tmp_path: Path) -> None:
    made(tmp_path, "f_10.tif", "f_2.tif", "f_1.tif", "g_1.tif", "F_3.tif")
    assert [path.name for path in expand(f"{tmp_path}/f_*.tif")] == ["f_1.tif", "f_2.tif", "f_10.tif"]


@pytest.mark.parametrize("name", ["1²2.tif", "٣.tif", "ß1", "", "007", "a" * 300])
def test_any_name_can_be_sorted(name: str) -> None:
    assert sorted([name, "1.tif", "x"], key=natural)


@given(st.lists(st.text(alphabet="aB01²٣._-", max_size=6)))
def test_sorting_does_not_depend_on_the_order_before(names: list[str]) -> None:
    def order(names: list[str]) -> list[str]:
        return sorted(names, key=lambda name: (natural(name), name))

    assert order(names) == order(names[::-1])


def test_names_that_count_alike_have_one_order(tmp_path: Path) -> None:
    made(tmp_path, "f_1.tif", "f_01.tif", "f_001.tif")
    assert [path.name for path in expand(f"{tmp_path}/*.tif")] == ["f_001.tif", "f_01.tif", "f_1.tif"]


def test_two_stars_look_into_folders_and_folders_are_no_images(tmp_path: Path) -> None:
    made(tmp_path, "a.tif", "x/b.tif", "x/y/c.tif")
    (tmp_path / "d.tif").mkdir()
    assert [path.name for path in expand(f"{tmp_path}/**/*.tif")] == ["a.tif", "b.tif", "c.tif"]


def test_an_explicit_list_keeps_its_order_and_duplicates_are_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    b, a, c = made(tmp_path, "b.tif", "a.tif", "c.tif")
    monkeypatch.chdir(tmp_path)
    given = [str(b), str(a), str(b), "b.tif", "./a.tif", "x/../a.tif", f"{tmp_path}/*.tif"]
    assert expand(given) == [b, a, c]


def test_a_list_file_names_paths_and_globs_one_a_line(tmp_path: Path) -> None:
    made(tmp_path, "b 1.tif", "a.tif", "g_1.tif", "g_2.tif")
    text = f"{tmp_path}/b 1.tif\r\n\n  {tmp_path}/a.tif  \n{tmp_path}/g_*.tif\n"
    (tmp_path / "list.txt").write_text(f"\ufeff{text}", encoding="utf-8")
    assert [path.name for path in expand(f"@{tmp_path}/list.txt")] == ["b 1.tif", "a.tif", "g_1.tif", "g_2.tif"]


def test_a_list_that_names_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"@{tmp_path}/list.txt\n")
    with pytest.raises(ConfigError, match="names itself"):
        expand(f"@{tmp_path}/list.txt")


@pytest.mark.parametrize(
    ("text", "reason"),
    [(None, "cannot be read"), ("", "empty"), (" \n\n", "empty"), (b"\xff\xfe\x00", "cannot be read")],
)
def test_a_list_that_gives_nothing_is_refused_by_name(text: Any, reason: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "list.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=rf"list\.txt.*{reason}"):
        expand(f"@{tmp_path}/list.txt")


def test_a_glob_that_matches_nothing_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing_\*\.tif: no file matches"):
        expand([f"{tmp_path}/nothing_*.tif"])


@pytest.mark.parametrize(
    "name", ["[a]*?.tif", "a,b.tif", "a=b.tif", "@a.tif", "$HOME.tif", "~.tif", " a .tif", "ä°.tif"]
)
def test_a_file_that_exists_is_that_file_whatever_its_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path, name, "a1.tif", "b.tif")
    monkeypatch.chdir(tmp_path)
    assert expand(name) == [Path(name)]


def test_home_and_variables_are_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = made(tmp_path, "a.tif")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FRAMES", str(tmp_path))
    assert expand(["~/a.tif"]) == expand(["$FRAMES/a.tif"]) == expand(["${FRAMES}/*.tif"]) == [path]


def test_a_path_that_does_not_exist_stays_so_that_it_fails_by_its_name() -> None:
    assert expand("nowhere.tif") == [Path("nowhere.tif")]


# --- names


def names_of(*paths: str, taken: dict[str, str] | None = None) -> list[str]:
    return [reference.name for reference in references(map(Path, paths), taken)]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/d/x.tif"], ["x"]),
        (["/d/x.y.tif"], ["x.y"]),
        (["/d/a/x.tiff", "/d/b/x.tiff"], ["a_x", "b_x"]),
        (["/d/x.tif", "/d/x.edf"], ["x_tif", "x_edf"]),
        (["/d/a/x.tif", "/d/b/x.tif", "/d/y.tif"], ["a_x", "b_x", "y"]),
        (["/a/c/x.tif", "/b/c/x.tif"], ["a_c_x", "b_c_x"]),
        (["/d/X.tif", "/d/x.tif"], ["d_X_2", "d_x_2_tif"]),  # for file systems that cannot tell
    ],
)
def test_an_image_is_named_by_the_shortest_path_that_tells_it_apart(paths: list[str], names: list[str]) -> None:
    assert names_of(*paths) == names


part = st.sampled_from(["a", "b", "a_b", "b_c", "c", "A", "x_tif", "x", "1", "ß", "SS"])
path_text = st.builds(
    lambda folders, stem, suffix: "/" + "/".join([*folders, stem + suffix]),
    st.lists(part, max_size=3),
    part,
    st.sampled_from(["", ".tif", ".edf", ".TIF"]),
)


@given(st.lists(path_text, unique=True, max_size=12), st.dictionaries(part, path_text, max_size=3))
def test_names_never_collide_whatever_the_paths(paths: list[str], taken: dict[str, str]) -> None:
    kept: dict[str, str] = {}
    for name, path in taken.items():
        if path not in kept.values() and name.casefold() not in {each.casefold() for each in kept}:
            kept[name] = path
    found = names_of(*paths, taken=kept)
    assert len({name.casefold() for name in found}) == len(paths)
    owner = {name.casefold(): path for name, path in kept.items()}
    for path, name in zip(paths, found, strict=True):
        assert owner.get(name.casefold(), path) == path  # nobody gets the name of somebody else
        assert path not in kept.values() or kept.get(name) == path  # and everybody keeps the own


def test_names_never_leave_the_folder() -> None:
    for name in names_of("../../x.tif", "/a/../x.tif", "x.tif", "../x.tif"):
        assert Path(name).name == name


def test_a_name_once_given_stays_with_its_image() -> None:
    assert names_of("/d/b/x.tif", "/d/a/x.tif", taken={"x": "/d/a/x.tif"}) == ["b_x", "x"]


def test_links_to_one_file_are_images_of_their_own(tmp_path: Path) -> None:
    (path,) = made(tmp_path, "real/x.tif")
    (tmp_path / "link").mkdir()
    for name in ("x.tif", "y.tif"):
        (tmp_path / "link" / name).symlink_to(path)
    paths = expand([str(path), str(tmp_path / "link" / "x.tif"), str(tmp_path / "link" / "y.tif")])
    assert [reference.name for reference in references(paths)] == ["real_x", "link_x", "y"]


def test_the_image_of_a_file_is_in_the_orientation_of_the_frames(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RAMP)
    read: NDArray[np.float32] = Source(transform=["rot90", "flipud"]).read(tmp_path / "a.tif")
    np.testing.assert_array_equal(read, np.flipud(np.rot90(RAMP)))


def test_frames_are_remembered_by_many_threads_at_once(
    data: Path, frames: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, size = Memory(), 2 * 120 * 100
    monkeypatch.setattr(Memory, "room", 100 * size)
    paths = [data / f"f_{number}.tiff" for number in range(300)]
    for path in paths:
        os.link(frames[0], path)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            read = list(pool.map(own.read, references(paths)))
    finally:
        sys.setswitchinterval(before)
    assert {digest for _, digest in read} == {read_file(frames[0])[1]}
    assert len(own.files) == 100
