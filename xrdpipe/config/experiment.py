"""A configuration as an experiment: a YAML file that ``xrdpipe --config-dir DIR experiment=NAME`` runs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ..io.paths import split_path
from ..io.writing import encoded, write_text
from ..model.errors import ConfigError
from .arguments import NUMBER_KEYS, PATH_KEYS, literal, parse
from .loader import Loader, conf_dir, to_builtin

NO_GROUPS = ("experiment", "local")  # an experiment is none of its own parts


def experiment_yaml(values: Mapping[str, Any], choices: Mapping[str, str], comment: str) -> str:
    """Return the YAML of an experiment that makes this configuration, with absolute paths.

    Parameters
    ----------
    values
        The configuration as plain values.
    choices
        Group -> option that it was composed with. Values of options that are not shipped are written in full.
    comment
        What the file says about itself.
    """
    options = {
        group: option
        for group, option in choices.items()
        if not group.startswith("hydra") and group not in NO_GROUPS and (conf_dir() / group / f"{option}.yaml").exists()
    }
    base = _shipped(tuple(f"{group}={option}" for group, option in options.items()))
    shipped = dict.fromkeys(options, "default")
    chosen = {group: option for group, option in options.items() if option != shipped[group]}
    lines = ["# @package _global_", *(f"# {line}" for line in encoded(comment).decode().splitlines())]
    if chosen:
        lines += ["defaults:", *(f"  - override /{group}: {option}" for group, option in chosen.items()), ""]
    changed = _difference(absolute_paths(values), base)
    return "\n".join([*lines, OmegaConf.to_yaml(OmegaConf.create(literal(changed)))])


@lru_cache(maxsize=32)
def _shipped(overrides: tuple[str, ...]) -> Mapping[str, Any]:
    return to_builtin(Loader().compose(overrides))


def check_experiment(text: str, values: Mapping[str, Any], name: str) -> None:
    """Raise ConfigError unless the YAML of an experiment composes to these values under its name."""
    with tempfile.TemporaryDirectory(prefix="xrdpipe-") as folder:
        write_text(Path(folder, "experiment", f"{name}.yaml"), text)
        try:
            found = to_builtin(Loader(folder).compose(parse([f"experiment={name}"]).overrides))
        except ConfigError as error:
            raise ConfigError(f"name={name}: not a name that experiment={name} finds ({error})") from error
    expected = absolute_paths(values)
    different = [key for key in {**expected, **found} if found.get(key) != expected.get(key)]
    if different:
        raise ConfigError(
            f"{different[0]}: cannot be said in an experiment, which knows the shipped options alone; "
            "take the command line home"
        )


def absolute_paths(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain values with absolute paths."""
    copied: dict[str, Any] = {key: dict(each) if isinstance(each, Mapping) else each for key, each in values.items()}
    for key in (*PATH_KEYS, *NUMBER_KEYS, "integ.edges"):
        group, _, name = key.rpartition(".")
        where = copied.get(group) if group else copied
        if isinstance(where, dict) and where.get(name) is not None and key != "source.pattern":
            where[name] = _absolute(where[name], key in NUMBER_KEYS)
    return copied


def _absolute(value: Any, is_number: bool) -> Any:
    if isinstance(value, list):
        return [_absolute(each, is_number) for each in value]
    if not isinstance(value, str):
        return value
    if is_number:  # table.csv:column
        path, colon, column = value.rpartition(":")
        return f"{os.path.abspath(path)}{colon}{column}" if path and os.path.exists(path) else value
    if value.startswith("@") and not os.path.lexists(value):
        return f"@{os.path.abspath(value[1:])}"
    file = str(split_path(value).file)
    return os.path.abspath(file) + value[len(file) :] if value.startswith(file) else os.path.abspath(value)


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
