"""What `sweep` in the config chooses: every combination, or a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

from pydantic import Field

from geohydra.errors import ConfigError
from geohydra.sweeping.goals import Goal, goal_of, listed
from geohydra.sweeping.space import Space


@dataclass(frozen=True, slots=True)
class Tried:
    """One trial as it ended: what was chosen, how it went, what came of it."""

    number: int
    status: str
    overrides: tuple[str, ...]
    metrics: dict[str, float]
    seconds: float = 0.0


class Study(Protocol):
    """A search that goes on: asked for trials, told how they go. All of it is on disk, if it was given a folder."""

    def batch(self) -> list[tuple[int, tuple[str, ...]]]:
        """The next trials, by number, with their overrides; those first that an earlier run did not end. None: it is over."""

    def hear(self, number: int, step: int, metrics: dict[str, float]) -> None:
        """The scores of an epoch of a running trial."""

    def gives_up(self, number: int) -> str:
        """Why a running trial has no hope any more; "" where it has."""

    def tell(self, tried: Sequence[Tried]) -> None:
        """How the trials of a batch ended, in the order of their numbers."""

    def tried(self) -> list[Tried]:
        """All that ended so far."""

    def close(self) -> None:
        """Let other processes go on with it."""


@runtime_checkable
class Searching(Protocol):
    """Settings of a sweep that decides what to try by what came of earlier trials."""

    def open_study(self, space: Space, goals: Sequence[Goal], folder: Path | None) -> Study:
        """The study in a folder, new or as it stands there; without a folder one that is soon forgotten."""

    def identity(self) -> Any:
        """All that decides what is tried: a sweep with the same identity goes on."""


class Grid:
    """Every combination of the values, all of them one plan.

    `space`: what is varied, as `key: values` in the grammar of the command line, which wins. `goal`: the metric that tells the best job,
    such as `val/iou:max`, or a list of them; null: the task's own score. `parallel`: jobs that are under way at once; null: as many as
    the runner takes. `promote`: an alias in the model registry for the best job's model.
    """

    def __init__(
        self,
        *,
        space: dict[str, Any] | None = None,
        goal: str | list[str] | None = None,
        parallel: Annotated[int, Field(ge=1)] | None = None,
        promote: Annotated[str, Field(min_length=1)] | None = None,
    ) -> None:
        self.space = dict(space or {})
        self.goals = tuple(map(goal_of, listed(goal)))
        self.parallel = parallel
        self.promote = promote


class Optuna:
    """A search with Optuna, batch after batch.

    `trials`: how many in all; a second run with more goes on. `parallel`: trials of a batch, which are under way at once. `sampler`:
    `tpe` learns from earlier trials, `nsga2` breeds, `random` does neither. `startup`: trials at random before the sampler learns,
    and before any trial is given up. `prune`: give up trials whose validation score, after `warmup` epochs, is below the median of
    earlier trials; with one goal only. `seed`: the same seed suggests the same. `space`, `goal`, `promote` are as for a grid.
    """

    def __init__(
        self,
        *,
        trials: Annotated[int, Field(ge=1)] = 20,
        parallel: Annotated[int, Field(ge=1)] = 4,
        sampler: Literal["tpe", "nsga2", "random"] = "tpe",
        startup: Annotated[int, Field(ge=1)] = 8,
        prune: bool = True,
        warmup: Annotated[int, Field(ge=0)] = 2,
        seed: Annotated[int, Field(ge=0, lt=2**31)] = 0,
        space: dict[str, Any] | None = None,
        goal: str | list[str] | None = None,
        promote: Annotated[str, Field(min_length=1)] | None = None,
    ) -> None:
        self.trials, self.parallel, self.sampler, self.startup = trials, parallel, sampler, startup
        self.prune, self.warmup, self.seed = prune, warmup, seed
        self.space = dict(space or {})
        self.goals = tuple(map(goal_of, listed(goal)))
        self.promote = promote

    def open_study(self, space: Space, goals: Sequence[Goal], folder: Path | None) -> Study:
        """Optuna's, with its journal in the folder."""
        from geohydra.sweeping.study import OptunaStudy

        if not space:
            raise ConfigError(
                "sweep", "nothing is varied", "give a key several values, as in 'train.lr=interval(1e-4,1e-2)' model=unet,fpn"
            )
        if not goals:
            raise ConfigError("sweep.goal", "a search needs a goal", "write sweep.goal=METRIC:max")
        return OptunaStudy(self, space, goals, folder)

    def identity(self) -> Any:
        """How many trials there are and how many at once may change."""
        return ["optuna", self.sampler, self.startup, self.prune, self.warmup, self.seed]
