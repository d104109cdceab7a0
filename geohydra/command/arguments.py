"""Words on the command line: flags that all composing verbs share, overrides in Hydra's grammar, sweeps."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from geohydra.errors import ConfigError

if TYPE_CHECKING:
    from geohydra.config.compose import Answer, Composed, Search


class Parser(argparse.ArgumentParser):
    """Says a mistake as all of geohydra does, instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError."""
        raise ConfigError(self.prog.removeprefix("geohydra "), message, f"see {self.prog} --help")


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be composed: overrides, whether to sweep, and the name of the primary config."""

    overrides: tuple[str, ...]
    multirun: bool
    name: str

    def compose(self, *, fixed: bool = False) -> list[Composed]:
        """One config, or those of all jobs of a sweep, of a search those of its first batch; none is checked yet.

        Raises ConfigError for a search where the jobs must be `fixed` beforehand.
        """
        if not self.multirun:
            from geohydra.config.compose import compose

            return [compose(self.overrides, name=self.name)]
        jobs: list[Composed] = []

        def collect(batch: Sequence[Composed]) -> Sequence[float]:
            jobs.extend(batch)
            return [0.0] * len(batch)

        def begin(search: Search) -> None:
            if fixed:
                hint = "take a grid, or run the search itself: each batch is a graph then"
                raise ConfigError("sweep", "a search decides while it runs what it tries, and has no graph beforehand", hint)
            jobs.extend(first_batch(search))

        self.sweep(collect, begin)
        return jobs

    def sweep(self, answer: Answer, search: Callable[[Search], None]) -> None:
        """Ask Hydra's sweeper for batches of jobs, and `answer` for what they came to; or `search` to decide by itself."""
        from geohydra.config.compose import Answers, sweep

        sweep(self.overrides, Answers(answer, search), name=self.name)


def first_batch(search: Search) -> list[Composed]:
    """The jobs that a search begins with; none is run."""
    from geohydra.sweeping.goals import goals_of

    study = search.settings.open_study(search.space, goals_of(search.base.config), None)
    return [search.compose(words, number) for number, words in study.batch()]


def parser(verb: str, description: str, *, examples: str = "") -> Parser:
    """A parser with its examples below the flags."""
    return Parser(
        prog=f"geohydra {verb}".strip(),
        description=description,
        epilog=f"examples:\n{examples}" if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_composing(to: argparse.ArgumentParser) -> None:
    """The flags that say what is composed, named as Hydra names them, and the overrides."""
    to.add_argument(
        "overrides", nargs="*", metavar="key=value", help="overrides in Hydra's grammar: task=..., train.lr=1e-3, +new=1, ~gone"
    )
    to.add_argument("-m", "--multirun", action="store_true", help="sweep: key=a,b  key=range(1,8,3)  group=glob(*)  sweep=optuna")
    to.add_argument("-cn", "--config-name", default="geohydra", metavar="NAME", help="a primary config of your own, conf/NAME.yaml")
    to.add_argument("-cd", "--config-dir", metavar="FOLDER", help="the folder of your own configs, where it is not ./conf")
    to.add_argument("--cfg", choices=("job", "hydra", "all"), help="print the composed config and stop")
    to.add_argument("-p", "--package", metavar="KEY", help="with --cfg: only this part of it")
    to.add_argument("--resolve", action="store_true", help="with --cfg: with interpolations resolved")
    to.add_argument("--info", metavar="TOPIC", help="searchpath, defaults, defaults-tree, config, plugins or all, and stop")


def parse(by: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """Flags and overrides may stand in any order."""
    return by.parse_intermixed_args(list(words))


def asked(given: argparse.Namespace) -> Asked | None:
    """What is to be composed; None where the words only wanted to see the config, which is then printed."""
    if given.config_dir is not None:
        os.environ["GEOHYDRA_CONF"] = given.config_dir
    if given.cfg is not None:
        from geohydra.config.compose import show

        show(given.overrides, kind=given.cfg, package=given.package, resolve=given.resolve, name=given.config_name)
        return None
    if given.info is not None:
        from geohydra.config.compose import inform

        inform(given.overrides, topic=given.info, name=given.config_name)
        return None
    return Asked(tuple(given.overrides), given.multirun, given.config_name)
