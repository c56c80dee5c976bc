"""Compilation of loops with numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

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


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typing: Any, array: Any, index: Any) -> Any:
    """Tell the processor, in compiled code, that ``array[index]`` will be written; any index is allowed."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(data, [arguments[1]]), pointer)
        write, keep, is_data = number(1), number(3), number(1)
        builder.call(function, [address, write, keep, is_data])
        return context.get_dummy_value()

    return types.none(array, index), generate
