"""The run above the jobs of a sweep: opened once, open for batch after batch, ended with a comparison of all jobs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from geohydra import storage
from geohydra.pipeline.runners import Outcome
from geohydra.plan import Plan, PlannedJob, as_dict
from geohydra.sweeping.goals import Goal, goals_of
from geohydra.tracking import Record, Shipping, Status, Tracking
from geohydra.tracking.comparison import Comparison, JobRow, tell
from geohydra.tracking.journal import read_events

Recipe = Callable[[str], str]
"""The config of a job, by its name, as the text of a `conf/experiment/*.yaml`; "" where there is none."""


@dataclass(slots=True)
class SweepRecord:
    """What tracking is told of a sweep as a whole. `folder` is that of the run; `numbers` are the places of jobs, by name."""

    record: Record
    shipping: Shipping
    folder: Path
    numbers: dict[str, int] = field(default_factory=dict)

    @classmethod
    def open(
        cls, plan: Plan, tracking: Tracking, shipping: Shipping, folder: Path, *, later: Mapping[str, Any] | None = None
    ) -> SweepRecord:
        """New, or as a killed run of the same sweep left it; `plan` is that of its first jobs, `later` what all later ones have too."""
        journal = folder / "journal"
        record = tracking.open(
            journal, name=plan.name, kind="sweep", config=_shared([*(job.config for job in plan.jobs), *([later] if later else [])])
        )
        record.text("plan.json", json.dumps(as_dict(plan), indent=1, default=str, ensure_ascii=False))
        shipping.add(journal)
        return cls(record, shipping, folder, {job.name: place for place, job in enumerate(plan.jobs)})

    @property
    def journal(self) -> Path:
        """The folder of its own record; those of its jobs lie in it."""
        return self.folder / "journal"

    def journal_of(self, job: str) -> Path:
        """Where the record of a job stands."""
        return self.journal / re.sub(r"[^\w.-]", "_", job)

    def end(
        self, rows: Sequence[JobRow], config: Mapping[str, Any], recipe: Recipe, *, stopped: bool = False, searched: bool = False
    ) -> None:
        """The comparison of all jobs, then the last word, which is said even if the comparison cannot be drawn.

        A search has failed where none of its trials ended well, a grid where one did not.
        """
        failed = sum(row.status == "failed" for row in rows)
        stopped = stopped or any(row.status == "cancelled" for row in rows)
        bad = failed and not (searched and any(row.status in ("done", "stored") for row in rows))
        status: Status = "KILLED" if stopped else "FAILED" if bad else "FINISHED"
        try:
            comparison = compared(rows, goals_of(config))
            tell(self.record, comparison, self.folder / "comparison")
            if (best := comparison.best) is not None and not stopped:
                self._keep(recipe(best.name))
                self._promote(best.name, (config.get("sweep") or {}).get("promote"))
        finally:
            self.record.end(status, f"{failed} of {len(rows)} jobs failed" if failed else "")

    def _keep(self, text: str) -> None:
        """The best job's config, as a file of `conf/experiment/`, also in the run's folder."""
        if text:
            storage.write_bytes(str(self.folder / "conf" / "experiment" / "best.yaml"), text.encode())
            self.record.text("comparison/best.yaml", text)

    def _promote(self, job: str, alias: str | None) -> None:
        """The journal of a job tells which model it has brought."""
        journal = self.journal_of(job)
        models = [event for event in read_events(journal) if event["event"] == "model"] if alias else []
        if alias and models:
            self.record.promote(journal, models[-1]["uri"], models[-1]["name"], alias)


def compared(rows: Sequence[JobRow], goals: Sequence[Goal]) -> Comparison:
    """Jobs side by side, with what counts among their choices."""
    metrics = [goal.metric for goal in goals]
    downward = frozenset(goal.metric for goal in goals if goal.down)
    first = Comparison(rows, metrics[0] if metrics else None, tuple(metrics[1:]), downward)
    return replace(first, importance=_importance(first))


def rows_of(plan: Plan, outcome: Outcome) -> list[JobRow]:
    """How the jobs of a plan ended."""
    return [JobRow(job.name, outcome.jobs[job.name], job.overrides, *_facts(job, outcome)) for job in plan.jobs]


def is_over(journal: Path) -> bool:
    """Whether the record of a job tells that it ended well: then a sweep that goes on has nothing to add."""
    events = read_events(journal)
    return bool(events) and events[-1]["event"] == "end" and events[-1]["status"] == "FINISHED"


def _facts(job: PlannedJob, outcome: Outcome) -> tuple[dict[str, float], float]:
    """The headline metrics of all its steps, and the seconds that they took."""
    known: dict[str, float] = {}
    steps = [outcome.steps[identity] for identity in job.steps.values()]
    for step in steps:
        place = storage.join(step.uri, "report", "metrics.json")
        if step.status in ("done", "stored") and storage.exists(place):
            known |= json.loads(storage.read_bytes(place))
    return known, round(sum(step.seconds for step in steps), 3)


def _importance(comparison: Comparison) -> dict[str, float]:
    if not comparison.scores or len(comparison.usable) < 6:
        return {}
    from geohydra.sweeping.study import importance

    columns, scores = comparison.columns(), [comparison.score(job, comparison.scores[0]) for job in comparison.ranked]
    known = [place for place, score in enumerate(scores) if score is not None]
    space = {key: [columns[key][place] for place in known] for key in comparison.choices}
    return importance(space, [score for score in scores if score is not None])


def _shared(configs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all configs have in common."""
    first, *others = configs
    common: dict[str, Any] = {}
    for key, value in first.items():
        found = [other.get(key) for other in others]
        nodes = [node for node in [value, *found] if isinstance(node, Mapping)]
        if len(nodes) == len(configs):
            common[key] = _shared(nodes)
        elif all(other == value for other in found):
            common[key] = value
    return common
