"""The files that only single frames use: their masks, backgrounds and PONI files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from ..io.files import own_hash
from ..model.errors import ConfigError, FrameError
from ..model.frame import Frame
from ..stages.scalar_lookup import ScalarLookup, file_lookups
from ..stages.stage import Stage

Config = Mapping[str, Mapping[str, Any]]
Inputs = Mapping[str, Mapping[str, str]]


def frame_config(config: Config, stages: Mapping[str, Stage], frame: Frame) -> tuple[dict[str, Any], Inputs]:
    """Return the configuration of one frame: its own files in place of the tables that name them.

    Parameters
    ----------
    config, stages
        Configuration of the run and its stages, by group.
    frame
        The frame.

    Returns
    -------
    config : dict
        Configuration of the frame.
    inputs : Mapping
        Path and hash of each file, by its key.

    Raises
    ------
    FrameError
        A table has no row for the frame, or its file cannot be read.
    """
    own: dict[str, Any] = dict(config)
    inputs: dict[str, Mapping[str, str]] = {}
    for group, key in _keys(stages):
        files: list[str] = []
        value = config[group][key]
        lookups = _lookups(group, key, value)
        for each in _listed(value):
            if lookup := lookups.get(each):
                cell, where = lookup.found(frame)
                if not cell:
                    raise FrameError(f"{lookup.key}={each}: {where} names no file")
                each = lookup.path(cell)
                name = lookup.key if len(lookups) == 1 else f"{lookup.key}[{len(files)}]"
                inputs[name] = _entry(f"{lookup.key}={lookup.where}", name, each)
            files.append(each)
        own[group] = {**own[group], key: files if isinstance(value, list) else files[0]}
    return own, inputs


def own_input(key: str, path: str) -> dict[str, str]:
    """Return path and hash of a file of one frame."""
    return {"path": os.path.abspath(path), "hash": own_hash(key, path)}


def named_files(config: Config, stages: Mapping[str, Stage]) -> dict[str, str]:
    """Return the files that tables name for single frames, by a name each."""
    return {
        f"{group}.{key} {path}": path
        for group, key in _keys(stages)
        for lookup in _lookups(group, key, config[group][key]).values()
        for path in lookup.files
    }


def _keys(stages: Mapping[str, Stage]) -> Iterator[tuple[str, str]]:
    return ((group, key) for group, stage in stages.items() for key in stage.needs.per_frame)


def _lookups(group: str, key: str, value: Any) -> dict[str, ScalarLookup]:
    return file_lookups(f"{group}.{key}", _listed(value))


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _entry(said: str, key: str, path: str) -> dict[str, str]:
    try:
        return own_input(key, path)
    except (ConfigError, FrameError) as error:
        raise FrameError(f"{said}: {path}: {error}") from error
