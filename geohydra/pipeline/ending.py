"""The last task of a compiled pipeline, run however the others ended: `python -m geohydra.pipeline.ending --executor-input JSON`.

It finds out what the store holds of the plan, tells tracking of every job as if it had run here (reports, models, the true
status), and leaves `outcome.json`, `links.json` and, where a step failed, `failure.md` at `<store>/runs/<run id>/`.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geohydra import storage
from geohydra.build import build
from geohydra.changes import changed, chosen_values, has, value_at, with_values
from geohydra.errors import GeohydraError
from geohydra.identity import fingerprint
from geohydra.pipeline.failure import failure_report
from geohydra.pipeline.graph import config_input, unpack
from geohydra.pipeline.guards import metrics_of, unmet
from geohydra.pipeline.job import ARRIVED, run_jobs
from geohydra.pipeline.runners import Failure, Listener, Outcome, StepOutcome, StepStatus, job_statuses
from geohydra.pipeline.runners.stored import locate, stored_steps
from geohydra.pipeline.sweep import Recipe
from geohydra.plan import Plan, PlannedJob, PlannedStep
from geohydra.steps.__main__ import local, read_json, write
from geohydra.tracking import NullTracking, Record, Shipping, Tracking
from geohydra.work import Request, failure_uri, step_version


@dataclass(frozen=True, slots=True)
class Engine:
    """What the engine says of its run: its id and name, how the steps ended together (SUCCEEDED, FAILED, CANCELLED), an error."""

    run_id: str
    run_name: str
    state: str
    error: str = ""


@dataclass(slots=True)
class Looking:
    """A runner that runs nothing: what the store holds by now is what was done."""

    engine: Engine

    def warm(self) -> None:
        """Nothing has to be started."""

    def run(self, plan: Plan, *, store: str, hardware: Mapping[str, Any], folder: Path, listener: Listener) -> Outcome:  # noqa: ARG002
        """How every step of the plan ended, told in the plan's order."""
        places, stored = locate(plan, store), stored_steps(plan, store)
        found: dict[str, StepOutcome] = {}
        for step in plan.steps:
            status, why = self._status(step, store, places, stored, found)
            found[step.id] = StepOutcome(step.id, status, places[step.id], stored.get(step.id, 0.0), error=why)
            listener.on_step(step.id, found[step.id])
        return Outcome(found, job_statuses(plan, found))

    def _status(
        self, step: PlannedStep, store: str, places: Mapping[str, str], stored: Mapping[str, float], found: Mapping[str, StepOutcome]
    ) -> tuple[StepStatus, Failure | None]:
        if step.id in stored:
            return "done", None
        where = f"step {step.id}"
        if missing := [need for need in step.before if found[need].status != "done"]:
            return "skipped", Failure(where, f"not run, because {missing[0]} is missing")
        needs = {need: places[identity] for need, identity in step.needs.items()}
        if step.when and (why := unmet(step.when, list(needs.values()))):
            return "withheld", Failure(where, why)
        told = _told(Request(step.step, step.config, needs, store, shard=step.shard))
        if not told and self.engine.state == "CANCELLED":
            return "cancelled", None
        return "failed", Failure(where, told or self.engine.error or "it left neither an output nor a word: see the log of its pod")


@dataclass(slots=True)
class Tagged:
    """Tracking that also tells which run of the engine a record belongs to."""

    inner: Tracking
    tags: Mapping[str, str]

    @property
    def address(self) -> str:
        """Where the runs can be looked at."""
        return self.inner.address

    def open(self, folder: Path, **about: Any) -> Record:
        """The record, tagged."""
        record = self.inner.open(folder, **about)
        record.tags(self.tags)
        return record

    def start_shipper(self, folders: Sequence[Path] = (), *, log: Path | None = None) -> Shipping:
        """As the tracking itself does."""
        return self.inner.start_shipper(folders, log=log)


