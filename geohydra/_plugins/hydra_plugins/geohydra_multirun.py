"""Hydra's multirun over one plan: a sweeper that expands or searches, and a launcher that asks for all jobs at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf

from geohydra.build import build
from geohydra.config.compose import Answers, Composed, Search, plain
from geohydra.config.mistakes import explained
from geohydra.config.repeated import Repeated
from geohydra.config.varied import dimension
from geohydra.errors import ConfigError
from geohydra.sweeping.settings import Grid, Searching


class PlanLauncher(Launcher):
    """Composes every job of a batch before any of them starts; how they run side by side is the runner's business."""

    def setup(self, *, hydra_context: HydraContext, task_function: Callable[..., Any], config: DictConfig) -> None:
        """`task_function` is the caller's Answers."""
        self._context = hydra_context
        self._answers: Answers = task_function  # type: ignore[assignment]
        self._config = config
        self._repeated = Repeated(hydra_context.config_loader, config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """One answer a job, in order; a job that went wrong carries its exception."""
        jobs = [self.compose(overrides, initial_job_idx + place) for place, overrides in enumerate(job_overrides)]
        answers = self._answers.batch(jobs)
        return [_returned(job, answer) for job, answer in zip(jobs, answers, strict=True)]

    def compose(self, overrides: Sequence[str], number: int | None) -> Composed:
        """One job; what it gets wrong is told with its number."""
        name = str(self._config.hydra.job.config_name)
        loader = self._context.config_loader
        try:
            with explained(overrides, lambda words: loader.load_configuration(name, words, RunMode.RUN)):
                return plain(self._repeated.load(overrides), number=number)
        except ConfigError as error:
            if number is None:
                raise
            raise ConfigError(f"job {number}: {error.where}", error.problem, error.hint) from error

    def search(self, search: Search) -> None:
        """Hand over what shall be searched."""
        self._answers.search(search)


class PlanSweeper(BasicSweeper):
    """Hydra's own grammar. Every combination as it makes them, composed once, where one that fails stops no other; or a search."""

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        """Launch batch by batch, or search where `sweep` in the config is a search."""
        if self.hydra_context is None or self.config is None or not isinstance(self.launcher, PlanLauncher):
            raise ConfigError("hydra/launcher", "geohydra's own sweeps start their jobs by themselves", "leave hydra/launcher as it is")
        node = OmegaConf.select(self.config, "sweep")
        given: Any = {} if node is None else OmegaConf.to_container(node, resolve=True)
        settings = build(given, where="sweep") if given else Grid()
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        known = [f"{key}={_word(value)}" for key, value in settings.space.items()]
        overrides = {one.get_key_element(): one for one in parser.parse_overrides([*self._parse_config(), *known, *arguments])}
        if isinstance(settings, Searching):
            self.launcher.search(_search(self.launcher, settings, list(overrides.values())))
            return []
        return self._product(list(overrides.values()), self.launcher)

    def _product(self, overrides: list[Override], launcher: Launcher) -> list[Sequence[JobReturn]]:
        for override in overrides:
            if override.is_interval_sweep():
                hint = "write choice(a,b) or range(start,stop,step), or search it with sweep=optuna"
                raise ConfigError(str(override.key_or_group), "an interval is no list of values", hint)
        returned = []
        number = 0
        for batch in self.split_arguments(overrides, self.max_batch_size):
            returned.append(launcher.launch(batch, initial_job_idx=number))
            number += len(batch)
        return returned


def _search(launcher: PlanLauncher, settings: Searching, overrides: Sequence[Override]) -> Search:
    fixed = tuple(_written(one) for one in overrides if not one.is_sweep_override())
    base = launcher.compose(fixed, None)
    varied = {one.get_key_element(): one for one in overrides if one.is_sweep_override()}
    space = {key: dimension(one, _at(base.config, key.lstrip("+"))) for key, one in varied.items()}
    return Search(
        settings=settings,
        base=base,
        space=space,
        fixed=fixed,
        compose=lambda words, number: launcher.compose([*fixed, *words], number),
    )


def _written(override: Override) -> str:
    key = override.get_key_element()
    return key if override.is_delete() and override.value() is None else f"{key}={override.get_value_element_as_str()}"


def _at(config: Any, dotted: str) -> Any:
    """The value of a key, where it has one."""
    for name in dotted.split("."):
        config = config.get(name) if isinstance(config, Mapping) else None
    return config


def _word(value: Any) -> str:
    """Values of a yaml list are what is tried."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _returned(job: Composed, answer: float | Exception) -> JobReturn:
    status = JobStatus.FAILED if isinstance(answer, Exception) else JobStatus.COMPLETED
    return JobReturn(overrides=list(job.overrides), status=status, _return_value=answer)


_HERE = "hydra_plugins.geohydra_multirun"
_SWEEPER = {"_target_": f"{_HERE}.PlanSweeper", "max_batch_size": None, "params": None}
ConfigStore.instance().store(group="hydra/launcher", name="plan", node={"_target_": f"{_HERE}.PlanLauncher"}, provider="geohydra")
ConfigStore.instance().store(group="hydra/sweeper", name="plan", node=_SWEEPER, provider="geohydra")
