"""Work that the first view of another option would wait for, done before: compiled loops, and arrays of the geometry.

A process of its own does it at the lowest priority, so that the page stays quick. Both stay in caches on disk.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from ..geometry.geometry import Geometry
from ..geometry.poni import Poni

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

PATIENCE = 120.0  # seconds


class Warm:
    """The process for a geometry.

    Parameters
    ----------
    geometry
        The geometry.
    """

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        self._process: BaseProcess | None = None

    def start(self) -> None:
        """Start it, unless the arrays are in the cache already, or nothing is to be cached."""
        poni, shape = self._geometry.poni, self._geometry.shape
        if not (self._geometry.cache and poni.self_contained) or self._geometry.has_on_disk("arcs"):
            return
        process = get_context("spawn").Process(target=prepare, args=(poni, shape, os.getpid()), daemon=True)
        with suppress(OSError):  # no room for a process: then the first view takes longer
            process.start()
            self._process = process

    def wait(self) -> None:
        """Wait for it, as it is further than one that would begin now."""
        if self._process is not None:
            self._process.join(PATIENCE)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()


def prepare(poni: Poni, shape: tuple[int, int], parent: int) -> None:
    """Take a frame of random counts through the robust mask and the cake."""
    with suppress(OSError, ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the page
    if hasattr(os, "nice"):
        os.nice(19)
    import numpy as np

    from ..config.loader import shipped_option
    from ..config.schema import build
    from ..model.frame import Frame
    from ..stages.stage import Setup

    def missing(path: str) -> Any:
        raise FileNotFoundError(path)

    counts = np.random.default_rng(0).poisson(100, shape).astype(np.float32)
    frame, setup = Frame("random", counts), Setup(Geometry(poni, shape, cache=True), missing, lambda array: array)
    for group, option in (("mask", "robust"), ("integ", "cake")):
        values = shipped_option(group, option)
        if values is None or os.getppid() != parent:
            return
        frame = build(values, group).prepare(setup)(frame)
