"""Arithmetic on bands, written as people write it: `(nir - red) / (nir + red)`. Nothing else can be said, and nothing is run."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geohydra.errors import ConfigError

Floats = NDArray[np.floating[Any]]

_TWO: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = MappingProxyType(
    {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.Pow: operator.pow}
)
_ONE: Mapping[type[ast.unaryop], Callable[[Any], Any]] = MappingProxyType({ast.USub: operator.neg, ast.UAdd: operator.pos})
_CALLS: Mapping[str, Callable[..., Any]] = MappingProxyType({"abs": np.abs, "min": np.minimum, "max": np.maximum, "sqrt": np.sqrt})
_LONGEST = 500


class Expression:
    """One number for each pixel, from its bands. Raises ConfigError where the text is no arithmetic of names and numbers.

    Known are + - * / **, brackets, and abs(a), sqrt(a), min(a, b), max(a, b). What has no value (0 / 0) is NaN.
    """

    def __init__(self, text: str, *, where: str = "expression") -> None:
        self.text = text
        self._where = where
        self._tree = self._parsed()
        calls = {id(node.func) for node in ast.walk(self._tree) if isinstance(node, ast.Call)}
        names = [node.id for node in ast.walk(self._tree) if isinstance(node, ast.Name) and id(node) not in calls]
        self.names = tuple(dict.fromkeys(names))

    def __call__(self, bands: Mapping[str, NDArray[Any]]) -> Floats:
        """The value of every pixel; integers are taken as float32."""
        known = {name: np.asarray(bands[name]) for name in self.names}
        floats = {name: values if values.dtype.kind == "f" else values.astype(np.float32) for name, values in known.items()}
        with np.errstate(all="ignore"):
            return np.asarray(self._value(self._tree, floats))

    def _parsed(self) -> ast.expr:
        hint = "such as (nir - red) / (nir + red)"
        if len(self.text) > _LONGEST:
            raise ConfigError(self._where, f"is longer than {_LONGEST} signs", hint)
        try:
            tree = ast.parse(self.text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError) as cause:
            raise ConfigError(self._where, f"{self.text!r} is no arithmetic", hint) from cause
        self._refuse(tree)
        return tree

    def _refuse(self, node: ast.expr) -> None:
        """All but arithmetic."""
        parts: list[ast.expr]
        match node:
            case ast.Name():
                parts = []
            case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
                parts = []
            case ast.BinOp() if type(node.op) in _TWO:
                parts = [node.left, node.right]
            case ast.UnaryOp() if type(node.op) in _ONE:
                parts = [node.operand]
            case ast.Call(func=ast.Name(id=name), keywords=[]) if name in _CALLS and len(node.args) == (2 if name in ("min", "max") else 1):
                parts = node.args
            case _:
                told = ast.unparse(node)
                raise ConfigError(self._where, f"{told!r} is no arithmetic of bands", "known are + - * / ** abs sqrt min max and brackets")
        for part in parts:
            self._refuse(part)

    def _value(self, node: ast.expr, bands: Mapping[str, Floats]) -> Any:
        match node:
            case ast.Name():
                return bands[node.id]
            case ast.Constant():
                return node.value
            case ast.BinOp():
                return _TWO[type(node.op)](self._value(node.left, bands), self._value(node.right, bands))
            case ast.UnaryOp():
                return _ONE[type(node.op)](self._value(node.operand, bands))
            case ast.Call(func=ast.Name(id=name)):
                return _CALLS[name](*(self._value(part, bands) for part in node.args))
        raise AssertionError(f"{type(node).__name__} was refused before")
