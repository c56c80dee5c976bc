"""What sources have in common whose frames are kept in a folder as they come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...model.errors import ConfigError
from ..source import Source, check_arrivals


def needs_packages(extra: str, *modules: str) -> None:
    """Raise ConfigError if a module is missing that an extra of the package brings."""
    for module in modules:
        if find_spec(module) is None:
            raise ConfigError(f"source={extra}: needs more packages; pip install 'xrdpipe[{extra}]'")


@dataclass(frozen=True)
class KeptSource(Source):
    """Keep frames that come from elsewhere in a folder, so that a run can be resumed and replayed.

    The keys not listed here are those of `Source`.

    Attributes
    ----------
    folder
        Folder that keeps the frames, one HDF5 file each. Frames that are there already are taken first.
    idle
        Seconds without a frame after which the run ends; None for no limit.
    frames
        Number of frames after which the run ends, frames of earlier runs included; None for no limit.
    """

    folder: str | None = None
    idle: float | None = None
    frames: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        reasons = (
            "not while frames arrive; merge the kept files afterwards",
            "not while frames arrive; select afterwards",
        )
        check_arrivals(self, self.idle, self.frames, reasons)

    def check_combination(self, *, queued: bool = False, arrays: bool = False, sweep: bool = False) -> None:
        """Raise ConfigError in a sweep, with arrays in memory, or with an engine that queues all frames."""
        name = f"source={type(self).__name__.lower()}"
        if sweep or arrays:
            raise ConfigError(
                f"{name}: its frames arrive, so neither with arrays nor in a sweep; sweep over the kept files"
            )
        if queued:
            raise ConfigError(f"{name}: not with parallel=slurm, whose jobs wait in a queue; say parallel=dask")

    def ordinary_run(self, values: Mapping[str, Any]) -> tuple[Path, dict[str, Any]]:
        """Return the folder of the files, and the configuration of a run over them, with the same results.

        Raises
        ------
        ConfigError
            There is no such folder, or ``images`` is set.
        """
        if self.folder is None:
            raise ConfigError("source.folder: missing; say where the frames are kept, source.folder=frames")
        folder = Path(self.folder)
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"source.folder={self.folder}: not a folder")
        if values.get("images"):
            raise ConfigError(f"images={values['images']}: the source brings its own; leave one of them out")
        options = {key.name: getattr(self, key.name) for key in fields(Source)}
        source = {"_target_": f"{Source.__module__}.{Source.__qualname__}", **options}
        return folder, {**values, "source": source, "images": [str(folder / "*.h5")]}
