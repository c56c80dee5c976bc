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


@intrinsic  # type: ignore[untyped-decorator]
def add_pixel(typing: Any, pixel: Any, nth: Any, sums: Any, lowest: Any, arc: Any) -> Any:
    """Add a pixel to the sums and lowest values of its arc, all of them at once, which numba does one by one.

    With a, b, c, d the numbers from ``pixel[4 * nth]`` on (float32), those of ``sums`` (float64) from ``4 * arc`` on grow
    by a, b, a**2, b**2, and those of ``lowest`` (float32) are at most a, b, c, d after it. Arrays are flat.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def pointer(array: int, row: int, kind: Any) -> Any:
            data = context.make_array(signature.args[array])(context, builder, arguments[array]).data
            first = builder.mul(arguments[row], ir.Constant(arguments[row].type, 4))
            return builder.bitcast(builder.gep(data, [first]), ir.VectorType(kind, 4).as_pointer())

        def shuffled(one: Any, other: Any, *lanes: int) -> Any:
            return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes))

        values = builder.load(pointer(0, 1, ir.FloatType()), align=4)
        at = pointer(3, 4, ir.FloatType())
        before = builder.load(at, align=4)
        builder.store(builder.select(builder.fcmp_ordered("<", values, before), values, before), at, align=4)
        two = builder.fpext(shuffled(values, values, 0, 1), ir.VectorType(ir.DoubleType(), 2))
        four = shuffled(two, builder.fmul(two, two), 0, 1, 2, 3)
        at = pointer(2, 4, ir.DoubleType())
        builder.store(builder.fadd(builder.load(at, align=8), four), at, align=8)
        return context.get_dummy_value()

    return types.none(pixel, nth, sums, lowest, arc), generate
