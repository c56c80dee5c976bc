"""Stream: takes the frames that a detector sends over ZeroMQ (DECTRIS Stream V2) as they come."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ...model.errors import ConfigError, require
from ..arrivals import Arrivals
from .kept_source import KeptSource, needs_packages


@dataclass(frozen=True)
class Stream(KeptSource):
    """Take the frames of one series that a detector sends, until the series ends.

    The keys not listed here are those of `KeptSource`.

    Attributes
    ----------
    address
        Address of the detector's socket, ``tcp://detector:31001``.
    channel
        Channel (threshold) of a detector of several; None for the first one.
    """

    address: str | None = None
    channel: str | None = None

    def watch(
        self,
        values: Mapping[str, Any],
        excluded: Path | None,
        notify: Callable[[str], None],
        stop_requested: Callable[[], bool],
    ) -> tuple[Arrivals | None, dict[str, Any]]:
        """Return the frames of the stream, and the configuration of an ordinary run over the files that it leaves."""
        needs_packages("stream", "zmq", "cbor2")
        from .streamed_frames import StreamedFrames

        example = "tcp://detector:31001"
        if self.address is None:
            raise ConfigError(f"source.address: missing; say where the detector sends, source.address={example}")
        try:
            parts = urlsplit(self.address)
            good = parts.scheme == "tcp" and bool(parts.hostname) and bool(parts.port) and not parts.path
        except ValueError:  # of a port
            good = False
        require(good, "source.address", self.address, f"tcp://host:port expected, as {example}")
        folder, ordinary = self.ordinary_run(values)
        where = f"source.address={self.address}"
        arrivals = StreamedFrames(where, folder, self.idle, self.frames, notify, stop_requested)
        arrivals.address, arrivals.channel = self.address, self.channel
        return arrivals, ordinary
