"""Frames of a scan in a Tiled server."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ...io.live.stream_frame import write_frame
from ...io.live.stream_message import MOST_BYTES, Array
from .kept_frames import TICK, KeptFrames

AHEAD = 16  # frames that are read before the run asks for them
MOST = 10_000_000  # frames of a scan


class ScanError(ValueError):
    """The server has no such frames; the text is the reason."""


@dataclass
class TiledFrames(KeptFrames):
    """The frames of the scan ``uid`` in the catalog ``uri``, from the array at the path ``array``."""

    uri: str = ""
    uid: str = ""
    array: str = ""

    def receive(self, stopped: threading.Event) -> None:
        """Read frame by frame, `AHEAD` ahead of the run."""
        array = self._found()
        shape, dtype = tuple(int(each) for each in array.shape), np.dtype(array.dtype)
        sides, count = shape[-2:], prod(shape[:-2])
        if len(shape) not in (2, 3, 4) or dtype.kind not in "iuf" or max(sides) >= 1 << 16 or min(sides) < 1:
            raise ScanError(f"{self.array}: {dtype} of the shape {shape} is no array of frames")
        if prod(sides) * dtype.itemsize > MOST_BYTES or count > MOST:
            raise ScanError(f"{self.array}: {dtype} of the shape {shape} is larger than frames may be")
        for number in range(count):
            path = self.folder / f"{self.uid}_{number:06d}.h5"
            if path.exists():  # it came first
                continue
            while self.arrived.qsize() >= AHEAD and not stopped.wait(TICK):
                pass
            if stopped.is_set():
                return
            place = (
                tuple(int(each) for each in np.unravel_index(number, shape[:-2]))
                if count > 1
                else (0,) * (len(shape) - 2)
            )
            image = np.ascontiguousarray(array[(*place, slice(None), slice(None))])
            if image.shape != sides or image.dtype.kind not in "iuf":
                raise ScanError(f"{self.array}: frame {number} has the shape {image.shape}, the array {shape}")
            about = {"uid": self.uid, "index": float(number)}
            write_frame(path, Array((sides[0], sides[1]), image.dtype, "", image.tobytes()), None, about)
            self.arrived.put(path)

    def _found(self) -> Any:
        from tiled.client import from_uri

        node: Any = from_uri(self.uri)
        for part in (self.uid, *filter(None, self.array.split("/"))):
            try:
                node = node[part]
            except (KeyError, TypeError) as error:
                raise ScanError(f"no {part!r} there, on the way to {self.uid}/{self.array}") from error
        if not hasattr(node, "shape"):
            raise ScanError(f"{self.array} is no array")
        return node
