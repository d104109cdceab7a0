"""A search with Optuna whose journal lies on disk: a killed one goes on and tries what it would have tried.

The only module that imports Optuna, which takes a second.
"""

from __future__ import annotations

import fcntl
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geohydra.errors import ConfigError, StoreError
from geohydra.identity import digest
from geohydra.sweeping.goals import Goal
from geohydra.sweeping.settings import Optuna, Tried
from geohydra.sweeping.space import Choices, Numbers, Space

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, Trial

JOURNAL = "study.log"


class OptunaStudy:
    """See `geohydra.sweeping.settings.Study`. One process at a time."""

    def __init__(self, settings: Optuna, space: Space, goals: Sequence[Goal], folder: Path | None) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._settings, self._space, self._goals = settings, space, tuple(goals)
        self._lock = _claimed(folder) if folder else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study = optuna.create_study(
                storage=_storage(folder),
                study_name="sweep",
                directions=["minimize" if goal.down else "maximize" for goal in goals],
                load_if_exists=True,
                pruner=optuna.pruners.MedianPruner(settings.startup, settings.warmup),
            )
        self._running: dict[int, Trial] = {}
        self._hopeless: dict[int, str] = {}

    def batch(self) -> list[tuple[int, tuple[str, ...]]]:
        """First what a killed run left, filled up to where its batch would have ended."""
        from optuna.trial import TrialState

        known = self._study.get_trials(deepcopy=False)
        left = [found.number for found in known if found.state == TrialState.RUNNING]
        total, parallel = len(known), self._settings.parallel
        wanted = [*left, *range(total, total + max(0, parallel - len(left)))]
        if left:
            end = -(-total // parallel) * parallel
            wanted = [number for number in wanted if number < max(end, total)]
        return [self._suggested(number) for number in wanted if number < max(self._settings.trials, total)]

    def _suggested(self, number: int) -> tuple[int, tuple[str, ...]]:
        """Chance depends on seed and number alone, so that a search that goes on suggests what one that never stopped would."""
        from optuna.trial import Trial

        self._study.sampler = self._sampler(number)
        known = self._study.get_trials(deepcopy=False)
        trial = Trial(self._study, known[number]._trial_id) if number < len(known) else self._study.ask()
        self._running[trial.number] = trial
        words = tuple(f"{key}={_suggest(trial, key, dimension)}" for key, dimension in self._space.items())
        return trial.number, words

    def _sampler(self, number: int) -> BaseSampler:
        from optuna import samplers

        seed = int(digest([self._settings.seed, number])[:8], 16)
        if self._settings.sampler == "random":
            return samplers.RandomSampler(seed)
        if self._settings.sampler == "nsga2":
            return samplers.NSGAIISampler(population_size=self._settings.startup, seed=seed)
        return samplers.TPESampler(n_startup_trials=self._settings.startup, seed=seed, constant_liar=True)

    def hear(self, number: int, step: int, metrics: Mapping[str, float]) -> None:
        """Only where there is one goal, and where it has a curve."""
        trial, value = self._running.get(number), metrics.get(self._goals[0].metric, math.nan)
        if trial is None or not self._settings.prune or len(self._goals) > 1 or math.isnan(value):
            return
        if step not in self._study.get_trials(deepcopy=False)[number].intermediate_values:
            trial.report(value, step)
        if number not in self._hopeless and trial.should_prune():
            shown = f"{self._goals[0].metric} {value:.4g} after {_count(step + 1, 'epoch')}"
            self._hopeless[number] = f"{shown}, and half of the earlier trials were better by then"

    def gives_up(self, number: int) -> str:
        """The same answer until the trial is told."""
        return self._hopeless.get(number, "")

    def tell(self, tried: Sequence[Tried]) -> None:
        """What was cancelled stays open, for the next run."""
        from optuna.trial import TrialState

        for one in sorted(tried, key=lambda one: one.number):
            if one.status == "cancelled" or one.number not in self._running:
                continue
            trial = self._running.pop(one.number)
            facts = {"status": one.status, "overrides": list(one.overrides), "metrics": one.metrics, "seconds": one.seconds}
            for key, value in facts.items():
                trial.set_user_attr(key, value)
            values = [one.metrics.get(goal.metric, math.nan) for goal in self._goals]
            if one.status == "pruned":
                self._study.tell(trial, state=TrialState.PRUNED)
            elif one.status in ("done", "stored") and all(map(math.isfinite, values)):
                self._study.tell(trial, values)
            else:
                self._study.tell(trial, state=TrialState.FAIL)

    def tried(self) -> list[Tried]:
        """By number."""
        return [_as_tried(found) for found in self._study.get_trials(deepcopy=False) if found.state.is_finished()]

    def close(self) -> None:
        """The lock goes with the process, too."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def importance(space: Mapping[str, Sequence[Any]], scores: Sequence[float]) -> dict[str, float]:
    """How much of what differs between scores each choice accounts for, by fANOVA over a random forest; largest first.

    `space` has the value that each job took, None where it had none. Nothing where jobs are too few to tell.
    """
    import optuna

    varied = {key: values for key, values in space.items() if len(set(map(str, values))) > 1}
    if len(scores) < max(4, 2 * len(varied)) or not varied or max(scores) - min(scores) < 1e-12:
        return {}
    study = optuna.create_study(direction="maximize")
    columns = {key: _column(values) for key, values in varied.items()}
    distributions = {key: column[0] for key, column in columns.items()}
    for place, score in enumerate(scores):
        params = {key: column[1][place] for key, column in columns.items()}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=float(score)))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    try:
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
    except (RuntimeError, ValueError):
        return {}


def _column(values: Sequence[Any]) -> tuple[Any, list[Any]]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if all(isinstance(value, int | float) for value in values):
        low, high = float(min(values)), float(max(values))
        return FloatDistribution(low, high, log=low > 0 and high / low >= 30), [float(value) for value in values]
    words = [str(value) for value in values]
    return CategoricalDistribution(sorted(set(words))), words


def _suggest(trial: Trial, key: str, dimension: Numbers | Choices) -> str:
    """The value as a word; what was suggested before stays."""
    try:
        if isinstance(dimension, Choices):
            return str(trial.suggest_categorical(key, dimension.words))
        if dimension.whole:
            low, high, step = int(dimension.low), int(dimension.high), int(dimension.step or 1)
            return dimension.word(trial.suggest_int(key, low, high, step=step, log=dimension.log))
        return dimension.word(trial.suggest_float(key, dimension.low, dimension.high, step=dimension.step, log=dimension.log))
    except ValueError as cause:
        raise ConfigError(key, f"these values cannot be searched: {cause}") from cause


def _as_tried(found: FrozenTrial) -> Tried:
    facts = found.user_attrs
    status = str(facts.get("status", "failed"))
    return Tried(found.number, status, tuple(facts.get("overrides", ())), dict(facts.get("metrics", {})), float(facts.get("seconds", 0)))


def _claimed(folder: Path) -> int:
    """A lock that goes with the process; then a writer that was killed leaves nothing half done."""
    lock = os.open(folder / ".study", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as cause:
        os.close(lock)
        raise StoreError(str(folder), "another process runs this search", "wait until it ends, or take another sweep.seed") from cause
    (folder / f"{JOURNAL}.lock").unlink(missing_ok=True)
    journal = folder / JOURNAL
    if journal.exists() and not (content := journal.read_bytes()).endswith(b"\n"):
        os.truncate(journal, content.rfind(b"\n") + 1)
    return lock


def _storage(folder: Path | None) -> BaseStorage | None:
    if folder is None:
        return None
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(folder / JOURNAL)))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
