"""Configuration: Hydra composes it, the schemas check it, and nothing in it may run code."""

from __future__ import annotations

import json
import math
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra.core.plugins import Plugins
from hydra.core.utils import setup_globals
from hydra.errors import HydraException, MissingConfigException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import SafeLoader, YAMLError, compose

from .argv import FILE_KEYS, NUMBER_KEYS, PATH_KEYS
from .parallel import SBATCH, Parallel, one_word
from .paths import expand, expand_user
from .poni import Calibration
from .stage import ConfigError, nearest, require, validated
from .verdict import terms

FOLDER = ".submitit"  # in the folder of a sweep, while its jobs are submitit's
MOST_VALUES = 100_000  # of a configuration file


@dataclass(frozen=True)
class Sweep:
    """What decides which job of a sweep is best: ``rank``, see `verdict.terms`."""

    rank: Any = "ring_bias"

    def __post_init__(self) -> None:
        terms(self.rank)


@dataclass(frozen=True)
class Settings:
    """The top level of the configuration, the groups of the stages aside."""

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


def conf_dir() -> Path:
    """The folder of the shipped configuration: inside an installed package, beside it in a checkout."""
    package = Path(__file__).parent
    return next(path for path in (package / "conf", package.parent / "conf") if path.is_dir())


@cache
def defaults() -> dict[str, Any]:
    """What the shipped configuration says where the user says nothing, as plain values."""
    top = _plain_yaml(conf_dir() / "config.yaml")
    groups = {name: option for entry in top["defaults"] if isinstance(entry, dict) for name, option in entry.items()}
    shipped = {
        name: _plain_yaml(conf_dir() / name / f"{option}.yaml")
        for name, option in groups.items()
        if option and " " not in name
    }
    return {key: value for key, value in top.items() if key not in ("defaults", "hydra")} | shipped


def _plain_yaml(path: Path) -> dict[str, Any]:
    values = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


_shipped: dict[tuple[str | None, ...], dict[str, Any]] = {}  # configuration files as they were read, by search path


class Loader(ConfigLoaderImpl):
    """Hydra's composition with our words for its errors, and a check that no configuration brings code along.

    It is the one way to a configuration: for a single run, for every job of a sweep, and for Python.
    """

    def __init__(self, config_dir: str | None = None) -> None:
        setup_globals()
        if config_dir is not None and not os.path.isdir(config_dir):
            raise ConfigError(f"--config-dir {config_dir}: no such folder")
        if config_dir is not None:
            _refuse_bombs(Path(config_dir))
        path = ConfigSearchPathImpl()
        path.append("hydra", "pkg://hydra.conf")
        if config_dir is not None:  # before the shipped ones, so that a file of the same name wins
            path.append("command-line", str(Path(config_dir).absolute()))
        path.append("main", str(conf_dir()))
        for plugin in Plugins.instance().discover(SearchPathPlugin):
            plugin().manipulate_search_path(path)  # type: ignore[attr-defined]
        path.append("schema", "structured://")
        super().__init__(path)
        self.config_dir = config_dir
        self._files = {} if config_dir else _shipped.setdefault(tuple(each.path for each in path.get_path()), {})
        self.elsewhere = False  # whether jobs are composed in other processes, and need no check in this one

    def load_configuration(
        self, config_name: str | None, overrides: list[str], *args: Any, **kwargs: Any
    ) -> DictConfig:
        """Compose; ConfigError where that fails, or where the result would run code or let others do."""
        try:
            cfg = super().load_configuration(config_name, overrides, *args, **kwargs)
            _refuse_code(cfg)
            _refuse_address(cfg, overrides)
        except ConfigError:
            raise
        except Exception as error:  # of strangers' YAML it may be anything, from AssertionError to RecursionError
            raise ConfigError(self._in_our_words(error)) from error
        return cfg

    def _process_config_searchpath(self, config_name: str | None, parsed_overrides: Any, repo: Any) -> None:
        # Hydra imports the package of a pkg:// path, and importing is running code: folders only.
        repo.cache = self._files  # every job of a sweep composes from the same files: read them once
        primary = repo.load_config(config_path=config_name) if config_name else None
        given = [OmegaConf.select(primary.config, "hydra.searchpath")] if primary else []
        given += [each.value() for each in parsed_overrides if each.get_key_element() == "hydra.searchpath"]
        for path in (path for paths in given if paths is not None for path in paths):
            folder = str(path).removeprefix("file://")
            if "://" in folder or not os.path.isdir(folder):
                raise ConfigError(f"hydra.searchpath={path}: refused, not a folder")
            repo.cache = {}
            _refuse_bombs(Path(folder))
        super()._process_config_searchpath(config_name, parsed_overrides, repo)

    def _compose_config_from_defaults_list(self, defaults: Any, repo: Any) -> DictConfig:
        # Most configurations differ in values alone, which come later.
        if repo.cache is not self._files:
            return super()._compose_config_from_defaults_list(defaults, repo)
        if (key := repr(defaults)) not in self._files:
            self._files[key] = super()._compose_config_from_defaults_list(defaults, repo)
        made: DictConfig = deepcopy(self._files[key])
        return made

    def _load_single_config(self, default: Any, repo: Any) -> Any:
        with warnings.catch_warnings():  # that the launcher's own option of this name is merged, which is meant
            warnings.filterwarnings("ignore", r"\s*'hydra/launcher/submitit_local' is validated", UserWarning)
            return super()._load_single_config(default, repo)

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """The configuration of one job. In the parent of workers Hydra asks only to see whether it composes."""
        return master_config if self.elsewhere else super().load_sweep_config(master_config, sweep_overrides)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "elsewhere": False}

    def compose(self, overrides: Sequence[str] = (), config_name: str = "config") -> DictConfig:
        """The configuration of one run."""
        return self.load_configuration(config_name, list(overrides), RunMode.RUN)

    def _in_our_words(self, error: Exception) -> str:
        if isinstance(error, MissingConfigException) and error.missing_cfg_file:
            group, _, option = error.missing_cfg_file.rpartition("/")
            if group and error.options:
                return f"{group}={option}: no such option; {nearest(option, error.options)}"
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
        told = [line for line in lines if not line.startswith(("To append", "full_key", "object_type", "See https"))]
        words = " ".join(told[:3]) or type(error).__name__
        if isinstance(error, (HydraException, OmegaConfBaseException, YAMLError, ValueError)):
            return words
        why = "nested too deeply, or in itself" if isinstance(error, RecursionError) else words
        return f"the configuration cannot be put together: {type(error).__name__}, {why}"


