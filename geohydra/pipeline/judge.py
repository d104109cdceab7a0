"""What a container runs before a step with a condition: `python -m geohydra.pipeline.judge --needs=A,B --executor-input JSON`.

Its answer, yes or no, is what the pipeline branches on.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from geohydra.errors import GeohydraError
from geohydra.pipeline.guards import unmet
from geohydra.steps.__main__ import write


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the condition and the metrics, write the answer."""
    parser = argparse.ArgumentParser(prog="python -m geohydra.pipeline.judge", description="Ask a condition of metrics.")
    parser.add_argument("--needs", default="", help="names of the steps whose metrics count, with commas between")
    parser.add_argument("--executor-input", required=True, help="the inputs and outputs, as JSON")
    options = parser.parse_args(arguments)
    given = json.loads(options.executor_input)
    values = given["inputs"]["parameterValues"]
    try:
        why = unmet(values["when"], [values[name] for name in options.needs.split(",") if name])
    except GeohydraError as error:
        print(f"geohydra: {error}", file=sys.stderr)
        return error.exit_code
    print(why or f"it holds: {values['when']}")
    (answer,) = given["outputs"]["parameters"].values()
    write(Path(answer["outputFile"]), "no" if why else "yes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
