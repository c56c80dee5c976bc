"""The keys of a page's groups as controls, made from the schemas of the stages and the shipped YAML files."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from ..config.arguments import PATH_KEYS
from ..config.described import Described, conf_dir, described_keys, described_option
from ..config.loader import shipped_option
from ..config.schema import build
from ..model.errors import ConfigError
from ..stages.stage import Stage
from .session import Session

KINDS = {bool: "boolean", int: "integer", float: "number", str: "text", list: "list"}


def groups(session: Session) -> list[dict[str, Any]]:
    """Return the groups of the page, each with its options and keys, in the order of the pipeline."""
    return [_group(session, name) for name in session.groups]


def _group(session: Session, name: str) -> dict[str, Any]:
    choice = session.composed(session.start)[1].get(name, "default")
    options = sorted(session.loader.get_group_options(name), key=lambda option: (option != "default", option))
    return {
        "name": name,
        "choices": options,
        "choice": choice,
        "descriptions": {option: described_option(path) for option in options if (path := _file(name, option))},
        "keys": {option: _keys(session, name, option, option == choice) for option in options},
    }


def _file(group: str, option: str) -> Path | None:
    path = conf_dir() / group / f"{option}.yaml"
    return path if path.exists() else None


def _keys(session: Session, group: str, option: str, chosen: bool) -> list[dict[str, Any]]:
    """Return the keys of an option; none if it does not compose."""
    try:
        bare = _bare(session, group, option)
        stage = build(bare, group)
        values = bare | _typed_values(session, group, option, chosen)
    except ConfigError:  # of the user's own options; the view says so when it is chosen
        return []
    path = _file(group, option) or _file(group, "default")
    described = {} if path is None else described_keys(path, f"{group}.")
    return [_key(stage, field, group, bare, values, described) for field in dataclasses.fields(stage)]


def _bare(session: Session, group: str, option: str) -> dict[str, Any]:
    """Return the values of an option."""
    shipped = None if session.start.options else shipped_option(group, option)
    return dict(session.composed(session.bare({group: option}))[0][group]) if shipped is None else shipped


def _typed_values(session: Session, group: str, option: str, chosen: bool) -> dict[str, Any]:
    """Return the values that the command line sets on top of an option."""
    overrides = session.start.overrides
    if chosen or "experiment" in overrides or session.start.options:  # a file may set values of any option
        start = session.start if chosen else session.start.changed({group: option}, {})
        return dict(session.composed(start)[0][group])
    values = session.composed(session.start)[0][group]
    return {key: value for key, value in values.items() if f"{group}.{key}" in overrides}


def _key(
    stage: Stage,
    field: dataclasses.Field[Any],
    group: str,
    bare: Mapping[str, Any],
    values: Mapping[str, Any],
    described: Mapping[str, Described],
) -> dict[str, Any]:
    key = f"{group}.{field.name}"
    default = bare.get(field.name, getattr(stage, field.name))
    kind, nullable = _kind(get_type_hints(type(stage))[field.name], default)
    more, choices = field.metadata, field.metadata.get("choices")
    choices = choices() if callable(choices) else choices
    kind = "choice" if choices else kind
    return {
        "key": key,
        "kind": "file" if key in PATH_KEYS else more.get("kind", kind),
        "nullable": nullable,
        "choices": None if choices is None else list(choices),
        "default": default,
        "value": values.get(field.name, default),
        "help": described[key].text if key in described else "",
        "low": more.get("low"),
        "high": more.get("high"),
    }


def _kind(hint: Any, default: Any) -> tuple[str, bool]:
    """Return the kind of a control, and whether its value may be null."""
    if hint is Any:  # the stage itself checks the value
        return "list" if isinstance(default, list) else "text", True
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    kinds = [part for part in parts if part is not type(None)]
    first = get_origin(kinds[0]) or kinds[0]
    return KINDS.get(first, "text"), len(kinds) < len(parts)
