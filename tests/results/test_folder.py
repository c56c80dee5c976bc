"""A results folder: who may write into it, what goes, what stays, and the record."""

from __future__ import annotations

import csv
import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from xrdpipe.io.writing import file_hash
from xrdpipe.model.errors import ConfigError
from xrdpipe.model.record import Record
from xrdpipe.model.reference import Reference
from xrdpipe.results.folder import Folder, difference
from xrdpipe.results.journal import journal
from xrdpipe.results.run_file import COLUMNS

A: dict[str, Any] = {"config": {"mask": {"alpha": 2.0}}}
B: dict[str, Any] = {"config": {"mask": {"alpha": 3.0}}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results"


def ran(
    path: Path,
    identity: dict[str, Any],
    *names: str,
    overwrite: bool = False,
    status: str = "done",
    killed: bool = False,
) -> Folder:
    """What a run does with its folder; ``killed``: up to its last frame, and no further."""
    folder, outputs = Folder(path), {name: [f"{name}.chi", f"masks/{name}.npy"] for name in names}
    run = {"program": "xrdpipe", "identity": identity, "outputs": outputs}
    folder.check(identity, outputs, overwrite)
    folder.begin({**run, "status": "running"}, outputs)
    records = []
    for name, files in outputs.items():
        for file in files if status == "done" else ():
            (path / file).parent.mkdir(exist_ok=True)
            (path / file).write_text(json.dumps(identity))
        written = {file: file_hash(path / file) for file in files if (path / file).exists()}
        image = path.parent / f"{name}.tif"
        image.write_text(name)
        stat = image.stat()
        records.append(
            Record(
                f"{name}.tif",
                name,
                status,
                hash=file_hash(image),
                path=str(image),
                size=stat.st_size,
                mtime_ns=stat.st_mtime_ns,
                outputs=written,
            )
        )
        folder.note(records[-1])
    if not killed:
        folder.record({**run, "status": "done"}, records)
    return folder


def content(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def run_json(path: Path) -> dict[str, Any]:
    values = json.loads((path / "run.json").read_text(encoding="utf-8"))
    assert isinstance(values, dict)
    return values


def test_a_new_folder_is_free_and_checking_makes_nothing(path: Path) -> None:
    Folder(path).check(A, {"a": ["a.chi"]}, overwrite=False)
    assert not path.exists()


def test_an_empty_folder_and_one_with_other_files_are_free(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("mine")
    (path / "b.chi").write_text("mine")
    ran(path, A, "a")
    assert (path / "notes.txt").read_text() == (path / "b.chi").read_text() == "mine"


def test_more_frames_of_the_same_configuration_are_added(path: Path) -> None:
    ran(path, A, "a", "b")
    ran(path, A, "c")
    assert [row["name"] for row in run_json(path)["images"]] == ["a", "b", "c"]
    assert (path / "summary.csv").read_text().splitlines() == [
        ",".join(COLUMNS),
        "a.tif,a,done,,,",
        "b.tif,b,done,,,",
        "c.tif,c,done,,,",
    ]


def test_another_configuration_is_refused_in_words_and_nothing_is_touched(path: Path) -> None:
    ran(path, A, "a")
    before = content(path)
    with pytest.raises(
        ConfigError, match=r"another configuration \(config\.mask\.alpha: 2\.0 there, 3\.0 now\); say .*overwrite"
    ):
        ran(path, B, "b")
    assert content(path) == before


def test_a_name_that_is_done_is_refused_and_nothing_is_touched(path: Path) -> None:
    ran(path, A, "a")
    before = content(path)
    with pytest.raises(ConfigError, match=r"a\.chi is already there"):
        ran(path, A, "b", "a")
    assert content(path) == before
    (path / "a.chi").unlink()
    (path / "masks" / "a.npy").unlink()
    with pytest.raises(ConfigError, match=r"a \(see run\.json\) is already there"):
        ran(path, A, "a")


def test_a_file_of_the_same_name_by_somebody_else_is_refused(path: Path) -> None:
    path.mkdir()
    (path / "a.chi").write_text("mine")
    with pytest.raises(
        ConfigError, match=r"a\.chi is already there; say .*overwrite=true .*or choose another output_dir"
    ):
        ran(path, A, "a")
    assert content(path) == {"a.chi": b"mine"}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"a": 1}', "\xff", '{"program": "xrdpipe", "images": [{"name": 5}]}']
)
def test_a_run_json_of_somebody_else_is_refused(text: str, path: Path) -> None:
    path.mkdir()
    (path / "run.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"run\.json is of no run of xrdpipe") as error:
        ran(path, A, "a")
    assert len(str(error.value)) < 300
    assert content(path) == {"run.json": text.encode("latin-1")}
    ran(path, A, "a", overwrite=True)
    assert run_json(path)["identity"] == A


def test_a_summary_of_somebody_else_is_refused(path: Path) -> None:
    path.mkdir()
    (path / "summary.csv").write_text("my,own,table")
    with pytest.raises(ConfigError, match=r"summary\.csv is of no run of xrdpipe"):
        ran(path, A, "a")
    assert (path / "summary.csv").read_text() == "my,own,table"


def test_a_frame_that_failed_may_be_tried_again(path: Path) -> None:
    ran(path, A, "a", status="failed")
    ran(path, A, "a")
    assert [row["status"] for row in run_json(path)["images"]] == ["done"]


def test_overwriting_replaces_a_frame_and_keeps_the_others(path: Path) -> None:
    ran(path, A, "a", "b")
    ran(path, A, "a", overwrite=True, status="failed")
    assert not (path / "a.chi").exists()  # a failure leaves no result of before
    assert not (path / "masks" / "a.npy").exists()
    assert (path / "b.chi").exists()
    assert {row["name"]: row["status"] for row in run_json(path)["images"]} == {"a": "failed", "b": "done"}


def test_overwriting_with_another_configuration_leaves_nothing_of_the_old_one(path: Path) -> None:
    ran(path, A, "a", "b")
    ran(path, A, "c")
    (path / "notes.txt").write_text("mine")
    ran(path, B, "a", overwrite=True)
    assert set(content(path)) == {"a.chi", "masks/a.npy", "summary.csv", "run.json", "notes.txt"}
    assert json.loads((path / "a.chi").read_text()) == B
    assert [row["name"] for row in run_json(path)["images"]] == ["a"]


def test_a_run_json_cannot_have_files_elsewhere_deleted(path: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    ran(path, A, "a")
    values = run_json(path)
    values["outputs"] = {"a": ["../precious", str(tmp_path / "precious"), "a.chi"]}
    (path / "run.json").write_text(json.dumps(values))
    ran(path, B, "a", overwrite=True)
    assert (tmp_path / "precious").read_text() == "data"


def test_a_job_that_was_refused_leaves_a_folder_that_is_free(path: Path) -> None:
    path.mkdir()
    (path / "run.json").write_text(json.dumps({"program": "xrdpipe", "status": "refused", "images": []}))
    ran(path, A, "a")


def test_a_killed_run_keeps_what_it_had_done_and_its_configuration(path: Path) -> None:
    ran(path, A, "a", killed=True)
    assert Folder(path).records["a"].status == "done"
    before = content(path)
    with pytest.raises(ConfigError, match=r"another configuration \(config\.mask\.alpha"):
        ran(path, B, "b")
    with pytest.raises(ConfigError, match=r"a\.chi is already there"):
        ran(path, A, "a")
    assert content(path) == before
    ran(path, A, "b")
    assert [row["name"] for row in run_json(path)["images"]] == ["a", "b"]
    assert not (path / "run.jsonl").exists()


def test_a_journal_that_was_cut_short_counts_up_to_there(path: Path) -> None:
    ran(path, A, "a", "b", killed=True)
    journal = path / "run.jsonl"
    journal.write_bytes(journal.read_bytes()[:-30])
    assert set(Folder(path).records) == {"a"}


def test_overwriting_a_killed_run_with_another_configuration_leaves_nothing_of_it(path: Path) -> None:
    ran(path, A, "a", "b", killed=True)
    (path / "masks" / ".1-2.part").write_text("half")
    ran(path, B, "b", overwrite=True)
    assert set(content(path)) == {"b.chi", "masks/b.npy", "summary.csv", "run.json"}


def test_a_frame_is_done_only_if_it_and_its_files_are_unchanged(path: Path) -> None:
    ran(path, A, "a")
    image, outputs = path.parent / "a.tif", ["a.chi", "masks/a.npy"]

    def done(verify: bool = False) -> bool:
        return Folder(path).done(Reference("a", image), outputs, verify)

    assert done()
    assert done(verify=True)
    assert not Folder(path).done(Reference("a", image), [*outputs, "figures/a_image.png"], False)
    assert not Folder(path).done(Reference("b", image), [], False)
    os.utime(image, ns=(0, 0))
    assert done()  # another time, but the same content
    image.write_text("other")
    assert not done()
    image.write_text("a")
    assert done()
    (path / "a.chi").write_text("edited")
    assert not done()
    (path / "a.chi").unlink()
    assert not done()


def test_a_frame_that_failed_is_not_done(path: Path) -> None:
    ran(path, A, "a", status="failed")
    assert not Folder(path).done(Reference("a", path.parent / "a.tif"), [], False)


def test_an_image_of_the_same_size_and_time_is_read_only_to_verify(path: Path) -> None:
    ran(path, A, "a")
    image = path.parent / "a.tif"
    stat = image.stat()
    image.write_text("b")
    os.utime(image, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert Folder(path).done(Reference("a", image), ["a.chi"], verify=False)
    assert not Folder(path).done(Reference("a", image), ["a.chi"], verify=True)


def test_names_given_before_are_known_with_their_image(path: Path) -> None:
    ran(path, A, "a", "b")
    assert Folder(path).names == {name: str(path.parent / f"{name}.tif") for name in "ab"}


def test_a_folder_that_is_a_file_or_lies_in_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below" / "it"):
        with pytest.raises(ConfigError, match="is a file, not a folder"):
            Folder(path).check(A, {}, overwrite=True)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ConfigError, match="not writable"):
            Folder(tmp_path / "below").check(A, {}, overwrite=False)
    finally:
        tmp_path.chmod(0o700)


def test_frames_of_another_shape_do_not_join(path: Path) -> None:
    ran(path, A, "a")
    values = run_json(path) | {"shape": [120, 100]}
    (path / "run.json").write_text(json.dumps(values))
    Folder(path).check_shape(A, (120, 100))
    with pytest.raises(ConfigError, match="120 x 100 pixels, these have 60 x 50"):
        Folder(path).check_shape(A, (60, 50))


def test_the_summary_is_csv_whatever_names_and_errors_hold(path: Path) -> None:
    path.mkdir()
    record = Record('a,"b"\n.tif', "a", "failed", 0.25, 1.5, 'no, "really"\nnot')
    Folder(path).record({"program": "xrdpipe"}, [record])
    with open(path / "summary.csv", newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row == {
        "file": 'a,"b"\n.tif',
        "name": "a",
        "status": "failed",
        "masked_fraction": "0.25",
        "seconds": "1.5",
        "error": 'no, "really"\nnot',
    }


def test_what_is_logged_meanwhile_by_any_library_is_in_the_log(path: Path) -> None:
    path.mkdir()
    folder = Folder(path)
    with folder.log():
        logging.getLogger("xrdpipe").info("from us")
        logging.getLogger("pyFAI.somewhere").warning("from them")
    logging.getLogger("xrdpipe").warning("after")
    text = (path / "xrdpipe.log").read_text()
    assert "INFO xrdpipe: from us" in text
    assert "WARNING pyFAI.somewhere: from them" in text
    assert "after" not in text
    with folder.log():
        logging.getLogger("xrdpipe").info("again")
    assert "from us" in (path / "xrdpipe.log").read_text()  # it grows


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "a.b: 1 there, 2 now"),
        ({"a": 1}, {"a": 1, "b": 2}, "b: None there, 2 now"),
        ({"a": 1, "b": 2}, {"a": 1}, "b: 2 there, None now"),
        ({"a": [1, 2]}, {"a": [2, 1]}, "a: [1, 2] there, [2, 1] now"),
    ],
)
def test_the_first_difference_is_told_by_its_key(before: Any, now: Any, words: str) -> None:
    assert difference(before, now) == words


def test_a_journal_that_cannot_be_written_costs_no_frame(path: Path) -> None:
    folder = Folder(path)
    folder.begin({"program": "xrdpipe", "identity": A, "status": "running"}, {})
    (path / "run.jsonl").mkdir()  # as bad as a full disk
    folder.note(Record("a.tif", "a", "done"))
    (path / "run.jsonl").rmdir()
    folder.note(Record("b.tif", "b", "done"))
    assert [row["name"] for row in journal(path)] == ["b"]
    folder.record({"program": "xrdpipe", "identity": A, "status": "done"}, [])
    assert set(Folder(path).records) == {"a", "b"}


def test_after_half_a_line_the_journal_goes_on_with_a_line_of_its_own(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(path)
    folder.begin({"program": "xrdpipe", "identity": A, "status": "running"}, {})
    with monkeypatch.context() as patch:
        patch.setattr("xrdpipe.results.folder._line", lambda record: full_disk(path / "run.jsonl"))
        folder.note(Record("a.tif", "a", "done"))
    folder.note(Record("b.tif", "b", "done"))
    assert [row["name"] for row in journal(path)] == ["b"]


def full_disk(file: Path) -> None:
    with open(file, "a", encoding="utf-8") as half:
        half.write('{"file": "a.t')
    raise OSError(28, "No space left on device")


def test_a_log_that_cannot_be_written_is_given_up_without_a_word(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path / "xrdpipe.log").mkdir(parents=True)
    with Folder(path).log():
        logging.getLogger("xrdpipe").info("a word")
    assert capsys.readouterr().err == ""
