"""What the last task of a run left in the store for whoever watches it: the address of its page in MLflow, or what could not be told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from geohydra import storage


def collect(uri: str, folder: Path) -> Iterator[str]:
    """Sentences for the user. Journals that wait to be sent are copied into the run's own folder."""
    if not storage.exists(uri):
        return
    came = storage.fetch(uri)
    if address := _mlflow(came / "links.json"):
        yield f"in MLflow: {address}"
    waiting = [path for path in sorted((came / "journal").rglob("*")) if path.is_file()] if (came / "journal").is_dir() else []
    for path in waiting:
        storage.write_bytes(str(folder / "journal" / path.relative_to(came / "journal")), path.read_bytes())
    if waiting:
        yield "MLflow could not be reached from the pods: what they told lies in this run's folder, `geohydra sync` sends it from here"


def _mlflow(place: Path) -> str:
    return str(json.loads(place.read_text()).get("mlflow", "")) if place.exists() else ""
