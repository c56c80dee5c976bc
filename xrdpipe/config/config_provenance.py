"""Where every value of a configuration comes from: ``xrdpipe --cfg job``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf._utils import get_omega_conf_dumper
from omegaconf.errors import OmegaConfBaseException

from ..model.errors import ConfigError, nearest
from .loader import Loader, conf_dir
from .schema import build
from .settings import as_list

TYPED = "command line"


COLUMN = 50  # where the origins begin, if the values leave room


Key = tuple[str, ...]


class Traced(Loader):
    """Hydra's composition, remembering which file set each value last."""

    def __init__(self, config_dir: str | None = None) -> None:
        super().__init__(config_dir)
        self._files = {}  # none that was composed before
        self.origins: dict[Key, str] = {}

    def _load_single_config(self, default: Any, repo: Any) -> Any:
        loaded = super()._load_single_config(default, repo)
        file = self._file(str(default.config_path), loaded.path)
        for key, _ in _leaves(OmegaConf.to_container(loaded.config)):
            self.origins[key] = file
        return loaded

    def _file(self, option: str, source: str) -> str:
        """A file as one would look for it: ``conf/...`` where it is shipped, with its folder where it is not."""
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
    """The composed configuration as YAML, each value with its origin as a comment: a file, the command line, or where
    no file says it, the default of its stage's class.

    ``images``: bare paths of the command line; ``package``: only that part. ConfigError where it does not compose.
    """
    loader = Traced(config_dir)
    cfg = loader.compose(overrides, config_name)
    for override in OverridesParser.create().parse_overrides(list(cfg.hydra.overrides.task)):
        path = tuple(override.key_or_group.split("."))
        for key, _ in _leaves(None if override.is_delete() else override.value(), path):
            loader.origins[key] = TYPED
    values: Any = _values(cfg, resolve)
    if images:
        values["images"] = [*as_list(values["images"]), *images]
        loader.origins[("images",)] = TYPED
    for group, part in values.items():
        if isinstance(part, dict) and "_target_" in part:
            for name, value in _defaults(part, group).items():
                part[name] = value
                loader.origins |= {key: f"default of {part['_target_']}" for key, _ in _leaves(value, (group, name))}
    at = () if package in (None, "_global_") else tuple(str(package).split("."))
    for number, name in enumerate(at, 1):
        if not isinstance(values, dict) or name not in values:
            known = values if isinstance(values, dict) else ()
            raise ConfigError(f"--package {'.'.join(at[:number])}: no such part; {nearest(name, known)}")
        values = values[name]
    lines = [f"{text:<{COLUMN}} # {origin}" if origin else text for text, origin in _lines(values, loader.origins, at)]
    return "\n".join([f"# @package {package}"] * bool(at) + lines)


def _values(cfg: DictConfig, resolve: bool) -> dict[str, Any]:
    job = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    try:
        values = OmegaConf.to_container(job, resolve=resolve)
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0]) from error
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _defaults(part: Mapping[str, Any], group: str) -> dict[str, Any]:
    """What the class of a stage says where its configuration says nothing; nothing where it cannot be built."""
    try:
        stage = build(part, group)
    except ConfigError:  # told by the run: here the user wants to see what there is
        return {}
    return {key: value for key, value in dataclasses.asdict(stage).items() if key not in part}


def _leaves(node: Any, at: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Every value with its key; a list, or an empty mapping, is one value."""
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from _leaves(value, (*at, str(key)))
    else:
        yield at, node


def _lines(node: Any, origins: Mapping[Key, str], at: Key, indent: str = "") -> Iterator[tuple[str, str]]:
    """Lines of YAML, a value each, and where the value is from."""
    if not isinstance(node, Mapping) or not node:
        yield _yaml(node), origins.get(at, "")
        return
    for key, value in node.items():
        inner = (*at, str(key))
        if isinstance(value, Mapping) and value:
            yield f"{indent}{_yaml(key)}:", ""
            yield from _lines(value, origins, inner, f"{indent}  ")
        else:
            yield f"{indent}{_yaml(key)}: {_yaml(value)}", origins.get(inner, "")


def _yaml(value: Any) -> str:
    """A value on one line, as OmegaConf reads it back: it takes 1e5 for a number, where YAML has a text."""
    if isinstance(value, str) and not value.isprintable():
        return json.dumps(value)
    dumped = yaml.dump(value, Dumper=get_omega_conf_dumper(), default_flow_style=True, allow_unicode=True, width=10**9)
    return str(dumped).strip().removesuffix("\n...").strip()
