"""Frames of a detector's stream, taken from its socket."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass

from ...io.live.stream_frame import write_frame
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
    _announced: int = 0
    _taken: int = 0
    _mask: Array | None = None

    def incomplete(self) -> list[str]:
        """Return one line each for frames that did not come, for messages that were refused, and for a failure."""
        missing = self._announced - self._taken
        lines = [f"series {self._series}: {missing} of {self._announced} frames did not come"] if missing > 0 else []
        lines += [f"{self._refused} messages of the stream were refused"] if self._refused else []
        return [*lines, *super().incomplete()]

    def receive(self, stopped: threading.Event) -> None:
        """Take messages until the series ends."""
        import zmq

        with zmq.Context() as context, context.socket(zmq.PULL) as socket:
            socket.setsockopt(zmq.MAXMSGSIZE, MOST_BYTES)  # ZeroMQ drops a sender of more, before it takes the memory
            socket.setsockopt(zmq.RCVHWM, WAITING)
            socket.setsockopt(zmq.LINGER, 0)
            socket.connect(self.address)
            while not stopped.is_set() and not self.ended.is_set():
                if not socket.poll(int(1000 * TICK)):
                    continue
                parts = socket.recv_multipart()
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
        if message.kind == "start":
            self._mask, self._announced = message.array("pixel_mask", self.channel), message.images
            return
        if message.kind == "end":
            self.ended.set()
            return
        image = message.array("data", self.channel)
        if image is None:
            raise MessageError("an image message without data")
        path = self.folder / f"{message.unique or f'series_{message.series}'}_{message.image:06d}.h5"
        if path.exists():
            raise MessageError(f"{path.name} is there already")
        mask = self._mask if self._mask is not None and self._mask.shape == image.shape else None
        write_frame(path, image, mask, {"image_id": message.image, "series_id": message.series, **_times(message)})
        self._taken += 1
        self.arrived.put(path)


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
