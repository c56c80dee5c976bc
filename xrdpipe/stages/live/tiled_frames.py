"""Frames of a scan in a Tiled server."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from itertools import product
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
        from tiled.client import from_uri

        catalog: Any = from_uri(self.uri)
        try:
            self._read(self._find(catalog), stopped)
        finally:
            catalog.context.http_client.close()

    def _find(self, node: Any) -> Any:
        for part in (self.uid, *filter(None, self.array.split("/"))):
            try:
                node = node[part]
            except (KeyError, TypeError) as error:
                raise ScanError(f"no {part!r} there, on the way to {self.uid}/{self.array}") from error
        if not hasattr(node, "shape") or not hasattr(node, "dtype"):
            raise ScanError(f"{self.array} is no array")
        return node

    def _read(self, array: Any, stopped: threading.Event) -> None:
        shape, dtype = tuple(int(each) for each in array.shape), np.dtype(array.dtype)
        if len(shape) not in (2, 3, 4) or dtype.kind not in "iuf" or not all(0 < each < 1 << 16 for each in shape[-2:]):
            raise ScanError(f"{self.array}: {dtype} of the shape {shape} is no array of frames")
        sides, count = shape[-2:], prod(shape[:-2])
        if prod(sides) * dtype.itemsize > MOST_BYTES or count > MOST:
            raise ScanError(f"{self.array}: {dtype} of the shape {shape} is larger than frames may be")
        for number, place in enumerate(product(*map(range, shape[:-2]))):
            path = self.folder / f"{self.uid}_{number:06d}.h5"
            if path.exists():  # it came first
                continue
            while self.arrived.qsize() >= AHEAD and not stopped.wait(TICK):
                pass
            if stopped.is_set():
                return
            image = np.ascontiguousarray(array[(*place, slice(None), slice(None))])
            if image.shape != sides or image.dtype.kind not in "iuf":
                raise ScanError(f"{self.array}: frame {number} has the shape {image.shape}, the array {shape}")
            frame = Array((sides[0], sides[1]), image.dtype, "", image.tobytes())
            write_frame(path, frame, None, {"uid": self.uid, "index": number})
            self.news = time.monotonic()
            self.arrived.put(path)
