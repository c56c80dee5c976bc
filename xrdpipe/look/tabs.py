"""The open tabs of a page: the server ends when the last one is closed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 5.0  # seconds: a reload closes the tab and opens it again


class Tabs:
    """Count of the open tabs.

    Parameters
    ----------
    stay
        Go on without tabs.

    Attributes
    ----------
    ended
        The server shall end.
    """

    def __init__(self, stay: bool) -> None:
        self._stay, self._open, self._last, self.ended = stay, 0, 0.0, False

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count a tab as open for as long as this context lasts."""
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1
            self._last = time.monotonic()

    def end(self) -> None:
        """Ask the server to end."""
        self.ended = True

    @property
    def left(self) -> bool:
        """Whether there were tabs, and all of them were closed some seconds ago."""
        gone = not self._open and self._last and time.monotonic() - self._last > PATIENCE
        return bool(gone and not self._stay)
