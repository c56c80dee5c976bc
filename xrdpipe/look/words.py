"""The command line of a view: the arguments that the program was started with, and what the page changed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..config.arguments import NUMBER_KEYS, PATH_KEYS, parse, quoted
from ..model.errors import ConfigError, choice, require
from ..stages.scalar_lookup import ScalarLookup

GROUPS = ("background", "correction", "mask", "integ")  # that the page can change
PLAIN = re.compile(r"[A-Za-z_][\w^/+-]*(?:\.[\w^/+-]+)*")  # text that needs no quotes
RESERVED = {"true", "false", "null", "none", "nan", "inf", "infinity", "on", "off", "yes", "no"}


@dataclass(frozen=True)
class Start:
    """The arguments of ``xrdpipe look`` that are those of a run.

    Attributes
    ----------
    options
        Hydra's options with their values: ``--config-dir`` and ``--config-name``.
    words
        Overrides and bare paths, as typed.
    images
        The bare paths among them.
    """

    options: tuple[str, ...]
    words: tuple[str, ...]
    images: tuple[str, ...]

    @classmethod
    def of(cls, arguments: Sequence[str]) -> Start:
        """Parse the arguments; ConfigError for a sweep."""
        command = parse(arguments)
        options = command.options
        if options.multirun or any(word.startswith("hydra.mode=") for word in command.overrides):
            raise ConfigError("look: shows one configuration, so no sweep; leave out -m")
        given = {"--config-dir": options.config_dir, "--config-name": options.config_name}
        pairs = (word for name, value in given.items() if value for word in (name, value))
        return cls(tuple(pairs), tuple(options.overrides), tuple(command.images))

    def changed(self, choices: Mapping[str, str], values: Mapping[str, str]) -> Start:
        """Return the arguments with other options of groups, and other values, as typed."""
        images = set(self.images)
        kept = (word for word in self.words if word in images or _key(word) not in (*choices, *values))
        news = (f"{key}={text}" for key, text in {**choices, **values}.items())
        return Start(self.options, (*kept, *news), self.images)

    @property
    def overrides(self) -> dict[str, str]:
        """Key or group -> value, as typed."""
        return {_key(word): word.partition("=")[2] for word in self.words if word not in self.images}


def _key(word: str) -> str:
    return word.lstrip("+~").partition("=")[0]


def checked_values(values: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return values of the page as they are typed, key -> text.

    Parameters
    ----------
    values
        Pairs of a key and its value as JSON.

    Raises
    ------
    ConfigError
        The page must not set the key, or the value names a file.
    """
    found = {}
    for key, text in values:
        group, _, name = key.partition(".")
        require(bool(re.fullmatch(r"\w{1,64}", name)), key[:64], text[:64], "a key of a group expected")
        choice("values", group, GROUPS)
        value = json.loads(text)
        table = key in NUMBER_KEYS and isinstance(value, str) and value and ScalarLookup(key, value).table
        if key in PATH_KEYS or table or (key == "integ.edges" and isinstance(value, str)):
            raise ConfigError(f"{key}={value}: a file is said on the command line alone")
        found[key] = typed(key, value)
    return found


def typed(key: str, value: Any) -> str:
    """Return a value as it is typed on the command line, so that it arrives unchanged."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        require(math.isfinite(value), key, value, "a finite number expected")
        return repr(value)
    if isinstance(value, list):
        return f"[{','.join(typed(key, each) for each in value)}]"
    require(isinstance(value, str), key, str(value)[:64], "a number, text, true, false, null or a list expected")
    plain = PLAIN.fullmatch(value) and value.lower() not in RESERVED
    return str(value) if plain else quoted(value)
