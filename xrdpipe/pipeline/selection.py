"""Selection and grouping of frames by the values of their headers, before the first frame is processed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..io.header import Header, header
from ..model.errors import ConfigError, FrameError
from ..model.reference import Reference, References
from ..numerics.expression import Expression
from ..stages.source import Source


def select_frames(source: Source, images: References) -> tuple[References, list[str]]:
    """Select the frames that ``source.where`` wants, and combine those that ``source.group`` puts together.

    A frame without the values that ``where`` needs is left out; one without those of ``group`` stays alone.

    Parameters
    ----------
    source
        Source of the frames.
    images
        Frames with their names.

    Returns
    -------
    images : References
        The frames of the run; a group has the name of its first frame.
    notes : list of str
        Messages to the user.

    Raises
    ------
    ConfigError
        No frame is left.
    """
    notes: list[str] = []
    if source.where is not None:
        images = _selected(Expression("source.where", source.where), images, notes)
    if source.group is not None:
        images = _grouped(Expression("source.group", source.group), images, notes)
    return images, notes


def frame_values(image: Reference, values: Mapping[str, Any] | None = None) -> Callable[[str, bool], Any]:
    """Return a function from a name in an expression to its value for a frame, see `Expression`.

    ``name`` is the name of the frame, ``number`` its index in the stack, or the last number in its name; all others are
    keys of the header, which is read unless ``values`` has it.
    """
    found = header(image) if values is None else values

    def value(key: str, in_header: bool) -> Any:
        if key == "name" and not in_header:
            return image.name
        if key == "number" and not in_header:
            numbers = re.findall(r"\d+", image.name)
            if image.index is None and not numbers:
                raise FrameError(f"{image.name}: no number in the name")
            return int(numbers[-1]) if image.index is None else image.index
        try:
            return found[key]
        except KeyError as error:
            reason = found.missing(key) if isinstance(found, Header) else f"{key}: no such key"
            raise FrameError(f"{image.location}: {reason}") from error

    return value


def _selected(where: Expression, images: References, notes: list[str]) -> References:
    unknown: list[str] = []

    def is_wanted(image: Reference) -> bool:
        try:
            return bool(where(frame_values(image)))
        except FrameError as error:
            unknown.append(str(error))
            return False

    wanted = np.fromiter(map(is_wanted, images), bool, len(images))
    if not wanted.any():
        reason = f"; {unknown[0]}" if unknown else ""
        raise ConfigError(f"source.where={where.text}: true for none of {len(images)} frames{reason}")
    notes.append(f"source.where takes {wanted.sum()} of {len(images)} frames")
    if unknown:
        notes.append(f"source.where leaves out {len(unknown)} frames that lack the values: {unknown[0]}")
    return images.select(np.flatnonzero(wanted))


def _grouped(group: Expression, images: Sequence[Reference], notes: list[str]) -> References:
    groups: dict[Any, list[Reference]] = {}
    alone: list[str] = []
    for image in images:
        try:
            key = group(frame_values(image))
        except FrameError as error:
            key = object()  # equal to nothing else
            alone.append(str(error))
        groups.setdefault(key, []).append(image)
    if len(alone) == len(images):
        raise ConfigError(f"source.group={group.text}: no frame has it; {alone[0]}")
    notes.append(f"source.group makes {len(groups)} frames of {len(images)}")
    if alone:
        notes.append(f"source.group leaves {len(alone)} frames as they are: {alone[0]}")
    return References(replace(frames[0], parts=tuple(frames)) for frames in groups.values())
