"""Interface of the engines, which process many frames, and their table by name (``parallel.backend``).

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
from ...model.reference import Reference, has_arrays
from ...pipeline.recipe import Recipe
from .. import interruption

ENGINES = {  # name -> module and class, imported on use
    "auto": "xrdpipe.execution.engines.local:LocalEngine",
    "threading": "xrdpipe.execution.engines.local:LocalEngine",
    "loky": "xrdpipe.execution.engines.local:LocalEngine",
    "cuda": "xrdpipe.execution.engines.cuda:CudaEngine",
    "dask": "xrdpipe.execution.engines.dask:DaskEngine",
    "slurm": "xrdpipe.execution.engines.slurm:SlurmEngine",
}

# A function of the recipe, the frames, the names of frames that get a preview picture, and whether patterns and masks
# are returned. It yields an outcome for each frame, in any order. A KeyboardInterrupt thrown into it ends it.
Process = Callable[[Recipe, Sequence[Reference], Container[str], bool], Generator[Outcome]]


@dataclass(frozen=True)
class Engine:
    """Base class of engines, which know neither the source of the frames nor the run.

    Attributes
    ----------
    parallel
        Configuration group ``parallel``.
    takes_arrivals
        The engine can process frames that arrive during the run.
    takes_arrays
        The engine can process arrays of this Python process.
    """

    parallel: Parallel
    takes_arrivals: ClassVar[bool] = True
    takes_arrays: ClassVar[bool] = False

    def open(self, frames: int | None, folder: Path | None) -> AbstractContextManager[Process]:
        """Start the workers, and end them when the context ends.

        Parameters
        ----------
        frames
            Number of frames; None if it is unknown.
        folder
            Results folder; None if nothing is written.

        Returns
        -------
        context manager
            Provides the function that processes frames, see `Process`.

        Raises
        ------
        ConfigError
            The workers cannot be started.
        """
        raise NotImplementedError


def engine_for(parallel: Parallel, images: Sequence[Reference] = ()) -> Engine:
    """Return the engine for a run.

    Parameters
    ----------
    parallel
        Configuration group ``parallel``; its ``backend`` names the engine.
    images
        Frames of the run. If some are arrays and the engine does not take arrays, the local engine is used.

    Raises
    ------
    ConfigError
        The name does not refer to an engine.
    """
    engine = _engine_class(parallel.backend)(parallel)
    if not engine.takes_arrays and has_arrays(images):
        return _engine_class("auto")(parallel)
    return engine


def _engine_class(name: str) -> type[Engine]:
    if name in ENGINES:
        module, _, attribute = ENGINES[name].partition(":")
        engine = getattr(import_module(module), attribute)
    else:
        engine = plugins(GROUP)[name].load()
    if not (isinstance(engine, type) and issubclass(engine, Engine)):
        raise ConfigError(f"parallel.backend={name}: {engine!r} is no engine")
    return engine


def until_stopped(
    process: Process, recipe: Recipe, images: Sequence[Reference], shown: Container[str], keep: bool
) -> Generator[Outcome]:
    """Yield the outcomes of ``process``; throw KeyboardInterrupt into it when the user requests a stop.

    The other parameters are those of `Process`.
    """
    outcomes = process(recipe, images, shown, keep)
    for outcome in outcomes:
        yield outcome
        if not outcome.more and interruption.stop_requested():
            outcomes.throw(KeyboardInterrupt)
