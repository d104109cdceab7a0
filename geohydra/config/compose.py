"""The one door to Hydra: from words on the command line to plain, resolved configs.

Hydra's own object is driven directly, not through `hydra.main`: that composes every config twice, writes folders of
its own and ends the process on an error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from geohydra.config.folders import shipped_conf

if TYPE_CHECKING:
    from hydra._internal.hydra import Hydra
    from omegaconf import DictConfig

    from geohydra.sweeping.settings import Searching
    from geohydra.sweeping.space import Space

PRIMARY = "geohydra"
"""The primary config is `geohydra.yaml`, so that a stranger's `conf/config.yaml` never replaces it."""

_PLUGINS = Path(__file__).resolve().parents[1] / "_plugins"


@dataclass(frozen=True, slots=True)
class Composed:
    """One config, resolved to plain values; what was overridden; which option of each group was chosen.

    `???` marks a value that is still needed. `number` counts the jobs of a sweep from 0; a single run has none.
    """

    config: Mapping[str, Any]
    overrides: tuple[str, ...] = ()
    choices: Mapping[str, str] | None = None
    number: int | None = None


Answer = Callable[[Sequence[Composed]], Sequence[float | Exception]]
"""Takes all jobs of a batch at once; gives for each its objective, or what went wrong."""


@dataclass(frozen=True, slots=True)
class Search:
    """A sweep that decides while it runs: what it varies, all else that was overridden, how a job is made of words.

    `base` is the config where nothing is varied. `compose` takes the words of a trial and its number.
    """

    settings: Searching
    base: Composed
    space: Space
    fixed: tuple[str, ...]
    compose: Callable[[Sequence[str], int], Composed]


@dataclass(frozen=True, slots=True)
class Answers:
    """Who performs a sweep: its batches of jobs where they are known beforehand, else a search."""

    batch: Answer
    search: Callable[[Search], None]


@contextmanager
def _hydra() -> Iterator[Hydra]:
    """Hydra's engine on the user's and the shipped configs. A sweep may compose something else while it is open."""
    if str(_PLUGINS) not in sys.path:
        sys.path.append(str(_PLUGINS))
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    standing = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(shipped_conf()), job_name=PRIMARY, version_base="1.3"):
            engine = GlobalHydra.instance().hydra
            if engine is None:
                raise RuntimeError("Hydra did not start")
            yield engine
    finally:
        GlobalHydra.instance().hydra = standing


@contextmanager
def _explained_hydra(overrides: Sequence[str], name: str) -> Iterator[Hydra]:
    from geohydra.config.mistakes import explained

    with _hydra() as engine, explained(overrides, lambda words: _load(engine, name, words)):
        yield engine


def _load(engine: Hydra, name: str, overrides: Sequence[str]) -> DictConfig:
    from hydra.types import RunMode

    return engine.compose_config(name, list(overrides), run_mode=RunMode.RUN)


def compose(overrides: Sequence[str], *, name: str = PRIMARY) -> Composed:
    """One config. Raises ConfigError for what the words or the files get wrong."""
    with _explained_hydra(overrides, name) as engine:
        return plain(_load(engine, name, overrides))


def sweep(overrides: Sequence[str], answers: Answers, *, name: str = PRIMARY) -> None:
    """Expand the sweep grammar with Hydra's sweeper, which asks once for each batch of jobs, or hands over a search."""
    chosen = {word.lstrip("+").partition("=")[0] for word in overrides}
    words = list(overrides)
    for group, option in (("hydra/sweeper", "plan"), ("hydra/launcher", "plan")):
        if group not in chosen:
            words.append(f"{group}={option}")
    with _explained_hydra(overrides, name) as engine:
        engine.multirun(name, cast("Any", answers), [*words, "hydra.mode=MULTIRUN"], with_log_configuration=False)


def plain(config: DictConfig, *, number: int | None = None) -> Composed:
    """A composed config as dicts and lists, interpolations resolved, Hydra's own part taken off."""
    from omegaconf import OmegaConf, open_dict

    words: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
    choices = {key: str(value) for key, value in config.hydra.runtime.choices.items() if not str(key).startswith("hydra/")}
    with open_dict(config):
        del config["hydra"]
    values: Any = OmegaConf.to_container(config, resolve=True)
    return Composed({str(key): value for key, value in values.items()}, tuple(words), choices, number)


def show(overrides: Sequence[str], *, kind: str, package: str | None, resolve: bool, name: str = PRIMARY) -> None:
    """Print the composed config as yaml: `job`, `hydra` or `all`."""
    with _explained_hydra(overrides, name) as engine:
        engine.show_cfg(name, list(overrides), cfg_type=kind, package=package, resolve=resolve)


def inform(overrides: Sequence[str], *, topic: str, name: str = PRIMARY) -> None:
    """Print what Hydra knows of itself: searchpath, defaults, defaults-tree, config, plugins."""
    with _explained_hydra(overrides, name) as engine:
        engine.show_info(topic, name, list(overrides))


def complete(overrides: Sequence[str]) -> None:
    """Print a shell's completion script, or the completions of the line in COMP_LINE."""
    with _hydra() as engine:
        engine.shell_completion(PRIMARY, list(overrides))
