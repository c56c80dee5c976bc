"""Hashes, versions, and files that appear whole or not at all."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xrdpipe.io.writing import file_hash, indented, write_json, write_text, write_whole
from xrdpipe.model.identity import content_hash, versions


def test_a_hash_names_its_algorithm_and_its_hex(tmp_path: Path) -> None:
    algorithm, _, digits = content_hash(b"frame").partition(":")
    assert algorithm == "xxh128"
    assert len(bytes.fromhex(digits)) == 16
    assert content_hash(b"") == "xxh128:99aa06d3014798d86001c324468d497f"  # of the reference implementation


@given(st.binary(), st.binary())
def test_equal_content_and_only_that_has_equal_hashes(a: bytes, b: bytes) -> None:
    assert (content_hash(a) == content_hash(b)) == (a == b)


def test_an_array_has_the_hash_of_its_bytes_and_a_file_of_its_content(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.uint16).reshape(2, 3)
    (tmp_path / "a").write_bytes(array.tobytes())
    assert content_hash(array) == content_hash(array.tobytes()) == file_hash(tmp_path / "a")


def test_versions_name_all_that_the_numbers_hang_on() -> None:
    assert {"xrdpipe", "python", "numpy", "pyFAI", "fabio", "hydra", "numba"} <= set(versions())
    assert all(text and text[0].isdigit() for text in versions().values())


def test_a_file_that_cannot_be_finished_leaves_what_was_there(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "before")

    def fail(file: BinaryIO) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "a", fail)
    assert (tmp_path / "a").read_text() == "before"
    assert os.listdir(tmp_path) == ["a"]


def test_folders_are_made_on_the_way(tmp_path: Path) -> None:
    write_text(tmp_path / "x" / "y" / "a", "text")
    assert (tmp_path / "x" / "y" / "a").read_text() == "text"


@given(st.text())
def test_text_comes_back(text: str) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        write_text(Path(folder, "a"), text)
        assert Path(folder, "a").read_bytes().decode() == text
        write_json(Path(folder, "b"), {text: [text, 1, None]})
        assert json.loads(Path(folder, "b").read_text(encoding="utf-8")) == {text: [text, 1, None]}


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_json_files_have_the_layout_of_the_library(values: object) -> None:
    text = json.dumps(values, indent=1, ensure_ascii=False, default=str)
    assert indented(values, 0) == text
    assert indented([values, Path("a")], 0) == json.dumps([values, "a"], indent=1, ensure_ascii=False)


def test_a_file_name_that_is_no_text_can_be_recorded(tmp_path: Path) -> None:
    name = os.fsdecode(b"f\xff.tiff")
    write_json(tmp_path / "a", {"file": name})
    assert json.loads((tmp_path / "a").read_text(encoding="utf-8"))["file"] == name
    write_text(tmp_path / "b", name)


def test_the_usual_program_checks_the_hash(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    try:
        run = subprocess.run(["xxh128sum", str(tmp_path / "a")], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        pytest.skip("xxh128sum is not installed")
    assert file_hash(tmp_path / "a") == f"xxh128:{run.stdout.split()[0]}"


def test_what_cannot_be_written_is_named_by_its_own_name(tmp_path: Path) -> None:
    def full(file: BinaryIO) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left on device") as failed:
        write_whole(tmp_path / "a.chi", full)
    assert failed.value.filename == str(tmp_path / "a.chi")
