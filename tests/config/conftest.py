"""A small Hydra configuration, and a folder to be in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from override_texts import CONFIG

from xrdpipe.config.arguments import translate


@pytest.fixture(scope="session")
def conf(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("conf")
    (folder / "config.yaml").write_text(CONFIG)
    return str(folder)


@pytest.fixture
def compose_words(conf: str) -> Any:
    def composed(*words: str, hydra: bool = False) -> Any:
        """The configuration Hydra composes from these words."""
        with initialize_config_dir(conf, version_base=None):
            return compose("config", overrides=translate(words)[0], return_hydra_config=hydra)

    return composed


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path
