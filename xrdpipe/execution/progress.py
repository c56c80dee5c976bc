"""What a run says while it goes: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

INTERVAL = 2.0  # seconds between plain lines


class Progress:
    """Counts frames; as a context manager it shows rate, time left and failures so far, on stderr.

    ``grows``: more frames may come, so nobody knows how long it takes.
    """

    def __init__(self, total: int, quiet: bool = False, grows: bool = False) -> None:
        self.total, self.done, self.failed = total, 0, 0
        self.quiet, self.grows = quiet, grows
        self.start = self.last = time.monotonic()
        self.bar: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty() and not self.quiet:
            from rich import progress
            from rich.console import Console

            columns = (
                progress.TextColumn("frames"),
                progress.BarColumn(),
                progress.MofNCompleteColumn(),
                progress.TextColumn("{task.fields[told]}"),
            )
            self.bar = progress.Progress(*columns, console=Console(stderr=True))
            self.task = self.bar.add_task("", total=self.total, told="")
            self.bar.start()
        return self

    def advance(self, failure: str = "") -> None:
        """One more frame; ``failure`` is what went wrong with it."""
        self.done += 1
        if failure:
            self.failed += 1
            self.say(f"failed: {failure}")
        if self.bar is not None:
            self.bar.update(self.task, completed=self.done, total=self.total, told=self._told())
        elif not self.quiet and time.monotonic() - self.last > INTERVAL and (self.grows or self.done < self.total):
            self.last = time.monotonic()
            self.say(f"{self.done}/{self.total} frames, {self._told()}")

    def say(self, text: str) -> None:
        """A line that stays, also when quiet: failures, warnings."""
        if self.bar is not None:
            self.bar.console.print(f"xrdpipe: {text}", markup=False, highlight=False, soft_wrap=True)
        else:
            print(f"xrdpipe: {text}", file=sys.stderr, flush=True)

    def _told(self) -> str:
        rate = self.done / max(time.monotonic() - self.start, 1e-9)
        failed = f", {self.failed} failed" if self.failed else ""
        if self.grows:
            return f"{rate:.1f} frames/s{failed}"
        left = (self.total - self.done) / rate
        clock = f"{left:.0f} s" if left < 100 else f"{left / 60:.0f} min" if left < 6000 else f"{left / 3600:.1f} h"
        return f"{rate:.1f} frames/s, {clock} left{failed}"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()
