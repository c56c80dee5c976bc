"""The CUDA engine: threads of this process read and write frames; the GPU subtracts, masks and integrates them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from .engine import Process, until_stopped
from .local import LocalEngine, process_all


class CudaEngine(LocalEngine):
    """Process frames in threads, each of which has a frame under way on the GPU, see `numerics.cuda`.

    The recipe says that the GPU is used (`Recipe.cuda`); its pipeline is prepared before the engine is opened.
    """

    @contextmanager
    def open(self, frames: int | None, folder: Path | None) -> Iterator[Process]:
        """Provide the function that processes frames; it starts its threads itself."""
        from ...numerics.cuda.kernels import SIMULATED

        threads = replace(self.parallel, backend="threading")
        if SIMULATED:  # numba's simulator knows one thread of the processor alone
            threads = replace(threads, n_jobs=1)
        yield partial(until_stopped, partial(process_all, threads))
