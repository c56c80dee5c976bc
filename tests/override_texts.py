"""Texts for overrides, and what Hydra makes of them."""

from __future__ import annotations

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hypothesis import settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from xrdpipe.config.arguments import translate

CONFIG = """
poni: null
images: null
output_dir: null
unit: q_A^-1
npt: 1480
background: {file: null, dark_file: null}
correction: {flat_file: null}
mask: {file: null, alpha: 2.0, edge: 30}
source: {folder: null}
plot: {color: null, label: null}
"""


SPECIAL = "'\"\\${}[](),=: \t\n#^&;!~@+-*?/%|<>.0159_eax\u00e9\u8cc7"


TEXT = st.text(st.sampled_from(SPECIAL) | st.characters(), max_size=20)


PATIENT = settings(deadline=None, max_examples=60)


def jobs(*words: str) -> list[list[str]]:
    """Hydra's overrides for each job of a sweep."""
    overrides = OverridesParser.create().parse_overrides(translate(words, multirun=True)[0])
    return BasicSweeper.split_arguments(overrides, None)[0]


def arrived(override: str) -> Any:
    """The value in the configuration after Hydra has read the override and OmegaConf has merged it."""
    read = OverridesParser.create().parse_override(override)
    config = OmegaConf.create({"value": None})
    OmegaConf.update(config, "value", read.value())
    return OmegaConf.to_container(config, resolve=True)["value"]  # type: ignore[index, call-overload]


def arrived_in_jobs(word: str) -> list[Any]:
    return [arrived(override) for (override,) in jobs(word)]


def reads(override: str) -> bool:
    try:
        OverridesParser.create().parse_override(override)
    except (HydraException, ValueError):
        return False
    return True
