"""Frames that arrive while a run goes on: what a source that waits for them offers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from ..model.reference import Reference


class Arrivals(Protocol):
    """Frames that arrive while a run goes on."""

    @property
    def limit(self) -> int | None:
        """The run ends with so many frames; None: no limit."""

    def report_to(self, say: Callable[[str], None]) -> None:
        """Tell the user with ``say`` from now on."""

    def first(self, wanted: Callable[[Reference], bool], wait: bool) -> list[Reference]:
        """Return the first batch in which a frame is wanted, and from then on only wanted frames.

        Raises ConfigError where none comes; without ``wait`` where none is there now.
        """

    def batches(self) -> Iterator[list[Reference]]:
        """Yield batches of frames until no more come; KeyboardInterrupt where the user wants no more."""

    def incomplete(self) -> list[str]:
        """Return what is known of the frames that never became complete, a line for each."""

    def notified(self) -> AbstractContextManager[None]:
        """Let the system tell of new frames meanwhile, where it can."""
