"""The interface of a source whose frames arrive while the run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from ..model.reference import Reference


class Arrivals(Protocol):
    """Frames that arrive while a run goes on."""

    @property
    def limit(self) -> int | None:
        """Number of frames after which the run ends; None for no limit."""

    def report_to(self, notify: Callable[[str], None]) -> None:
        """Send messages to the user through ``notify`` from now on."""

    def first(self, is_wanted: Callable[[Reference], bool], wait: bool) -> list[Reference]:
        """Return the first batch that holds a wanted frame.

        Parameters
        ----------
        is_wanted
            Selects frames, in this batch and in all later ones.
        wait
            Wait for a frame if none is there yet.

        Returns
        -------
        list of Reference
            The wanted frames of the batch, at least one.

        Raises
        ------
        ConfigError
            No wanted frame is there or arrives.
        """

    def batches(self) -> Iterator[list[Reference]]:
        """Yield batches of wanted frames until no more arrive.

        Yields
        ------
        list of Reference
            The frames of one batch.

        Raises
        ------
        KeyboardInterrupt
            The user stops the run.
        """

    def incomplete(self) -> list[str]:
        """Return one line for each frame that never came or became complete, with the reason; the run then failed."""

    def notified(self) -> AbstractContextManager[None]:
        """Return a context in which the operating system reports new frames, if it can."""
