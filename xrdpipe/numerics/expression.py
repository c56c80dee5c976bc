"""Expressions over values of a frame, such as ``temperature > 300``; no text is ever run as code."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from ..model.errors import ConfigError, FrameError

TABLE = re.compile(r"(.+?\.(?:csv|tsv|txt|dat)):(.+)", re.IGNORECASE)  # a column of a table, in place of an expression
LONGEST = 1000  # characters
DEEPEST = 40  # levels of brackets and operators
COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda value, values: value in values,
    ast.NotIn: lambda value, values: value not in values,
}
ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
FUNCTIONS: dict[str, Callable[..., float]] = {
    **{name: getattr(math, name) for name in ("sin", "cos", "tan", "sqrt", "exp", "log")},
    **{f"arc{name}": getattr(math, f"a{name}") for name in ("sin", "cos", "tan", "tan2")},
    "abs": abs,
}
EXPECTED = "numbers, texts, names, header['a key'], arithmetic, comparisons, and, or, not expected"


class Expression:
    """A parsed expression.

    It has numbers, texts, lists of them, names, ``header['any key']``, ``+ - * / // % **``, comparisons, ``in``,
    ``and``, ``or``, ``not`` and the functions sin, cos, tan, arcsin, arccos, arctan, arctan2, sqrt, exp, log and abs.
    Arithmetic is that of float64.

    Parameters
    ----------
    key
        The configuration key that the user set, for messages.
    text
        The expression.

    Attributes
    ----------
    is_condition
        True if the value is true or false by the form of the expression.

    Raises
    ------
    ConfigError
        The text is no such expression.
    """

    def __init__(self, key: str, text: str) -> None:
        self.key, self.text = key, text
        if not text.strip() or len(text) > LONGEST:
            raise ConfigError(f"{key}={text[:40]!r}: an expression of 1 to {LONGEST} characters expected")
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            reason = error.msg if isinstance(error, SyntaxError) else "it cannot be read"
            hint = "; == compares" if "=" in text and "==" not in text else ""
            raise ConfigError(f"{key}={text}: no expression ({reason}){hint}") from error
        self._check(self._tree, DEEPEST)
        self.is_condition = isinstance(self._tree, (ast.Compare, ast.BoolOp)) or (
            isinstance(self._tree, ast.UnaryOp) and isinstance(self._tree.op, ast.Not)
        )

    def __call__(self, value: Callable[[str, bool], Any]) -> Any:
        """Return the value of the expression.

        Parameters
        ----------
        value
            Returns the value of a name; its second argument is True for ``header['name']``. It may raise FrameError.

        Raises
        ------
        FrameError
            Values do not have the type that the expression needs, or the result is no finite number.
        """
        try:
            result = _evaluated(self._tree, value)
        except FrameError:
            raise
        except (TypeError, ArithmeticError, ValueError) as error:
            raise FrameError(f"{self.key}={self.text}: {error}") from error
        if isinstance(result, complex) or (isinstance(result, float) and not math.isfinite(result)):
            raise FrameError(f"{self.key}={self.text}: is {result}, a finite number is expected")
        return result

    def _check(self, node: ast.expr, depth: int) -> None:
        if depth == 0:
            raise ConfigError(f"{self.key}={self.text}: more than {DEEPEST} levels of brackets")
        for part in self._parts(node):
            self._check(part, depth - 1)

    def _parts(self, node: ast.expr) -> list[ast.expr]:
        """Return the expressions in a node; raise ConfigError if the node is not allowed."""
        match node:
            case ast.Constant(value=bool() | int() | float() | str()):
                return []
            case ast.Name():
                return []
            case ast.Subscript(value=ast.Name(id="header"), slice=ast.Constant(value=str())):
                return []
            case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.BoolOp(values=parts):
                return parts
            case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd(), operand=part):
                return [part]
            case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
                return [left, right]
            case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in COMPARISONS for op in ops):
                return [left, *others]
            case ast.Call(func=ast.Name(id=name), args=parts, keywords=[]) if name in FUNCTIONS:
                return parts
        raise ConfigError(f"{self.key}={self.text}: {ast.unparse(node)[:60]} is not allowed; {EXPECTED}")


def _evaluated(node: ast.expr, value: Callable[[str, bool], Any]) -> Any:
    """Return the value of a checked node."""
    match node:
        case ast.Constant(value=constant):
            return constant
        case ast.Name(id=name):
            return value(name, False)
        case ast.Subscript(slice=ast.Constant(value=str(name))):
            return value(name, True)
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return tuple(_evaluated(part, value) for part in parts)
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_evaluated(part, value) for part in parts)
        case ast.BoolOp(values=parts):
            return any(_evaluated(part, value) for part in parts)
        case ast.UnaryOp(op=op, operand=part):
            operand = _evaluated(part, value)
            return (
                not operand if isinstance(op, ast.Not) else -_number(operand) if isinstance(op, ast.USub) else operand
            )
        case ast.BinOp(left=left, op=op, right=right):
            return ARITHMETIC[type(op)](_number(_evaluated(left, value)), _number(_evaluated(right, value)))
        case ast.Compare(left=left, ops=ops, comparators=others):
            values = [_evaluated(part, value) for part in (left, *others)]
            return all(_compared(COMPARISONS[type(op)], *pair) for op, pair in zip(ops, pairwise(values), strict=True))
        case ast.Call(func=ast.Name(id=name), args=parts):
            return FUNCTIONS[name](*(_number(_evaluated(part, value)) for part in parts))
    raise AssertionError(ast.dump(node))  # `_parts` refuses it


def _compared(compare: Callable[[Any, Any], bool], left: Any, right: Any) -> bool:
    try:
        return compare(left, right)
    except TypeError as error:
        raise TypeError(f"{left!r} and {right!r} cannot be compared") from error


def _number(value: Any) -> float:
    if not isinstance(value, (bool, int, float)):
        raise TypeError(f"{value!r} is no number")
    return float(value)
