"""Errors that a user reads, and the helpers that word them."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass


class FrameError(ValueError):
    """A frame that cannot be processed; it fails alone, the message is its reason."""


class ConfigError(ValueError):
    """Something the user asked for cannot be; the message says what, where, and what would be right."""


def nearest(name: str, allowed: Any) -> str:
    """Say what would be right instead of ``name``: the nearest allowed name, and all where they are few."""
    names = [str(item) for item in allowed]
    close = get_close_matches(name, names, n=1)
    told = [f"did you mean {close[0]!r}?"] if close else []
    return " ".join([*told, f"allowed: {', '.join(names)}"] if not close or len(names) <= 8 else told)


def choice(key: str, value: Any, allowed: Any) -> None:
    """Raise ConfigError unless ``value`` is one of ``allowed``."""
    if value not in allowed:
        raise ConfigError(f"{key}={value}: unknown; {nearest(str(value), allowed)}")


def require(condition: bool, key: str, value: Any, expected: str) -> None:
    """Raise ConfigError, naming key and value, unless ``condition`` holds."""
    if not condition:
        raise ConfigError(f"{key}={value}: {expected}")


class InUseError(ConfigError):
    """Another run writes into the folder; the message says which."""
