"""Steps that wait for a condition: the metrics that it is asked of, and why a step is not done."""

from __future__ import annotations

import json
from collections.abc import Sequence

from geohydra import storage
from geohydra.conditions import parse_condition


def metrics_of(uris: Sequence[str]) -> dict[str, float]:
    """The headline metrics of outputs; of several with the same name, the last one's."""
    found: dict[str, float] = {}
    for uri in uris:
        place = storage.join(uri, "report", "metrics.json")
        if storage.exists(place):
            found |= json.loads(storage.read_bytes(place))
    return found


def unmet(when: str, uris: Sequence[str]) -> str:
    """Why a condition on the metrics of these outputs does not hold; "" where it does."""
    condition = parse_condition(when, where="pipeline.steps.when")
    metrics = metrics_of(uris)
    return "" if condition.holds(metrics) else f"not done: it takes {condition.told(metrics)}"
