"""Composition of configurations, with clear errors and a check that they run no code."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from ..io.writing import write_text
from ..model.errors import ConfigError, nearest
from .arguments import literal
from .described import conf_dir
from .hydra_internals import CachingLoader
from .refusals import _refuse_address, _refuse_bombs, _refuse_code
from .settings import Settings, expand_paths

EXTRAS = {  # options of plug-ins of Hydra, and what installs them
    "hydra/sweeper=optuna": "optuna",
    "hydra/launcher=slurm": "slurm",
    "hydra/launcher=submitit_local": "slurm",
    "hydra/launcher=submitit_slurm": "slurm",
}


@cache
def shipped_defaults() -> dict[str, Any]:
    """Return the defaults of the shipped configuration as plain values."""
    top = _plain_yaml(conf_dir() / "config.yaml")
    groups = {name: option for entry in top["defaults"] if isinstance(entry, dict) for name, option in entry.items()}
    shipped = {
        name: _plain_yaml(conf_dir() / name / f"{option}.yaml")
        for name, option in groups.items()
        if option and " " not in name
    }
    return {key: value for key, value in top.items() if key not in ("defaults", "hydra")} | shipped


def shipped_option(group: str, option: str) -> dict[str, Any] | None:
    """Return the plain values of an option of a group as it is shipped; None if it is not."""
    path = conf_dir() / group / f"{option}.yaml"
    return _plain_yaml(path) if path.is_file() else None


def _plain_yaml(path: Path) -> dict[str, Any]:
    values = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


class Loader(CachingLoader):
    """Loader with clear errors, and a check that no configuration runs code.

    All configurations pass it: those of single runs, of the jobs of a sweep, and of the Python API.

    Parameters
    ----------
    config_dir
        Folder that is searched before the shipped configuration, or None.

    Raises
    ------
    ConfigError
        If ``config_dir`` is no folder.
    """

    def __init__(self, config_dir: str | None = None) -> None:
        if config_dir is not None and not os.path.isdir(config_dir):
            raise ConfigError(f"--config-dir {config_dir}: no such folder; one with options, mask/mine.yaml, expected")
        if config_dir is not None:
            _refuse_bombs(Path(config_dir))
        super().__init__(conf_dir(), config_dir)
        self.config_dir = config_dir

    def load_configuration(
        self, config_name: str | None, overrides: list[str], *args: Any, **kwargs: Any
    ) -> DictConfig:
        """Compose a configuration; raise ConfigError if this fails or if the result may run code."""
        try:
            cfg = super().load_configuration(config_name, overrides, *args, **kwargs)
            _refuse_code(cfg)
            _refuse_address(cfg, overrides)
        except ConfigError:
            raise
        except Exception as error:  # malformed YAML raises many types, from AssertionError to RecursionError
            raise ConfigError(self._message(error)) from error
        return cfg

    def check_search_path(self, path: str) -> None:
        """Raise ConfigError unless ``path`` is a folder, because Hydra imports the package of ``pkg://``."""
        folder = path.removeprefix("file://")
        if "://" in folder or not os.path.isdir(folder):
            raise ConfigError(f"hydra.searchpath={path}: refused, not a folder")
        _refuse_bombs(Path(folder))

    def compose(self, overrides: Sequence[str] = (), config_name: str = "config") -> DictConfig:
        """Compose the configuration of one run."""
        return self.load_configuration(config_name, list(overrides), RunMode.RUN)

    def _message(self, error: Exception) -> str:
        if isinstance(error, MissingConfigException) and error.missing_cfg_file:
            group, _, option = error.missing_cfg_file.rpartition("/")
            if group and error.options:
                extra = EXTRAS.get(f"{group}={option}")
                way_out = f"pip install 'xrdpipe[{extra}]'" if extra else nearest(option, error.options)
                return f"{group}={option}: no such option; {way_out}"
            return f"{error.missing_cfg_file}: no such configuration file"
        cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else None
        text = str(error)
        if text.startswith("Config group override must be"):
            return "a group is set to null; choose one of its options, as in mask=none"
        if match := re.search(r"Ambiguous value for argument '\+*(.*?)'", text):
            return f"{match[1]}: several values are a sweep, say -m; one value that is a list is [a,b]"
        if match := re.search(r"Could not override '([\w./@]+)'", text):
            names = {*self.list_groups(""), *Settings.__dataclass_fields__} - {"hydra"}
            return f"{match[1]}: no such key or group; {nearest(match[1], sorted(names))}"
        lines = [line.strip() for line in [*text.splitlines(), *str(cause or "").splitlines()] if line.strip()]
        helpful = [line for line in lines if not line.startswith(("To append", "full_key", "object_type", "See https"))]
        words = " ".join(helpful[:3]) or type(error).__name__
        if isinstance(error, (HydraException, OmegaConfBaseException, YAMLError, ValueError)):
            return words
        why = "nested too deeply, or in itself" if isinstance(error, RecursionError) else words
        return f"the configuration cannot be composed: {type(error).__name__}, {why}"


def run_mode(multirun: bool) -> RunMode:
    """Return Hydra's mode of a sweep or of a single run."""
    return RunMode.MULTIRUN if multirun else RunMode.RUN


def is_sweep(cfg: DictConfig) -> bool:
    """Return whether a configuration itself declares a sweep (``hydra.mode``)."""
    return bool(cfg.hydra.mode == RunMode.MULTIRUN)


def force_overrides(overrides: Sequence[str]) -> list[str]:
    """Turn every ``group.key=value`` into ``++group.key=value``.

    Hydra then accepts unknown keys, and the schema refuses them with the nearest valid name.
    """
    inside = re.compile(r"\+{0,2}(?!hydra\.)([\w]+\.[^=]+=)", re.DOTALL)
    return [f"++{override.lstrip('+')}" if inside.match(override) else override for override in overrides]


def to_builtin(cfg: DictConfig) -> dict[str, Any]:
    """Return the resolved configuration without Hydra's own as plain values; expand ``~`` and ``$VAR`` in paths."""
    try:
        values = OmegaConf.to_container(
            OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"]), resolve=True
        )
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0]) from error
    assert isinstance(values, dict)
    expand_paths(values)
    return {str(key): value for key, value in values.items()}


def save_hydra(folder: Path, values: Mapping[str, Any], command: Sequence[str]) -> None:
    """Write Hydra's own record, ``.hydra/config.yaml`` and ``.hydra/overrides.yaml``.

    Parameters
    ----------
    folder
        Output folder.
    values
        The configuration.
    command
        Overrides of the command line.
    """
    from omegaconf import OmegaConf

    try:
        write_text(folder / ".hydra" / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(literal(dict(values)))))
        write_text(folder / ".hydra" / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(literal(list(command)))))
    except OSError as error:
        raise ConfigError(f"output_dir={folder}: cannot be written to ({error.strerror})") from error
