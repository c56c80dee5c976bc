"""The reference of all keys, made from the shipped configuration files and the schemas of the stages."""

from __future__ import annotations

import dataclasses
import importlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from xrdpipe.cli.help import GROUPS
from xrdpipe.config.described import Described, described_keys, described_option
from xrdpipe.config.settings import Settings

CONF = Path(__file__).parents[2] / "conf"
TYPES = {int: "whole number", float: "number", str: "text", bool: "true or false", Any: "", type(None): "null"}
MANY = 12  # of more allowed values only some are listed


def page() -> str:
    """Return the sections of all groups as Markdown."""
    parts = ["## Top level", "", *_entries(described_keys(CONF / "config.yaml"), Settings)]
    for group in GROUPS:
        parts += [f"## `{group}`", "", *_group(group)]
    parts += ["## `experiment`", "", *_options("experiment", _files("experiment"), {})]
    return "\n".join(parts)


def _files(group: str) -> list[Path]:
    return sorted((CONF / group).glob("*.yaml"), key=lambda path: (path.stem != "default", path.stem))


def _group(group: str) -> Iterator[str]:
    files = _files(group)
    default = described_keys(files[0], f"{group}.")
    yield from _options(group, files, default)
    yield from _entries(default, _schema(group, files[0]))
    before = set(default)
    for paths, added in _additions(group, files, default):
        yield f"With {' and '.join(f'`{group}={path.stem}`' for path in paths)}:"
        yield ""
        yield from _entries(added, _schema(group, paths[0]), {key: f"{paths[0].stem}-{key}" for key in before})
        before |= set(added)


def _additions(
    group: str, files: list[Path], default: dict[str, Described]
) -> Iterator[tuple[list[Path], dict[str, Described]]]:
    # Keys that the default lacks, or that mean something else in another class of stages, once for each class.
    classes: dict[str, list[Path]] = {}
    for path in files[1:]:
        classes.setdefault(_target(path), []).append(path)
    for target, paths in classes.items():
        own: dict[str, Described] = {}
        for path in paths:
            own |= {key: each for key, each in described_keys(path, f"{group}.").items() if key not in own}
        replaced = target != _target(files[0]) and len(own.keys() - default.keys()) > 5  # another stage altogether
        if new := {key: each for key, each in own.items() if replaced or key not in default}:
            yield paths, new


def _options(group: str, files: list[Path], default: dict[str, Described]) -> Iterator[str]:
    rows = []
    for path in files:
        own = described_keys(path, f"{group}.")
        changed = [
            f"`{key.removeprefix(f'{group}.')}: {each.value}`"
            for key, each in own.items()
            if key in default and each.value and each.value != default[key].value
        ]
        rows.append([f"`{group}={path.stem}`", _escaped(described_option(path)), ", ".join(changed)])
    titles = ["option", "what it is", "differs from the default"]
    columns = 3 if any(row[2] for row in rows) else 2
    yield f"| {' | '.join(titles[:columns])} |"
    yield "|---" * columns + "|"
    for row in rows:
        yield f"| {' | '.join(row[:columns])} |"
    yield ""


def _entries(
    described: dict[str, Described], schema: Any, taken: Mapping[str, str] = MappingProxyType({})
) -> Iterator[str]:
    for key, (value, text) in described.items():
        field = _field(schema, key)
        allowed = _allowed(*field) if field else ""
        shown = f" = `{value}`" if value else ""
        anchor = taken.get(key, key)
        yield f'[`{key}`]{{id="{anchor}"}}{shown}'
        yield f": {_escaped(text)}" + (f" *({_escaped(allowed)})*" if allowed else "")
        yield ""


def _escaped(text: str) -> str:
    return re.sub(r"([*_<>|\[\]$])", r"\\\1", text)


def _target(path: Path) -> str:
    found = re.search(r"^_target_: (\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else ""


def _schema(group: str, path: Path) -> Any:
    if target := _target(path):
        module, _, name = target.rpartition(".")
        return getattr(importlib.import_module(module), name)
    hint = get_type_hints(Settings).get(group)
    return hint if dataclasses.is_dataclass(hint) else None


def _field(schema: Any, key: str) -> tuple[Any, dict[str, Any]] | None:
    # The type and the metadata of a key, also of a nested one.
    for name in key.split("."):
        if schema is None or not dataclasses.is_dataclass(schema):
            return None
        fields = {each.name: each for each in dataclasses.fields(schema)}
        if name not in fields:
            continue  # the name of the group
        hint, metadata = get_type_hints(schema)[name], dict(fields[name].metadata)
        if name == key.rpartition(".")[2]:
            return hint, metadata
        inner = [each for each in (*get_args(hint), hint) if dataclasses.is_dataclass(each)]
        schema = inner[0] if inner else None
    return None


def _allowed(hint: Any, metadata: dict[str, Any]) -> str:
    union = get_origin(hint) in (Union, UnionType)
    kinds = [_kind(each) for each in (get_args(hint) if union else (hint,)) if each is not type(None)]
    choices = metadata.get("choices", ())
    named = list(map(str, choices() if callable(choices) else choices))
    if len(named) > MANY:
        named = [*named[:MANY], "..."]
    parts = [", ".join(named)] if named and hint is not Any else [*filter(None, kinds), *named]
    low, high = metadata.get("low"), metadata.get("high")
    if low is not None:
        parts[-1] += f" from {low} to {high}" if high is not None else f" >= {low}"
    if union and type(None) in get_args(hint):
        parts.append("null")
    return " or ".join(parts) if parts != ["null"] else ""


def _kind(hint: Any) -> str:
    if get_origin(hint) is list:
        return f"list of {_kind(get_args(hint)[0])}s".replace("texts", "names")
    if get_origin(hint) is dict:
        return "keys and values"
    return TYPES.get(hint, "")
