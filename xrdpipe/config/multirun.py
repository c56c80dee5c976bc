"""Sweeps in Hydra: varied keys, number of concurrent jobs, context of a job."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from ..model.errors import ConfigError
from .arguments import quoted, translate
from .hydra_internals import run_jobs
from .loader import Loader, force_overrides, to_builtin
from .refusals import ADDRESS


class JobContext(NamedTuple):
    """Hydra's information on the current job: folder, number and overrides."""

    folder: Path
    number: int
    overrides: list[str]


def job_context() -> JobContext:
    """Return Hydra's information on the job that runs in this process."""
    hydra = HydraConfig.get()
    return JobContext(Path(hydra.runtime.output_dir), int(hydra.job.num), list(hydra.overrides.task))


def failed_job(overrides: Sequence[str]) -> JobReturn:
    """Return the result of a failed job for a launcher: the worst possible score."""
    return JobReturn(overrides=overrides, status=JobStatus.COMPLETED, _return_value=math.inf)


@dataclass(frozen=True)
class Multirun:
    """The configuration of a sweep.

    Attributes
    ----------
    loader
        Loader that composes it.
    config_name
        Name of the primary configuration.
    cfg
        Configuration of the sweep as Hydra composes it.
    overrides
        Overrides of the command line and of the configuration itself.
    """

    loader: Loader
    config_name: str
    cfg: DictConfig
    overrides: tuple[str, ...]

    @classmethod
    def of(cls, loader: Loader, overrides: Sequence[str], config_name: str) -> Multirun:
        """Compose a sweep; raise ConfigError for keys that cannot vary or must not be set in a file."""
        cfg = loader.load_configuration(config_name, list(overrides), RunMode.MULTIRUN)
        multirun = cls(loader, config_name, cfg, (*_params(cfg, overrides), *overrides))
        if "output_dir" in multirun.varied:
            raise ConfigError("output_dir: cannot vary in a sweep; each job has a numbered folder in it")
        if multirun.varies("sweep"):
            raise ConfigError(
                "sweep.rank: cannot vary in a sweep; several metrics are a list, [pattern_error,-peak_width]"
            )
        return multirun

    @cached_property
    def varied(self) -> dict[str, Override]:
        """Keys that vary, with their values."""
        swept = {each.get_key_element().lstrip("+"): each for each in self._parsed if each.is_sweep_override()}
        return swept | _searched(self.cfg)

    def varies(self, group: str) -> bool:
        """Return whether a group, or a key in it, varies."""
        return any(key.partition(".")[0] == group for key in self.varied)

    @cached_property
    def first(self) -> DictConfig:
        """Configuration of everything that does not vary."""
        fixed = [str(each.input_line) for each in self._parsed if not each.is_sweep_override()]
        return self.loader.compose(fixed, self.config_name)

    @property
    def values(self) -> dict[str, Any]:
        """Values of `first`, as plain Python."""
        return to_builtin(self.first)

    @property
    def named_folder(self) -> str | None:
        """Folder of ``hydra.sweep.dir``, or None for the default."""
        is_default = OmegaConf.to_yaml(self.cfg.hydra.sweep).partition("\n")[0] == "dir: ${output_dir}"
        return None if is_default else str(self.cfg.hydra.sweep.dir)

    @property
    def launcher(self) -> dict[str, Any]:
        """Configuration of the launcher, as plain Python."""
        launcher = OmegaConf.to_container(self.cfg.hydra.launcher, resolve=True)
        assert isinstance(launcher, dict)
        return {str(key): value for key, value in launcher.items()}

    @property
    def searches(self) -> bool:
        """Whether the sweeper searches, so that the score of each job decides the next ones."""
        return "n_trials" in self.cfg.hydra.sweeper

    @property
    def jobs_at_once(self) -> int:
        """Largest number of concurrent jobs: all, or the number that a searching sweeper requests."""
        sweeper = self.cfg.hydra.sweeper
        if not self.searches:
            return math.prod(len(list(each.sweep_iterator())) for each in self.varied.values())
        direction = str(getattr(sweeper.direction, "name", sweeper.direction))
        if direction != "minimize":
            message = "the lowest score is best; turn a sign in sweep.rank"
            raise ConfigError(f"hydra.sweeper.direction={sweeper.direction}: {message}")
        return int(sweeper.n_jobs)

    @property
    def job_options(self) -> tuple[str, ...]:
        """Command-line options that a job needs to run alone."""
        config_name = self.config_name if self.config_name != "config" else None
        options = {"--config-dir": self.loader.config_dir, "--config-name": config_name}
        single = ["hydra.mode=RUN"] if self.first.hydra.mode == RunMode.MULTIRUN else []
        return (*(f"{name}={value}" for name, value in options.items() if value is not None), *single)

    def run(self, task: Callable[[DictConfig], float], folder: Path) -> None:
        """Run ``task`` for every job, each in a numbered folder of ``folder``."""
        run_jobs(self.loader, self.config_name, task, [*self.overrides, f"hydra.sweep.dir={quoted(str(folder))}"])

    @cached_property
    def _parsed(self) -> list[Override]:
        return OverridesParser.create().parse_overrides(list(self.overrides))


def _params(cfg: DictConfig, overrides: Sequence[str]) -> list[str]:
    """Return the sweep of the configuration as overrides; the command line takes precedence."""
    if not cfg.hydra.sweeper._target_.endswith("BasicSweeper") or not cfg.hydra.sweeper.params:
        return []
    _refuse_address(cfg.hydra.sweeper.params)
    typed = {override.lstrip("+~").partition("=")[0] for override in overrides}
    words = [f"{key}={value}" for key, value in cfg.hydra.sweeper.params.items() if key.lstrip("+") not in typed]
    return [*force_overrides(translate(words, multirun=True)[0]), "hydra.sweeper.params=null"]


def _searched(cfg: DictConfig) -> dict[str, Override]:
    """Return the keys that a sweeper other than Hydra's own varies in addition to the command line."""
    if cfg.hydra.sweeper._target_.endswith("BasicSweeper"):
        return {}
    values = cfg.hydra.sweeper.get("params") or {}
    _refuse_address({**values, **(cfg.hydra.sweeper.get("search_space") or {})})
    parsed = OverridesParser.create().parse_overrides([f"{key}={value}" for key, value in values.items()])
    return {each.get_key_element().lstrip("+"): each for each in parsed if each.is_sweep_override()}


def _refuse_address(params: Mapping[str, Any]) -> None:
    if any(str(key).lstrip("+~").partition("=")[0].strip() == ADDRESS for key in params):
        raise ConfigError(f"hydra.sweeper.params: {ADDRESS} is refused in a file; say it on the command line")
