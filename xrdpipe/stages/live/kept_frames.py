"""Frames that a thread writes into a folder, while the run takes the files."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ...io import files
from ...io.paths import natural
from ...model.errors import ConfigError
from ...model.reference import Reference

log = logging.getLogger("xrdpipe")
TICK = 0.05  # seconds between looks at whether the run was stopped
BATCH = 8  # most frames in a batch


@dataclass
class KeptFrames:
    """Frames that a thread writes into a folder, see `Arrivals`; a subclass says where they come from.

    Attributes
    ----------
    where
        Where the frames come from, as the beginning of a message.
    folder
        Folder of the files. Those that are there already come first.
    idle
        Seconds without a frame after which the run ends; None for no limit.
    limit
        Number of frames after which the run ends; None for no limit.
    notify
        Shows a message to the user.
    stop_requested
        Returns True once the user stops the run.
    """

    where: str
    folder: Path
    idle: float | None
    limit: int | None
    notify: Callable[[str], None]
    stop_requested: Callable[[], bool]
    is_wanted: Callable[[Reference], bool] = bool
    arrived: queue.SimpleQueue[Path] = field(default_factory=queue.SimpleQueue)
    ended: threading.Event = field(default_factory=threading.Event)
    failure: str = ""  # why nothing more can be taken
    news: float = field(default_factory=time.monotonic)

    def receive(self, stopped: threading.Event) -> None:
        """Write frames and put their files into ``arrived`` until ``stopped`` is set or there are no more."""
        raise NotImplementedError

    def report_to(self, notify: Callable[[str], None]) -> None:
        """Send messages to the user through ``notify`` from now on."""
        self.notify = notify

    def first(self, is_wanted: Callable[[Reference], bool], wait: bool) -> list[Reference]:
        """Return the first batch that holds a wanted frame, see `Arrivals.first`."""
        self.is_wanted = is_wanted
        if not wait:
            raise ConfigError(f"{self.where}: frames come when the run goes on; a run would wait for one")
        self.notify(f"waiting for frames, {self.where}")
        first: list[Reference] = []
        for batch in self.batches():
            first += batch
            if any(each.dataset for each in batch):  # a file without images has none; the others give the run its shape
                break
        if first:
            return first
        idle = f"no frame in source.idle={self.idle} seconds"
        raise ConfigError(f"{self.where}: {self.failure or ('it had no frame' if self.ended.is_set() else idle)}")

    def batches(self) -> Iterator[list[Reference]]:
        """Yield batches of wanted frames until there are no more, or none comes for ``idle`` seconds."""
        self.news = time.monotonic()
        while True:
            ended = self.ended.is_set()  # before the look: what came before the end is still taken
            paths = self._now()
            references = [each for path in paths for each in files.list_frames(path).references]
            if batch := [each for each in references if self.is_wanted(each)]:
                yield batch
            if paths:
                continue
            if self.stop_requested():
                raise KeyboardInterrupt
            if ended or (self.idle is not None and time.monotonic() - self.news > self.idle):
                return

    def incomplete(self) -> list[str]:
        """Return one line each for what should have come and did not; with any, the run has failed."""
        return [f"{self.where}: {self.failure}"] if self.failure else []

    @contextmanager
    def notified(self) -> Iterator[None]:
        """Receive frames in a thread."""
        for path in sorted(self.folder.glob("*.h5"), key=lambda path: natural(str(path))):
            self.arrived.put(path)
        stopped = threading.Event()
        thread = threading.Thread(target=self._run, args=(stopped,), name="frames", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()

    def _run(self, stopped: threading.Event) -> None:
        try:
            self.receive(stopped)
        except OSError as error:
            self.failure = f"{self.folder}: {error.strerror or error}"
        except Exception as error:  # the run must hear of the end of the thread
            log.exception("%s", self.where)
            self.failure = (str(error).splitlines() or [type(error).__name__])[0][:200]
        finally:
            self.ended.set()

    def _now(self) -> list[Path]:
        """Return the files that are there, after a short wait if there is none."""
        paths: list[Path] = []
        try:
            paths.append(self.arrived.get(timeout=TICK))
            while len(paths) < BATCH:
                paths.append(self.arrived.get_nowait())
        except queue.Empty:
            pass
        return paths
