"""Engines: what processes many frames, found by name (``parallel.backend``) in one table.

A new engine is a subclass of `Engine` and a line in `ENGINES`, or in another package an entry point of the group
``xrdpipe.engines``.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import ClassVar

from ...config.parallel import Parallel
from ...model.errors import ConfigError
from ...model.plugins import ENGINES as GROUP
from ...model.plugins import plugins
from ...model.record import Outcome
from ...model.reference import Reference
from ...pipeline.recipe import Recipe
from .. import interruption

ENGINES = {  # name -> where its class is; imported when it is used
    "auto": "xrdpipe.execution.engines.local:LocalEngine",
    "threading": "xrdpipe.execution.engines.local:LocalEngine",
    "loky": "xrdpipe.execution.engines.local:LocalEngine",
    "dask": "xrdpipe.execution.engines.dask:DaskEngine",
    "slurm": "xrdpipe.execution.engines.slurm:SlurmEngine",
}

# Takes a recipe, frames, the names of those of which a small picture stays, and whether patterns and masks come back.
# Gives an outcome for each frame, in any order. KeyboardInterrupt, thrown into it, ends it.
Process = Callable[[Recipe, Sequence[Reference], Container[str], bool], Generator[Outcome]]


@dataclass(frozen=True)
class Engine:
    """What processes frames where and when it likes; it knows neither the source nor the run.

    Attributes
    ----------
    parallel
        The configuration group ``parallel``.
    takes_arrivals
        Whether it can process frames that arrive while the run goes on.
    takes_arrays
        Whether it can process arrays of this Python process.
    """

    parallel: Parallel
    takes_arrivals: ClassVar[bool] = True
    takes_arrays: ClassVar[bool] = False

    def open(self, frames: int | None, folder: Path | None) -> AbstractContextManager[Process]:
        """Start the workers, and end them when the context is left.

        Parameters
        ----------
        frames
            How many frames there are to do; None where nobody knows.
        folder
            Where results go; None where nothing is written.

        Raises
        ------
        ConfigError
            The workers cannot be had.
        """
        raise NotImplementedError


def engine_for(parallel: Parallel, images: Sequence[Reference] = ()) -> Engine:
    """Return the engine that ``parallel.backend`` names; arrays stay in this process, with a local one."""
    engine = _engine_class(parallel.backend)(parallel)
    if not engine.takes_arrays and any(image.array is not None for image in images):
        return _engine_class("auto")(parallel)
    return engine


def _engine_class(name: str) -> type[Engine]:
    if name in ENGINES:
        module, _, attribute = ENGINES[name].partition(":")
        found = getattr(import_module(module), attribute)
    else:
        found = plugins(GROUP)[name].load()
    if not (isinstance(found, type) and issubclass(found, Engine)):
        raise ConfigError(f"parallel.backend={name}: {found!r} is no engine")
    return found


def until_stopped(
    process: Process, recipe: Recipe, images: Sequence[Reference], shown: Container[str], keep: bool
) -> Generator[Outcome]:
    """Yield what ``process`` yields until the user wants no more; then KeyboardInterrupt is thrown into it."""
    outcomes = process(recipe, images, shown, keep)
    for outcome in outcomes:
        yield outcome
        if interruption.stop_requested():
            outcomes.throw(KeyboardInterrupt)
