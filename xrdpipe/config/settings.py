"""Schemas of the top level of a configuration."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..geometry.calibration import Calibration
from ..io.paths import expand, expand_user
from ..model.errors import ConfigError, nearest, require
from .arguments import FILE_KEYS, NUMBER_KEYS, PATH_KEYS
from .parallel import Parallel
from .rank import DEFAULT, Terms, parse_rank
from .schema import validated


@dataclass(frozen=True)
class Sweep:
    """Ranking of the jobs of a sweep: ``rank``, see `rank.parse_rank`."""

    rank: Any = None

    def __post_init__(self) -> None:
        self.terms  # noqa: B018 - parsing is the check

    @property
    def terms(self) -> Terms:
        """The metrics with their weights: those that ``rank`` names, or the default."""
        return parse_rank(DEFAULT if self.rank is None else self.rank)


@dataclass(frozen=True)
class Settings:
    """Top level of the configuration, without the groups of the stages; see docs/configuration.md."""

    poni: str | None = None
    images: Any = None
    output_dir: str | None = None
    stages: list[str] = field(default_factory=list)
    overwrite: bool = False
    resume: Any = False
    dry_run: bool = False
    quiet: bool = False
    cache: bool = True
    report: bool = True
    parallel: Parallel = field(default_factory=Parallel)
    sweep: Sweep = field(default_factory=Sweep)
    geometry: Calibration = field(default_factory=Calibration)

    def __post_init__(self) -> None:
        entries = [self.images] if isinstance(self.images, str) else self.images or []
        good = isinstance(entries, list) and all(isinstance(entry, str) for entry in entries)
        require(good, "images", self.images, "a path, a glob, @list.txt or a list of them expected")
        require(self.resume in (False, True, "verify"), "resume", self.resume, "true, false or verify expected")
        require(not (self.overwrite and self.resume), "resume", self.resume, "together with overwrite=true; choose one")
        for name in self.stages:
            require(self.stages.count(name) == 1, "stages", self.stages, f"{name} stands there twice")


def expand_paths(values: dict[Any, Any]) -> None:
    """Expand ``~``, ``$VAR`` and globs of every path key except the images, in place."""
    for key in PATH_KEYS | NUMBER_KEYS:
        group, _, name = key.rpartition(".")
        where = values.get(group) if group else values
        if key == "images" or not isinstance(where, dict):
            continue
        if isinstance(where.get(name), (str, Path)):
            where[name] = expand_user(str(where[name]))
        if key in FILE_KEYS and name in where:
            where[name] = _files(key, where.get(name))


def _files(key: str, value: Any) -> Any:
    # One file stays as it is; a glob, an @list or a list becomes a list of files.
    single = isinstance(value, str) and (os.path.lexists(value) or not re.search(r"[*?\[]|^@", value))
    if single or not isinstance(value, (str, list, tuple)):
        return value
    return [str(path) for path in expand([value] if isinstance(value, str) else map(str, value), key)]


def merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Merge nested values into ``into``, in place; unknown keys are refused later, with the nearest name."""
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            builtin = value.tolist() if hasattr(value, "tolist") else value  # numpy's
            into[key] = dict(builtin) if isinstance(builtin, Mapping) else builtin


def as_list(value: Any) -> list[Any]:
    """Return None, a value or several values as a list."""
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]


def all_images(images: Any, bare: Sequence[str], overrides: Sequence[str]) -> list[Any]:
    """Return the images of a run: those of its configuration, then the bare paths of the command line.

    Bare paths replace images that a file names, as any value on the command line does.

    Parameters
    ----------
    images
        Value of ``images`` in the composed configuration.
    bare
        Bare paths.
    overrides
        Overrides of the command line.
    """
    typed = any(each.lstrip("+").startswith("images=") for each in overrides)
    return [*(as_list(images) if typed or not bare else ()), *bare]


def parse_settings(values: Mapping[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """Split plain values into the top level and the groups of the stages.

    Returns
    -------
    settings : Settings
        The checked top level.
    groups : dict
        Groups of the stages, unchecked; see `schema.build`.

    Raises
    ------
    ConfigError
        If a key of the top level is unknown or its value invalid.
    """
    groups = {
        key: value
        for key, value in values.items()
        if isinstance(value, dict)
        and ("_target_" in value or key in ("source", *as_list(values.get("stages"))))
        and key not in Settings.__dataclass_fields__
    }
    top = {key: value for key, value in values.items() if key not in groups}
    for key in top:
        if key not in Settings.__dataclass_fields__:
            known = [*Settings.__dataclass_fields__, *groups]
            raise ConfigError(f"{key}: no such key or group; {nearest(str(key), known)}")
    schemas: dict[str, tuple[type[Any], str]] = {
        "parallel": (Parallel, "parallel.n_jobs=2"),
        "sweep": (Sweep, "sweep.rank=pattern_error"),
        "geometry": (Calibration, "geometry.dist=0.25"),
    }
    parts = {}
    for name, (schema, example) in schemas.items():
        part = top.pop(name, {})
        require(isinstance(part, dict), name, part, f"its keys expected, as in {example}")
        parts[name] = _part(schema, name, json.dumps(part, default=str))  # type: ignore[arg-type] # mypy: a class has a hash
    return replace(validated(Settings, top, ""), **parts), groups


@lru_cache(maxsize=32)  # the same for every job of a sweep
def _part(schema: type[Any], name: str, text: str) -> Any:
    return validated(schema, json.loads(text), name)
