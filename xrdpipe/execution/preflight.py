"""Room for a run: whether disk and memory can hold what it will write and prepare, asked before the first frame.

The numbers are the least that a run needs, so that none is refused that would have ended well.
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

NUMBER = 10  # bytes of a number in a table of text, at least


FIGURE = 4096  # bytes of a figure, at least


PREPARED = 60  # bytes a pixel of what is prepared once: rings and matrix


IN_WORK = 16  # bytes a pixel of a frame that is in work: raw, image, mask, and what is between


def written(plan: Plan, shape: tuple[int, int] | None) -> int:
    """Bytes that the waiting frames will leave on disk, at least, beyond the files that they replace.

    ``shape``: of the frames; None where it is not known, masks then do not count.
    """
    if not plan.waiting:
        return 0
    pixels = shape[0] * shape[1] if shape else 0
    npt, azimuthal = _bins(plan, "npt"), _bins(plan, "npt_azim")
    columns = max(2, len(plan.pipeline.makes.columns))
    each = 0
    for file in plan.pipeline.outputs(plan.waiting[0].name):
        if file.startswith("masks/"):
            each += pixels
        elif file.endswith(".npz"):
            each += 8 * npt * azimuthal
        elif file.startswith("figures/"):
            each += FIGURE
        else:
            each += columns * npt * NUMBER // 2  # bins without a pixel have no row
    return each * len(plan.waiting)


def prepared_bytes(plan: Plan, shape: tuple[int, int]) -> int:
    """Bytes of memory that the workers on this computer need together, at least."""
    parallel = plan.settings.parallel
    if parallel.elsewhere:
        workers = 1  # to look at the first frame
    else:
        workers = min(available_cores() if parallel.n_jobs == -1 else parallel.n_jobs, max(1, len(plan.waiting)))
    processes = workers if parallel.backend in ("loky", "dask", "slurm") else 1
    return shape[0] * shape[1] * (processes * PREPARED + workers * IN_WORK)


def available() -> int | None:
    """Bytes of memory that programs may still take; None where that cannot be known."""
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
    """Raise ConfigError where a run into ``folder`` cannot end well for want of room or of the right to write.

    What memory may not suffice for is no error, see `doubt`: the system may find more.
    """
    if folder is None or not plan.waiting:
        return
    places = {(folder / file).parent for file in plan.pipeline.outputs(plan.waiting[0].name)}
    for place in sorted({folder, *places}):
        if place.exists() and not place.is_dir():
            raise ConfigError(f"output_dir={folder}: {place} is a file, not a folder")
        if place.exists() and not os.access(place, os.W_OK | os.X_OK):
            raise ConfigError(f"output_dir={folder}: {place} is not writable")
    total, _, free = shutil.disk_usage(_there(folder))
    if not total:  # a file system that does not count
        return
    needed = written(plan, shape)
    if needed > free:
        free += _replaced(plan, folder)
    if needed > free:
        count = len(plan.waiting)
        told = f"{size(free)} are free there, and {count} frames will leave at least {size(needed)}"
        raise ConfigError(f"output_dir={folder}: {told}; make room, or choose another output_dir")


def space_warning(plan: Plan, shape: tuple[int, int]) -> str:
    """What to say where the memory of this computer may not suffice; nothing, as a rule."""
    needed, free = prepared_bytes(plan, shape), available()
    if free is None or needed <= free:
        return ""
    least = f"at least {size(needed)} needed, {size(free)} available"
    return f"memory may not suffice: {least}; lower parallel.n_jobs"


def describe_space(plan: Plan) -> str:
    """The same for a dry run, in a line."""
    shape = None
    for image in plan.waiting[:1]:
        with suppress(FrameError):  # the run will say it
            shape = frame_shape(image, plan.pipeline.source)
    line = f"  at least {size(written(plan, shape))}"
    if plan.folder is not None or plan.write:
        where = _there(plan.folder.path if plan.folder else Path("outputs"))
        line += f"; {size(shutil.disk_usage(where).free)} are free"
    return line


def size(count: int) -> str:
    """Bytes in words, as in ``1.5 GB``."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def _there(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def _replaced(plan: Plan, folder: Path) -> int:
    """Bytes of files that go when the run begins."""
    files = (folder / file for written in plan.outputs(plan.waiting).values() for file in written)
    return sum(file.stat().st_size for file in files if file.is_file())


def _bins(plan: Plan, key: str) -> int:
    """How many bins the stages are told to make; 0 where the bins have edges of their own, few as a rule."""
    found = [values[key] for values in plan.pipeline.config.values() if key in values and not values.get("edges")]
    return max((number for number in found if isinstance(number, int)), default=0)
