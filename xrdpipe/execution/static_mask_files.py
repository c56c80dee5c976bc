"""Where a static mask goes: the files of ``xrdpipe mask``, and those of ``mask=series`` in the folder of a run."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config.settings import Settings, as_list, parse_settings
from ..io.files import input_hash
from ..io.writing import write_json, write_whole
from ..model.errors import ConfigError, nearest
from ..model.static_mask import StaticMask
from ..report.static_mask import mask_png, mask_record
from ..results.folder import WAYS_OUT, Folder
from ..results.new_folder import new_folder
from ..stages.mask import Mask, SeriesMask
from . import interruption
from .folder_lock import locked_folder
from .listing import identity_of
from .plan import Plan
from .progress import Progress
from .static_mask import make_static_mask

NAME = "series_mask.npy"  # in the folder of a run
NOT_WATCHED = (
    "needs all frames before the first is done, so not with source=watch; make it before, "
    "xrdpipe mask poni=... FRAMES... save=mask.npy, and say mask=robust mask.file=mask.npy"
)


def _npy(mask: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, mask)
    return buffer.getvalue()


def _tif(mask: NDArray[np.uint8]) -> bytes:
    from PIL import Image as Picture

    buffer = io.BytesIO()
    Picture.fromarray(mask).save(buffer, format="tiff")
    return buffer.getvalue()


def _edf(mask: NDArray[np.uint8]) -> bytes:
    from fabio.edfimage import EdfImage

    with tempfile.TemporaryDirectory(prefix="xrdpipe-") as folder:
        path = Path(folder) / "mask.edf"
        EdfImage(data=mask).write(str(path))
        return path.read_bytes()


WRITERS: dict[str, Callable[[NDArray[np.uint8]], bytes]] = {".npy": _npy, ".edf": _edf, ".tif": _tif, ".tiff": _tif}


def mask_files(save: Path) -> list[Path]:
    """Return the files of a static mask: the mask, the record of its reasons, the picture.

    ConfigError where the ending of ``save`` is none that can be written.
    """
    if save.suffix.lower() not in WRITERS:
        raise ConfigError(f"save={save}: unknown format {save.suffix!r}; {nearest(save.suffix, WRITERS)}")
    return [save, save.with_suffix(".json"), save.with_suffix(".png")]


def write_mask(path: Path, mask: NDArray[np.uint8]) -> None:
    """Write a mask, 1 = masked, whole or not at all; the ending of ``path`` is one of `WRITERS`."""
    content = WRITERS[path.suffix.lower()](mask)
    write_whole(path, lambda file: file.write(content))


def write_static_mask(save: Path, found: StaticMask, plan: Plan) -> None:
    """Write a mask, and beside it its record and picture, each whole or not at all; the mask comes last."""
    mask, record, picture = mask_files(save)
    png = mask_png(found)
    write_json(record, mask_record(found, identity_of(plan.pipeline, plan.poni)))
    write_whole(picture, lambda file: file.write(png))
    write_mask(mask, found.mask)


def with_static_masks(
    values: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], write: bool, watched: bool, stack: ExitStack
) -> tuple[Mapping[str, Any], dict[str, str]]:
    """Make the static mask of a run with ``mask=series``, for an ordinary run that uses it.

    Parameters
    ----------
    values
        The configuration, as plain Python.
    arrays
        Frames in memory, by name.
    write
        Whether results are written; otherwise the mask goes with ``stack``.
    watched
        Whether frames arrive while the run goes on.
    stack
        Holds the folder, where it is made here.

    Returns
    -------
    values
        The configuration of the ordinary run.
    merged
        The user's masks that this run does not read, because the static mask contains them, by their role.

    Raises
    ------
    ConfigError
        The run is refused.
    """
    settings, groups = parse_settings(values)
    found = [name for name in settings.stages if _is_series(groups.get(name))]
    if not found:
        return values, {}
    group = found[0]
    if watched:
        raise ConfigError(f"{group}=series: {NOT_WATCHED}")
    own = _own_masks(values[group])
    merged = own if values[group].get("invert") else {}
    if kept := _kept(settings, write, own):
        return _ordinary(values, group, kept), merged
    plan = Plan.of(values, arrays, False, {})
    if settings.dry_run:
        print(f"would first make {NAME}, the static mask of all {len(plan.images)} frames, and use it as {group}.file")
        return _ordinary(values, group, None), {}
    if write and settings.output_dir and not settings.overwrite:
        _refuse_results(Folder(Path(settings.output_dir)))
    folder = _made(plan, write, stack)
    changed = {**values, "output_dir": str(folder)} if write else values
    return _ordinary(changed, group, folder / NAME), merged


def _made(plan: Plan, write: bool, stack: ExitStack) -> Path:
    """Make the static mask of a run, and return the folder that it is written into."""
    settings = plan.settings
    progress = Progress(len(plan.images), settings.quiet)
    with progress, interruption.handle_signals():
        if not settings.quiet:
            progress.say(f"static mask: first pass over {len(plan.images)} frames")
        mask = make_static_mask(plan, progress)
    for doubt in mask.doubts:
        progress.say(f"the static mask is not to be trusted: {doubt}")
    folder = _folder(settings, write, stack)
    write_static_mask(folder / NAME, mask, plan)
    return folder


def _is_series(values: Any) -> bool:
    return isinstance(values, dict) and values.get("_target_") == f"{SeriesMask.__module__}.{SeriesMask.__qualname__}"


def _own_masks(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the masks of the user by the role that they have in a run whose first mask is the static one."""
    return {f"mask_{number}": path for number, path in enumerate(as_list(values.get("file")), 2)}


