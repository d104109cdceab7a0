"""What it takes until a run of which nothing is new stands in MLflow: `python benchmarks/tracking.py [--small]`.

The limit is a bare script that imports MLflow and logs the same with one call for each kind of thing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path

from _measure import measure_in_turn, report, small

from geohydra.report import Report
from geohydra.tracking.mlflow import MlflowTracking

EPOCHS, PARAMS = 20, 80

BARE = """
import sys
import mlflow
out, data = sys.argv[1:]
mlflow.set_tracking_uri(f"sqlite:///{out}/mlflow.db")
mlflow.set_experiment("bare")
with mlflow.start_run():
    mlflow.log_params({f"part.key{place}": place for place in range(80)})
    for epoch in range(20):
        mlflow.log_metrics({"train/loss": 1 / (epoch + 1), "val/iou": epoch / 20}, step=epoch)
    mlflow.log_artifacts(f"{data}/report", "report")
"""


def main() -> None:
    """Both ways in turn, each as a process of its own."""
    repeats = 1 if small(__doc__ or "") else 5
    with tempfile.TemporaryDirectory() as scratch:
        output, outputs, bare = (Path(scratch) / name for name in ("output", "outputs", "bare"))
        _make_output(output)
        for folder in (outputs, bare):
            folder.mkdir()
        ours, limit = measure_in_turn([_shipped(outputs, output), _bare(bare, output)], repeats=repeats)
    report("a stored run into sqlite", ours, limit, 1.0, by="wall")


def _make_output(folder: Path) -> None:
    """A step's output with curves, tables and pictures."""
    made = Report(folder / "report")
    for epoch in range(EPOCHS):
        made.curve({"train/loss": 1 / (epoch + 1), "val/iou": epoch / EPOCHS}, step=epoch)
    made.metrics({f"test/score{place}": place / 10 for place in range(10)})
    for place in range(6):
        made.table(f"table{place}", {"class": ["a", "b"], "value": [1.0, 2.0]})
        made.figure(f"figure{place}", os.urandom(100_000))
    made.close("train")


def _shipped(outputs: Path, output: Path) -> Callable[[], None]:
    tracking = MlflowTracking(folder=str(outputs), experiment="ours")
    config = {"part": {f"key{place}": place for place in range(PARAMS)}}
    numbers = count()

    def ship() -> None:
        folder = outputs / "runs" / str(next(numbers))
        shipper = tracking.start_shipper([folder])
        journal = tracking.open(folder, name="run", kind="run", config=config)
        journal.report("train", str(output))
        journal.end("FINISHED")
        shipped = shipper.wait(120)
        if shipped.whole != 1:
            raise RuntimeError(str(shipped))

    return ship


def _bare(outputs: Path, output: Path) -> Callable[[], None]:
    script = outputs / "bare.py"
    script.write_text(BARE)
    quiet = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}

    def run() -> None:
        command = [sys.executable, str(script), str(outputs), str(output)]
        subprocess.run(command, check=True, env=quiet, cwd=outputs, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        shutil.rmtree(outputs / "mlruns", ignore_errors=True)

    return run


if __name__ == "__main__":
    main()
