"""From composed jobs to their results: check, list files, plan, run folder, runner, tracking."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from geohydra.build import build
from geohydra.command.planning import plan_of, stored
from geohydra.command.run_folder import link_results, make_run_folder, sweep_folder, write_request
from geohydra.command.summary import Ended, ended_jobs
from geohydra.config.compose import PRIMARY, Composed
from geohydra.pipeline.job import run_jobs
from geohydra.pipeline.progress import watching
from geohydra.pipeline.runners import Outcome, Remote, Runner
from geohydra.pipeline.sweep import Recipe
from geohydra.plan import Plan
from geohydra.tracking import NullTracking, Tracking


@dataclass(frozen=True, slots=True)
class Performed:
    """A run that has ended."""

    folder: Path
    outcome: Outcome
    jobs: list[Ended]
    address: str


def perform_plan(jobs: Sequence[Composed], *, name: str = PRIMARY) -> Performed:
    """Run all jobs as one plan; what runs, and who is told, is the first job's to say. `name` is that of the primary config.

    A sweep that was killed, or stopped, goes on in its own folder: what it had told stays told.
    """
    plan, store = plan_of(jobs)
    first = jobs[0].config
    runner, tracking, address = _engaged(plan, jobs, name)
    done = stored(plan, store)
    if len(done) < len(plan.steps):
        runner.warm()
    several = len(jobs) > 1
    with sweep_folder(first["outputs"], plan) if several else nullcontext(make_run_folder(first["outputs"], plan.name)) as folder:
        write_request(folder, plan, done=done)
        with watching(plan) as listener:
            outcome = run_jobs(
                plan,
                runner=runner,
                tracking=tracking,
                store=store,
                hardware=first["hardware"],
                folder=folder,
                listener=listener,
                recipe=_recipes(plan, jobs, name),
            )
    ended = ended_jobs(plan, outcome)
    link_results(folder, {job.job.name: _shown(job) for job in ended})
    return Performed(folder, outcome, ended, address)


def _engaged(plan: Plan, jobs: Sequence[Composed], name: str) -> tuple[Runner, Tracking, str]:
    """Who runs the plan, who is told of it from here (nobody, where one run of a cluster tells all), and where it can be looked at."""
    first = jobs[0].config
    runner: Runner = build(first["runner"], where="runner")
    tracking: Tracking = build(first["tracking"], where="tracking")
    if isinstance(runner, Remote):
        from geohydra.config.parameters import parameters_of

        runner.take(parameters_of(jobs[0], name=name), recipes_of(plan, jobs, name))
        return runner, NullTracking() if runner.tells(first) and plan.at_once is None else tracking, tracking.address
    return runner, tracking, tracking.address


def recipe_of(job: Composed, called: str, name: str) -> str:
    """The config of a sweep's best job, as a file of `conf/experiment/`."""
    from geohydra.config.recipe import best_title, recipe

    return recipe(job, title=best_title(called), name=name)


def recipes_of(plan: Plan, jobs: Sequence[Composed], name: str) -> dict[str, str]:
    """Of every job of a sweep, for a run that finds out by itself which one is the best; nothing of a single job."""
    from geohydra.config.recipe import recipes

    return recipes({planned.name: job for planned, job in zip(plan.jobs, jobs, strict=True)}, name=name) if len(jobs) > 1 else {}


def _recipes(plan: Plan, jobs: Sequence[Composed], name: str) -> Recipe:
    known = {planned.name: job for planned, job in zip(plan.jobs, jobs, strict=True)}
    return lambda called: recipe_of(known[called], called, name)


def _shown(job: Ended) -> dict[str, str]:
    """The outputs of a job, and the model that it brought from elsewhere."""
    bundle = job.job.config.get("bundle")
    brought = bundle.get("uri") if isinstance(bundle, dict) else None
    return {**job.outputs, "model": str(brought)} if brought else dict(job.outputs)
