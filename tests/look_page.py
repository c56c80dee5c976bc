"""A page of `xrdpipe look` in a process of its own, and its answers over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from command import LIMIT, start

HOSTILE = os.fsdecode(b"ni_<b>'$(touch pwned)\xff")  # a name that is markup, a command and no text
WORDS = ("poni=data/tiny.poni", "data/ni_1.tiff", "data/ni_2.tiff", "data/broken.tiff", f"data/{HOSTILE}.tiff")


class Reply(NamedTuple):
    """An answer over HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Page:
    """A page that is served: its folder, its address and its token."""

    def __init__(self, folder: Path, process: subprocess.Popen[str], port: int, token: str) -> None:
        self.folder, self.process, self.port, self.token = folder, process, port, token

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        """One request with exactly these headers, besides Host and Content-Length."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, given)
        answer = connection.getresponse()
        reply = Reply(answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read())
        connection.close()
        return reply

    def get(self, path: str) -> Reply:
        return self.ask("GET", path, X_Token=self.token)

    def post(self, path: str, content: Any) -> Reply:
        body = json.dumps(content).encode()
        return self.ask("POST", path, body, X_Token=self.token, Content_Type="application/json")

    def view(self, **view: Any) -> Any:
        """The answer to a view, which must not be an error."""
        answer = self.post("/api/view", view).json
        assert answer["error"] is None, answer
        return answer

    def stop(self) -> tuple[int, str]:
        """Press Ctrl-C; the status and what was said on stderr."""
        self.process.send_signal(signal.SIGINT)
        _, err = self.process.communicate(timeout=LIMIT)
        return self.process.returncode, err


@contextmanager
def served(folder: Path, *words: str, browser: str = "") -> Iterator[Page]:
    """Serve a page for as long as the context; ``browser`` is the command that opens it."""
    shown = () if browser else ("browser=false",)
    with start("look", *words, *shown, cwd=folder, env={"BROWSER": browser}) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:(\d+)/\?token=(\S+)", line)
            assert found, (line, process.stderr.read() if process.stderr else "")
            yield Page(folder, process, int(found[1]), found[2])
        finally:
            process.kill()
