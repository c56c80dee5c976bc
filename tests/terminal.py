"""A program on a pseudo-terminal, as a person at the keyboard has it."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from select import select
from typing import Self

import pytest

pty = pytest.importorskip("pty", reason="Windows has no pseudo-terminals")

LIMIT = 60.0  # seconds
CONTROL = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][A-Z0-9]|[=>78])|\x07|\x00")


class Terminal:
    """A process with a terminal of its own; what it prints is in `text`, with its control characters in `raw`."""

    def __init__(
        self, *words: str, cwd: Path, env: Mapping[str, str] | None = None, size: tuple[int, int] = (24, 80)
    ) -> None:
        import fcntl
        import struct
        import termios

        self.file, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        self.process = subprocess.Popen(
            words,
            stdin=child,
            stdout=child,
            stderr=child,
            cwd=cwd,
            env={**kept, "TERM": "xterm", **(env or {})},
            start_new_session=True,
        )
        os.close(child)
        self.raw = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.file)

    @property
    def text(self) -> str:
        return CONTROL.sub(b"", self.raw).decode(errors="replace").replace("\r\n", "\n")

    def send(self, text: str) -> None:
        os.write(self.file, text.encode())

    def _read(self, seconds: float) -> bool:
        if not select([self.file], [], [], seconds)[0]:
            return False
        try:
            got = os.read(self.file, 1 << 16)
        except OSError:  # the other end is closed
            got = b""
        self.raw += got
        return bool(got)

    def wait_for(self, pattern: str) -> str:
        """Read until a pattern appears, and return its first group; what came up to it is forgotten."""
        end = time.monotonic() + LIMIT
        while (found := re.search(pattern, self.text)) is None:
            if time.monotonic() > end or (not self._read(1.0) and self.process.poll() is not None):
                raise AssertionError(f"{pattern!r} is not in {self.text!r}")
        self.raw = b""
        return found[1] if found.groups() else found[0]

    def drain(self) -> tuple[int, str]:
        """Read to the end of the process; return its exit status and what it printed."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end and (self._read(0.2) or self.process.poll() is None):
            pass
        return self.process.wait(LIMIT), self.text


def words_after(shell: Sequence[str], setup: Sequence[str], typed: str, cwd: Path, env: Mapping[str, str]) -> list[str]:
    """Type a line that ends with a TAB in a shell, and return the words that the shell would run."""
    with Terminal(*shell, cwd=cwd, env=env) as terminal:
        for line in ("PS1='$ '; PROMPT='$ '; echo be''gun", *setup, "echo re''ady"):
            terminal.send(f"{line}\n")
        terminal.wait_for("ready\n")
        terminal.send(f"{typed}\t")
        time.sleep(0.1)
        terminal.send("\x01printf '<%s>' \x05; echo do''ne\n")
        return re.findall(r"<(.*?)>(?=<|done)", terminal.wait_for(r"(?s)(<xrdpipe>.*?done)\n"), re.DOTALL)
