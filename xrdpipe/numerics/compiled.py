"""How loops are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile at the first call; keep the machine code on disk where numba finds a folder it can write to."""
    options = {"nogil": True, "error_model": "numpy"}
    try:
        result: Function = njit(cache=True, **options)(function)
    except RuntimeError:  # "cannot cache function: no locator available"
        result = njit(**options)(function)
    return result
