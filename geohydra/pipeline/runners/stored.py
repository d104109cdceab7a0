"""Which outputs of a plan stand in the store already."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from geohydra.plan import Plan
from geohydra.work import output_uri, read_manifest


def locate(plan: Plan, store: str) -> dict[str, str]:
    """Where the output of each step lives, or will, by the step's id."""
    return {step.id: output_uri(store, step.step, step.fingerprint) for step in plan.steps}


def stored_steps(plan: Plan, store: str) -> dict[str, float]:
    """Ids of the steps whose output exists, and the seconds that it took when it was made. Where the whole exists, nobody needs its
    shards: they count as stored too."""
    places = locate(plan, store)
    with ThreadPoolExecutor(min(16, len(places) or 1)) as pool:
        found = dict(zip(places, pool.map(read_manifest, places.values()), strict=True))
    stored = {identity: float(manifest.get("seconds", 0.0)) for identity, manifest in found.items() if manifest is not None}
    parts = {part: 0.0 for step in plan.steps if step.id in stored for part in step.parts}
    return parts | stored
