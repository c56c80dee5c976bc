"""Progress of a run: a live bar on a terminal or in a notebook, plain lines otherwise."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import Any, Self

INTERVAL = 2.0  # seconds between plain lines
REFRESH = 0.1  # seconds between two states of the bar


class Progress:
    """Count frames; as a context manager, show rate, remaining time and failures on stderr.

    Parameters
    ----------
    total
        Number of frames.
    quiet
        Show failures and warnings only.
    growing
        More frames may arrive, so no remaining time is shown.
    """

    def __init__(self, total: int, quiet: bool = False, growing: bool = False) -> None:
        self.total, self.done, self.failed = total, 0, 0
        self.quiet, self.growing = quiet, growing
        self.start = self.last = time.monotonic()
        self.bar: TerminalBar | NotebookBar | None = None

    def __enter__(self) -> Self:
        if self.quiet:
            return self
        if in_notebook():
            self.bar = NotebookBar()
        elif sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            self.bar = TerminalBar()
        if self.bar is not None:
            self._update()
        return self

    def advance(self, failure: str = "") -> None:
        """Count one more frame; report ``failure``, the reason why it failed, if there is one."""
        self.done += 1
        if failure:
            self.failed += 1
            self.say(f"failed: {failure}")
        now = time.monotonic()
        if self.bar is not None:
            if now - self.last > REFRESH or self.done >= self.total:
                self.last = now
                self._update()
        elif not self.quiet and now - self.last > INTERVAL and (self.growing or self.done < self.total):
            self.last = now
            self.say(f"{self.done}/{self.total} frames, {self._status()}")

    def say(self, text: str) -> None:
        """Print a permanent line, even in quiet mode."""
        if isinstance(self.bar, TerminalBar):
            self.bar.say(f"xrdpipe: {text}")
        else:
            print(f"xrdpipe: {text}", file=sys.stderr, flush=True)

    def _update(self) -> None:
        if self.bar is not None:
            self.bar.update(self.done, self.total, self._status() if self.done else "")

    def _status(self) -> str:
        rate = self.done / max(time.monotonic() - self.start, 1e-9)
        failed = f", {self.failed} failed" if self.failed else ""
        if self.growing:
            return f"{rate:.1f} frames/s{failed}"
        seconds = (self.total - self.done) / rate
        if seconds < 100:
            remaining = f"{seconds:.0f} s"
        elif seconds < 6000:
            remaining = f"{seconds / 60:.0f} min"
        else:
            remaining = f"{seconds / 3600:.1f} h"
        return f"{rate:.1f} frames/s, {remaining} left{failed}"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._update()
        if isinstance(self.bar, TerminalBar):
            self.bar.stop()


class TerminalBar:
    """A live bar of rich on stderr."""

    def __init__(self) -> None:
        from rich import progress
        from rich.console import Console

        columns = (
            progress.TextColumn("frames"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[status]}"),
        )
        self._bar = progress.Progress(*columns, console=Console(stderr=True))
        self._task = self._bar.add_task("", status="")
        self._bar.start()

    def update(self, done: int, total: int, status: str) -> None:
        """Show the state."""
        self._bar.update(self._task, completed=done, total=total, status=status)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        """Leave the bar as it is."""
        self._bar.stop()


class NotebookBar:
    """A bar in the output of a notebook's cell, which is replaced while it grows.

    Rich needs ipywidgets for that, and warns without; an element of HTML needs nothing, and stays in a saved notebook.
    """

    def __init__(self) -> None:
        self._handle: Any = None

    def update(self, done: int, total: int, status: str) -> None:
        """Show the state."""
        from html import escape
        from importlib import import_module

        display = import_module("IPython.display").display
        line = f"frames {done}/{total}{f', {status}' if status else ''}"
        bar = f'<progress value="{done}" max="{max(total, 1)}" style="width:20em"></progress> {escape(line)}'
        content = {"text/html": bar, "text/plain": line}
        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None
