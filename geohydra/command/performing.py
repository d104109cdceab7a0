"""From composed jobs to their results: check, list files, plan, run folder, runner, tracking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from geohydra.build import build
from geohydra.command.planning import plan_of, stored
from geohydra.command.run_folder import link_results, make_run_folder, write_request
from geohydra.command.summary import Ended, ended_jobs
from geohydra.config.compose import Composed
from geohydra.pipeline.job import run_jobs
from geohydra.pipeline.progress import watching
from geohydra.pipeline.runners import Outcome, Runner
from geohydra.tracking import Tracking


@dataclass(frozen=True, slots=True)
class Performed:
    """A run that has ended."""

    folder: Path
    outcome: Outcome
    jobs: list[Ended]
    address: str


def perform_plan(jobs: Sequence[Composed]) -> Performed:
    """Run all jobs as one plan; what runs, and who is told, is the first job's to say."""
    plan, store = plan_of(jobs)
    first = jobs[0].config
    runner: Runner = build(first["runner"], where="runner")
    tracking: Tracking = build(first["tracking"], where="tracking")
    done = stored(plan, store)
    if len(done) < len(plan.steps):
        runner.warm()
    folder = make_run_folder(first["outputs"], plan.name)
    write_request(folder, plan, done=done)
    with watching(plan) as listener:
        outcome = run_jobs(
            plan, runner=runner, tracking=tracking, store=store, hardware=first["hardware"], folder=folder, listener=listener
        )
    ended = ended_jobs(plan, outcome)
    link_results(folder, {job.job.name: _shown(job) for job in ended})
    return Performed(folder, outcome, ended, tracking.address)


def _shown(job: Ended) -> dict[str, str]:
    """The outputs of a job, and the model that it brought from elsewhere."""
    bundle = job.job.config.get("bundle")
    brought = bundle.get("uri") if isinstance(bundle, dict) else None
    return {**job.outputs, "model": str(brought)} if brought else dict(job.outputs)
