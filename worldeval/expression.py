"""Expressions over named values, such as `success and probability > 0.8`.

The text is parsed, never executed. It may contain column names, numbers, texts, comparisons,
arithmetic, `and`, `or`, `not` and `in`.
"""

import ast
import operator
from collections.abc import Callable, Collection, Mapping
from typing import Any

from worldeval.errors import UserError, did_you_mean

LONGEST = 1000  # characters; far more than anybody would write

COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, items: item in items,
    ast.NotIn: lambda item, items: item not in items,
}
ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


class Expression:
    """A parsed expression over `columns`; call it with a record to see whether it is true."""

    def __init__(self, text: str, columns: Collection[str], *, what: str = "--select") -> None:
        """Parse `text`; `what` names it in errors."""
        self.text, self._what = text, what
        if len(text) > LONGEST:
            raise UserError(f"{what} has {len(text)} characters; at most {LONGEST} are allowed.")
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            raise UserError(
                f"{what} {text!r} cannot be parsed ({error}). {_example(columns)}"
            ) from error
        self._check(self._tree, columns)

    def __call__(self, record: Mapping[str, Any]) -> bool:
        """Whether the expression is true for `record`."""
        try:
            return bool(self._value(self._tree, record))
        except (TypeError, ZeroDivisionError) as error:
            raise UserError(
                f"{self._what} {self.text!r} cannot be evaluated for {dict(record)}: {error}."
            ) from error

    def _check(self, node: ast.expr, columns: Collection[str]) -> None:
        match node:
            case ast.Name(id=name):
                if name not in columns:
                    raise UserError(
                        f"{self._what} {self.text!r}: there is no column '{name}'."
                        f"{did_you_mean(name, columns)}"
                    )
            case ast.Constant(value=bool() | int() | float() | str()):
                return
            case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
                self._check(operand, columns)
            case ast.BoolOp(values=values) | ast.Tuple(elts=values) | ast.List(elts=values):
                for value in values:
                    self._check(value, columns)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
                self._check(left, columns)
                self._check(right, columns)
            case ast.Compare(left=left, ops=ops, comparators=rest) if all(
                type(op) in COMPARISONS for op in ops
            ):
                for value in (left, *rest):
                    self._check(value, columns)
            case _:
                raise UserError(
                    f"{self._what} {self.text!r}: {ast.unparse(node)!r} is not allowed there. "
                    f"{_example(columns)}"
                )

    def _value(self, node: ast.expr, record: Mapping[str, Any]) -> Any:
        match node:
            case ast.Name(id=name):
                return record[name]
            case ast.Constant(value=value):
                return value
            case ast.Tuple(elts=items) | ast.List(elts=items):
                return [self._value(item, record) for item in items]
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return not self._value(operand, record)
            case ast.UnaryOp(operand=operand):
                return -self._value(operand, record)
            case ast.BoolOp(op=ast.And(), values=values):
                return all(self._value(value, record) for value in values)
            case ast.BoolOp(values=values):
                return any(self._value(value, record) for value in values)
            case ast.BinOp(left=left, op=op, right=right):
                return ARITHMETIC[type(op)](self._value(left, record), self._value(right, record))
            case ast.Compare(left=left, ops=ops, comparators=rest):
                values = [self._value(value, record) for value in (left, *rest)]
                pairs = zip(values, ops, values[1:], strict=False)
                return all(COMPARISONS[type(op)](a, b) for a, op, b in pairs)
            case _:  # _check rejects everything else
                raise AssertionError(ast.dump(node))


def _example(columns: Collection[str]) -> str:
    return (
        "Compare columns with numbers and texts, joined by and, or, not: "
        f'"success and probability > 0.8". Columns: {", ".join(sorted(columns))}.'
    )
