"""What a container runs: `python -m geohydra.steps NAME --needs=A,B --executor-input JSON`.

The JSON is the one that Kubeflow Pipelines gives to a container component: values of inputs, and where to write
outputs. Nothing of kfp is needed to read it. Inputs are `config` (JSON text, or `{"$ref": URI}` of such a text),
`store`, and one URI for each needed step. Where the command says so (`--given`), there are also `changes` to the config
(JSON text), the `shard` to work on ("2/8": the third of eight) or the URIs of all `parts` to put together; `--parameters`
are keys of the config whose values come as inputs of their own, each with those that follow it. Outputs are the parameter
`uri`, the page `report`, the scalars `metrics` and, of some steps, `classification`.

A step that fails leaves a note in the store, so that whoever reports the run can say why.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from geohydra import storage
from geohydra.changes import changed, chosen_values, with_values
from geohydra.credentials import blanked
from geohydra.errors import GeohydraError, StoreError
from geohydra.report import read_metrics
from geohydra.steps.live import told_live
from geohydra.work import Request, Resources, failure_uri, perform, refuse_given_up

REFERENCE = "$ref"
"""The one key of a config that stands elsewhere, because it is too large for a command line."""

_MOUNTS = {"gs": "/gcs", "s3": "/s3", "minio": "/minio"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Perform one step; 0 when its output stands in the store."""
    try:
        request, outputs = read_command(arguments)
        answer(outputs, _performed(request))
    except GeohydraError as error:
        print(f"geohydra: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def read_command(arguments: Sequence[str] | None) -> tuple[Request, Mapping[str, Any]]:
    """What the words of such a command ask for, and where the answers go."""
    options = _parser().parse_args(arguments)
    given = json.loads(options.executor_input)
    request = read_request(options.step, given["inputs"]["parameterValues"], _words(options.needs), _words(options.parameters))
    return request, given["outputs"]


def read_request(step: str, values: Mapping[str, Any], needs: Sequence[str], parameters: Sequence[str] = ()) -> Request:
    """The request that the values of the inputs make."""
    config = changed(read_json(values["config"]), json.loads(values.get("changes") or "[]"))
    config = with_values(config, chosen_values(parameters, values))
    resources = Resources(**json.loads(os.environ.get("GEOHYDRA_RESOURCES", "{}")))
    place, _, count = str(values.get("shard") or "").partition("/")
    shard = (int(place), int(count)) if count else None
    parts = tuple(values.get("parts") or ())
    return Request(step, config, {name: values[name] for name in needs}, values["store"], resources, shard, parts)


def read_json(text: str) -> Any:
    """What a JSON text says; one that stands elsewhere is read from there."""
    value = json.loads(text)
    if isinstance(value, dict) and set(value) == {REFERENCE}:
        return json.loads(storage.read_bytes(value[REFERENCE]))
    return value


def answer(outputs: Mapping[str, Any], uri: str) -> None:
    """Write what the pipeline asked for: the URI, the page, the scalars, the curves."""
    write(Path(outputs["parameters"]["uri"]["outputFile"]), uri)
    report = storage.fetch(storage.join(uri, "report"))
    artifacts = {name: found["artifacts"][0] for name, found in outputs["artifacts"].items()}
    place = local(artifacts["report"]["uri"])
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(report / "report.html", place)
    known = {"metrics": {**artifacts["metrics"], "metadata": read_metrics(report)}}
    if "classification" in artifacts:
        from geohydra.engine_view import classification

        known["classification"] = {**artifacts["classification"], "metadata": classification(report)}
    write(Path(outputs["outputFile"]), json.dumps({"artifacts": {name: {"artifacts": [one]} for name, one in known.items()}}))


def write(path: Path, text: str) -> None:
    """Write a file that an engine waits for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def local(uri: str) -> Path:
    """Where the launcher of the pipeline expects the file of an artifact."""
    scheme, _, rest = uri.partition("://")
    return Path(_MOUNTS[scheme], rest) if scheme in _MOUNTS else storage.local_path(uri)


def _performed(request: Request) -> str:
    def tell(event: Mapping[str, Any]) -> None:
        _show(event)
        live(event)
        if "metrics" in event:
            with suppress(StoreError):  # a store that does not answer for a moment says nothing of this step
                refuse_given_up(request)

    try:
        refuse_given_up(request)
        with told_live(request) as live:
            return perform(request, emit=tell)
    except BaseException as error:
        with suppress(Exception):
            storage.write_bytes(failure_uri(request), json.dumps(_failure(error)).encode())
        raise


def _failure(error: BaseException) -> dict[str, str]:
    """What is kept of an error: as a sentence where it is a user's mistake, with its traceback where it is not."""
    told = str(error) if isinstance(error, GeohydraError) else "".join(traceback.format_exception(error))
    error_told = blanked(str(error) or type(error).__name__)
    return {"error": error_told, "told": blanked(told)[-4000:], "time": datetime.now(UTC).isoformat(timespec="seconds")}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m geohydra.steps", description="Perform one step of a plan.")
    parser.add_argument("step", help="the step's name")
    parser.add_argument("--needs", default="", help="names of the steps whose outputs it is given, with commas between")
    parser.add_argument("--given", default="", help="what it is given beside them: changes, shard, parts")
    parser.add_argument("--parameters", default="", help="dotted keys of the config whose values are inputs of their own")
    parser.add_argument("--executor-input", required=True, help="the inputs and outputs, as JSON")
    return parser


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def _show(event: Mapping[str, Any]) -> None:
    """Progress as lines for the log of a pod: every metric, and each tenth of the way."""
    if "metrics" in event:
        print(json.dumps(event), flush=True)
    elif "progress" in event and event["progress"] % max(event["total"] // 10, 1) == 0:
        print(f"{event['progress']}/{event['total']} {event['text']}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
