"""Records of frames in a temporary database, and the files that are made of them one by one."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xrdpipe.io.writing import write_json
from xrdpipe.model.record import Record
from xrdpipe.results.records import BATCH, Records
from xrdpipe.results.run_file import read_run, write_run


def filled(count: int) -> Records:
    records = Records()
    for number in range(count):
        records.add(
            Record(f"{number}.tif", f"f_{number}", "done", size=number, mtime_ns=7, metrics={"a": 0.1 * number})
        )
    return records


def test_records_are_a_mapping_in_the_order_of_their_names() -> None:
    records = filled(3 * BATCH)
    names = [f"f_{number}" for number in range(3 * BATCH)]
    assert list(records) == names
    assert [record.name for record in records.values()] == names
    assert [(name, record.size) for name, record in records.items()] == [(name, n) for n, name in enumerate(names)]
    assert records["f_5"] == Record("5.tif", "f_5", "done", size=5, mtime_ns=7, metrics={"a": 0.5})
    assert "f_5" in records
    assert "g" not in records
    with pytest.raises(KeyError):
        records["g"]


def test_a_record_is_replaced_in_its_place_and_removed() -> None:
    records = filled(4)
    records.add(Record("1.tif", "f_1", "failed"))
    assert list(records) == ["f_0", "f_1", "f_2", "f_3"]
    assert (records.count("done"), records.count("failed")) == (3, 1)
    records.remove(["f_0", "g"])
    assert list(records) == ["f_1", "f_2", "f_3"]
    assert [record.name for record in records.with_state(2, 7)] == ["f_2"]


def test_the_frames_of_a_run_are_a_sequence_after_all_others() -> None:
    records = filled(5)
    records.arrange(["f_3", "f_1"])
    assert list(records) == ["f_0", "f_2", "f_4", "f_3", "f_1"]
    frames = records.arranged
    assert [record.name for record in frames] == ["f_3", "f_1"]
    assert (len(frames), frames[0].name, frames[-1].name, frames[1:][0].name) == (2, "f_3", "f_1", "f_1")
    assert frames == [records["f_3"], records["f_1"]]
    assert pickle.loads(pickle.dumps(frames)) == list(frames)
    with pytest.raises(IndexError):
        frames[2]


def test_on_a_full_disk_records_stay_in_memory(caplog: pytest.LogCaptureFixture) -> None:
    records = filled(BATCH)
    pages = records.select("* FROM pragma_page_count")[0][0]
    records._database.execute(f"PRAGMA max_page_count = {pages}")  # as a full disk
    for number in range(BATCH, 3 * BATCH):
        records.add(Record(f"{number}.tif", f"f_{number}", "done"))
    assert list(records) == [f"f_{number}" for number in range(3 * BATCH)]
    assert "records of frames stay in memory" in caplog.text


text = st.text(st.characters(codec="utf-8") | st.just("\udcff"), max_size=8)  # file names may not be UTF-8
value = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | text
record = st.builds(
    Record,
    text,
    text,
    parts=st.lists(text, max_size=2),
    outputs=st.dictionaries(text, text, max_size=2),
    metrics=st.dictionaries(text, st.floats(allow_nan=False), max_size=2),
    columns=st.dictionaries(text, value | st.lists(value, max_size=2), max_size=2),
    error=text,
)


@pytest.mark.slow
@given(st.lists(record, max_size=3), st.dictionaries(text.filter(lambda key: key != "images"), value, max_size=3))
def test_a_run_json_is_that_of_a_writer_who_has_all_in_memory(
    tmp_path_factory: pytest.TempPathFactory, records: list[Record], run: dict[str, Any]
) -> None:
    folder = tmp_path_factory.mktemp("run")
    write_run(folder, run, records)
    write_json(folder / "whole.json", {**run, "images": [vars(each) for each in records]})
    assert (folder / "run.json").read_bytes() == (folder / "whole.json").read_bytes()
    rows: list[Any] = []
    content = json.loads((folder / "whole.json").read_text(encoding="utf-8"))
    assert read_run(folder / "run.json", rows.append) == {**content, "images": []}
    assert rows == content["images"]


@pytest.mark.parametrize("gap", ["", " ", "\n" * 70_000])  # longer than the part that is read at a time
def test_a_run_json_is_read_however_it_is_laid_out(tmp_path: Path, gap: str) -> None:
    parts = ['{"images"', ":", '[{"name"', ":", '"a"}', ",", '{"n":12', "}]", ",", '"b"', ":", "12", "}"]
    (tmp_path / "run.json").write_text(gap.join(parts), encoding="utf-8")
    rows: list[Any] = []
    assert read_run(tmp_path / "run.json", rows.append) == {"images": [], "b": 12}
    assert rows == [{"name": "a"}, {"n": 12}]


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"a": 1,}', '{"a": 1} {}', '{"images": [1 2]}', '{"images": [{}', "nonsense"]
)
def test_what_is_no_json_object_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r".+"):
        read_run(tmp_path / "run.json", lambda row: None)
