"""Names of frames: the stem of the file, or the shortest path that distinguishes files of the same stem."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..model.reference import Reference, absolute_location


def assign_names(frames: Sequence[Reference], taken: Mapping[str, str] | None = None) -> list[Reference]:
    """Return the frames, each with its name.

    The name is the stem of the file or, if several files share it, the shortest path that distinguishes them. The name
    of a frame in a stack ends in its index, with four digits or more. Names differ by more than case, because some file
    systems ignore it.

    Parameters
    ----------
    frames
        Frames without names.
    taken
        Names that are in use in the output folder -> the frame (absolute path and tail) that has it. That frame keeps
        it.
    """
    owners = {name.casefold(): place for name, place in (taken or {}).items()}
    known = {place: name for name, place in (taken or {}).items()}
    places = [absolute_location(frame) for frame in frames]
    names = {place: known[place] for place in places if place in known}
    stacks: dict[tuple[Path, str], dict[str, Reference]] = {}  # the frames of a stack share a name
    for place, frame in zip(places, frames, strict=True):
        if place not in names:
            stacks.setdefault((frame.path, frame.dataset), {})[place] = frame
    depth, longest = 0, max((2 * len(Path(os.path.abspath(path)).parts) - 3 for path, _ in stacks), default=0)
    while stacks:
        proposals = {key: _proposals(stack, depth) for key, stack in stacks.items()}
        uses: dict[str, int] = {}
        for proposal in proposals.values():
            for name in proposal.values():
                uses[name.casefold()] = uses.get(name.casefold(), 0) + 1
        for (path, dataset), proposal in proposals.items():
            folded = {name.casefold() for name in proposal.values()}
            unique = depth > longest or all(uses[name] == 1 for name in folded)  # after that, the first one takes it
            other = Path(owners.get(path.stem.casefold(), ""))  # x.tif is distinguished by its folder, not as x_tif
            if unique and folded.isdisjoint(owners) and (depth != 1 or path.suffix != other.suffix):
                names |= proposal
                owners |= {name.casefold(): place for place, name in proposal.items()}
                del stacks[path, dataset]
        depth += 1
    return [replace(frame, name=names[place]) for place, frame in zip(places, frames, strict=True)]


def _proposals(stack: Mapping[str, Reference], depth: int) -> dict[str, str]:
    frame = next(iter(stack.values()))
    name = _proposal(frame.path, depth)
    if depth and frame.dataset:  # two datasets of one file
        inside = [part for part in frame.dataset.replace("*", "").split("/") if part]
        name = "_".join([name, *inside[-depth:]])
    return {place: name if each.index is None else f"{name}_{each.index:04d}" for place, each in stack.items()}


def _proposal(path: Path, depth: int) -> str:
    # x, x_tif, a_x, a_x_tif, b_a_x, ...: each depth adds a part of the path, then a number.
    absolute = Path(os.path.abspath(path))
    parts = [part for part in absolute.parts if part != absolute.anchor]
    stem, suffix = path.stem, path.suffix.lstrip(".")
    parents = parts[:-1]
    folders, with_suffix = divmod(depth, 2)
    name = "_".join([*parents[len(parents) - min(folders, len(parents)) :], stem])
    if folders > len(parents):
        name += f"_{folders - len(parents) + 1}"
    return f"{name}_{suffix}" if with_suffix and suffix else name
