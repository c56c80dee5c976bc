"""A configuration as an experiment: a YAML file that ``xrdpipe --config-dir DIR experiment=NAME`` runs."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..io.paths import expand_user, split_path
from ..io.writing import encoded, write_text
from ..model.errors import ConfigError
from .arguments import NUMBER_KEYS, PATH_KEYS, literal, parse
from .config_provenance import yaml_text
from .described import Described, conf_dir, described_keys, group_keys, option_files
from .loader import Loader, shipped_option, to_builtin
from .targets import current_target

NO_GROUPS = ("experiment", "local")  # an experiment is none of its own parts


def experiment_yaml(values: Mapping[str, Any], choices: Mapping[str, str], comment: str, base: str = os.curdir) -> str:
    """Return the YAML of an experiment that makes this configuration, with absolute paths.

    It holds what differs from the shipped options, each key with its meaning as a comment.

    Parameters
    ----------
    values
        The configuration as plain values.
    choices
        Group -> option that it was composed with. Values of options that are not shipped are written in full.
    comment
        What the file says about itself.
    base
        Folder that relative paths begin in.
    """
    options = {
        group: option
        for group, option in choices.items()
        if not group.startswith("hydra") and group not in NO_GROUPS and (conf_dir() / group / f"{option}.yaml").exists()
    }
    before = _shipped(tuple(f"{group}={option}" for group, option in options.items()))
    shipped = dict.fromkeys(options, "default")
    chosen = {group: option for group, option in options.items() if option != shipped[group]}
    lines = ["# @package _global_", *(f"# {line}".rstrip() for line in encoded(comment).decode().splitlines())]
    if chosen:
        lines += ["defaults:", *(f"  - override /{group}: {option}" for group, option in chosen.items()), ""]
    changed = literal(_difference(absolute_paths(values, base), before))
    simple = {key: value for key, value in changed.items() if not isinstance(value, Mapping)}
    lines += _yaml_lines(simple, described_keys(conf_dir() / "config.yaml"), "")
    for group, inner in changed.items():
        if group not in simple:
            files = option_files(group)
            files = {option: path for option, path in files.items() if option == options.get(group)} | files
            lines += ["", f"{group}:", *_yaml_lines(inner, group_keys(group, files), f"{group}.", "  ")]
    return "\n".join([*lines, *([] if changed or chosen else ["{}"]), ""])


def _yaml_lines(
    values: Mapping[str, Any], described: Mapping[str, Described], prefix: str, indent: str = ""
) -> Iterator[str]:
    """Yield lines of YAML, one for each value, with its meaning as a comment."""
    for key, value in values.items():
        about = described.get(f"{prefix}{key}")
        meaning = f"  # {about.text}" if about is not None and about.text else ""
        if isinstance(value, Mapping) and value:
            yield f"{indent}{yaml_text(key)}:{meaning}"
            yield from _yaml_lines(value, described, f"{prefix}{key}.", f"{indent}  ")
        else:
            yield f"{indent}{yaml_text(key)}: {yaml_text(value)}{meaning}"


def nearest_options(values: Mapping[str, Any]) -> dict[str, str]:
    """Return group -> shipped option from which the fewest values of a configuration differ."""
    found = {}
    for group, part in values.items():
        if isinstance(part, Mapping) and (options := option_files(group)):
            distances = {option: _distance(part, group, option) for option in options}
            found[group] = min(distances, key=lambda option: distances[option])
    return found


def _distance(values: Mapping[str, Any], group: str, option: str) -> float:
    shipped = shipped_option(group, option) or {}
    if current_target(str(values.get("_target_"))) != str(shipped.get("_target_")):
        return math.inf
    return len(list(_leaves(_difference(values, shipped))))


def _leaves(values: Any) -> Iterator[Any]:
    for value in values.values():
        if isinstance(value, Mapping):
            yield from _leaves(value)
        else:
            yield value


@lru_cache(maxsize=32)
def _shipped(overrides: tuple[str, ...]) -> Mapping[str, Any]:
    return to_builtin(Loader().compose(overrides))


def check_experiment(text: str, values: Mapping[str, Any], name: str, base: str = os.curdir) -> None:
    """Raise ConfigError unless the YAML of an experiment composes to these values under its name."""
    with tempfile.TemporaryDirectory(prefix="xrdpipe-") as folder:
        write_text(Path(folder, "experiment", f"{name}.yaml"), text)
        try:
            found = to_builtin(Loader(folder).compose(parse([f"experiment={name}"]).overrides))
        except ConfigError as error:
            raise ConfigError(f"name={name}: not a name that experiment={name} finds ({error})") from error
    expected = absolute_paths(values, base)
    different = [key for key in {**expected, **found} if found.get(key) != expected.get(key)]
    if different:
        raise ConfigError(
            f"{different[0]}: cannot be said in an experiment, which knows the shipped options alone; "
            "take the command line home"
        )


def absolute_paths(values: Mapping[str, Any], base: str = os.curdir) -> dict[str, Any]:
    """Return plain values with absolute paths; relative ones begin in the folder ``base``."""
    copied: dict[str, Any] = {key: dict(each) if isinstance(each, Mapping) else each for key, each in values.items()}
    for key in (*PATH_KEYS, *NUMBER_KEYS, "integ.edges"):
        group, _, name = key.rpartition(".")
        where = copied.get(group) if group else copied
        if isinstance(where, dict) and where.get(name) is not None and key != "source.pattern":
            where[name] = _absolute(where[name], key in NUMBER_KEYS, os.path.abspath(base))
    return copied


def _absolute(value: Any, is_number: bool, base: str) -> Any:
    if isinstance(value, list):
        return [_absolute(each, is_number, base) for each in value]
    if not isinstance(value, str):
        return value
    if is_number:  # table.csv:column
        path, colon, column = value.rpartition(":")
        whole = os.path.abspath(os.path.join(base, path))
        return f"{whole}{colon}{column}" if path and os.path.exists(whole) else value
    sign = "@" if value.startswith("@") and not os.path.lexists(os.path.join(base, value)) else ""
    value = value.removeprefix(sign)
    if value.startswith("~") and not os.path.lexists(os.path.join(base, value)):
        value = expand_user(value)
    value = os.path.join(base, value)
    file = str(split_path(value).file)
    return sign + (os.path.abspath(file) + value[len(file) :] if value.startswith(file) else os.path.abspath(value))


def _difference(values: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Return what has to be merged into ``base`` to give ``values``."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        before = base.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            if inner := _difference(value, before):
                found[key] = inner
        elif key not in base or value != before or type(value) is not type(before):
            found[key] = value
    return found
