"""What a container runs: `python -m geohydra.steps NAME --needs=A,B --executor-input JSON`.

The JSON is the one that Kubeflow Pipelines gives to a container component: values of inputs, and where to write
outputs. Nothing of kfp is needed to read it. Inputs are `config` (JSON text, or `{"$ref": URI}` of such a text),
`store`, and one URI for each needed step; outputs are the parameter `uri`, the page `report`, the scalars `metrics`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from geohydra import storage
from geohydra.errors import GeohydraError
from geohydra.report import read_metrics
from geohydra.work import Request, Resources, perform

REFERENCE = "$ref"
"""The one key of a config that stands elsewhere, because it is too large for a command line."""

_MOUNTS = {"gs": "/gcs", "s3": "/s3", "minio": "/minio"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Perform one step; 0 when its output stands in the store."""
    options = _parser().parse_args(arguments)
    given = json.loads(options.executor_input)
    needs = [name for name in options.needs.split(",") if name]
    try:
        request = read_request(options.step, given["inputs"]["parameterValues"], needs)
        uri = perform(request, emit=_show)
        _answer(given["outputs"], uri)
    except GeohydraError as error:
        print(f"geohydra: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def read_request(step: str, values: Mapping[str, Any], needs: Sequence[str]) -> Request:
    """The request that the values of the inputs make; a config that stands elsewhere is read."""
    config = json.loads(values["config"])
    if set(config) == {REFERENCE}:
        config = json.loads(storage.read_bytes(config[REFERENCE]))
    resources = Resources(**json.loads(os.environ.get("GEOHYDRA_RESOURCES", "{}")))
    return Request(step, config, {name: values[name] for name in needs}, values["store"], resources)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m geohydra.steps", description="Perform one step of a plan.")
    parser.add_argument("step", help="the step's name")
    parser.add_argument("--needs", default="", help="names of the steps whose outputs it is given, with commas between")
    parser.add_argument("--executor-input", required=True, help="the inputs and outputs, as JSON")
    return parser


def _show(event: Mapping[str, Any]) -> None:
    """Progress as lines for the log of a pod: every metric, and each tenth of the way."""
    if "metrics" in event:
        print(json.dumps(event), flush=True)
    elif "progress" in event and event["progress"] % max(event["total"] // 10, 1) == 0:
        print(f"{event['progress']}/{event['total']} {event['text']}", flush=True)


def _answer(outputs: Mapping[str, Any], uri: str) -> None:
    """Write what the pipeline asked for: the URI, the page, the scalars."""
    _write(Path(outputs["parameters"]["uri"]["outputFile"]), uri)
    report = storage.fetch(storage.join(uri, "report"))
    page, metrics = (outputs["artifacts"][name]["artifacts"][0] for name in ("report", "metrics"))
    place = _local(page["uri"])
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(report / "report.html", place)
    scalars = {**metrics, "metadata": read_metrics(report)}
    _write(Path(outputs["outputFile"]), json.dumps({"artifacts": {"metrics": {"artifacts": [scalars]}}}))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _local(uri: str) -> Path:
    """Where the launcher of the pipeline expects the file of an artifact."""
    scheme, _, rest = uri.partition("://")
    return Path(_MOUNTS[scheme], rest) if scheme in _MOUNTS else storage.local_path(uri)


if __name__ == "__main__":
    sys.exit(main())
