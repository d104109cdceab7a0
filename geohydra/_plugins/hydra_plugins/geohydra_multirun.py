"""Hydra's multirun over one plan: a sweeper that expands, and a launcher that asks for all jobs at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from geohydra.config.compose import Answer, Composed, plain
from geohydra.config.mistakes import explained
from geohydra.errors import ConfigError


class PlanLauncher(Launcher):
    """Composes every job of a batch before any of them starts; how they run side by side is the runner's business."""

    def setup(self, *, hydra_context: HydraContext, task_function: Callable[..., Any], config: DictConfig) -> None:
        """`task_function` is the caller's Answer."""
        self._context = hydra_context
        self._answer: Answer = task_function
        self._config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """One answer a job, in order; a job that went wrong carries its exception."""
        jobs = [self._compose(overrides, initial_job_idx + place) for place, overrides in enumerate(job_overrides)]
        answers = self._answer(jobs)
        return [_returned(job, answer) for job, answer in zip(jobs, answers, strict=True)]

    def _compose(self, overrides: Sequence[str], number: int) -> Composed:
        name = str(self._config.hydra.job.config_name)
        loader = self._context.config_loader
        try:
            with explained(overrides, lambda words: loader.load_configuration(name, words, RunMode.RUN)):
                return plain(loader.load_sweep_config(self._config, list(overrides)), number=number)
        except ConfigError as error:
            raise ConfigError(f"job {number}: {error.where}", error.problem, error.hint) from error


class GridSweeper(BasicSweeper):
    """Hydra's own grammar and product; jobs are composed once, and one that fails does not stop those after it."""

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        """Launch batch by batch."""
        if self.hydra_context is None or self.launcher is None:
            raise RuntimeError("the sweeper was not set up")
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        for override in overrides:
            if override.is_sweep_override() and not override.is_discrete_sweep():
                raise ConfigError(
                    str(override.key_or_group), "an interval is no list of values", "write choice(a,b) or range(start,stop,step)"
                )
        batches = self.split_arguments(overrides, self.max_batch_size)
        returned = []
        number = 0
        for batch in batches:
            returned.append(self.launcher.launch(batch, initial_job_idx=number))
            number += len(batch)
        return returned


def _returned(job: Composed, answer: float | Exception) -> JobReturn:
    status = JobStatus.FAILED if isinstance(answer, Exception) else JobStatus.COMPLETED
    return JobReturn(overrides=list(job.overrides), status=status, _return_value=answer)


_HERE = "hydra_plugins.geohydra_multirun"
_GRID = {"_target_": f"{_HERE}.GridSweeper", "max_batch_size": None, "params": None}
ConfigStore.instance().store(group="hydra/launcher", name="plan", node={"_target_": f"{_HERE}.PlanLauncher"}, provider="geohydra")
ConfigStore.instance().store(group="hydra/sweeper", name="grid", node=_GRID, provider="geohydra")
