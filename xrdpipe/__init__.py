"""2D X-ray diffraction frames to 1D patterns: background, automatic masks, azimuthal integration, figures."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

__all__ = [
    "Cake", "Calibration", "ConfigError", "Frame", "FrameError", "Pattern", "Run", "Setup", "Stage", "StaticMask",
    "__version__", "calibrate", "integrate", "load", "static_mask",
]  # fmt: skip

_MODULES = {
    "calibrate": "api.calibrate",
    "integrate": "api.integrate",
    "load": "api.load",
    "static_mask": "api.integrate",
    "Cake": "model.cake",
    "Calibration": "api.calibrate",
    "Frame": "model.frame",
    "FrameError": "model.errors",
    "Pattern": "model.pattern",
    "ConfigError": "model.errors",
    "Run": "execution.result",
    "Setup": "stages.stage",
    "Stage": "stages.stage",
    "StaticMask": "model.static_mask",
}

try:
    __version__ = version("xrdpipe")
except PackageNotFoundError:  # the package is not installed
    __version__ = "0"


def __getattr__(name: str) -> Any:
    # Lazy imports keep `import xrdpipe` and `xrdpipe --help` fast.
    if name in _MODULES:
        from importlib import import_module

        return getattr(import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
