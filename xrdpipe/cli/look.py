"""``xrdpipe look``: see frame, mask and pattern in the browser while keys are changed, and take the text home."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..io.paths import expand_user
from ..model.errors import ConfigError, nearest

if TYPE_CHECKING:
    from ..look.session import Session
    from ..look.tabs import Tabs

USAGE = (
    "xrdpipe look poni=geometry.poni FRAMES... [keys of a run] [save=look] [phase=Ni.D] [port=8000] [browser=false] "
    "[stay=true]"
)
OWN = {"port": "0", "save": "look", "browser": "true", "stay": "false", "phase": ""}
TRUTH = {"true": True, "false": False}


def main(arguments: Sequence[str]) -> int:
    """``xrdpipe look poni=... FRAMES... [keys of a run] [save=FOLDER] [port=N] [browser=false] [stay=true]``.

    Returns
    -------
    int
        The exit status: 0, the page was closed; 130 (by KeyboardInterrupt), Ctrl-C.
    """
    for module in ("starlette", "uvicorn"):
        if find_spec(module) is None:
            raise ConfigError("look: the page needs more packages; pip install 'xrdpipe[look]'")
    own, words = _own(arguments)
    if not words:
        raise ConfigError(f"look: say {USAGE}")
    from ..execution.interruption import handle_signals, stop_requested
    from ..look.canvas.phases import read_file_names
    from ..look.server import serve
    from ..look.session import Session
    from ..look.tabs import Tabs
    from ..look.words import Start

    port, stay, browser = _port(own["port"]), _truth("stay", own["stay"]), _truth("browser", own["browser"])

    def opened(address: str, once: str) -> None:
        print(f"xrdpipe: look at {address}", flush=True)
        print("xrdpipe: Ctrl-C, or closing the page, ends it", file=sys.stderr, flush=True)
        if browser:
            webbrowser.open(once)

    with ExitStack() as stack:
        session = Session(Start.of(words), own["save"], stack, read_file_names(own["phase"]))
        for note in session.plan.notes:
            print(f"xrdpipe: {note}", file=sys.stderr)
        tabs = Tabs(stay, Path(own["save"]), session.shape)
        try:
            with handle_signals():  # a first pass over a series stops too
                serve(session, port, tabs, opened)
                if stop_requested():
                    raise KeyboardInterrupt
        finally:
            _say_last(session, tabs)
    print("xrdpipe: the page is closed", file=sys.stderr)
    return 0


def _say_last(session: Session, tabs: Tabs) -> None:
    """Say what the tabs showed last, where that is not the command line, and where unsaved shapes are."""
    from ..look.answer import last_commands

    for command in last_commands(session, tabs.views):
        print(f"xrdpipe: shown last: {command}", file=sys.stderr)
    if kept := tabs.close():
        print(f"xrdpipe: {kept}", file=sys.stderr)


def _own(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the keys of this command, and the words of a run."""
    own, words = dict(OWN), []
    for word in arguments:
        key, equals, value = word.partition("=")
        if equals and key in OWN and not os.path.lexists(word):
            own[key] = value
        else:
            words.append(word)
    own["save"] = expand_user(own["save"])
    if not own["save"]:
        raise ConfigError("save: a folder expected, as in save=look")
    return own, words


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text[:6]) < 1 << 16 and len(text) < 6):
        raise ConfigError(f"port={text}: a number from 1 to 65535 expected")
    return int(text)


def _truth(key: str, text: str) -> bool:
    if text.lower() not in TRUTH:
        raise ConfigError(f"{key}={text}: {nearest(text, TRUTH)}")
    return TRUTH[text.lower()]
