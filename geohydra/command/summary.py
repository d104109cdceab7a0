"""What is printed when a run has ended: headline metrics, where the maps and reports are, what failed and why."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geohydra import storage
from geohydra.command.console import near_path, table
from geohydra.pipeline.runners import Outcome
from geohydra.plan import Plan, PlannedJob
from geohydra.sweeping.goals import Goal, goals_of
from geohydra.tracking.comparison import Comparison, JobRow

_MAPS = (".tif", ".parquet", ".geojson")


@dataclass(frozen=True, slots=True)
class Ended:
    """One job at its end: how it went, its headline metrics, the outputs of its stages, its objective."""

    job: PlannedJob
    status: str
    metrics: Mapping[str, float]
    outputs: Mapping[str, str]
    objective: str | None

    @property
    def value(self) -> float | None:
        """The objective's value."""
        return None if self.objective is None else self.metrics.get(self.objective)


def ended_jobs(plan: Plan, outcome: Outcome) -> list[Ended]:
    """Every job of a plan that was run."""
    return [_ended(job, outcome) for job in plan.jobs]


def told(ended: list[Ended], outcome: Outcome, folder: Path, address: str) -> str:
    """The whole summary, as text."""
    parts = [_comparison(ended) if len(ended) > 1 else _metrics(ended[0]), *_places(ended, folder), _recipe(folder), _seconds(outcome)]
    if address:
        parts.append(f"tracking  {address}")
    if "cancelled" in outcome.jobs.values():
        parts.append("stopped: the same command goes on from here")
    return "\n".join(part for part in parts if part)


def searched(rows: Sequence[JobRow], goals: Sequence[Goal], folder: Path, address: str) -> str:
    """The summary of a search: all trials, the best first."""
    metrics = [goal.metric for goal in goals]
    comparison = Comparison(rows, metrics[0], metrics[1:], frozenset(goal.metric for goal in goals if goal.down))
    columns = comparison.columns()
    shown = ["job", "status", *(["front"] if "front" in columns else []), *(name for name in metrics if name in columns)]
    lines = [(*(columns[name][place] for name in shown), " ".join(job.overrides)) for place, job in enumerate(comparison.ranked)]
    counts = Counter(row.status for row in rows)
    told = ", ".join(f"{count} {status}" for status, count in counts.items())
    parts = [table((*shown, "overrides"), lines), f"trials    {told}", f"run       {near_path(folder)}", _recipe(folder)]
    return "\n".join(part for part in [*parts, f"tracking  {address}" if address else ""] if part)


def _recipe(folder: Path) -> str:
    """Where the best job's config lies, ready to be used."""
    place = folder / "conf" / "experiment" / "best.yaml"
    return f"best      {near_path(place)} (in conf/experiment/ it is run by experiment=best)" if place.exists() else ""


def failures(outcome: Outcome) -> Iterator[str]:
    """A line for every step that failed by itself."""
    for step in outcome.failures:
        text = str(step.error or "it ended without a word").removeprefix(f"step {step.id}: ")
        if step.log and str(step.log) not in text:
            text = f"{text} (log: {step.log})"
        yield f"step {step.id} failed: {text.replace(str(step.log), near_path(step.log)) if step.log else text}"


def headline(metrics: Mapping[str, float]) -> dict[str, float]:
    """Scores of the whole, without those of single classes: `test/iou`, not `test/iou/water`. Without any score, all metrics."""
    whole = {name: value for name, value in metrics.items() if name.count("/") <= 1}
    scores = {name: value for name, value in whole.items() if name.startswith(("test/", "val/"))}
    return scores or whole


def _ended(job: PlannedJob, outcome: Outcome) -> Ended:
    found = {stage: outcome.steps[identity] for stage, identity in job.steps.items() if identity in outcome.steps}
    outputs = {stage: step.uri for stage, step in found.items() if step.status in ("done", "stored")}
    metrics: dict[str, float] = {}
    for uri in outputs.values():
        metrics |= _step_metrics(uri)
    return Ended(job, outcome.jobs[job.name], metrics, outputs, _objective(job.config, metrics))


def _step_metrics(uri: str) -> dict[str, float]:
    try:
        return dict(json.loads(storage.read_bytes(storage.join(uri, "report", "metrics.json"))))
    except FileNotFoundError:
        return {}


def _objective(config: Mapping[str, Any], metrics: Mapping[str, float]) -> str | None:
    """The score that jobs are compared by: the task's, on the split that chooses rather than on the one that tests."""
    goals = goals_of(config)
    last = goals[0].metric.rpartition("/")[2] if goals else ""
    wanted = [*(goal.metric for goal in goals[:1]), f"test/{last}", last]
    known = [name for name in wanted if name in metrics] or sorted(headline(metrics))
    return known[0] if known else None


def _sign(job: Ended) -> float:
    """-1 where less of the objective is better."""
    goals = goals_of(job.job.config)
    return -1.0 if goals and goals[0].metric == job.objective and goals[0].down else 1.0


def _metrics(ended: Ended) -> str:
    shown = headline(ended.metrics)
    return table(("metric", "value"), [(name, shown[name]) for name in sorted(shown)]) if shown else ""


def _comparison(ended: list[Ended]) -> str:
    """The best job first: what sets it apart, the objective, and up to five other scores that are not the same for all."""
    objective = next((job.objective for job in ended if job.objective), None)
    names = {name for job in ended for name in headline(job.metrics)} - {objective}
    telling = sorted(name for name in names if len({job.metrics.get(name) for job in ended}) > 1)
    columns = ([objective] if objective else []) + telling[:5]
    common = set.intersection(*(set(job.job.overrides) for job in ended))
    rows = sorted(ended, key=lambda job: (job.status not in ("done", "stored"), job.value is None, -_sign(job) * (job.value or 0.0)))
    lines = [(job.job.name, job.status, *(job.metrics.get(name) for name in columns), _apart(job, common)) for job in rows]
    return table(("job", "status", *columns, "overrides"), lines)


def _apart(job: Ended, common: set[str]) -> str:
    return " ".join(word for word in job.job.overrides if word not in common)


def _places(ended: list[Ended], folder: Path) -> Iterator[str]:
    yield f"run       {near_path(folder)}"
    if len(ended) > 1:
        return
    for stage, uri in ended[0].outputs.items():
        files = list(_map_files(uri))
        if files:
            shown = folder / "results" / stage
            yield from (f"map       {near_path(shown / name) if shown.exists() else storage.join(uri, name)}" for name in files[:4])
            if len(files) > 4:
                yield f"          and {len(files) - 4} more files, listed in {near_path(shown / 'index.json')}"
    if (folder / "results").is_dir():
        yield f"reports   {near_path(folder / 'results' / '*' / 'report' / 'report.html')}"


def _map_files(uri: str) -> Iterator[str]:
    """The files that a predict step lists in its index."""
    try:
        rows = json.loads(storage.read_bytes(storage.join(uri, "index.json")))
    except FileNotFoundError:
        return
    for row in rows if isinstance(rows, list) else []:
        yield from (str(value) for value in row.values() if str(value).endswith(_MAPS))


def _seconds(outcome: Outcome) -> str:
    stored = sum(step.status == "stored" for step in outcome.steps.values())
    made = [step for step in outcome.steps.values() if step.status == "done"]
    return f"steps     {len(made)} made in {sum(step.seconds for step in made):.1f} s, {stored} from the store"
