"""A detector's stream: its frames become patterns as they come, and what is no message of its kind is refused."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from command import FAST, LIMIT, call, results, run_record, start, summary_rows

import xrdpipe
from xrdpipe.io.live.stream_message import Message, MessageError

pytest.importorskip("cbor2", reason="cbor2 is not installed")
pytest.importorskip("zmq", reason="pyzmq is not installed")
import cbor2
import stream_detector

WORDS = ("poni=data/tiny.poni", "source=stream", "source.folder=kept", "output_dir=out", *FAST)


@contextmanager
def detector(folder: Path, *words: str) -> Iterator[str]:
    """A detector in a process of its own, which sends the frames of a folder; its address."""
    command = [sys.executable, str(Path(stream_detector.__file__)), str(folder), *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        limit = time.monotonic() + LIMIT / 4
        while not (folder / "address").exists():
            assert process.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.02)
        yield f"source.address={(folder / 'address').read_text()}"
        assert process.communicate(timeout=LIMIT / 4)[1] == ""
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def here(frames: list[Path], poni: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["none", "lz4", "bslz4"])
def test_the_frames_of_a_series_become_patterns_and_its_end_ends_the_run(here: Path, algorithm: str) -> None:
    with detector(here / "data", algorithm) as address:
        told = call(*WORDS, address, "output.mask=true", "source.columns=[/entry/start_time]")
    assert told.status == 0, told.err
    rows = summary_rows(here / "out")
    sent = [tifffile.imread(path) for path in sorted((here / "data").glob("*.tiff"))]
    assert [row["name"] for row in rows] == [f"01GX-7_{number:06d}" for number in range(len(sent))]
    assert [float(row["/entry/start_time"]) for row in rows] == pytest.approx(np.arange(len(sent)) / 10)
    mask = np.load(here / "out" / "masks" / "01GX-7_000000.npy")
    assert mask[:5].all()  # the detector's own
    assert not mask.all()
    for number, image in enumerate(sent):
        masked = np.where(np.arange(len(image))[:, None] < 5, np.iinfo(image.dtype).max, image)  # the same mask
        tifffile.imwrite(here / "data" / f"01GX-7_{number:06d}.tif", masked.astype(image.dtype))
    assert call("poni=data/tiny.poni", "data/01*.tif", "output_dir=files", *FAST).status == 0
    for name, content in results(here / "files", "*.chi").items():
        numbers = [np.loadtxt(each.splitlines()) for each in (content, results(here / "out")[name])]
        np.testing.assert_array_equal(*numbers)
    assert "identical" in call("replay", "out").out


@pytest.mark.slow
def test_messages_that_are_none_are_refused_in_words_and_the_others_are_taken(here: Path) -> None:
    with detector(here / "data", "bslz4", "odd") as address:
        told = call(*WORDS, address)
    assert told.status == 1, told.err
    assert {image["status"] for image in run_record(here / "out")["images"]} == {"done"}
    assert "a message of the stream is refused: not CBOR" in told.err
    assert "messages of the stream were refused" in told.err


@pytest.mark.slow
def test_an_image_that_is_not_as_the_format_says_is_a_frame_that_fails_in_each_run_over_the_kept_files(
    here: Path,
) -> None:
    with detector(here / "data", "bslz4", "short") as address:
        told = call(*WORDS, address, "source.idle=30")
    again = call("poni=data/tiny.poni", "kept/*.h5", "output_dir=again", *FAST)
    for run, folder in ((told, here / "out"), (again, here / "again")):
        assert run.status == 1, run.err
        first, *others = summary_rows(folder)
        assert (first["name"], first["status"]) == ("01GX-7_000000", "failed")
        assert "its message was refused:" in first["error"]
        assert "bytes for an array of" in first["error"]
        assert {row["status"] for row in others} == {"done"}
    assert "did not come" not in told.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "taken", "said"),
    [
        ("large", 2, ["a message of the stream is refused: more than 512 MiB", "1 of 3 frames did not come"]),
        ("headless", 3, ["no start message came, and with it no mask"]),
    ],
)
def test_a_message_that_never_came_is_told_and_the_run_has_failed(
    here: Path, fault: str, taken: int, said: list[str]
) -> None:
    with detector(here / "data", "bslz4", fault) as address:
        told = call(*WORDS, address, "source.idle=30")
    assert told.status == 1, told.err
    assert all(each in told.err for each in said), told.err
    record = run_record(here / "out")
    assert [image["status"] for image in record["images"]] == ["done"] * taken
    assert record["status"] == "failed"
    assert record["incomplete"]
    assert all(each in told.err for each in record["incomplete"])
    assert xrdpipe.load(here / "out").status == 1


@pytest.mark.slow
def test_a_stream_that_ends_in_the_middle_keeps_what_came_and_goes_on_with_the_rest(here: Path) -> None:
    with detector(here / "data", "bslz4") as address:
        assert call(*WORDS, address, "source.frames=2").status == 0
    kept = sorted((here / "kept").glob("*.h5"))
    assert 2 <= len(run_record(here / "out")["images"]) <= len(kept)  # more may have come at once
    told = call(*WORDS, "source.address=tcp://127.0.0.1:9", "source.idle=1")
    assert told.status == 0, told.err
    assert len(run_record(here / "out")["images"]) == len(kept)


@pytest.mark.slow
def test_ctrl_c_ends_the_wait_for_a_detector(here: Path) -> None:
    process = start(*WORDS, "source.address=tcp://127.0.0.1:9", cwd=here)
    assert process.stderr is not None
    assert "waiting for frames, source.address=tcp://127.0.0.1:9" in process.stderr.readline()
    process.send_signal(2)
    process.communicate(timeout=LIMIT / 4)
    assert process.returncode == 130


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "source.address: missing"),
        (["source.address=http://a:1"], "tcp://host:port expected"),
        (["source.address=tcp://a:99999999"], "tcp://host:port expected"),
        (["source.address=tcp://127.0.0.1:9", "source.folder=null"], "source.folder: missing"),
        (["source.address=tcp://127.0.0.1:9", "source.idle=0.1"], "no frame in source.idle=0.1 seconds"),
        (["source.address=tcp://127.0.0.1:9", "dry_run=true"], "a run would wait"),
        (["source.average=2"], "not while frames arrive"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_streamed_is_refused(here: Path, words: list[str], said: str) -> None:
    told = call(*WORDS, *words)
    assert told.status == 2
    assert said in told.err
    assert not (here / "out").exists()


IMAGE = np.arange(40 * 50, dtype=np.uint16).reshape(40, 50)


def of_data(data: Any, shape: tuple[Any, ...] = IMAGE.shape, tag: int = 69) -> bytes:
    array = cbor2.CBORTag(40, [list(shape), cbor2.CBORTag(tag, data)])
    return stream_detector.message("image", image_id=1, data={"threshold_1": array})


def packed(algorithm: str, data: bytes, size: object = 2) -> bytes:
    return of_data(cbor2.CBORTag(56500, [algorithm, size, data]))


GOOD = stream_detector.compressed(IMAGE, "bslz4")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not CBOR"),
        (b"\x81" * 100_000, "not CBOR"),
        (b"\x5b\x00\x00\x00\xff\xff\xff\xff\xff", "not CBOR"),
        (cbor2.dumps([1]), "not a CBOR map"),
        (cbor2.dumps({"type": "stop"}), "type 'stop'"),
        (cbor2.dumps({"type": "image", "series_id": -1}), "series_id is not a number"),
        (stream_detector.message("image", image_id=1, data={}), "not a map of channels"),
        (stream_detector.message("image", image_id=1, data={"other": 1}), "an array without the tag 40"),
        (of_data(b"x" * 10), "10 bytes for an array of 4000"),
        (of_data(b"", (60_000, 60_000)), "larger than"),
        (of_data(b"", (1 << 70, 2)), "not of two dimensions"),
        (of_data(b"", (4, 4, 4)), "not of two dimensions"),
        (of_data(b"", tag=35), "unknown type"),
        (packed("zip", b""), "the compression 'zip'"),
        (packed("bslz4", GOOD, 4), "elements of 4 bytes"),
        (packed("bslz4", GOOD[:-1]), "blocks do not make"),
        (packed("bslz4", GOOD + b"x"), "blocks do not make"),
        (packed("bslz4", GOOD[:12] + b"\xff\xff\xff\xff" + GOOD[16:]), "blocks do not make"),
        (packed("bslz4", b"\xff" * 8 + GOOD[8:]), "blocks do not make"),
        (packed("lz4", GOOD[:8] + bytes(4) + GOOD[12:]), "blocks do not make"),
    ],
)
def test_a_message_whose_sizes_are_not_its_content_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(MessageError, match=said):
        Message.of(content).array("data", None)


def test_a_message_is_read_as_it_was_sent() -> None:
    message = Message.of(stream_detector.image_message(3, IMAGE, "bslz4"))
    assert (message.kind, message.series, message.image, message.unique) == ("image", 7, 3, "01GX-7")
    array = message.array("data", "threshold_1")
    assert array is not None
    assert (array.shape, array.dtype, array.data) == (IMAGE.shape, IMAGE.dtype, GOOD)
    with pytest.raises(MessageError, match="no channel 'threshold_3'; there is threshold_1, threshold_2"):
        message.array("data", "threshold_3")


@pytest.mark.parametrize("name", ["../up", "", "a/b", "x" * 65, "\u00e9", 5])
def test_a_name_that_no_file_should_have_is_not_taken(name: object) -> None:
    assert Message.of(stream_detector.message("end", series_unique_id=name)).unique == ""
