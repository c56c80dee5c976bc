"""Progress of a run: a live bar on a terminal, plain lines otherwise."""

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
        self.bar: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not self.quiet:
            from rich import progress
            from rich.console import Console

            columns = (
                progress.TextColumn("frames"),
                progress.BarColumn(),
                progress.MofNCompleteColumn(),
                progress.TextColumn("{task.fields[status]}"),
            )
            self.bar = progress.Progress(*columns, console=Console(stderr=True))
            self.task = self.bar.add_task("", total=self.total, status="")
            self.bar.start()
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
        if self.bar is not None:
            self.bar.console.print(f"xrdpipe: {text}", markup=False, highlight=False, soft_wrap=True)
        else:
            print(f"xrdpipe: {text}", file=sys.stderr, flush=True)

    def _update(self) -> None:
        self.bar.update(self.task, completed=self.done, total=self.total, status=self._status())

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
        if self.bar is not None:
            self._update()
            self.bar.stop()
