"""2D X-ray diffraction frames to 1D patterns: background, automatic masks, azimuthal integration, figures."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

__all__ = ["ConfigError", "Frame", "FrameError", "Pattern", "Setup", "Stage", "__version__", "integrate", "static_mask"]

_WHERE = {
    "integrate": "api",
    "static_mask": "api",
    "Frame": "model.frame",
    "FrameError": "model.errors",
    "Pattern": "model.pattern",
    "ConfigError": "model.errors",
    "Setup": "stages.stage",
    "Stage": "stages.stage",
}

try:
    __version__ = version("xrdpipe")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0"


def __getattr__(name: str) -> Any:
    # Lazy, so that `import xrdpipe` costs nothing and the command line answers --help at once.
    if name in _WHERE:
        from importlib import import_module

        return getattr(import_module(f".{_WHERE[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
