"""Write the plan as one Kubeflow pipeline file; nothing is submitted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from geohydra import __version__
from geohydra.command.arguments import add_composing, asked, parse, parser
from geohydra.command.console import near_path

_EXAMPLES = """  geohydra compile -o pipeline.yaml store=s3://bucket/geohydra
  geohydra compile -o pipeline.yaml --image registry.example.org/geohydra@sha256:... hardware=gpu
  geohydra compile -m train.lr=1e-2,1e-3 -o sweep.yaml     one file for all jobs"""


def main(words: Sequence[str]) -> int:
    """Compose, check, lock, plan, render."""
    flags = parser("compile", "Write the plan as a Kubeflow Pipelines (v2) file. Nothing is submitted.", examples=_EXAMPLES)
    flags.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="where to write it: pipeline.yaml")
    flags.add_argument("--image", default=f"geohydra:{__version__}", help="the container image of every step (default: %(default)s)")
    add_composing(flags)
    given = parse(flags, words)
    wanted = asked(given)
    if wanted is None:
        return 0
    from geohydra.command.planning import plan_of
    from geohydra.pipeline.render import compile_plan

    jobs = wanted.compose()
    plan, store = plan_of(jobs)
    compile_plan(plan, given.output, image=given.image, store=store, hardware=jobs[0].config["hardware"])
    print(f"{near_path(given.output)}: {len(plan.steps)} steps, image {given.image}, store {store}")
    return 0
