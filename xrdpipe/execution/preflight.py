"""Checks of disk space and memory before the first frame.

The estimates are lower limits, so that no run is refused that could succeed.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from ..model.cores import available_cores
from ..model.errors import ConfigError, FrameError
from ..stages.source import frame_shape
from .plan import Plan

NUMBER = 10  # minimum bytes per number in a text file
FIGURE = 4096  # minimum bytes per figure
PREPARED = 60  # bytes per pixel of rings and matrix, which are prepared once
IN_WORK = 16  # bytes per pixel of a frame in work: raw counts, image, mask and temporary arrays


def written_bytes(plan: Plan, shape: tuple[int, int] | None) -> int:
    """Estimate the minimum size of the files that the waiting frames leave on disk.

    Parameters
    ----------
    plan
        Plan of the run.
    shape
        Shape of the frames (slow, fast); None if it is unknown, then masks do not count.

    Returns
    -------
    int
        Bytes.
    """
    if not plan.waiting:
        return 0
    pixels = shape[0] * shape[1] if shape else 0
    npt, azimuthal = _bins(plan, "npt"), _bins(plan, "npt_azim")
    columns = max(2, len(plan.pipeline.makes.columns))
    per_frame = 0
    for file in plan.pipeline.outputs(plan.waiting[0].name):
        if file.startswith("masks/"):
            per_frame += pixels
        elif file.endswith(".npz"):
            per_frame += 8 * npt * azimuthal
        elif file.startswith("figures/"):
            per_frame += FIGURE
        else:
            per_frame += columns * npt * NUMBER // 2  # bins without a pixel have no row
    return per_frame * len(plan.waiting)


def prepared_bytes(plan: Plan, shape: tuple[int, int]) -> int:
    """Estimate the minimum memory (bytes) of all workers on this computer, for frames of ``shape`` (slow, fast)."""
    parallel = plan.settings.parallel
    if parallel.remote:
        workers = 1  # to look at the first frame
    else:
        workers = min(available_cores() if parallel.n_jobs == -1 else parallel.n_jobs, max(1, len(plan.waiting)))
    processes = workers if parallel.backend in ("loky", "dask", "slurm") else 1
    return shape[0] * shape[1] * (processes * PREPARED + workers * IN_WORK)


def available_bytes() -> int | None:
    """Return the free memory of this computer in bytes; None if it is unknown."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        pass
    try:
        import psutil
    except ImportError:
        return None
    return int(psutil.virtual_memory().available)


def check_space(plan: Plan, shape: tuple[int, int], folder: Path | None) -> None:
    """Check that the results of a run fit on the disk and can be written.

    Memory is no reason for an error, see `space_warning`: the system may free more.

    Parameters
    ----------
    plan
        Plan of the run.
    shape
        Shape of the frames (slow, fast).
    folder
        Results folder; None if nothing is written.

    Raises
    ------
    ConfigError
        A folder is not writable, or the disk has too little free space.
    """
    if folder is None or not plan.waiting:
        return
    places = {(folder / file).parent for file in plan.pipeline.outputs(plan.waiting[0].name)}
    for place in sorted({folder, *places}):
        if place.exists() and not place.is_dir():
            raise ConfigError(f"output_dir={folder}: {place} is a file, not a folder")
        if place.exists() and not os.access(place, os.W_OK | os.X_OK):
            raise ConfigError(f"output_dir={folder}: {place} is not writable")
    total, _, free = shutil.disk_usage(_nearest_folder(folder))
    if not total:  # the file system does not report its size
        return
    needed = written_bytes(plan, shape)
    if needed > free:
        free += _replaced_bytes(plan, folder)
    if needed > free:
        count = len(plan.waiting)
        reason = f"{format_size(free)} are free there, and {count} frames will leave at least {format_size(needed)}"
        raise ConfigError(f"output_dir={folder}: {reason}; make room, or choose another output_dir")


def space_warning(plan: Plan, shape: tuple[int, int]) -> str:
    """Return a warning if the memory of this computer may not suffice, otherwise an empty string."""
    needed, free = prepared_bytes(plan, shape), available_bytes()
    if free is None or needed <= free:
        return ""
    comparison = f"at least {format_size(needed)} needed, {format_size(free)} available"
    return f"memory may not suffice: {comparison}; lower parallel.n_jobs"


def describe_space(plan: Plan) -> str:
    """Return the line of a dry run that compares the size of the results with the free disk space."""
    shape = None
    for image in plan.waiting[:1]:
        with suppress(FrameError):  # the run reports it
            shape = frame_shape(image, plan.pipeline.source)
    line = f"  at least {format_size(written_bytes(plan, shape))}"
    if plan.folder is not None or plan.write:
        folder = _nearest_folder(plan.folder.path if plan.folder else Path("outputs"))
        line += f"; {format_size(shutil.disk_usage(folder).free)} are free"
    return line


def format_size(count: int) -> str:
    """Format a number of bytes, as in ``1.5 GB``."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def _nearest_folder(folder: Path) -> Path:
    """Return the folder or its nearest parent that exists."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def _replaced_bytes(plan: Plan, folder: Path) -> int:
    """Return the size of the files that the run removes when it begins."""
    files = (folder / file for _, written in plan.outputs(plan.waiting).items() for file in written)
    return sum(file.stat().st_size for file in files if file.is_file())


def _bins(plan: Plan, key: str) -> int:
    """Return the configured number of bins; 0 for bins with explicit edges, which are usually few."""
    counts = [values[key] for values in plan.pipeline.config.values() if key in values and not values.get("edges")]
    return max((count for count in counts if isinstance(count, int)), default=0)