@dataclass(slots=True)
class Notices:
    """Prints what a run says, and keeps it for the page."""

    texts: list[str] = field(default_factory=list)

    def on_step(self, identity: str, outcome: StepOutcome) -> None:
        """One line a step."""
        print(f"{identity}: {outcome.status}{f', {outcome.error}' if outcome.error else ''}", flush=True)

    def on_event(self, identity: str, event: Mapping[str, Any]) -> None:
        """Nothing happens any more."""

    def on_notice(self, text: str) -> None:
        """A sentence about the whole."""
        self.texts.append(text)
        print(text, flush=True)

    @property
    def address(self) -> str:
        """Where the run can be looked at in MLflow; "" where it did not arrive, or no server shows it."""
        return next((text.removeprefix(ARRIVED) for text in self.texts if text.startswith(f"{ARRIVED}http")), "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Tell how the run ended; 0 when that is told, however it ended."""
    parser = argparse.ArgumentParser(prog="python -m geohydra.pipeline.ending", description="Tell how a pipeline ended.")
    parser.add_argument("--parameters", default="", help="dotted keys of the config that could be changed for the run")
    parser.add_argument("--executor-input", required=True, help="the inputs and outputs, as JSON")
    options = parser.parse_args(arguments)
    given = json.loads(options.executor_input)
    values = given["inputs"]["parameterValues"]
    try:
        page, links = _end(values, [key for key in options.parameters.split(",") if key])
    except GeohydraError as error:
        print(f"geohydra: {error}", file=sys.stderr)
        return error.exit_code
    report = given["outputs"]["artifacts"]["report"]["artifacts"][0]
    write(local(report["uri"]), page)
    write(Path(given["outputs"]["outputFile"]), json.dumps({"artifacts": {"report": {"artifacts": [{**report, "metadata": links}]}}}))
    return 0


def read_plan(values: Mapping[str, Any], parameters: Sequence[str] = ()) -> Plan:
    """The plan that was run: as it was compiled, with the values that the run was started with."""
    told = unpack(json.dumps(read_json(values["plan"])))
    chosen = chosen_values(parameters, values)
    prints: dict[str, str] = {}
    steps = []
    for entry in told["steps"]:
        config = with_values(changed(read_json(values[config_input(entry["stage"])]), entry["changes"]), chosen)
        shard = tuple(entry["shard"]) if "shard" in entry else None
        needs = {need: prints[identity] for need, identity in entry["needs"].items()}
        mark = fingerprint(entry["step"], version=step_version(entry["step"]), config=config, needs=needs, shard=shard)
        prints[entry["id"]] = mark
        names = (entry["id"], entry["step"], config, entry["needs"], entry["role"], mark, tuple(entry["jobs"]), entry["stage"])
        steps.append(PlannedStep(*names, _when(entry, config), shard, tuple(entry.get("parts", ()))))
    jobs = tuple(
        PlannedJob(one["name"], with_values(changed(told["config"], one["changes"]), chosen), tuple(one["overrides"]), one["steps"])
        for one in told["jobs"]
    )
    return Plan(told["name"], tuple(steps), jobs)


def _recipes(values: Mapping[str, Any], parameters: Sequence[str]) -> Recipe:
    """The configs of jobs as they were compiled, with what the run was started with besides."""
    told = unpack(json.dumps(read_json(values["plan"])))
    chosen = chosen_values(parameters, values)
    ran = with_values(told["config"], chosen)
    known = [key for key in chosen if has(ran, key)]
    other = [f"{key}={value_at(ran, key)}" for key in known if value_at(ran, key) != value_at(told["config"], key)]
    head = f"# The run was started with {' '.join(other)}, which has to be added.\n" if other else ""
    texts = {job["name"]: job.get("recipe", "") for job in told["jobs"]}
    return lambda job: _below_package(texts[job], head) if texts.get(job) else ""


def _below_package(text: str, head: str) -> str:
    """Hydra wants the line about the package first."""
    first, line, rest = text.partition("\n")
    return f"{first}{line}{head}{rest}"


def _when(entry: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """The condition of a step, as it was asked: a parameter may have changed it."""
    key = entry.get("judged_by")
    return str(value_at(config, key)) if key else str(entry.get("when", ""))


def _end(values: Mapping[str, Any], parameters: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The page about the run, and where it can be looked at."""
    plan, engine = read_plan(values, parameters), _engine(values)
    notices = Notices()
    config, there = plan.jobs[0].config, _page_there(plan.jobs[0].config, engine)
    inner = _tracking(config, notices)
    if values.get("tracking_run"):
        os.environ["MLFLOW_RUN_ID"] = str(values["tracking_run"])
    known = {"kubeflow.run_id": engine.run_id, "kubeflow.run_name": engine.run_name, "kubeflow.url": there}
    tracking = Tagged(inner, {key: value for key, value in known.items() if value})
    with tempfile.TemporaryDirectory(prefix="geohydra-ending-") as scratch:
        folder = Path(scratch)
        (folder / "logs").mkdir()
        outcome = run_jobs(
            plan,
            runner=Looking(engine),
            tracking=tracking,
            store=values["store"],
            hardware={},
            folder=folder,
            listener=notices,
            recipe=_recipes(values, parameters),
        )
        links = {name: place for name, place in (("mlflow", notices.address), ("kubeflow", there)) if place}
        (folder / "links.json").write_text(json.dumps(links))
        _keep(folder, storage.join(values["store"], "runs", engine.run_id), is_whole=not any("sync" in text for text in notices.texts))
        compared = _comparison(folder)
    return _page(plan, outcome, engine, notices.texts, compared), links


def _page_there(config: Mapping[str, Any], engine: Engine) -> str:
    """The engine's own page of the run; "" where nobody said where its pages are."""
    runner = config.get("runner") or {}
    place = os.environ.get("KF_PIPELINES_UI_ENDPOINT") or runner.get("ui") or runner.get("host") or ""
    address = place if not place or "://" in place else f"https://{place}"
    return f"{address.rstrip('/')}/#/runs/details/{engine.run_id}" if address else ""


def _engine(values: Mapping[str, Any]) -> Engine:
    status = values.get("status") or {}
    error = status.get("error") or {}
    return Engine(values["run_id"], values["run_name"], str(status.get("state", "")), str(error.get("message", "")))


def _tracking(config: Mapping[str, Any], notices: Notices) -> Tracking:
    """As configured; a database file in a pod would be gone with it, so that the environment's server is taken instead. A run that
    the engine opened (MLFLOW_RUN_ID) is known by the environment's server only."""
    node = dict(config.get("tracking") or {})
    is_theirs = bool(os.environ.get("MLFLOW_RUN_ID") and os.environ.get("MLFLOW_TRACKING_URI"))
    if node.get("_target_", "").endswith(".MlflowTracking") and (is_theirs or not node.get("uri")):
        node["uri"] = os.environ.get("MLFLOW_TRACKING_URI")
        if not node["uri"]:
            notices.on_notice("not told to MLflow: set tracking.uri, or MLFLOW_TRACKING_URI in cluster.env, to a server that pods reach")
            return NullTracking()
    tracking: Tracking = build(node, where="tracking") if node else NullTracking()
    return tracking


def _told(request: Request) -> str:
    """What the step itself left about its failure."""
    place = failure_uri(request)
    return str(json.loads(storage.read_bytes(place))["told"]) if storage.exists(place) else ""


def _keep(folder: Path, uri: str, *, is_whole: bool) -> None:
    """What stays of the run in the store; its journals too where tracking has not got all of them."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        kept = name in ("outcome.json", "failure.md", "links.json") or name.startswith(("comparison/", "conf/"))
        if path.is_file() and (kept or (name.startswith("journal/") and not is_whole)):
            storage.write_bytes(storage.join(uri, name), path.read_bytes())


_STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:1rem}td,th{padding:.2rem .8rem;text-align:left}
pre{background:#f3f3f3;padding:.6rem}"""

_JOBS_SHOWN = 20


def _comparison(folder: Path) -> str:
    """The jobs of a sweep side by side, as a part of a page."""
    place, best = folder / "comparison" / "comparison.html", folder / "conf" / "experiment" / "best.yaml"
    shown = place.read_text().partition("<body>")[2].partition("</body>")[0] if place.exists() else ""
    return f"{shown}<h2>conf/experiment/best.yaml</h2><pre>{html.escape(best.read_text())}</pre>" if best.exists() else shown


def _page(plan: Plan, outcome: Outcome, engine: Engine, notices: Sequence[str], compared: str) -> str:
    shown = [outcome.steps[step.id] for step in plan.whole().steps]
    rows = [(step.id, step.status, f"{step.seconds:.0f} s" if step.seconds else "", str(step.error or "")[:300]) for step in shown]
    parts = [f"<h1>{html.escape(plan.name)}: {', '.join(sorted(set(outcome.jobs.values())))}</h1>", _table(("step", "", "took", ""), rows)]
    parts += [compared] if compared else []
    for job in plan.jobs[:_JOBS_SHOWN] if not compared else ():
        title = html.escape(" ".join([job.name, *job.overrides]))
        if scores := _scores(job, outcome):
            parts += [f"<h2>{title}</h2>", _table(("metric", "value"), scores)]
    parts += [f"<p>{_linked(text)}</p>" for text in notices]
    if outcome.failures:
        parts.append(f"<pre>{html.escape(failure_report(plan.name, list(outcome.steps.values()), error=engine.error))}</pre>")
    return f"<!doctype html><html lang='en'><head><meta charset='utf-8'><style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>"


def _linked(text: str) -> str:
    """A sentence as HTML; the address of a page in it becomes a link, which opens beside the engine's own pages."""
    words = (html.escape(word) for word in text.split(" "))
    return " ".join(f"<a href='{word}' target='_blank' rel='noopener'>{word}</a>" if _PAGE.fullmatch(word) else word for word in words)


_PAGE = re.compile(r"https?://\S+")


def _scores(job: PlannedJob, outcome: Outcome) -> list[tuple[str, str]]:
    """The scores of a job as a whole, without those of single classes."""
    found = metrics_of([outcome.steps[identity].uri for identity in job.steps.values() if outcome.steps[identity].status == "done"])
    known = [name for name in sorted(found) if name.count("/") == 1 and name.startswith(("val/", "test/"))]
    return [(name, f"{found[name]:.4f}") for name in known]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
    return f"<table><tr>{''.join(f'<th>{name}</th>' for name in head)}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


if __name__ == "__main__":
    sys.exit(main())
