"""What kfp is told of inputs: their types and defaults, and text in which it finds nothing of its own."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from typing import Any

from geohydra.identity import canonical


def in_order(value: Any) -> dict[str, Any]:
    """A message with all keys sorted, as it is written."""
    found: dict[str, Any] = json.loads(json.dumps(value, sort_keys=True))
    return found


def sign(function: Any, name: str, inputs: Mapping[str, tuple[Any, Any]], text: str, *, returns: Any = None) -> None:
    """Give a closure the name and the signature from which kfp reads an interface: a type and a default for each input."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    given = [inspect.Parameter(key, kind, annotation=hint, default=default) for key, (hint, default) in inputs.items()]
    function.__name__ = name
    function.__signature__ = inspect.Signature(given, return_annotation=returns or inspect.Signature.empty)
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in given} | ({"return": returns} if returns else {})
    function.__doc__ = text


def typed(value: Any) -> tuple[type, Any]:
    """The type of a pipeline's input, and its default: null, lists and nested values go as JSON text."""
    if isinstance(value, bool | int | float | str):
        return type(value), value
    return str, unplaced(canonical(value))


def unplaced(text: str) -> str:
    """Write `{{` inside strings by its escape, so that no engine takes it for a placeholder; JSON reads it back."""
    return re.sub(r'("(?:[^"\\]|\\.)*")', lambda match: match[0].replace("{{", "{\\u007b"), text)
