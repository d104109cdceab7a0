"""A job's config as a file of `conf/experiment/`: the options that it chose, and the values that differ from theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from geohydra.config.compose import PRIMARY, Composed, compose

PLACES = frozenset({"sweep", "runner", "tracking", "hardware", "cluster", "outputs", "store", "lock", "experiment"})
"""Where and how something runs, not what: an experiment leaves that open."""


Compose = Callable[[Sequence[str]], Composed]


def recipes(jobs: Mapping[str, Composed], *, name: str = PRIMARY) -> dict[str, str]:
    """The files of all jobs of a sweep, by their names: each as if it were the best. What they share is composed once."""
    known: dict[tuple[str, ...], Composed] = {}

    def make(words: Sequence[str]) -> Composed:
        if tuple(words) not in known:
            known[tuple(words)] = compose(list(words), name=name)
        return known[tuple(words)]

    return {called: recipe(job, title=best_title(called), name=name, make=make) for called, job in jobs.items()}


def best_title(job: str) -> str:
    """What stands above the config of the best job."""
    return f"The best job of a sweep: {job}."


def recipe(job: Composed, *, title: str, name: str = PRIMARY, make: Compose | None = None) -> str:
    """The text of the file. `experiment=<file>` composes what the job was made of, on any machine."""
    import yaml

    make = make or partial(compose, name=name)
    chosen = dict(job.choices or {})
    usual = dict(make([]).choices or {})
    options = {group: option for group, option in chosen.items() if group not in PLACES and usual.get(group) != option}
    base = make(list(_words(options, usual))).config
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
