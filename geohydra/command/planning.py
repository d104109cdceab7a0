"""From composed configs to one plan: check all of them, list their files, plan, and look what is stored."""

from __future__ import annotations

from collections.abc import Sequence

from geohydra.config.checking import checked, locked, make_job
from geohydra.config.compose import Composed
from geohydra.errors import ConfigError
from geohydra.plan import Plan, make_plan
from geohydra.work import output_uri, read_manifest


def plan_of(jobs: Sequence[Composed]) -> tuple[Plan, str]:
    """The one plan of all jobs, and the store that it is performed in. Raises Problems for the first bad job."""
    ready = locked([checked(job) for job in jobs])
    store = _one_store(ready)
    return make_plan(str(ready[0].config["name"]), [make_job(job) for job in ready]), store


def stored(plan: Plan, store: str) -> list[str]:
    """Ids of the steps whose output exists already."""
    return [step.id for step in plan.steps if read_manifest(output_uri(store, step.step, step.fingerprint)) is not None]


def _one_store(jobs: Sequence[Composed]) -> str:
    stores = {str(job.config["store"]) for job in jobs}
    if len(stores) != 1:
        raise ConfigError("store", "a sweep keeps all its outputs in one store", f"these jobs ask for {', '.join(sorted(stores))}")
    return stores.pop()
