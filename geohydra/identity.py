"""Fingerprints: the identity of an output, computed from all that it depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def canonical(value: Any) -> str:
    """One text for one value, and the same one after the value has been through JSON: keys are text and sorted as text.

    Not a number and infinity are refused (ValueError).
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """The first 16 hex digits of the SHA-256 of the canonical text."""
    return hashlib.sha256(canonical(value).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def fingerprint(
    step: str, *, version: int, config: Mapping[str, Any], needs: Mapping[str, str], shard: tuple[int, int] | None = None
) -> str:
    """The identity of a step's output: the step and its version, its own slice of the config, and the
    fingerprints of what it needs, by name; for one of several shards also which one of how many."""
    part = {} if shard is None else {"shard": list(shard)}
    return digest({"step": step, "version": version, "config": config, "needs": needs, **part})


def _plain(value: Any) -> Any:
    """JSON would turn a key such as 10 into text only after sorting, and then it would stand behind 2.

    Scalars are passed on without a call each: a lock holds millions.
    """
    kind = type(value)
    if kind is list or kind is tuple:
        return [item if type(item) in _SCALARS else _plain(item) for item in value]
    if kind is dict or isinstance(value, Mapping):
        pairs = value.items()
        return {key if type(key) is str else _key(key): item if type(item) in _SCALARS else _plain(item) for key, item in pairs}
    if isinstance(value, list | tuple):
        return _plain(list(value))
    return value


_SCALARS = frozenset({str, int, float, bool, type(None)})


def _key(key: Any) -> str:
    return key if isinstance(key, str) else json.dumps(key)
