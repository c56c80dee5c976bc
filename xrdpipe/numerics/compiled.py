"""Decorator that compiles loops with numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a function at its first call; cache the machine code on disk if numba finds a writable folder."""
    return _compile(function)


def reordered(function: Function) -> Function:
    """Compile as `compiled` does, with sums in the order that suits the processor, which is faster.

    The order is the same at every call, but may differ between types of processors: in the last bits of a sum.
    """
    return _compile(function, fastmath={"reassoc", "contract", "nsz"})  # NaN and infinity keep their meaning


def _compile(function: Function, **options: Any) -> Function:
    options |= {"nogil": True, "error_model": "numpy"}
    try:
        result: Function = njit(cache=True, **options)(function)
    except RuntimeError:  # "cannot cache function: no locator available"
        result = njit(**options)(function)
    return result
