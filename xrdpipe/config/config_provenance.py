"""Origin of every value of a configuration: ``xrdpipe --cfg job``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf._utils import get_omega_conf_dumper
from omegaconf.errors import OmegaConfBaseException

from ..model.errors import ConfigError, nearest
from .described import conf_dir
from .loader import Loader
from .schema import build
from .settings import all_images

TYPED = "command line"
COLUMN = 50  # column of the origins, if the values are shorter
Key = tuple[str, ...]


class Origin(NamedTuple):
    """A place that sets a value: a file, the command line or a class; the line in the file, 0 without one."""

    place: str
    line: int
    value: Any


class TracingLoader(Loader):
    """Loader that records which file sets each value last, and all that set it, in their order."""

    def __init__(self, config_dir: str | None = None) -> None:
        super().__init__(config_dir)
        self._files = {}  # not shared, so that every file is loaded here
        self.origins: dict[Key, str] = {}
        self.history: dict[Key, list[Origin]] = {}

    def _load_single_config(self, default: Any, repo: Any) -> Any:
        loaded = super()._load_single_config(default, repo)
        option = str(default.config_path)
        file = self._file(option, loaded.path)
        lines = _line_numbers(Path(loaded.path.removeprefix("file://"), f"{option.removesuffix('.yaml')}.yaml"))
        for key, value in _leaves(OmegaConf.to_container(loaded.config)):
            line = next((lines[key[start:]] for start in range(len(key)) if key[start:] in lines), 0)
            self.set(key, file, value, line)
        return loaded

    def set(self, key: Key, place: str, value: Any, line: int = 0) -> None:
        """Record that a place sets a value."""
        self.origins[key] = place
        self.history.setdefault(key, []).append(Origin(place, line, value))

    def _file(self, option: str, source: str) -> str:
        """Return the path of a file as a user knows it: ``conf/...`` if shipped, else with its folder."""
        folder = source.removeprefix("file://")
        shipped = Path(folder) == conf_dir()
        return f"{'conf' if shipped else self.config_dir or folder}/{option.removesuffix('.yaml')}.yaml"


def describe_config(
    config_dir: str | None,
    overrides: Sequence[str],
    config_name: str = "config",
    *,
    images: Sequence[str] = (),
    package: str | None = None,
    resolve: bool = False,
) -> str:
    """Return the composed configuration as YAML, with the origin of each value as a comment.

    The origin is a file, the command line or, for a value that no file sets, the default of the stage's class.

    Parameters
    ----------
    config_dir, config_name
        Folder that is searched before the shipped configuration, or None; name of the primary configuration.
    overrides
        Overrides in Hydra's grammar.
    images
        Bare paths of the command line.
    package, resolve
        Part to show, None for all; resolve interpolations.

    Raises
    ------
    ConfigError
        If the configuration does not compose, or has no such part.
    """
    values, loader = trace_config(config_dir, overrides, config_name, images=images, resolve=resolve)
    at = () if package in (None, "_global_") else tuple(str(package).split("."))
    values = _select(values, at)
    lines = [f"{text:<{COLUMN}} # {origin}" if origin else text for text, origin in _lines(values, loader.origins, at)]
    return "\n".join([f"# @package {package}"] * bool(at) + lines)


def trace_config(
    config_dir: str | None,
    overrides: Sequence[str],
    config_name: str = "config",
    *,
    images: Sequence[str] = (),
    resolve: bool = False,
) -> tuple[dict[str, Any], TracingLoader]:
    """Return the composed configuration, and the loader that knows where each value is from.

    The parameters are those of `describe_config`, and so is the error.
    """
    loader = TracingLoader(config_dir)
    cfg = loader.compose(overrides, config_name)
    for override in OverridesParser.create().parse_overrides(list(cfg.hydra.overrides.task)):
        path = tuple(override.key_or_group.split("."))
        for key, value in _leaves(None if override.is_delete() else override.value(), path):
            loader.set(key, TYPED, value)
    values: Any = _values(cfg, resolve)
    if images:
        values["images"] = all_images(values["images"], images, overrides)
        loader.set(("images",), TYPED, values["images"])
    for group, part in values.items():
        if isinstance(part, dict) and "_target_" in part:
            for name, value in _defaults(part, group).items():
                part[name] = value
                for key, each in _leaves(value, (group, name)):
                    loader.set(key, f"default of {part['_target_']}", each)
    return values, loader


def _line_numbers(path: Path) -> dict[Key, int]:
    """Return the lines of the keys of a YAML file, from 1; none of a file that is not there, as Hydra's own."""
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader)
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return dict(_node_lines(node, ()))


def _node_lines(node: Any, at: Key) -> Iterator[tuple[Key, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*at, str(key.value))
            yield inner, key.start_mark.line + 1
            yield from _node_lines(value, inner)


def _select(values: Any, package: Key) -> Any:
    """Return a part of the configuration; raise ConfigError if there is no such part."""
    for number, name in enumerate(package, 1):
        if not isinstance(values, dict) or name not in values:
            known = values if isinstance(values, dict) else ()
            raise ConfigError(f"--package {'.'.join(package[:number])}: no such part; {nearest(name, known)}")
        values = values[name]
    return values


def _values(cfg: DictConfig, resolve: bool) -> dict[str, Any]:
    job = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    try:
        values = OmegaConf.to_container(job, resolve=resolve)
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0]) from error
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _defaults(part: Mapping[str, Any], group: str) -> dict[str, Any]:
    """Return the defaults of a stage's class that its configuration omits; none if it cannot be built."""
    try:
        stage = build(part, group)
    except ConfigError:  # the run reports it; here the user wants to see the configuration
        return {}
    return {key: value for key, value in dataclasses.asdict(stage).items() if key not in part}


def _leaves(node: Any, at: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Yield every value with its key; a list or an empty mapping counts as one value."""
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from _leaves(value, (*at, str(key)))
    else:
        yield at, node


def _lines(node: Any, origins: Mapping[Key, str], at: Key, indent: str = "") -> Iterator[tuple[str, str]]:
    """Yield lines of YAML, one per value, with the origin of the value."""
    if not isinstance(node, Mapping) or not node:
        yield yaml_text(node), origins.get(at, "")
        return
    for key, value in node.items():
        inner = (*at, str(key))
        if isinstance(value, Mapping) and value:
            yield f"{indent}{yaml_text(key)}:", ""
            yield from _lines(value, origins, inner, f"{indent}  ")
        else:
            yield f"{indent}{yaml_text(key)}: {yaml_text(value)}", origins.get(inner, "")


def yaml_text(value: Any) -> str:
    """Return a value on one line, as OmegaConf parses it: 1e5 is a number there, a text in YAML."""
    if isinstance(value, str) and not value.isprintable():
        return json.dumps(value)
    dumped = yaml.dump(value, Dumper=get_omega_conf_dumper(), default_flow_style=True, allow_unicode=True, width=10**9)
    return str(dumped).strip().removesuffix("\n...").strip()
