"""Stopping: the first Ctrl-C or SIGTERM lets the frames in hand end and be recorded, the second ends at once."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

log = logging.getLogger("xrdpipe")


SIGNALS = (signal.SIGINT, signal.SIGTERM)


SOON = (signal.SIGUSR2,) if hasattr(signal, "SIGUSR2") else ()  # a batch system, when the time of a job is nearly over


_asked = threading.Event()


_told: Path | None = None  # a file that says it to the workers of a sweep, whoever was sent the signal


def stop_requested() -> bool:
    """Whether the user wants no more frames."""
    return _asked.is_set() or (_told is not None and _told.exists())


def follow_stop_file(told: Path) -> None:
    """In a worker, for as long as it lives: stop as the others of its sweep do, when the file ``told`` appears."""
    global _told
    if told == _told:  # this process is the parent, or was here before
        return
    _asked.clear()
    _told = told
    if threading.current_thread() is threading.main_thread():
        for number in (*SIGNALS, *SOON):
            signal.signal(number, lambda *_: _asked.set())


@contextmanager
def ignore_signals(workers_start: bool = True) -> Iterator[None]:
    """Let the workers that start meanwhile inherit that they ignore signals: their parent tells or ends them."""
    if not workers_start or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def handle_signals(told: Path | None = None) -> Iterator[None]:
    """Note what would stop the program, instead of breaking off wherever it is; ``told`` see `join`."""
    global _told
    nested = _told is not None or signal.getsignal(signal.SIGINT) is _note  # a job, within its sweep
    if nested or threading.current_thread() is not threading.main_thread():
        yield
        return
    _asked.clear()
    _told = told
    before = {number: signal.signal(number, _note) for number in SIGNALS}
    hook, threading.excepthook = threading.excepthook, _unheard
    try:
        yield
    finally:
        threading.excepthook = hook
        for number, handler in before.items():
            signal.signal(number, handler)
        _told = None
        if told is not None:
            told.unlink(missing_ok=True)


def _note(number: int, frame: FrameType | None) -> None:
    if _asked.is_set():
        raise KeyboardInterrupt
    _asked.set()
    if _told is not None and _told.parent.is_dir():
        _told.touch()


def _unheard(failure: threading.ExceptHookArgs) -> None:
    # joblib's own threads, where its workers were ended under them; what becomes of a frame is told elsewhere.
    log.debug("a thread of joblib ended", exc_info=failure.exc_value)
