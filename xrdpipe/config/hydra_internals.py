"""All uses of Hydra's private modules (`hydra._internal`).

Hydra's public API composes only in its own global state, and cannot check a configuration before its parts are
instantiated. So the loader below hooks into Hydra's. A new version of Hydra changes only this file;
`tests/config/test_hydra_internals.py` has a test for each thing that is relied on.
"""

from __future__ import annotations

import warnings
from argparse import ArgumentParser
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra.core.plugins import Plugins
from hydra.core.utils import setup_globals
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf

_shipped: dict[tuple[str | None, ...], dict[str, Any]] = {}  # parsed configuration files, by search path


def argument_parser() -> ArgumentParser:
    """Return the parser of Hydra's own options (``--multirun``, ``--cfg``, ``--config-dir``, ...)."""
    from hydra._internal.utils import get_args_parser

    parser: ArgumentParser = get_args_parser()
    return parser


def application(loader: CachingLoader) -> Any:
    """Return Hydra's application object, which composes with ``loader``.

    Only its methods ``multirun``, ``show_cfg``, ``show_info`` and ``shell_completion`` are used.
    """
    from hydra._internal.hydra import Hydra

    return Hydra("xrdpipe", loader)


class CachingLoader(ConfigLoaderImpl):
    """Loader that reads each shipped file once per process, and imports no package of a search path.

    Parameters
    ----------
    shipped
        Folder of the shipped configuration.
    config_dir
        Folder that is searched before it, or None.
    """

    def __init__(self, shipped: Path, config_dir: str | None) -> None:
        setup_globals()
        path = ConfigSearchPathImpl()
        path.append("hydra", "pkg://hydra.conf")
        if config_dir is not None:  # first, so that a file of the same name wins
            path.append("command-line", str(Path(config_dir).absolute()))
        path.append("main", str(shipped))
        for plugin in Plugins.instance().discover(SearchPathPlugin):
            plugin().manipulate_search_path(path)  # type: ignore[attr-defined]
        path.append("schema", "structured://")
        super().__init__(path)
        self._files = {} if config_dir else _shipped.setdefault(tuple(each.path for each in path.get_path()), {})
        self.composed_by_workers = False  # workers compose the jobs of a sweep

    def check_search_path(self, path: str) -> None:
        """Raise ConfigError if ``path`` of ``hydra.searchpath`` must not be searched."""

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Return the configuration of one job.

        In the parent of worker processes, it is the unchanged configuration of the sweep if the workers compose.
        """
        return master_config if self.composed_by_workers else super().load_sweep_config(master_config, sweep_overrides)

    def _process_config_searchpath(self, config_name: str | None, parsed_overrides: Any, repo: Any) -> None:
        repo.cache = self._files  # all jobs of a sweep compose from the same files
        primary = repo.load_config(config_path=config_name) if config_name else None
        values = [OmegaConf.select(primary.config, "hydra.searchpath")] if primary else []
        values += [each.value() for each in parsed_overrides if each.get_key_element() == "hydra.searchpath"]
        for path in (path for paths in values if paths is not None for path in paths):
            repo.cache = {}
            self.check_search_path(str(path))
        super()._process_config_searchpath(config_name, parsed_overrides, repo)

    def _compose_config_from_defaults_list(self, defaults: Any, repo: Any) -> DictConfig:
        # Most configurations differ only in values, which Hydra sets later.
        if repo.cache is not self._files:
            return super()._compose_config_from_defaults_list(defaults, repo)
        if (key := repr(defaults)) not in self._files:
            self._files[key] = super()._compose_config_from_defaults_list(defaults, repo)
        config: DictConfig = deepcopy(self._files[key])
        return config

    def _load_single_config(self, default: Any, repo: Any) -> Any:
        with warnings.catch_warnings():  # our option of this name extends the launcher's own on purpose
            warnings.filterwarnings("ignore", r"\s*'hydra/launcher/submitit_local' is validated", UserWarning)
            return super()._load_single_config(default, repo)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "composed_by_workers": False}


def run_jobs(loader: CachingLoader, config_name: str, task: Any, overrides: Sequence[str]) -> None:
    """Run ``task`` for every job of a sweep, with the sweeper and launcher of the configuration."""
    application(loader).multirun(config_name, task, list(overrides))
