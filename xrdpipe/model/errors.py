"""Errors that users read, and helpers that word them."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any


class FrameError(ValueError):
    """Error of a frame that cannot be processed; the other frames go on, and the message is the reason."""


class ConfigError(ValueError):
    """Error in the user's settings; the message says what is wrong, where, and what would be right."""


def nearest(name: str, allowed: Any) -> str:
    """Return a hint at the allowed names.

    Parameters
    ----------
    name
        The name that is not allowed.
    allowed
        Iterable of allowed names.

    Returns
    -------
    str
        The nearest allowed name, followed by all of them if there are at most eight; all of them if none is near.
    """
    names = [str(item) for item in allowed]
    close = get_close_matches(name, names, n=1)
    hint = [f"did you mean {close[0]!r}?"] if close else []
    return " ".join([*hint, f"allowed: {', '.join(names)}"] if not close or len(names) <= 8 else hint)


def choice(key: str, value: Any, allowed: Any) -> None:
    """Raise ConfigError unless ``value`` is one of ``allowed``."""
    if value not in allowed:
        raise ConfigError(f"{key}={value}: unknown; {nearest(str(value), allowed)}")


def require(condition: bool, key: str, value: Any, expected: str) -> None:
    """Raise ConfigError with ``key``, ``value`` and ``expected`` unless ``condition`` holds."""
    if not condition:
        raise ConfigError(f"{key}={value}: {expected}")


class InUseError(ConfigError):
    """Error of a folder that another run writes to; the message names that run."""
