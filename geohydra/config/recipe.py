"""A job's config as a file of `conf/experiment/`: the options that it chose, and the values that differ from theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from geohydra.config.compose import PRIMARY, Composed, compose

PLACES = frozenset({"sweep", "runner", "tracking", "hardware", "cluster", "outputs", "store", "lock", "experiment"})
"""Where and how something runs, not what: an experiment leaves that open."""


def recipe(job: Composed, *, title: str, name: str = PRIMARY) -> str:
    """The text of the file. `experiment=<file>` composes what the job was made of, on any machine."""
    import yaml

    chosen = dict(job.choices or {})
    usual = dict(compose([], name=name).choices or {})
    options = {group: option for group, option in chosen.items() if group not in PLACES and usual.get(group) != option}
    base = compose(list(_words(options, usual)), name=name).config
    values, gone = _difference(base, {key: value for key, value in job.config.items() if key not in PLACES})
    lines = ["# @package _global_", f"# {title}"]
    lines += [f"# To be the same, it also needs the override ~{key}" for key in gone]
    if options:
        lines += ["defaults:", *_defaults(options, usual)]
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120) if values else ""
    return "\n".join(lines) + "\n" + text


def _words(options: Mapping[str, str], usual: Mapping[str, str]) -> Iterator[str]:
    for group, option in options.items():
        yield f"{'' if group in usual else '+'}{group}={_option(option)}"


def _defaults(options: Mapping[str, str], usual: Mapping[str, str]) -> list[str]:
    """Hydra wants overrides last."""
    added = [f"  - /{group}: {_option(option)}" for group, option in options.items() if group not in usual]
    return added + [f"  - override /{group}: {_option(option)}" for group, option in options.items() if group in usual]


def _option(option: str) -> str:
    return "null" if option == "None" else option


def _difference(base: Mapping[str, Any], wanted: Mapping[str, Any], above: Sequence[str] = ()) -> tuple[dict[str, Any], list[str]]:
    """What has to be laid over a config to get another one; and the keys that no laying over takes away."""
    values: dict[str, Any] = {}
    gone = [".".join([*above, str(key)]) for key in base if key not in wanted and not (not above and key in PLACES)]
    for key, value in wanted.items():
        old = base.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            below, more = _difference(old, value, [*above, str(key)])
            values |= {key: below} if below else {}
            gone += more
        elif key not in base or old != value:
            values[key] = value
    return values, gone
