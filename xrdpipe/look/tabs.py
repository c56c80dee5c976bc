"""The tabs of a page, and what is drawn in them; the server ends when the last one is closed."""

from __future__ import annotations

import json
import logging
import math
import secrets
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..io.writing import write_json
from ..model.errors import ConfigError
from .view import parse_view

PATIENCE = 5.0  # seconds: a reload closes the tab and opens it again
ARRIVAL = 10.0  # seconds that a tab has to connect
MOST_TABS = 64  # whose state is kept
LARGEST = 1 << 24  # bytes of a file of shapes
NAME = "unsaved"  # of that file
ABOUT = "shapes drawn in xrdpipe look and not saved; the next one with this save= takes them"
log = logging.getLogger("xrdpipe")


@dataclass
class Tab:
    """What the server knows of a tab.

    Attributes
    ----------
    view
        Its last view, as the page describes it.
    unsaved
        It has shapes that were not saved.
    connections
        How many it holds; none after it was closed.
    entered
        When it came in, as it has no connection at first.
    """

    view: Mapping[str, Any]
    unsaved: bool = False
    connections: int = 0
    entered: float = -math.inf

    @property
    def open(self) -> bool:
        """Whether it is there."""
        return self.connections > 0 or time.monotonic() - self.entered < ARRIVAL


class Tabs:
    """The tabs of a page.

    Parameters
    ----------
    stay
        Go on without tabs.
    folder
        Folder of the files of shapes that were not saved.
    shape
        Shape of the frames, (slow, fast).

    Attributes
    ----------
    ended
        The server shall end.
    """

    def __init__(self, stay: bool, folder: Path, shape: tuple[int, int]) -> None:
        self._stay, self._folder, self._shape = stay, folder, shape
        self._last, self.ended = 0.0, False
        self._lock = threading.Lock()
        self._tabs: dict[str, Tab] = {}
        self._taken: list[Path] = []
        for path in sorted(folder.glob(f"{NAME}*.json")):
            for view in self._read(path):
                self._tabs[secrets.token_urlsafe(9)] = Tab(view, unsaved=True)

    @contextmanager
    def one(self, name: str = "") -> Iterator[None]:
        """Count a tab as open for as long as this context lasts."""
        with self._lock:
            tab = self._tabs.setdefault(name, Tab({}))
            tab.connections += 1
        try:
            yield
        finally:
            with self._lock:
                tab.connections -= 1
                tab.entered = -math.inf
                self._last = time.monotonic()

    def enter(self, name: Any, has_state: bool) -> dict[str, Any]:
        """Let a tab in.

        Parameters
        ----------
        name
            Its name before a reload; anything else for a new tab.
        has_state
            It brings its view; otherwise it gets that of a closed tab with shapes that were not saved.

        Returns
        -------
        dict
            ``tab``: its name from now on; ``view``: what it shall show, or None.
        """
        with self._lock:
            known = self._tabs.get(name) if isinstance(name, str) else None
            if known is not None and not known.connections and has_state:
                return {"tab": name, "view": None}
            left = [key for key, tab in self._tabs.items() if tab.unsaved and not tab.open]
            if left and not has_state:
                tab = self._tabs[left[-1]]
                tab.entered = time.monotonic()
                return {"tab": left[-1], "view": tab.view}
            for key in [key for key, tab in self._tabs.items() if not (tab.open or tab.unsaved)][:-MOST_TABS]:
                del self._tabs[key]
            fresh = secrets.token_urlsafe(9)
            self._tabs[fresh] = Tab({}, entered=time.monotonic())
            return {"tab": fresh, "view": None}

    def keep(self, name: Any, view: Any, unsaved: Any) -> None:
        """Keep the view of a tab; ConfigError if it is none."""
        shapes = parse_view(view).shapes
        with self._lock:
            tab = self._tabs.get(name) if isinstance(name, str) else None
            if tab is None:
                raise ConfigError("tab: not a tab of this page")
            tab.view, tab.unsaved = view, bool(shapes) and unsaved is True

    def end(self) -> None:
        """Ask the server to end."""
        self.ended = True

    @property
    def left(self) -> bool:
        """Whether there were tabs, and all of them were closed some seconds ago."""
        gone = (
            self._last
            and time.monotonic() - self._last > PATIENCE
            and not any(t.connections for t in self._tabs.values())
        )
        return bool(gone and not self._stay)

    @property
    def views(self) -> list[Mapping[str, Any]]:
        """The last views of all tabs, each once."""
        return list(
            {json.dumps(tab.view, sort_keys=True): tab.view for tab in self._tabs.values() if tab.view}.values()
        )

    def close(self) -> str:
        """Write what was not saved into a file, remove those that were taken, and say where; empty if all is saved."""
        views = [tab.view for tab in self._tabs.values() if tab.unsaved]
        written = self._write(views) if views else None
        for path in self._taken:
            if path != written:
                path.unlink(missing_ok=True)
        if written is None:
            return ""
        count = sum(len(view["shapes"]) for view in views)
        again = "" if written.parent == self._folder else f"; move it to {self._folder}"
        shapes = "1 shape" if count == 1 else f"{count} shapes"
        return f"drawn and not saved: {shapes}, kept in {written}{again} for the next xrdpipe look"

    def _write(self, views: list[Mapping[str, Any]]) -> Path:
        content = {"about": ABOUT, "shape": list(self._shape), "views": views}
        names = (f"{NAME}{number or ''}.json" for number in range(10_000))
        free = (self._folder / name for name in names)
        path = next(each for each in free if each in self._taken or not each.exists())
        try:
            write_json(path, content)
        except OSError:  # a folder that cannot be written: anywhere else is better than nowhere
            path = Path(tempfile.mkdtemp(prefix="xrdpipe-look-")) / f"{NAME}.json"
            write_json(path, content)
        return path

    def _read(self, path: Path) -> list[Mapping[str, Any]]:
        """Return the views of a file: shapes and name alone; none if they are those of other frames, or no views."""
        try:
            if path.stat().st_size > LARGEST:
                raise ValueError(f"more than {LARGEST} bytes")
            content = json.loads(path.read_text(encoding="utf-8"))
            if tuple(content["shape"]) != self._shape:
                log.warning(
                    "%s: shapes for frames of %s pixels stay there", path, " x ".join(map(str, content["shape"]))
                )
                return []
            views: list[Mapping[str, Any]] = [
                {"shapes": view["shapes"], "name": view.get("name", "drawn")} for view in content["views"]
            ]
            for each in views:
                parse_view(each)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, ConfigError) as error:
            log.warning("%s: no shapes of xrdpipe look (%s); it stays as it is", path, error)
            return []
        self._taken.append(path)
        return views
