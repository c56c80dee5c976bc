"""Frames of a detector's stream: a thread takes the messages and writes the frames, the run takes the files."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...io import files
from ...io.live.stream_frame import write_frame
from ...io.live.stream_message import MOST_BYTES, Array, Message, MessageError
from ...io.paths import natural
from ...model.errors import ConfigError
from ...model.reference import Reference

if TYPE_CHECKING:
    from .source_stream import Stream

log = logging.getLogger("xrdpipe")
TICK = 0.05  # seconds between looks at whether the run was stopped
WAITING = 16  # messages that ZeroMQ keeps in memory
BATCH = 8  # most frames in a batch
SHOWN = 5  # refused messages that the user is told of, one by one
TIMES = ("start_time", "stop_time", "real_time")  # ratios of two integers, seconds


@dataclass
class StreamedFrames:
    """The frames of a `Stream`, see `Arrivals`."""

    stream: Stream
    notify: Callable[[str], None]
    stop_requested: Callable[[], bool]
    is_wanted: Callable[[Reference], bool] = bool
    _arrived: queue.SimpleQueue[Path] = field(default_factory=queue.SimpleQueue)
    _ended: threading.Event = field(default_factory=threading.Event)
    _failure: str = ""  # why nothing more can be taken
    _refused: int = 0
    _series: int | None = None
    _announced: int = 0
    _taken: int = 0
    _mask: Array | None = None
    _news: float = field(default_factory=time.monotonic)

    @property
    def limit(self) -> int | None:
        """Number of frames after which the run ends; None for no limit."""
        return self.stream.frames

    def report_to(self, notify: Callable[[str], None]) -> None:
        """Send messages to the user through ``notify`` from now on."""
        self.notify = notify

    def first(self, is_wanted: Callable[[Reference], bool], wait: bool) -> list[Reference]:
        """Return the first batch that holds a wanted frame, see `Arrivals.first`."""
        self.is_wanted = is_wanted
        here = f"source.address={self.stream.address}"
        if not wait:
            raise ConfigError(f"{here}: frames come when the run goes on; a run would wait for one")
        self.notify(f"waiting for frames from {self.stream.address}")
        for batch in self.batches():
            return batch
        reason = f"no frame in source.idle={self.stream.idle} seconds"
        raise ConfigError(f"{here}: {self._failure or ('the series had no frame' if self._ended.is_set() else reason)}")

    def batches(self) -> Iterator[list[Reference]]:
        """Yield batches of wanted frames until the series ends or nothing comes."""
        self._news = time.monotonic()
        while True:
            ended = self._ended.is_set()  # before the look: what came before the end is still taken
            paths = self._now()
            references = [each for path in paths for each in files.list_frames(path).references]
            if batch := [each for each in references if self.is_wanted(each)]:
                yield batch
            elif paths:
                continue
            elif self.stop_requested():
                raise KeyboardInterrupt
            elif ended:
                return
            elif self.stream.idle is not None and time.monotonic() - self._news > self.stream.idle:
                return

    def incomplete(self) -> list[str]:
        """Return one line for frames that did not come, and for messages that were refused."""
        missing = self._announced - self._taken
        lines = [f"series {self._series}: {missing} of {self._announced} frames did not come"] if missing > 0 else []
        lines += [f"{self._refused} messages of the stream were refused"] if self._refused else []
        return [*lines, self._failure] if self._failure else lines

    @contextmanager
    def notified(self) -> Iterator[None]:
        """Take messages in a thread."""
        import zmq

        folder = Path(str(self.stream.folder))
        for path in sorted(folder.glob("*.h5"), key=lambda path: natural(str(path))):
            self._arrived.put(path)
        context = zmq.Context()
        socket = context.socket(zmq.PULL)
        socket.setsockopt(zmq.MAXMSGSIZE, MOST_BYTES)  # ZeroMQ drops a sender of more, before it takes the memory
        socket.setsockopt(zmq.RCVHWM, WAITING)
        socket.setsockopt(zmq.LINGER, 0)
        stopped = threading.Event()
        thread = threading.Thread(target=self._receive, args=(socket, folder, stopped), name="stream", daemon=True)
        try:
            socket.connect(str(self.stream.address))
            thread.start()
            yield
        except zmq.ZMQError as error:
            raise ConfigError(f"source.address={self.stream.address}: {error}") from error
        finally:
            stopped.set()
            if thread.ident is not None:
                thread.join()
            socket.close()
            context.term()

    def _now(self) -> list[Path]:
        """Return the files that are there, after a short wait if there is none."""
        paths: list[Path] = []
        try:
            paths.append(self._arrived.get(timeout=TICK))
            while len(paths) < BATCH:
                paths.append(self._arrived.get_nowait())
        except queue.Empty:
            pass
        return paths

    def _receive(self, socket: Any, folder: Path, stopped: threading.Event) -> None:
        while not stopped.is_set() and not self._ended.is_set():
            if not socket.poll(int(1000 * TICK)):
                continue
            parts = socket.recv_multipart()
            self._news = time.monotonic()
            try:
                if len(parts) != 1:
                    raise MessageError(f"{len(parts)} parts; one expected (is this Stream V1?)")
                self._take(Message.of(parts[0]), folder)
            except MessageError as error:
                self._refuse(str(error))
            except OSError as error:
                self._failure = f"{folder}: a frame could not be written ({error.strerror or error})"
                self._ended.set()
            except Exception as error:  # the thread must not end unseen
                log.exception("a message of the stream")
                self._refuse(f"{type(error).__name__}: {error}")

    def _refuse(self, reason: str) -> None:
        self._refused += 1
        log.warning("a message of the stream is refused: %s", reason)
        if self._refused <= SHOWN:
            self.notify(f"a message of the stream is refused: {reason}")

    def _take(self, message: Message, folder: Path) -> None:
        if self._series not in (None, message.series):
            raise MessageError(f"it belongs to series {message.series}, not to {self._series}")
        self._series = message.series  # of an image, if the run joins in the middle
        if message.kind == "start":
            self._mask, self._announced = message.array("pixel_mask", self.stream.channel), message.images
            return
        if message.kind == "end":
            self._ended.set()
            return
        image = message.array("data", self.stream.channel)
        if image is None:
            raise MessageError("an image message without data")
        path = folder / f"{message.unique or f'series_{message.series}'}_{message.image:06d}.h5"
        if path.exists():
            raise MessageError(f"{path.name} is there already")
        mask = self._mask if self._mask is not None and self._mask.shape == image.shape else None
        write_frame(path, image, mask, {"image_id": message.image, "series_id": message.series, **_times(message)})
        self._taken += 1
        self._arrived.put(path)


def _times(message: Message) -> dict[str, float]:
    """Return the times of an image in seconds; those that are not as the format says are left out."""
    times = {}
    for name in TIMES:
        value = message.values.get(name)
        is_ratio = isinstance(value, (list, tuple)) and len(value) == 2
        if is_ratio and all(isinstance(each, int) and 0 <= each < 1 << 64 for each in value) and value[1]:
            times[name] = value[0] / value[1]
    return times