def _kept(settings: Settings, write: bool, own: Mapping[str, str]) -> Path | None:
    """Return the static mask of the run in the folder, which stays if more frames come or a run is resumed.

    ConfigError where it was made with other masks of the user than ``own``.
    """
    if not write or not settings.output_dir or settings.overwrite:
        return None
    path = Path(settings.output_dir) / NAME
    inputs = Folder(path.parent).run.get("inputs", {})
    then = inputs if isinstance(inputs, dict) else {}
    if not path.is_file() or os.path.abspath(path) not in [each.get("path") for each in then.values()]:
        return None
    hashes = {role: each.get("hash") for role, each in then.items() if role.startswith("mask_")}
    if all(map(os.path.isfile, own.values())) and hashes != {role: input_hash(each) for role, each in own.items()}:
        raise ConfigError(f"output_dir={path.parent}: {NAME} there is made with other masks (mask.file); {WAYS_OUT}")
    return path


def _refuse_results(folder: Folder) -> None:
    if folder.run:
        raise ConfigError(f"output_dir={folder.path}: holds results of another configuration; {WAYS_OUT}")
    for path in mask_files(folder.path / NAME):
        if path.exists():
            raise ConfigError(f"output_dir={folder.path}: {path.name} is already there; {WAYS_OUT}")


def _folder(settings: Settings, write: bool, stack: ExitStack) -> Path:
    if not write:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="xrdpipe-", ignore_cleanup_errors=True)))
    if settings.output_dir:
        return Path(settings.output_dir)
    folder = new_folder()
    stack.enter_context(locked_folder(folder))
    return folder


def _ordinary(values: Mapping[str, Any], group: str, file: Path | None) -> dict[str, Any]:
    """Return the configuration with an ordinary mask, and the static mask before the user's own."""
    mask = {**values[group], "_target_": f"{Mask.__module__}.{Mask.__qualname__}"}
    if file is not None:
        # A mask that is inverted is in the static one already; which of the files is inverted cannot be said.
        mask["file"] = [str(file), *([] if mask.get("invert") else as_list(mask.get("file")))]
        mask["invert"] = False
    return {**values, group: mask}
