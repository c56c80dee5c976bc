"""How a file becomes an image, how paths become frames, and what each is called."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import touch_files
from hypothesis import given
from hypothesis import strategies as st

from xrdpipe.io.files import references
from xrdpipe.io.paths import expand


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
    (path,) = touch_files(tmp_path, "real/x.tif")
    (tmp_path / "link").mkdir()
    for name in ("x.tif", "y.tif"):
        (tmp_path / "link" / name).symlink_to(path)
    paths = expand([str(path), str(tmp_path / "link" / "x.tif"), str(tmp_path / "link" / "y.tif")])
    assert [reference.name for reference in references(paths)] == ["real_x", "link_x", "y"]
