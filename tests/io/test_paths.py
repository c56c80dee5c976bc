"""How a file becomes an image, how paths become frames, and what each is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from command import touch_files
from hypothesis import given
from hypothesis import strategies as st

from xrdpipe.io.paths import expand, natural
from xrdpipe.model.errors import ConfigError


def test_globs_are_sorted_as_people_count(tmp_path: Path) -> None:
    touch_files(tmp_path, "f_10.tif", "f_2.tif", "f_1.tif", "g_1.tif", "F_3.tif")
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
    touch_files(tmp_path, "f_1.tif", "f_01.tif", "f_001.tif")
    assert [path.name for path in expand(f"{tmp_path}/*.tif")] == ["f_001.tif", "f_01.tif", "f_1.tif"]


def test_two_stars_look_into_folders_and_folders_are_no_images(tmp_path: Path) -> None:
    touch_files(tmp_path, "a.tif", "x/b.tif", "x/y/c.tif")
    (tmp_path / "d.tif").mkdir()
    assert [path.name for path in expand(f"{tmp_path}/**/*.tif")] == ["a.tif", "b.tif", "c.tif"]


def test_an_explicit_list_keeps_its_order_and_duplicates_are_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    b, a, c = touch_files(tmp_path, "b.tif", "a.tif", "c.tif")
    monkeypatch.chdir(tmp_path)
    given = [str(b), str(a), str(b), "b.tif", "./a.tif", "x/../a.tif", f"{tmp_path}/*.tif"]
    assert expand(given) == [b, a, c]


def test_a_list_file_names_paths_and_globs_one_a_line(tmp_path: Path) -> None:
    touch_files(tmp_path, "b 1.tif", "a.tif", "g_1.tif", "g_2.tif")
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
    touch_files(tmp_path, name, "a1.tif", "b.tif")
    monkeypatch.chdir(tmp_path)
    assert expand(name) == [Path(name)]


def test_home_and_variables_are_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = touch_files(tmp_path, "a.tif")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FRAMES", str(tmp_path))
    assert expand(["~/a.tif"]) == expand(["$FRAMES/a.tif"]) == expand(["${FRAMES}/*.tif"]) == [path]


def test_a_path_that_does_not_exist_stays_so_that_it_fails_by_its_name() -> None:
    assert expand("nowhere.tif") == [Path("nowhere.tif")]
