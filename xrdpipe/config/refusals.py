"""Content that a configuration must not have."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from yaml import SafeLoader, YAMLError, compose

from ..model.errors import ConfigError, require
from .parallel import SBATCH, check_shell_words

FOLDER = ".submitit"  # folder of submitit in the folder of a sweep
MOST_VALUES = 100_000  # in a configuration file, aliases expanded


def _refuse_bombs(folder: Path) -> None:
    # A few lines of YAML with nested aliases (*a) expand to billions of values, or to one that contains itself.
    for path in folder.rglob("*.yaml"):
        content = path.read_bytes() if path.is_file() else b""
        if b"&" in content and b"*" in content:
            with suppress(YAMLError, RecursionError):  # composition reports it
                if _values(compose(content, SafeLoader), {}) > MOST_VALUES:
                    raise ConfigError(f"{path}: its aliases (*) make more than {MOST_VALUES} values, or never end")


def _values(node: Any, known: dict[int, float]) -> float:
    """Return the number of values of a YAML node with aliases expanded; infinite if it contains itself."""
    if id(node) not in known:
        known[id(node)] = math.inf
        inner = node.value if node is not None and isinstance(node.value, list) else []
        parts = [part for each in inner for part in (each if isinstance(each, tuple) else [each])]
        known[id(node)] = 1 + sum(_values(part, known) for part in parts)
    return known[id(node)]


def _refuse_code(cfg: DictConfig) -> None:
    # Hydra instantiates these parts before our code runs, so the check comes right after composition.
    hydra = OmegaConf.to_container(cfg.hydra, resolve=False)
    assert isinstance(hydra, dict)
    if hydra["callbacks"]:
        raise ConfigError("hydra.callbacks: refused, a configuration must not bring code along")
    if hydra["job"]["env_set"] or hydra["job"]["env_copy"]:
        raise ConfigError("hydra.job.env_set: refused, a configuration must not change the environment of its workers")
    for name in ("hydra_logging", "job_logging"):
        if hydra[name] != {"version": 1, "root": None, "disable_existing_loggers": False}:
            raise ConfigError(f"hydra.{name}: refused, logging is not configurable; each run writes its xrdpipe.log")
    if hydra["sweeper"].get("custom_search_space"):
        raise ConfigError("hydra.sweeper.custom_search_space: refused, it names a function to call")
    if hydra["run"]["dir"] != ".":
        raise ConfigError(f"hydra.run.dir={hydra['run']['dir']}: refused; say output_dir=... instead")
    if hydra["output_subdir"] is not None:
        raise ConfigError("hydra.output_subdir: refused; a run writes its .hydra/ itself")
    if hydra["job"]["chdir"]:
        raise ConfigError("hydra.job.chdir: refused; paths are relative to where xrdpipe was started")
    _refuse_script(hydra["launcher"])
    for where, target in _targets(hydra, "hydra"):
        if not re.match(r"hydra\._internal\.core_plugins\.|hydra_plugins\.|optuna\.(samplers|pruners)\.", str(target)):
            raise ConfigError(f"{where}={target}: refused, not a launcher or sweeper of Hydra")


ADDRESS = "parallel.address"


def _refuse_address(cfg: DictConfig, overrides: Sequence[str]) -> None:
    # A scheduler and its clients run each other's code, so only the command line may name one.
    # Unresolved, because a path may contain ${.
    composed: Any = OmegaConf.to_container(cfg.hydra.overrides, resolve=False)
    not_typed = {*composed["task"], *composed["hydra"]} - {*overrides}
    if not_typed:
        raise ConfigError(f"hydra.overrides={sorted(not_typed)}: refused, overrides belong on the command line")
    address = OmegaConf.select(cfg, ADDRESS)
    if address is not None and not any(each.lstrip("+").startswith(f"{ADDRESS}=") for each in overrides):
        raise ConfigError(
            f"{ADDRESS}={address}: refused in a file, as a scheduler runs code here; say it on the command line"
        )


def _refuse_script(launcher: Mapping[str, Any]) -> None:
    # The submitit launcher writes its values into a script, and loads pickles from its folder.
    if "hydra_submitit_launcher" not in str(launcher.get("_target_")):
        return
    fixed = {"submitit_folder": f"${{hydra.sweep.dir}}/{FOLDER}/%j", "name": "${hydra.job.name}", "setup": None}
    for name, expected in fixed.items():
        if launcher.get(name, expected) != expected:
            raise ConfigError(f"hydra.launcher.{name}: refused, a configuration must not bring code along")
    parameters = launcher.get("additional_parameters") or {}
    require(
        isinstance(parameters, dict), "hydra.launcher.additional_parameters", parameters, "options of sbatch expected"
    )
    check_shell_words("hydra.launcher.additional_parameters", parameters, SBATCH)
    values = {key: value for key, value in launcher.items() if key not in (*fixed, "_target_", "additional_parameters")}
    check_shell_words("hydra.launcher", {key: value for key, value in values.items() if value is not None}, values)


def _targets(node: Any, where: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "_target_":
                yield f"{where}._target_", value
            yield from _targets(value, f"{where}.{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _targets(value, f"{where}[{index}]")
