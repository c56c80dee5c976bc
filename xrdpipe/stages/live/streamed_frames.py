"""Frames of a detector's stream, taken from its socket."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...io.live.stream_frame import write_frame, write_refused
from ...io.live.stream_message import MOST_BYTES, Array, Message, MessageError
from .kept_frames import TICK, KeptFrames

log = logging.getLogger("xrdpipe")
WAITING = 16  # messages that ZeroMQ keeps in memory
SHOWN = 5  # refused messages that the user is told of, one by one
TIMES = ("start_time", "stop_time", "real_time")  # ratios of two integers, seconds


@dataclass
class StreamedFrames(KeptFrames):
    """The frames of one series that come from ``address``; of ``channel``, the first one for None."""

    address: str = ""
    channel: str | None = None
    _refused: int = 0
    _series: int | None = None
    _name: str = ""  # beginning of the names of its files
    _started: bool = False  # the start message came
    _mask: Array | None = None
    _expected: int = 0  # images that it announced, or as many as the highest number says

    def incomplete(self) -> list[str]:
        """Return one line each for frames and messages that did not come, for refused messages, and for a failure."""
        lines = super().incomplete()
        if self._refused:
            lines.insert(0, f"{self._refused} messages of the stream were refused")
        if self._series is not None and not self._started:
            lines.insert(0, f"series {self._series}: no start message came, and with it no mask of the detector")
        missing = self._expected - sum(1 for _ in self.folder.glob(f"{self._name}_*.h5")) if self._name else 0
        if missing > 0 and (self.limit is None or self.ended.is_set()):
            lines.insert(0, f"series {self._series}: {missing} of {self._expected} frames did not come")
        return lines

    def receive(self, stopped: threading.Event) -> None:
        """Take messages until the series ends."""
        import zmq

        with zmq.Context() as context, context.socket(zmq.PULL) as socket:
            socket.setsockopt(zmq.MAXMSGSIZE, MOST_BYTES)  # ZeroMQ drops a sender of more, before it takes the memory
            socket.setsockopt(zmq.RCVHWM, WAITING)
            socket.setsockopt(zmq.LINGER, 0)
            with socket.get_monitor_socket(zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECT_RETRIED) as events:
                socket.connect(self.address)
                while not stopped.is_set() and not self.ended.is_set():
                    self._receive_waiting(socket, events, stopped)
                socket.disable_monitor()

    def _receive_waiting(self, socket: Any, events: Any, stopped: threading.Event) -> None:
        """Take the messages that are there, after a short wait if there is none; connect again after one too large."""
        socket.poll(int(1000 * TICK))
        too_large = _is_dropped(events)  # what came before is there now
        while not stopped.is_set() and not self.ended.is_set() and socket.poll(0):
            self._receive(socket.recv_multipart())
        if too_large and not self.ended.is_set():
            self._refuse(f"more than {MOST_BYTES >> 20} MiB; what was on its way with it is lost")
            socket.connect(self.address)

    def _receive(self, parts: list[bytes]) -> None:
        self.news = time.monotonic()
        try:
            if len(parts) != 1:
                raise MessageError(f"{len(parts)} parts; one expected (is this Stream V1?)")
            self._take(Message.of(parts[0]))
        except MessageError as error:
            self._refuse(str(error))

    def _refuse(self, reason: str) -> None:
        self._refused += 1
        log.warning("a message of the stream is refused: %s", reason)
        if self._refused <= SHOWN:
            self.notify(f"a message of the stream is refused: {reason}")

    def _take(self, message: Message) -> None:
        if self._series not in (None, message.series):
            raise MessageError(f"it belongs to series {message.series}, not to {self._series}")
        self._series = message.series  # of an image, if the run joins in the middle
        self._name = message.unique or f"series_{message.series}"
        if message.kind == "start":
            self._mask, self._expected = message.array("pixel_mask", self.channel), message.images
            self._started = True
            return
        if message.kind == "end":
            self.ended.set()
            return
        path = self.folder / f"{self._name}_{message.image:06d}.h5"
        if path.exists():
            raise MessageError(f"{path.name} is there already")
        self._expected = max(self._expected, message.image + 1)
        self._write(path, message)
        self.arrived.put(path)

    def _write(self, path: Path, message: Message) -> None:
        """Write the frame of a message; one that cannot be taken becomes a frame that fails with the reason."""
        try:
            image = message.array("data", self.channel)
            if image is None:
                raise MessageError("an image message without data")
        except MessageError as error:
            write_refused(path, f"its message was refused: {error}")
            return
        mask = self._mask if self._mask is not None and self._mask.shape == image.shape else None
        write_frame(path, image, mask, {"image_id": message.image, "series_id": message.series, **_times(message)})


def _is_dropped(events: Any) -> bool:
    """Return whether ZeroMQ has ended the connection for good: for a message too large; otherwise it connects again."""
    import zmq
    from zmq.utils.monitor import recv_monitor_message

    lost = False
    while events.poll(int(1000 * TICK) if lost else 0):
        lost = recv_monitor_message(events)["event"] == zmq.EVENT_DISCONNECTED
    return lost


def _times(message: Message) -> dict[str, float]:
    """Return the times of an image in seconds; those that are not as the format says are left out."""
    times = {}
    for name in TIMES:
        value = message.values.get(name)
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            continue
        if all(isinstance(each, int) and 0 <= each < 1 << 64 for each in value) and value[1]:
            times[name] = value[0] / value[1]
    return times
