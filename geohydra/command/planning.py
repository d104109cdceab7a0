"""From composed configs to one plan: check all of them, list their files, plan, and look what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from geohydra.config.checking import checked, locked, make_job
from geohydra.config.compose import Composed
from geohydra.config.locking import Listed
from geohydra.errors import ConfigError
from geohydra.pipeline.runners.stored import stored_steps
from geohydra.plan import Plan, make_plan


def plan_of(jobs: Sequence[Composed], known: Listed | None = None) -> tuple[Plan, str]:
    """The one plan of all jobs, and the store that it is performed in. Raises Problems for the first bad job."""
    ready = locked([checked(job) for job in jobs], known)
    store = _one_store(ready)
    sweep = ready[0].config.get("sweep") or {}
    plan = make_plan(str(ready[0].config["name"]), [make_job(job) for job in ready])
    return replace(plan, at_once=sweep.get("parallel") if len(jobs) > 1 else None), store


def stored(plan: Plan, store: str) -> list[str]:
    """Ids of the steps whose output exists already."""
    return list(stored_steps(plan, store))


def _one_store(jobs: Sequence[Composed]) -> str:
    stores = {str(job.config["store"]) for job in jobs}
    if len(stores) != 1:
        raise ConfigError("store", "a sweep keeps all its outputs in one store", f"these jobs ask for {', '.join(sorted(stores))}")
    return stores.pop()
