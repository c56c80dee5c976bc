"""Watch: files of a folder as they appear, each taken once, when it is complete."""

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
from .source import Source

log = logging.getLogger("xrdpipe")


TICK = 0.05  # seconds between looks at what is not complete yet


LISTING = 0.2  # seconds between listings of the folder, or more where one takes more than a tenth of that


PATIENCE = 5.0  # seconds, at most, until a file that could not be read is tried again, and until one is spoken of


BATCH = 8  # files handed over at once, at most: who comes later waits for no more than these


AGAIN = 20  # files taken before that each listing looks at again


State = tuple[int, int]  # size and modification time of a file


@dataclass(frozen=True)
class Watch(Source):
    """Frames of the files that appear in ``folder`` and match ``pattern``, a glob; otherwise as its parent.

    A file is taken when it has stayed the same for ``settle`` seconds and can be read; of a stack, the frames that are
    there. The run ends after ``idle`` seconds in which nothing appeared or changed, or with ``frames`` frames.
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
        require(self.idle is None or self.idle > 0, "idle", self.idle, "seconds > 0 expected, or null")
        require(self.frames is None or self.frames >= 1, "frames", self.frames, "a number of frames >= 1, or null")
        for key in ("average", "sum"):
            require(getattr(self, key) in (None, 1), key, getattr(self, key), "not while watching; merge afterwards")

    def check_combination(self, *, queued: bool = False, arrays: bool = False, sweep: bool = False) -> None:
        if sweep:
            reason = "as its jobs need the same frames; sweep over them afterwards"
            raise ConfigError(f"source=watch: not in a sweep, {reason}")
        if arrays:
            raise ConfigError("source=watch: waits for files, so neither with arrays nor in a sweep")
        if queued:
            raise ConfigError("source=watch: not with parallel=slurm, whose jobs wait in a queue; say parallel=dask")

    def watch(
        self, values: Mapping[str, Any], apart: Path | None, say: Callable[[str], None], stopped: Callable[[], bool]
    ) -> tuple[Arrivals | None, dict[str, Any]]:
        return WatchedFolder(self, apart, say, stopped), self.ordinary_run(values)

    def ordinary_run(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration of a run over the same files that does not watch: it gives the same results.

        ConfigError where there is nothing that could be watched.
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
        plain = {"_target_": f"{Source.__module__}.{Source.__qualname__}", **source}
        return {**values, "source": plain, "images": [str(Path(self.folder, self.pattern))]}


@dataclass
class _Waiting:
    """A file that is not complete: how it is, since when, and when it is worth to be tried."""

    state: State
    since: float
    due: float
    tried: int = 0
    reason: str = ""


@dataclass
class WatchedFolder:
    """The files that a `Watch` finds; ``apart`` is a folder in which none is looked for, ``say`` tells the user."""

    watch: Watch
    apart: Path | None
    say: Callable[[str], None]
    stop_requested: Callable[[], bool]
    wanted: Callable[[Reference], bool] = bool  # what `first` was told
    _waiting: dict[Path, _Waiting] = field(default_factory=dict)  # in order of arrival
    _taken: dict[Path, State] = field(default_factory=dict)
    _tails: dict[Path, set[str]] = field(default_factory=dict)  # of stacks, the frames that are taken
    _again: deque[Path] = field(default_factory=deque)
    _hints: deque[Path] = field(default_factory=deque)  # what the system says has changed
    _listed: float = 0.0
    _news: float = field(default_factory=time.monotonic)

    @property
    def limit(self) -> int | None:
        """The run ends with so many frames."""
        return self.watch.frames

    def report_to(self, say: Callable[[str], None]) -> None:
        """Tell the user with ``say`` from now on."""
        self.say = say

    def first(self, wanted: Callable[[Reference], bool], wait: bool) -> list[Reference]:
        """The first batch in which a frame is ``wanted``, and from then on only those; ConfigError where none comes."""
        self.wanted = wanted
        here = f"source.folder={self.watch.folder}: no complete file matches source.pattern={self.watch.pattern}"
        self._look()
        time.sleep((min(self.watch.settle, 0.5) if wait else self.watch.settle) + TICK)
        if batch := self.now():
            return batch
        if not wait:
            raise ConfigError(f"{here} now; a run would wait for one")
        self.say(f"waiting for {self._folder / self.watch.pattern}")
        for batch in self.batches():
            return batch
        raise ConfigError(f"{here}, in source.idle={self.watch.idle} seconds")

    def now(self) -> list[Reference]:
        """The frames of files that are complete now, of `BATCH` files at most."""
        self._look()
        found: list[Reference] = []
        for path, waiting in [*self._waiting.items()]:
            if self.stop_requested() or len(found) >= min(BATCH, self.watch.frames or BATCH):
                break
            found += filter(self.wanted, self._complete(path, waiting))
        return found

    def batches(self) -> Iterator[list[Reference]]:
        """Batches of frames, until nothing new came for as long as was said; then what is not complete, as it is.

        KeyboardInterrupt where the user wants no more.
        """
        self._news = time.monotonic()
        while True:
            if batch := self.now():
                yield batch
                self._news = time.monotonic()  # while those were done, nobody looked
                continue
            if self.stop_requested():
                raise KeyboardInterrupt
            if self.watch.idle is not None and time.monotonic() - self._news > self.watch.idle:
                self._look(whole=True)
                if self._news + self.watch.idle < time.monotonic():
                    break
            time.sleep(TICK)
        rest = [(path, each.state, files.list_frames(path).references) for path, each in self._waiting.items()]
        if left := [new for each in rest for new in self._take(*each) if self.wanted(new)]:
            yield left

    def incomplete(self) -> list[str]:
        """The files that wait, each with what is known of it."""
        return [f"{path}: not complete, {each.reason or 'it changes'}" for path, each in self._waiting.items()]

    @contextmanager
    def notified(self) -> Iterator[None]:
        """Let the system tell of changes meanwhile, where it does; the folder is listed all the same."""
        from watchdog import events
        from watchdog.observers import Observer

        handler, observer = events.FileSystemEventHandler(), Observer()
        handler.on_any_event = lambda event: self._hints.append(Path(str(event.dest_path or event.src_path)))
        kinds = [events.FileCreatedEvent, events.FileModifiedEvent, events.FileClosedEvent, events.FileMovedEvent]
        try:
            below = "**" in self.watch.pattern
            observer.schedule(handler, str(self._folder), recursive=below, event_filter=kinds)
            observer.start()
        except OSError as error:  # no room for another watch, or none on this file system
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
        """See what is new or has changed; ``whole``: look at every file again."""
        now = time.monotonic()
        found = [path for path in self._hinted() if path in self._taken or self._matches(path)]
        if whole or now >= self._listed:
            found += self._list(len(self._taken) if whole else AGAIN)
            after = time.monotonic()
            self._listed = after + max(LISTING, 10 * (after - now))
        for path in dict.fromkeys([*found, *self._waiting]):
            self._meet(path, now)

    def _hinted(self) -> Iterator[Path]:
        while self._hints:
            yield self._hints.popleft()

    def _matches(self, path: Path) -> bool:  # in folders below, the listing decides
        return (
            path.parent == self._folder and not path.name.startswith(".") and fnmatchcase(path.name, self.watch.pattern)
        )

    def _list(self, again: int) -> list[Path]:
        """Files that are new, in natural order, and some of those that are not."""
        names = iglob(self.watch.pattern, root_dir=self._folder, recursive=True)
        new = [path for name in names if (path := self._folder / name) not in self._taken]
        self._again.rotate(again)
        return [*sorted(new, key=lambda path: (natural(str(path)), path)), *islice(self._again, again)]

    def _meet(self, path: Path, now: float) -> None:
        try:
            current = file_state(path)
        except FrameError:  # gone, or a folder
            self._waiting.pop(path, None)
            return
        if self._taken.get(path) == current or (self.apart and path.resolve().is_relative_to(self.apart)):
            self._waiting.pop(path, None)
            return
        before = self._waiting.get(path)
        if before is None or before.state != current:
            since = before.since if before else now
            self._waiting[path] = _Waiting(current, since, now + self.watch.settle)
            self._news = now

    def _complete(self, path: Path, waiting: _Waiting) -> list[Reference]:
        """The new frames of a file; none where it is not complete."""
        now = time.monotonic()
        if now < waiting.due:
            return []
        try:
            content = files.list_frames(path)
            stack = any(each.dataset for each in content.references)  # which may grow
            if content.notes and content.references and not stack:
                raise FrameError(content.notes[0])
            for last in content.references[-1:]:
                files.read(last)
            if file_state(path) != waiting.state:
                return []
        except (FrameError, OSError) as error:
            waiting.tried += 1
            waiting.due = now + min(PATIENCE, TICK * 2**waiting.tried)
            if not waiting.reason and now - waiting.since > PATIENCE:
                self.say(f"{path}: not complete yet ({error})")
            waiting.reason = str(error)
            return []
        return self._take(path, waiting.state, content.references)

    def _take(self, path: Path, current: State, found: Sequence[Reference]) -> list[Reference]:
        del self._waiting[path]
        if path not in self._taken:
            self._again.append(path)
        self._taken[path] = current
        tails = self._tails.setdefault(path, set())
        new = [each for each in found if each.index is None or each.tail not in tails]
        tails.update(each.tail for each in new if each.index is not None)
        return new
