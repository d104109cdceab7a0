"""What a sweep wants: metrics, each as large or as small as can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from geohydra.build import build
from geohydra.errors import ConfigError, GeohydraError

_DOWN = ("loss", "seconds", "error", "rmse", "mae")
"""Last parts of metrics that are better when they are small, where nothing else is said."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A metric by its full name, such as `val/iou`, and whether less of it is better."""

    metric: str
    down: bool = False

    def __str__(self) -> str:
        return f"{self.metric}:{'min' if self.down else 'max'}"


def goal_of(text: str) -> Goal:
    """From `val/iou:max`, `val/loss:min` or a bare name. Raises ConfigError."""
    metric, sign, way = text.partition(":")
    if not metric or (sign and way not in ("max", "min")):
        raise ConfigError("sweep.goal", f"{text!r} is no goal", "write METRIC:max or METRIC:min, as in val/iou:max")
    return Goal(metric, way == "min" if sign else metric.rpartition("/")[2] in _DOWN)


def goals_of(config: Mapping[str, Any]) -> tuple[Goal, ...]:
    """What the jobs of a sweep are compared by: its own goals, else the score by which the task chooses an epoch."""
    sweep = config.get("sweep")
    wanted = sweep.get("goal") if isinstance(sweep, Mapping) else None
    if wanted:
        return tuple(map(goal_of, listed(wanted)))
    try:
        return (goal_of(f"val/{build(config['task'], where='task').monitor}"),) if "task" in config else ()
    except GeohydraError:
        return ()


def listed(wanted: str | Sequence[str] | None) -> list[str]:
    """One or several, as a list."""
    return [wanted] if isinstance(wanted, str) else list(wanted or ())
