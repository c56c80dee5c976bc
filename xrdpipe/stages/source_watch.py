"""Watch: reads the files of a folder as they appear, each once, when it is complete."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from glob import iglob
from itertools import islice
from pathlib import Path
from typing import Any

from ..io import files
from ..io.handles import file_state
from ..io.paths import natural
from ..model.errors import ConfigError, FrameError, require
from ..model.reference import Reference
from .arrivals import Arrivals
from .source import Source, check_arrivals

log = logging.getLogger("xrdpipe")
TICK = 0.05  # seconds between checks of incomplete files
LISTING = 0.2  # seconds between listings of the folder; ten times the duration of a listing if that is longer
PATIENCE = 5.0  # seconds before an unreadable file is reported; longest pause between attempts to read it
BATCH = 8  # most files in a batch: later files wait for no more than these
RECHECKED = 20  # files already taken that each listing checks for changes
State = tuple[int, int]  # size and modification time of a file


@dataclass(frozen=True)
class Watch(Source):
    """Read the files that appear in a folder while the run goes on.

    A file is complete once it has stayed the same for ``settle`` seconds and can be read. A stack may grow; the frames
    that are there are taken. The keys not listed here are those of `Source`.

    Attributes
    ----------
    folder
        Folder that is watched.
    pattern
        Glob that the files match, relative to ``folder``.
    settle
        Seconds that a file must stay unchanged.
    idle
        Seconds without a new or changed file after which the run ends; None for no limit.
    frames
        Number of frames after which the run ends, frames of earlier runs included; None for no limit.
    """

    folder: str | None = None
    pattern: str = "*.tif"
    settle: float = 0.2
    idle: float | None = None
    frames: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        path = Path(self.pattern)
        inside = bool(self.pattern) and not path.is_absolute() and ".." not in path.parts
        require(inside, "pattern", self.pattern, "a glob within source.folder expected, as *.tif")
        require(0 <= self.settle < 3600, "settle", self.settle, "seconds >= 0 expected")
        reasons = "not while watching; merge afterwards", "not while watching; select afterwards"
        check_arrivals(self, self.idle, self.frames, reasons)

    def check_combination(self, *, queued: bool = False, arrays: bool = False, sweep: bool = False) -> None:
        """Raise ConfigError in a sweep, with arrays in memory, or with an engine that queues all frames."""
        if sweep:
            reason = "as its jobs need the same frames; sweep over them afterwards"
            raise ConfigError(f"source=watch: not in a sweep, {reason}")
        if arrays:
            raise ConfigError("source=watch: waits for files, so neither with arrays nor in a sweep")
        if queued:
            raise ConfigError("source=watch: not with parallel=slurm, whose jobs wait in a queue; say parallel=dask")

    def watch(
        self,
        values: Mapping[str, Any],
        excluded: Path | None,
        notify: Callable[[str], None],
        stop_requested: Callable[[], bool],
    ) -> tuple[Arrivals | None, dict[str, Any]]:
        """Return the watched folder, and the configuration of an ordinary run over its files."""
        return WatchedFolder(self, excluded, notify, stop_requested), self.ordinary_run(values)

    def ordinary_run(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the configuration of a run over the same files that does not watch, with the same results.

        Parameters
        ----------
        values
            The configuration of this run, as plain Python.

        Raises
        ------
        ConfigError
            There is no folder to watch, or ``images`` is set.
        """
        if self.folder is None:
            raise ConfigError("source.folder: missing; say where files appear, source.folder=data")
        if not Path(self.folder).is_dir():
            raise ConfigError(
                f"source.folder={self.folder}: {'not a' if Path(self.folder).exists() else 'no such'} folder"
            )
        if values.get("images"):
            raise ConfigError(f"images={values['images']}: source=watch finds its own; leave one of them out")
        source = {key.name: getattr(self, key.name) for key in fields(Source)}
        options = {"_target_": f"{Source.__module__}.{Source.__qualname__}", **source}
        return {**values, "source": options, "images": [str(Path(self.folder, self.pattern))]}


