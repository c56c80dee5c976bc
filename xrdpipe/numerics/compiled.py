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
    """Compile a function at its first call; cache the machine code on disk if numba finds a writable folder.

    A loop compiles in a tenth of a second where ``a[:] = b`` takes four: numba compiles the message about shapes too.
    """
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
def add_pixel(typing: Any, pixels: Any, nth: Any, table: Any, line: Any) -> Any:
    """Add four numbers to a line of a table, all of them at once, which compiled code does one by one.

    With a, b, c, d the numbers in ``pixels`` (float32, flat) from ``4 * nth`` on, the first four in ``table`` (float64,
    flat) from ``8 * line`` on grow by a, b, a**2 and b**2. The next two hold four float32: the lowest a, b, c, d.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        four_floats, four = ir.VectorType(ir.FloatType(), 4), ir.VectorType(ir.DoubleType(), 4)

        def pointer(array: int, row: int, length: int, kind: Any) -> Any:
            data = context.make_array(signature.args[array])(context, builder, arguments[array]).data
            first = builder.mul(arguments[row], ir.Constant(arguments[row].type, length))
            return builder.bitcast(builder.gep(data, [first]), kind.as_pointer())

        def shuffled(one: Any, other: Any, *lanes: int) -> Any:
            return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes))

        values, sums = builder.load(pointer(0, 1, 4, four_floats), align=4), pointer(2, 3, 8, four)
        lowest = builder.bitcast(builder.gep(sums, [ir.Constant(ir.IntType(64), 1)]), four_floats.as_pointer())
        kind = ir.FunctionType(four_floats, [four_floats, four_floats])
        minimum = cgutils.get_or_insert_function(builder.module, kind, "llvm.minnum.v4f32")
        least = builder.call(minimum, [values, builder.load(lowest, align=8)], fastmath=("nnan", "nsz"))
        builder.store(least, lowest, align=8)
        two = builder.fpext(shuffled(values, values, 0, 1), ir.VectorType(ir.DoubleType(), 2))
        added = shuffled(two, builder.fmul(two, two), 0, 1, 2, 3)
        builder.store(builder.fadd(builder.load(sums, align=8), added), sums, align=8)
        return context.get_dummy_value()

    return types.none(pixels, nth, table, line), generate
