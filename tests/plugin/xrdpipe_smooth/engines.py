"""An engine for xrdpipe: frames one after another, the last one first."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial

from xrdpipe.execution.engines.engine import Engine, until_stopped
from xrdpipe.pipeline.process import process_frame


class Backwards(Engine):
    """Processes frames in this process, in reverse order."""

    takes_arrays = True

    @contextmanager
    def open(self, frames, folder):
        def process(recipe, references, shown, keep):
            for reference in reversed(references):
                yield process_frame(recipe, reference, keep, reference.name in shown)

        yield partial(until_stopped, process)