@dataclass
class _Waiting:
    """A file that is not complete: its state, since when it waits, and when to try it next (monotonic time, s)."""

    state: State
    since: float
    due: float
    attempts: int = 0
    reason: str = ""


@dataclass
class WatchedFolder:
    """The frames that arrive in the folder of a `Watch`, see `Arrivals`.

    Attributes
    ----------
    watch
        The source.
    excluded
        Folder whose files are no frames.
    notify
        Shows a message to the user.
    stop_requested
        Returns True once the user stops the run.
    is_wanted
        Selects frames; set by `first`.
    """

    watch: Watch
    excluded: Path | None
    notify: Callable[[str], None]
    stop_requested: Callable[[], bool]
    is_wanted: Callable[[Reference], bool] = bool
    _waiting: dict[Path, _Waiting] = field(default_factory=dict)  # in order of arrival
    _taken: dict[Path, State] = field(default_factory=dict)
    _tails: dict[Path, set[str]] = field(default_factory=dict)  # frames taken from each stack
    _recheck: deque[Path] = field(default_factory=deque)
    _hints: deque[Path] = field(default_factory=deque)  # paths that the operating system reports as changed
    _listed: float = 0.0
    _news: float = field(default_factory=time.monotonic)

    @property
    def limit(self) -> int | None:
        """Number of frames after which the run ends; None for no limit."""
        return self.watch.frames

    def report_to(self, notify: Callable[[str], None]) -> None:
        """Send messages to the user through ``notify`` from now on."""
        self.notify = notify

    def first(self, is_wanted: Callable[[Reference], bool], wait: bool) -> list[Reference]:
        """Return the first batch that holds a wanted frame, see `Arrivals.first`."""
        self.is_wanted = is_wanted
        here = f"source.folder={self.watch.folder}: no complete file matches source.pattern={self.watch.pattern}"
        self._look()
        time.sleep((min(self.watch.settle, 0.5) if wait else self.watch.settle) + TICK)
        if batch := self.now():
            return batch
        if not wait:
            raise ConfigError(f"{here} now; a run would wait for one")
        self.notify(f"waiting for {self._folder / self.watch.pattern}")
        for batch in self.batches():
            return batch
        raise ConfigError(f"{here}, in source.idle={self.watch.idle} seconds")

    def now(self) -> list[Reference]:
        """Return the wanted frames of files that are complete now, about `BATCH` at most."""
        self._look()
        batch: list[Reference] = []
        for path, waiting in [*self._waiting.items()]:
            if self.stop_requested() or len(batch) >= min(BATCH, self.watch.frames or BATCH):
                break
            batch += filter(self.is_wanted, self._complete(path, waiting))
        return batch

    def batches(self) -> Iterator[list[Reference]]:
        """Yield batches until the folder is idle; the last batch holds the frames of incomplete files."""
        self._news = time.monotonic()
        while True:
            if batch := self.now():
                yield batch
                self._news = time.monotonic()  # the folder was not watched while the batch was processed
                continue
            if self.stop_requested():
                raise KeyboardInterrupt
            if self.watch.idle is not None and time.monotonic() - self._news > self.watch.idle:
                self._look(whole=True)
                if self._news + self.watch.idle < time.monotonic():
                    break
            time.sleep(TICK)
        incomplete = [(path, each.state, files.list_frames(path).references) for path, each in self._waiting.items()]
        if batch := [new for each in incomplete for new in self._take(*each) if self.is_wanted(new)]:
            yield batch

    def incomplete(self) -> list[str]:
        """Return one line for each incomplete file, with the reason; none once `frames` are there."""
        if self.watch.frames is not None and not self.stop_requested():
            return []
        return [f"{path}: not complete, {each.reason or 'it changes'}" for path, each in self._waiting.items()]

    @contextmanager
    def notified(self) -> Iterator[None]:
        """Collect the changes that the operating system reports, if it can; the folder is listed as well."""
        from watchdog import events
        from watchdog.observers import Observer

        handler, observer = events.FileSystemEventHandler(), Observer()
        handler.on_any_event = lambda event: self._hints.append(Path(str(event.dest_path or event.src_path)))
        kinds = [events.FileCreatedEvent, events.FileModifiedEvent, events.FileClosedEvent, events.FileMovedEvent]
        try:
            below = "**" in self.watch.pattern
            observer.schedule(handler, str(self._folder), recursive=below, event_filter=kinds)
            observer.start()
        except OSError as error:  # too many watches, or a file system without notifications
            log.info("%s: no notification (%s), it is listed", self._folder, error)
            yield
            return
        try:
            yield
        finally:
            observer.stop()
            observer.join()

    @property
    def _folder(self) -> Path:
        return Path(str(self.watch.folder))

    def _look(self, whole: bool = False) -> None:
        """Find new and changed files; with ``whole``, check every file again."""
        now = time.monotonic()
        paths = [path for path in self._hinted() if path in self._taken or self._matches(path)]
        if whole or now >= self._listed:
            paths += self._list(len(self._taken) if whole else RECHECKED)
            after = time.monotonic()
            self._listed = after + max(LISTING, 10 * (after - now))
        for path in dict.fromkeys([*paths, *self._waiting]):
            self._update(path, now)

    def _hinted(self) -> Iterator[Path]:
        while self._hints:
            yield self._hints.popleft()

    def _matches(self, path: Path) -> bool:  # the listing finds files in subfolders
        return (
            path.parent == self._folder and not path.name.startswith(".") and fnmatchcase(path.name, self.watch.pattern)
        )

    def _list(self, n_rechecked: int) -> list[Path]:
        """Return the new files in natural order, and ``n_rechecked`` of those already taken."""
        names = iglob(self.watch.pattern, root_dir=self._folder, recursive=True)
        new = [path for name in names if (path := self._folder / name) not in self._taken]
        self._recheck.rotate(n_rechecked)
        return [*sorted(new, key=lambda path: (natural(str(path)), path)), *islice(self._recheck, n_rechecked)]

    def _update(self, path: Path, now: float) -> None:
        try:
            current = file_state(path)
        except FrameError:  # gone, or a folder
            self._waiting.pop(path, None)
            return
        if self._taken.get(path) == current or (self.excluded and path.resolve().is_relative_to(self.excluded)):
            self._waiting.pop(path, None)
            return
        before = self._waiting.get(path)
        if before is None or before.state != current:
            since = before.since if before else now
            self._waiting[path] = _Waiting(current, since, now + self.watch.settle)
            self._news = now

    def _complete(self, path: Path, waiting: _Waiting) -> list[Reference]:
        """Return the new frames of a file; none while it is incomplete."""
        now = time.monotonic()
        if now < waiting.due:
            return []
        try:
            content = files.list_frames(path)
            stack = any(each.dataset for each in content.references)  # a stack may grow
            if content.notes and content.references and not stack:
                raise FrameError(content.notes[0])
            for last in content.references[-1:]:
                files.read(last)
            if file_state(path) != waiting.state:
                return []
        except (FrameError, OSError) as error:
            waiting.attempts += 1
            waiting.due = now + min(PATIENCE, TICK * 2**waiting.attempts)
            if not waiting.reason and now - waiting.since > PATIENCE:
                self.notify(f"{path}: not complete yet ({error})")
            waiting.reason = str(error)
            return []
        return self._take(path, waiting.state, content.references)

    def _take(self, path: Path, current: State, references: Sequence[Reference]) -> list[Reference]:
        del self._waiting[path]
        if path not in self._taken:
            self._recheck.append(path)
        self._taken[path] = current
        tails = self._tails.setdefault(path, set())
        new = [each for each in references if each.index is None or each.tail not in tails]
        tails.update(each.tail for each in new if each.index is not None)
        return new