def forced(overrides: Sequence[str]) -> list[str]:
    """Let ``group.key=value`` through Hydra whether or not the key exists: the schema knows the nearest valid name."""
    inside = re.compile(r"\+{0,2}(?!hydra\.)([\w]+\.[^=]+=)", re.DOTALL)
    return [f"++{override.lstrip('+')}" if inside.match(override) else override for override in overrides]


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The resolved configuration as plain values, Hydra's own left out; paths with ``~`` and ``$VAR`` expanded."""
    try:
        values = OmegaConf.to_container(
            OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"]), resolve=True
        )
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0]) from error
    assert isinstance(values, dict)
    expand_paths(values)
    return {str(key): value for key, value in values.items()}


def expand_paths(values: dict[Any, Any]) -> None:
    """Expand ``~``, ``$VAR`` and globs of every path key but the images, in place."""
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
    # One file stays as it is; a glob, an @list or a list becomes the files that it names.
    single = isinstance(value, str) and (os.path.lexists(value) or not re.search(r"[*?\[]|^@", value))
    if single or not isinstance(value, (str, list, tuple)):
        return value
    return [str(path) for path in expand([value] if isinstance(value, str) else map(str, value), key)]


def merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Set nested values in place; what no schema knows is refused later, with its nearest name."""
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            given = value.tolist() if hasattr(value, "tolist") else value  # numpy's
            into[key] = dict(given) if isinstance(given, Mapping) else given


def listed(value: Any) -> list[Any]:
    """None, one or several, as a list."""
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]


def settings(values: Mapping[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """Split plain values into the checked top level and the groups of the stages (unchecked, see `stage.build`)."""
    groups = {
        key: value
        for key, value in values.items()
        if isinstance(value, dict)
        and ("_target_" in value or key in ("source", *listed(values.get("stages"))))
        and key not in Settings.__dataclass_fields__
    }
    top = {key: value for key, value in values.items() if key not in groups}
    for key in top:
        if key not in Settings.__dataclass_fields__:
            known = [*Settings.__dataclass_fields__, *groups]
            raise ConfigError(f"{key}: no such key or group; {nearest(str(key), known)}")
    groups_here: dict[str, tuple[type[Any], str]] = {
        "parallel": (Parallel, "parallel.n_jobs=2"),
        "sweep": (Sweep, "sweep.rank=ring_bias"),
        "geometry": (Calibration, "geometry.dist=0.25"),
    }
    parts = {}
    for name, (schema, example) in groups_here.items():
        given = top.pop(name, {})
        require(isinstance(given, dict), name, given, f"its keys expected, as in {example}")
        parts[name] = _part(schema, name, json.dumps(given, default=str))  # type: ignore[arg-type] # mypy: a class has a hash
    return replace(validated(Settings, top, ""), **parts), groups


@lru_cache(maxsize=32)  # asked for again by every job of a sweep
def _part(schema: type[Any], name: str, given: str) -> Any:
    return validated(schema, json.loads(given), name)


def new_folder(kind: str = "") -> Path:
    """A folder ``outputs/[kind/]<date>/<time>`` that does not exist yet; it is made, so that nobody else takes it."""
    from datetime import datetime

    now = datetime.now().astimezone()
    base = Path("outputs", kind, f"{now:%Y-%m-%d}")
    names = (f"{now:%H-%M-%S}{suffix}" for suffix in ("", *(f"_{number}" for number in range(2, 10_000))))
    for name in names:
        try:
            (base / name).mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise ConfigError(f"{base / name}: cannot be made ({error.strerror}); name an output_dir") from error
        return base / name
    raise ConfigError(f"{base}: no free name")


def _refuse_bombs(folder: Path) -> None:
    # A few lines of YAML whose aliases (*a) name each other make billions of values, or one that is inside itself.
    for path in folder.rglob("*.yaml"):
        content = path.read_bytes() if path.is_file() else b""
        if b"&" in content and b"*" in content:
            with suppress(YAMLError, RecursionError):  # which composing tells
                if _values(compose(content, SafeLoader), {}) > MOST_VALUES:
                    raise ConfigError(f"{path}: its aliases (*) make more than {MOST_VALUES} values, or never end")


def _values(node: Any, known: dict[int, float]) -> float:
    """How many values a node of YAML stands for, its aliases counted each time; infinite where it is inside itself."""
    if id(node) not in known:
        known[id(node)] = math.inf
        inner = node.value if node is not None and isinstance(node.value, list) else []
        parts = [part for each in inner for part in (each if isinstance(each, tuple) else [each])]
        known[id(node)] = 1 + sum(_values(part, known) for part in parts)
    return known[id(node)]


def _refuse_code(cfg: DictConfig) -> None:
    # Hydra instantiates all of this before our code runs, so it is compared here, right after composition.
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
    # A scheduler and its clients run each other's code, so it is the user who names one, and no file.
    said: Any = OmegaConf.to_container(cfg.hydra.overrides, resolve=False)  # a path may have ${ in its name
    hidden = {*said["task"], *said["hydra"]} - {*overrides}
    if hidden:
        raise ConfigError(f"hydra.overrides={sorted(hidden)}: refused, overrides belong on the command line")
    address = OmegaConf.select(cfg, ADDRESS)
    if address is not None and not any(each.lstrip("+").startswith(f"{ADDRESS}=") for each in overrides):
        raise ConfigError(
            f"{ADDRESS}={address}: refused in a file, as a scheduler runs code here; say it on the command line"
        )


def _refuse_script(launcher: Mapping[str, Any]) -> None:
    # The submitit launcher writes its values into a script, and loads pickles from its folder.
    if "hydra_submitit_launcher" not in str(launcher.get("_target_")):
        return
    here = {"submitit_folder": f"${{hydra.sweep.dir}}/{FOLDER}/%j", "name": "${hydra.job.name}", "setup": None}
    for name, expected in here.items():
        if launcher.get(name, expected) != expected:
            raise ConfigError(f"hydra.launcher.{name}: refused, a configuration must not bring code along")
    more = launcher.get("additional_parameters") or {}
    require(isinstance(more, dict), "hydra.launcher.additional_parameters", more, "options of sbatch expected")
    one_word("hydra.launcher.additional_parameters", more, SBATCH)
    values = {key: value for key, value in launcher.items() if key not in (*here, "_target_", "additional_parameters")}
    one_word("hydra.launcher", {key: value for key, value in values.items() if value is not None}, values)


def _targets(node: Any, where: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "_target_":
                yield f"{where}._target_", value
            yield from _targets(value, f"{where}.{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _targets(value, f"{where}[{index}]")


def cores() -> int:
    """How many cores this process may use; in a job of Slurm, those that it has there."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = os.environ.get("SLURM_CPUS_ON_NODE", "")
    return min(here, int(given)) if re.fullmatch(r"[1-9]\d{0,5}", given, re.ASCII) else here
