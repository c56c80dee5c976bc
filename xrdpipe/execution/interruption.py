"""Interruption of a run by Ctrl-C or SIGTERM.

The first signal lets the frames in progress finish and be recorded. The second one ends the program at once.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

log = logging.getLogger("xrdpipe")

# SIGBREAK, that of Ctrl-Break, is one of Windows.
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)]
TIME_LIMIT = (signal.SIGUSR2,) if hasattr(signal, "SIGUSR2") else ()  # sent by a batch system shortly before the limit
_requested = threading.Event()
_stop_file: Path | None = None  # its existence stops all workers of a sweep, whichever process received the signal


def stop_requested() -> bool:
    """Return True if no more frames shall begin."""
    return _requested.is_set() or (_stop_file is not None and _stop_file.exists())


def follow_stop_file(stop_file: Path) -> None:
    """Stop this worker process, for as long as it lives, when ``stop_file`` appears or a signal arrives."""
    global _stop_file
    if stop_file == _stop_file:  # this process is the parent, or the worker follows the file already
        return
    _requested.clear()
    _stop_file = stop_file
    if threading.current_thread() is threading.main_thread():
        for number in (*SIGNALS, *TIME_LIMIT):
            signal.signal(number, lambda *_: _requested.set())


@contextmanager
def ignore_signals(workers_start: bool = True) -> Iterator[None]:
    """Let workers that start in this context ignore signals: their parent stops them.

    Parameters
    ----------
    workers_start
        Processes start in this context. If not, the context does nothing.
    """
    if not workers_start or threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def handle_signals(stop_file: Path | None = None) -> Iterator[None]:
    """Record a stop request instead of interrupting the program, see `stop_requested`.

    Parameters
    ----------
    stop_file
        File to create on a stop request, see `follow_stop_file`. It is removed when the context ends.
    """
    global _stop_file
    nested = _stop_file is not None or signal.getsignal(signal.SIGINT) is _request_stop  # a job inside its sweep
    if nested or threading.current_thread() is not threading.main_thread():
        yield
        return
    _requested.clear()
    _stop_file = stop_file
    previous = {number: signal.signal(number, _request_stop) for number in SIGNALS}
    hook, threading.excepthook = threading.excepthook, _log_thread_exception
    try:
        yield
    finally:
        threading.excepthook = hook
        for number, handler in previous.items():
            signal.signal(number, handler)
        _stop_file = None
        if stop_file is not None:
            stop_file.unlink(missing_ok=True)


def _request_stop(number: int, frame: FrameType | None) -> None:
    if _requested.is_set():
        raise KeyboardInterrupt
    _requested.set()
    if _stop_file is not None and _stop_file.parent.is_dir():
        _stop_file.touch()


def _log_thread_exception(failure: threading.ExceptHookArgs) -> None:
    # Threads of joblib fail when their workers end. The record of a frame reports its failure.
    log.debug("a thread of joblib ended", exc_info=failure.exc_value)
