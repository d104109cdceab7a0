"""Curves while a step runs, in the run of MLflow that the engine has opened for it (MLFLOW_RUN_ID, as Kubeflow's plug-in sets it).

What is told goes through a journal and a process of its own, as anywhere: a server that is slow or away holds no step up.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from geohydra.errors import GeohydraError
from geohydra.tracking import Journal, Shipping
from geohydra.tracking.protocols import Destination
from geohydra.tracking.shipper import start_shipper
from geohydra.work import Request

_SECONDS = 20.0
"""How long the end of a step waits for MLflow."""

Tell = Callable[[Mapping[str, Any]], None]


@contextmanager
def told_live(request: Request) -> Iterator[Tell]:
    """Something to tell events to, of which those of epochs are passed on; to nobody where the environment names no run."""
    run, uri = os.environ.get("MLFLOW_RUN_ID", ""), os.environ.get("MLFLOW_TRACKING_URI", "")
    if not run or not uri:
        yield lambda _event: None
        return
    with tempfile.TemporaryDirectory(prefix="geohydra-live-") as scratch:
        curves = _Curves(request, Destination(uri, "", run), Path(scratch))
        try:
            yield curves.tell
        finally:
            curves.close()


class _Curves:
    """Begins with the first epoch: most steps have none."""

    def __init__(self, request: Request, destination: Destination, scratch: Path) -> None:
        self._request, self._destination, self._scratch = request, destination, scratch
        self._journal: Journal | None = None
        self._shipping: Shipping | None = None

    def tell(self, event: Mapping[str, Any]) -> None:
        """Pass an epoch on. A scratch disk that takes no more costs the curve, not the step."""
        if "metrics" not in event or event.get("step") is None:
            return
        with suppress(GeohydraError, OSError):
            self._journal = self._journal or self._opened()
            self._journal.metrics(event["metrics"], step=int(event["step"]))

    def close(self) -> None:
        """Wait a bounded time until all has arrived; what has not is in the step's report too."""
        if self._journal is None or self._shipping is None:
            return
        with suppress(GeohydraError, OSError):
            self._journal.end("FINISHED")
        shipped = self._shipping.wait(_SECONDS)
        if shipped.problem:
            print(f"curves were not told live: {shipped.problem}", file=sys.stderr, flush=True)

    def _opened(self) -> Journal:
        folder = self._scratch / "journal"
        tags = {"geohydra.kind": "step", "geohydra.step": self._request.step, "geohydra.output": self._request.uri}
        journal = Journal.create(folder, experiment="geohydra", run_name=self._request.step, tags=tags, destination=self._destination)
        self._shipping = start_shipper([folder], log=self._scratch / "shipping.log")
        return journal
