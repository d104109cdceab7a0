"""Conditions on the properties of features, such as `height > 10 and type in ('a', 'b')`: parsed, never run as code."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Truth = NDArray[np.bool_]
Columns = Mapping[str, NDArray[Any]]
"""Values of each property, an object array each; missing ones are None or not a number."""

_QUOTED = re.compile(r"`([^`]+)`")
_COMPARED: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = MappingProxyType(
    {ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge}
)
_KNOWN = "known are and, or, not, ==, !=, <, <=, >, >=, in ('a', 'b'), not in, is None, is not None"


class Where:
    """A condition that is true or false for each feature.

    A name is a property, in backticks where it is no plain word: `` `addr:street` ``. A missing value fits nothing but `is None`, and
    what `not` makes of that. Text that is compared with a number counts as the number that it spells.
    """

    def __init__(self, text: str) -> None:
        """Raises ValueError, in a sentence, for what is no condition."""
        self.text = text
        words = {name: f"quoted{place}_" for place, name in enumerate(dict.fromkeys(_QUOTED.findall(text)))}
        self._names = {word: name for name, word in words.items()}
        try:
            self._root = ast.parse(_QUOTED.sub(lambda found: words[found[1]], text).strip(), mode="eval").body
        except (SyntaxError, ValueError) as cause:
            hint = "; equal is written ==" if re.search(r"[^=<>!]=[^=]", text) else ""
            raise ValueError(f"{text!r} is no condition{hint}") from cause
        self._check(self._root)

    @property
    def properties(self) -> frozenset[str]:
        """Names of the properties that it asks for."""
        return frozenset(self._name(node) for node in ast.walk(self._root) if isinstance(node, ast.Name))

    def __call__(self, columns: Columns) -> Truth:
        """One answer a feature; `columns` hold all `properties`."""
        return self._truth(self._root, columns)

    def _name(self, node: ast.Name) -> str:
        return str(self._names.get(node.id, node.id))

    def _check(self, node: ast.expr) -> None:
        if isinstance(node, ast.BoolOp):
            for value in node.values:
                self._check(value)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            self._check(node.operand)
        elif not (isinstance(node, ast.Compare) and len(node.ops) == 1 and _comparable(node.left, node.ops[0], node.comparators[0])):
            raise ValueError(f"{self.text!r} is no condition at {ast.unparse(node)!r}; {_KNOWN}")

    def _truth(self, node: ast.expr, columns: Columns) -> Truth:
        if isinstance(node, ast.BoolOp):
            joined = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
            return np.asarray(joined.reduce([self._truth(value, columns) for value in node.values]))
        if isinstance(node, ast.UnaryOp):
            return ~self._truth(node.operand, columns)
        assert isinstance(node, ast.Compare)
        left, right = self._side(node.left, columns), self._side(node.comparators[0], columns)
        return _compared(left, node.ops[0], right)

    def _side(self, node: ast.expr, columns: Columns) -> Any:
        return columns[self._name(node)] if isinstance(node, ast.Name) else ast.literal_eval(node)


def as_text(value: Any) -> str | None:
    """A value of a property as text: whole numbers without a point, missing ones as None."""
    if value is None or value != value or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


def _comparable(left: ast.expr, op: ast.cmpop, right: ast.expr) -> bool:
    """A property beside a constant, another property, a list of constants, or None, as the sign wants it."""
    if isinstance(op, ast.Is | ast.IsNot):
        return isinstance(left, ast.Name) and isinstance(right, ast.Constant) and right.value is None
    if isinstance(op, ast.In | ast.NotIn):
        return isinstance(left, ast.Name) and isinstance(right, ast.Tuple | ast.List) and all(_constant(item) for item in right.elts)
    return (isinstance(left, ast.Name) or isinstance(right, ast.Name)) and all(
        isinstance(s, ast.Name) or _constant(s) for s in (left, right)
    )


def _constant(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
        return isinstance(node, ast.Constant) and type(node.value) in (int, float)
    return isinstance(node, ast.Constant) and isinstance(node.value, str | int | float)


def _compared(left: Any, op: ast.cmpop, right: Any) -> Truth:
    if isinstance(op, ast.Is | ast.IsNot):
        missing: Truth = np.array([as_text(value) is None for value in left], dtype=bool)
        return missing if isinstance(op, ast.Is) else ~missing
    if isinstance(op, ast.In | ast.NotIn):
        fits: Truth = np.zeros(len(left), dtype=bool)
        for item in right:
            fits |= _compared(left, ast.Eq(), item)
        present = np.array([as_text(value) is not None for value in left], dtype=bool)
        return fits if isinstance(op, ast.In) else ~fits & present
    compare = _COMPARED[type(op)]
    numeric = any(type(side) in (int, float) for side in (left, right)) or all(_spelt(side) for side in (left, right))
    one, other = (_numbers(side) if numeric else _texts(side) for side in (left, right))
    with np.errstate(invalid="ignore"):
        return np.asarray(compare(one, other) & _present(one) & _present(other), dtype=bool)


def _spelt(side: Any) -> bool:
    """Whether a property holds numbers."""
    return isinstance(side, np.ndarray) and all(isinstance(value, int | float | np.number) or value is None for value in side)


def _numbers(side: Any) -> Any:
    if not isinstance(side, np.ndarray):
        return side
    return np.array([_number(value) for value in side], dtype=np.float64)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _texts(side: Any) -> Any:
    """Text, the missing ones as an empty one, which no value has."""
    if not isinstance(side, np.ndarray):
        return str(side)
    return np.array([as_text(value) or "" for value in side], dtype=np.str_)


def _present(side: Any) -> Any:
    if not isinstance(side, np.ndarray):
        return True
    return side != "" if side.dtype.kind == "U" else ~np.isnan(side)
