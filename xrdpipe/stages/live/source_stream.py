"""Stream: takes the frames that a detector sends over ZeroMQ (DECTRIS Stream V2) as they come."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ...model.errors import ConfigError, require
from ..arrivals import Arrivals
from ..source import Source


@dataclass(frozen=True)
class Stream(Source):
    """Take the frames of one series that a detector sends, until the series ends.

    Each frame is written into ``folder`` as it came, so that the run can be resumed and replayed. The keys not listed
    here are those of `Source`.

    Attributes
    ----------
    address
        Address of the detector's socket, ``tcp://detector:31001``.
    folder
        Folder that keeps the frames, one HDF5 file each. Frames that are there already are taken first.
    channel
        Channel (threshold) of a detector of several; None for the first one.
    idle
        Seconds without a message after which the run ends; None for no limit.
    frames
        Number of frames after which the run ends, frames of earlier runs included; None for no limit.
    """

    address: str | None = None
    folder: str | None = None
    channel: str | None = None
    idle: float | None = None
    frames: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.idle is None or self.idle > 0, "idle", self.idle, "seconds > 0 expected, or null")
        require(self.frames is None or self.frames >= 1, "frames", self.frames, "a number of frames >= 1, or null")
        for key in ("average", "sum"):
            require(getattr(self, key) in (None, 1), key, getattr(self, key), "not while streaming; merge afterwards")

    def check_combination(self, *, queued: bool = False, arrays: bool = False, sweep: bool = False) -> None:
        """Raise ConfigError in a sweep, with arrays in memory, or with an engine that queues all frames."""
        if sweep or arrays:
            raise ConfigError("source=stream: waits for frames, so neither with arrays nor in a sweep")
        if queued:
            raise ConfigError("source=stream: not with parallel=slurm, whose jobs wait in a queue; say parallel=dask")

    def watch(
        self,
        values: Mapping[str, Any],
        excluded: Path | None,
        notify: Callable[[str], None],
        stop_requested: Callable[[], bool],
    ) -> tuple[Arrivals | None, dict[str, Any]]:
        """Return the frames of the stream, and the configuration of an ordinary run over the files that it leaves."""
        for module in ("zmq", "cbor2"):
            if find_spec(module) is None:
                raise ConfigError("source=stream: needs more packages; pip install 'xrdpipe[stream]'")
        from .streamed_frames import StreamedFrames

        self._check_address()
        if self.folder is None:
            raise ConfigError("source.folder: missing; say where the frames are kept, source.folder=frames")
        if Path(self.folder).exists() and not Path(self.folder).is_dir():
            raise ConfigError(f"source.folder={self.folder}: not a folder")
        if values.get("images"):
            raise ConfigError(f"images={values['images']}: source=stream brings its own; leave one of them out")
        options = {key.name: getattr(self, key.name) for key in fields(Source)}
        source = {"_target_": f"{Source.__module__}.{Source.__qualname__}", **options}
        images = [str(Path(self.folder, "*.h5"))]
        return StreamedFrames(self, notify, stop_requested), {**values, "source": source, "images": images}

    def _check_address(self) -> None:
        if self.address is None:
            raise ConfigError("source.address: missing; say where the detector sends, source.address=tcp://detector:31001")
        try:
            parts = urlsplit(self.address)
            good = parts.scheme == "tcp" and bool(parts.hostname) and bool(parts.port) and not parts.path
        except ValueError:  # of a port
            good = False
        require(good, "source.address", self.address, "tcp://host:port expected, as tcp://detector:31001")
