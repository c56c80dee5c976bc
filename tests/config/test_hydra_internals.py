"""What xrdpipe relies on in Hydra's private modules, a test for each: a new version of Hydra must pass these."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from xrdpipe.config.hydra_internals import CachingLoader, application, argument_parser
from xrdpipe.config.loader import Loader, conf_dir
from xrdpipe.model.errors import ConfigError


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("load_configuration", ["self", "config_name", "overrides", "run_mode"]),
        ("load_sweep_config", ["self", "master_config", "sweep_overrides"]),
        ("_process_config_searchpath", ["self", "config_name", "parsed_overrides", "repo"]),
        ("_compose_config_from_defaults_list", ["self", "defaults", "repo"]),
        ("_load_single_config", ["self", "default", "repo"]),
    ],
)
def test_the_loader_has_the_methods_that_ours_extends(method: str, parameters: list[str]) -> None:
    signature = inspect.signature(getattr(ConfigLoaderImpl, method))
    assert list(signature.parameters)[: len(parameters)] == parameters


def test_a_repository_keeps_what_it_read_in_a_dictionary_that_can_be_replaced() -> None:
    loader = CachingLoader(conf_dir(), None)
    repository = CachingConfigRepository(loader.repository)
    repository.cache = kept = {}
    first = repository.load_config("config")
    assert first is not None
    assert kept
    assert repository.load_config("config") is not None


def test_every_composition_asks_for_its_search_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[str] = []
    monkeypatch.setattr(CachingLoader, "check_search_path", lambda self, path: asked.append(path))
    CachingLoader(conf_dir(), None).load_configuration("config", [f"hydra.searchpath=[{tmp_path}]"], RunMode.RUN)
    assert asked == [str(tmp_path)]
    with pytest.raises(ConfigError, match="not a folder"):
        Loader().check_search_path("pkg://os")


def test_shipped_files_are_read_once_a_process_and_configurations_are_not_shared() -> None:
    first, second = (Loader().compose(["mask=strict"]) for _ in range(2))
    assert first == second
    first.mask.alpha = 99.0
    assert Loader().compose(["mask=strict"]).mask.alpha == second.mask.alpha != 99.0


def test_the_parent_of_workers_may_skip_the_composition_of_jobs() -> None:
    loader = Loader()
    master = loader.load_configuration("config", ["mask.alpha=1,2"], RunMode.MULTIRUN)
    assert loader.load_sweep_config(master, ["mask.alpha=1"]).mask.alpha == 1
    loader.composed_by_workers = True
    assert loader.load_sweep_config(master, ["mask.alpha=1"]) is master
    assert loader.__getstate__()["composed_by_workers"] is False


def test_the_application_composes_with_our_loader_and_has_what_the_command_line_uses() -> None:
    loader = Loader()
    app: Any = application(loader)
    assert app.config_loader is loader
    assert all(callable(getattr(app, name)) for name in ("multirun", "show_cfg", "show_info", "shell_completion"))
    assert not GlobalHydra.instance().is_initialized()


def test_the_parser_knows_the_options_that_the_command_line_reads() -> None:
    parsed = argument_parser().parse_args(["-m", "--config-dir", "a", "--cfg", "job", "-p", "mask", "mask.alpha=1"])
    assert (parsed.multirun, parsed.config_dir, parsed.cfg, parsed.package) == (True, "a", "job", "mask")
    assert parsed.overrides == ["mask.alpha=1"]
    for option in ("config_name", "config_path", "shell_completion", "hydra_help", "info", "resolve", "help"):
        assert hasattr(parsed, option)
