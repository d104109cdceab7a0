"""Keys that can be changed when a compiled file is run: with them change the keys that follow them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from geohydra.changes import value_at
from geohydra.config.compose import PRIMARY, Composed, compose
from geohydra.errors import ConfigError

_WHERE = "pipeline.parameters"

_ELSEWHERE = ("lock", "outputs", "pipeline")
"""Parts of a config that no step sees, or that are found before planning."""


def parameters_of(job: Composed, *, name: str = PRIMARY) -> dict[str, tuple[str, ...]]:
    """The keys that `pipeline.parameters` names, each with all keys that are to have its value: itself, and those that follow it.

    Raises ConfigError for one that others are computed from: a compiled file holds values, and these would stay as they are.
    """
    keys = (job.config.get("pipeline") or {}).get("parameters") or ()
    return {key: (key, *_followers(key, job, name)) for key in keys}


def _followers(key: str, job: Composed, name: str) -> list[str]:
    """The keys that get another value once this one does, as a composition shows that has another one."""
    value = value_at(job.config, key)
    if isinstance(value, Mapping) or value is None:
        return []
    other = compose([*job.overrides, f"{key}={_another(value)}"], name=name)
    before, after = dict(_leaves(job.config, "")), dict(_leaves(other.config, ""))
    moved = [place for place in {**before, **after} if place != key and before.get(place) != after.get(place)]
    moved = [place for place in moved if place.split(".")[0] not in _ELSEWHERE]
    computed = [place for place in moved if (before.get(place), after.get(place)) != (value, after[key])]
    if computed:
        problem = f"{computed[0]} is computed from {key!r}, and would stay as it is when a run is started with another value"
        raise ConfigError(_WHERE, problem, f"give {computed[0]} a value of its own")
    return moved


def _another(value: Any) -> str:
    """A value of the same kind, as a word of Hydra's grammar."""
    if isinstance(value, bool):
        return str(not value).lower()
    if isinstance(value, int | float):
        return str(value + 1)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[]" if value else "[1]"
    return "'another value'"


def _leaves(node: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from _leaves(value, f"{place}.{key}" if place else str(key))
    else:
        yield place, node
