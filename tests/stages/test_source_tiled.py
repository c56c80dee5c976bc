"""Frames of a scan in a Tiled server, a real one that the tests start: `nox --session tiled`."""

from __future__ import annotations

import gc
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from command import FAST, LIMIT, call, results, run_record

pytest.importorskip("tiled", reason="tiled is not installed")

pytestmark = [  # Tiled's client does not close the connections of a request that is refused
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
KEY, UID = "5ec2e70f7e57", "4e2e1d8c-scan"
WORDS = ("poni=data/tiny.poni", "source=tiled", f"source.uid={UID}", "source.folder=kept", "output_dir=out", *FAST)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with an empty catalog, on loopback, behind a key."""
    if find_spec("asgi_correlation_id") is None:
        pytest.skip("the server of Tiled is not installed; pip install 'tiled[server]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("tiled")), "serve", "catalog", "--temp", "--api-key", KEY]
    log = tmp_path_factory.mktemp("tiled") / "log"
    with log.open("w") as said:
        process = subprocess.Popen([*command, "--host", "127.0.0.1", "--port", str(port)], stdout=said, stderr=said)
    try:
        limit = time.monotonic() + LIMIT / 2
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < limit
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(LIMIT / 4)


@pytest.fixture(autouse=True)
def _what_is_left() -> Iterator[None]:
    """Collect what Tiled's client leaves open while the warnings about it are ignored."""
    yield
    gc.collect()


@pytest.fixture
def here(frames: list[Path], poni: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TILED_API_KEY", KEY)
    return tmp_path


def fill(server: str, uid: str, **arrays: np.ndarray) -> None:
    from tiled.client import from_uri

    node: Any = from_uri(server, api_key=KEY)
    for name in (uid, "primary", "data"):
        node = node.create_container(name)
    for name, array in arrays.items():
        node.write_array(array, key=name)
    node.context.http_client.close()


@pytest.mark.slow
def test_the_frames_of_a_scan_give_the_patterns_of_their_files_and_no_record_holds_the_key(
    here: Path, server: str
) -> None:
    sent = np.stack([tifffile.imread(path) for path in sorted((here / "data").glob("*.tiff"))])
    fill(server, UID, image=sent, words=np.arange(4), rows=sent[None])
    words = (*WORDS, f"source.uri={server}")
    told = call(*words, "source.frames=2")
    assert told.status == 0, told.err
    assert [image["status"] for image in run_record(here / "out")["images"]] == ["done"] * 2
    told = call(*words)
    assert told.status == 0, told.err
    names = [f"{UID}_{number:06d}" for number in range(len(sent))]
    assert [image["name"] for image in run_record(here / "out")["images"]] == names
    assert call("poni=data/tiny.poni", "data/*.tiff", "output_dir=files", *FAST).status == 0
    for streamed, file in zip(*(results(here / each, "*.chi").values() for each in ("out", "files")), strict=True):
        np.testing.assert_array_equal(*(np.loadtxt(each.splitlines()) for each in (streamed, file)))
    assert not [path for path in here.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    for array, said in (("words", "is no array of frames"), ("nothing", "no 'nothing' there")):
        told = call(*words, f"source.array=primary/data/{array}", "source.folder=other", "output_dir=no")
        assert told.status == 2
        assert said in told.err
    told = call(*words, "source.array=primary/data/rows", "source.folder=events", "output_dir=of_events")
    assert told.status == 0, told.err
    assert len(run_record(here / "of_events")["images"]) == len(sent)


@pytest.mark.slow
def test_a_wrong_key_is_refused_in_words(here: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILED_API_KEY", "wrong")
    told = call(*WORDS, f"source.uri={server}")
    assert told.status == 2
    assert "401" in told.err
    assert "Traceback" not in told.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "source.uri, source.uid: missing"),
        (["source.uri=ftp://a"], "http://host:port expected"),
        (["source.uri=http://key@a:1"], "http://host:port expected"),
        (["source.uri=http://a:1", "source.uid=../up"], "the uid of a scan expected"),
        (["source.uri=http://a:1", "source.folder=null"], "source.folder: missing"),
        (["source.uri=http://a:1", "dry_run=true"], "a run would wait"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_no_scan_is_refused(here: Path, words: list[str], said: str) -> None:
    told = call(*WORDS, *words)
    assert told.status == 2
    assert said in told.err
