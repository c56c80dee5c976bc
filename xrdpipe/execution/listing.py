"""The frames of the configured images, as a plan lists them."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..config.settings import Settings
from ..geometry.poni import Poni
from ..io import files
from ..io.paths import expand, numbered
from ..model.errors import ConfigError
from ..model.naming import distinct
from ..model.reference import Item, NumberedFiles, Reference, References
from ..pipeline.pipeline import Pipeline
from ..results.folder import Folder
from ..stages.arrivals import Arrivals
from .folder_lock import LOCK

MANY = 10_000  # files that are not looked into before the first frame
log = logging.getLogger("xrdpipe")


class Listing(NamedTuple):
    """Frames of a run.

    Attributes
    ----------
    images
        The frames.
    is_named
        They have names.
    left_out
        Locations of background, dark and mask files among the images.
    notes
        Messages to the user.
    """

    images: References
    is_named: bool
    left_out: list[str]
    notes: list[str]


def list_images(
    settings: Settings,
    pipeline: Pipeline,
    poni: Poni,
    files_read: Mapping[str, str],
    write: bool,
    arrivals: Arrivals | None,
    looks_late: bool,
    has_others: bool,
) -> Listing:
    """List the frames of the configured images, or the first ones that arrive.

    Parameters
    ----------
    settings, pipeline, poni
        Configuration of the run.
    files_read
        Files that the stages read, by their role.
    write
        Write results.
    arrivals
        Source of frames that arrive during the run.
    looks_late
        Many numbered files need not be looked into, see `NumberedFiles`.
    has_others
        The run has other frames as well.

    Raises
    ------
    ConfigError
        There are no frames.
    """
    files.forget_files()  # stacks may have grown since an earlier run
    inputs = {_resolved(frame) for path in files_read.values() for frame in files.list_frames(path).references}
    if (
        looks_late
        and arrivals is None
        and not settings.dry_run
        and (found := _numbered_files(settings, pipeline, write, inputs))
    ):
        return Listing(found, True, [], [])
    contents = _contents(settings, pipeline, poni, write, inputs, arrivals)
    frames, left_out = _without(inputs, distinct(each for content in contents for each in content.references.items))
    notes = [note for content in contents for note in content.notes]
    _check_frames(settings, left_out, frames, has_others, notes)
    return Listing(frames, False, left_out, notes)


def _contents(
    settings: Settings,
    pipeline: Pipeline,
    poni: Poni,
    write: bool,
    inputs: Collection[tuple[Path, str]],
    arrivals: Arrivals | None,
) -> list[files.Content]:
    """Return the frames of the configured images, or the first ones that arrive."""
    if arrivals is None:
        return [files.list_frames(path) for path in expand(settings.images or [])]
    if not pipeline.takes_arrivals:
        raise ConfigError("stages: one of them needs all frames at the start, so not with frames that arrive later")
    folder = Folder(Path(settings.output_dir)) if settings.output_dir and write and not settings.overwrite else None
    if folder and folder.run.get("identity") != identity_of(pipeline, poni):
        folder = None

    def is_wanted(frame: Reference) -> bool:
        return _resolved(frame) not in inputs and not (folder and folder.renamed(frame))

    return [files.Content(References(arrivals.first(is_wanted, wait=not settings.dry_run)))]


def _check_frames(
    settings: Settings,
    left_out: Sequence[str],
    frames: References,
    has_others: bool,
    notes: Sequence[str],
) -> None:
    if left_out and not frames:
        raise ConfigError(f"images={settings.images}: nothing but the background, dark or mask file itself")
    if has_others:
        return
    if frames and not any(os.path.exists(_file(each)) for each in frames.items):
        raise ConfigError(f"images: none of them exists ({', '.join(each.location for each in frames[:3])})")
    if not frames:
        raise ConfigError(f"images: no frames ({'; '.join(notes[:3])})")


def _numbered_files(
    settings: Settings, pipeline: Pipeline, write: bool, inputs: Collection[tuple[Path, str]]
) -> References | None:
    """Return the images if they are many numbered files of one folder, and nothing requires a look at each of them."""
    entries = [settings.images] if isinstance(settings.images, str) else settings.images or []
    if len(entries) != 1 or pipeline.combines_results or pipeline.source.merges or pipeline.source.where:
        return None
    if write and settings.output_dir and _is_used(Path(settings.output_dir)):  # frames of stacks may be there already
        return None
    if (found := numbered(entries[0], MANY)) is None:
        return None
    place = Path(found[0]).parent.resolve()
    if place in {path.parent for path, _ in inputs}:  # they may be among the images
        return None
    return References([NumberedFiles(*found, _list_late)])


def _list_late(path: Path) -> References:
    content = files.list_frames(path)
    for note in content.notes:
        log.warning("%s", note)
    return content.references


def _is_used(folder: Path) -> bool:
    """Return whether a results folder holds more than its lock."""
    try:
        with os.scandir(folder) as entries:
            return any(entry.name != LOCK for entry in entries)
    except OSError:
        return False


def _without(inputs: Collection[tuple[Path, str]], items: Iterable[Item]) -> tuple[References, list[str]]:
    """Return the frames that are no inputs of a stage, and the locations of those that are."""
    frames, left_out = References(), list[str]()
    if not inputs:
        return References(items), left_out
    files = {path for path, _ in inputs}
    for item in items:
        if _file(item).resolve() not in files:
            frames.extend([item])
            continue
        part = References([item])
        is_input = np.fromiter((_resolved(frame) in inputs for frame in part), bool, len(part))
        left_out += [frame.location for frame in part.select(np.flatnonzero(is_input))]
        frames.extend(part.select(np.flatnonzero(~is_input)).items)
    return frames, left_out


def _file(item: Item) -> Path:
    return item.path if isinstance(item, Reference) else item[0].path


def _resolved(frame: Reference) -> tuple[Path, str]:
    return frame.path.resolve(), frame.tail


def identity_of(pipeline: Pipeline, poni: Poni) -> dict[str, Any]:
    """Return the identity of a run, as in ``run.json``: everything that determines its numbers."""
    provenance: dict[str, Any] = json.loads(json.dumps(pipeline.provenance(poni)))
    return provenance
