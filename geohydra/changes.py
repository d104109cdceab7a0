"""How one config differs from another, and values of single keys that are given later: small enough for a command line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Change = Sequence[Any]
"""`[path, value]`, or `[path]` where the key is gone; a path is a list of keys."""


def changes_between(base: Mapping[str, Any], other: Mapping[str, Any]) -> list[list[Any]]:
    """What makes the other config of the base one."""
    return list(_differences(base, other, []))


def changed(base: Mapping[str, Any], changes: Sequence[Change]) -> dict[str, Any]:
    """The base config with changes; the base itself stays as it is."""
    result = dict(base)
    for path, *value in changes:
        result = _with(result, path, value)
    return result


def value_at(config: Mapping[str, Any], dotted: str) -> Any:
    """The value of a dotted key. Raises KeyError where there is none."""
    value: Any = config
    for name in dotted.split("."):
        if not isinstance(value, Mapping):
            raise KeyError(dotted)
        value = value[name]
    return value


def has(config: Mapping[str, Any], dotted: str) -> bool:
    """Whether a config holds a dotted key."""
    try:
        value_at(config, dotted)
    except KeyError:
        return False
    return True


def with_values(config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A config with other values under dotted keys; keys that it does not hold are left out."""
    given = [[key.split("."), restored(value, value_at(config, key))] for key, value in values.items() if has(config, key)]
    return changed(config, given)


def restored(given: Any, before: Any) -> Any:
    """A value as it was before it went through a pipeline, which turns 1 into 1.0 or 1.0 into 1 and knows neither null nor nested data.

    `before` is the value that it replaces: one that equals it leaves everything as it is, and so every identity.
    """
    if isinstance(before, str) and isinstance(given, str):
        return given
    value = _read(given) if isinstance(given, str) else given
    if isinstance(before, bool) or isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer() and not isinstance(before, float):
        return int(value)
    return float(value) if isinstance(value, int) and isinstance(before, float) else value


def chosen_values(words: Sequence[str], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of dotted keys, from inputs. A word names a key, and behind it the keys that follow it: train.lr+optimizer.lr."""
    return {place: values[parameter_name(word.split("+")[0])] for word in words for place in word.split("+")}


def parameter_name(dotted: str) -> str:
    """A dotted key as the name of a pipeline's input: train.lr is train_lr."""
    return re.sub(r"[^a-z0-9]+", "_", dotted.lower()).strip("_")


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _differences(base: Mapping[str, Any], other: Mapping[str, Any], path: list[str]) -> Iterator[list[Any]]:
    yield from ([[*path, key]] for key in base if key not in other)
    for key, value in other.items():
        if key in base and isinstance(value, Mapping) and isinstance(base[key], Mapping):
            yield from _differences(base[key], value, [*path, key])
        elif key not in base or base[key] != value or type(base[key]) is not type(value):
            yield [[*path, key], value]


def _with(config: Mapping[str, Any], path: Sequence[str], value: Sequence[Any]) -> dict[str, Any]:
    first, *rest = path
    result = dict(config)
    if rest:
        result[first] = _with(result.get(first) or {}, rest, value)
    elif value:
        result[first] = value[0]
    else:
        result.pop(first, None)
    return result
