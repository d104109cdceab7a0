"""Write the plan as one Kubeflow pipeline file; nothing is submitted."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from geohydra.command.arguments import add_composing, asked, parse, parser
from geohydra.command.console import near_path, table

if TYPE_CHECKING:
    from geohydra.pipeline.cluster import Cluster
    from geohydra.pipeline.documents import Compiled
    from geohydra.plan import Plan

_EXAMPLES = """  geohydra compile -o pipeline.yaml store=s3://bucket/geohydra
  geohydra compile -o pipeline.yaml --image registry.example.org/geohydra@sha256:... hardware=gpu
  geohydra compile -o pipeline.yaml 'pipeline.parameters=[train.lr]' pipeline.shards.predict=8 "deploy.when='test/iou >= 0.7'"
  geohydra compile -o pipeline.yaml hardware=spot '+cluster.secret_env.AWS_SECRET_ACCESS_KEY=store-keys/secret'
  geohydra compile -m train.lr=1e-2,1e-3 -o sweep.yaml     one file for all jobs, which a last step compares

FILE is what every engine reads, Vertex too. Where something is asked for that only Kubernetes knows (secrets, tolerations,
shared memory, ...), FILE.kubernetes.yaml holds the same and that: it is the one to upload to a Kubeflow cluster."""


def main(words: Sequence[str]) -> int:
    """Compose, check, lock, plan, render."""
    flags = parser("compile", "Write the plan as a Kubeflow Pipelines (v2) file. Nothing is submitted.", examples=_EXAMPLES)
    flags.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="where to write it: pipeline.yaml")
    flags.add_argument("--image", default="", help="the container image of every step (default: cluster.image, or this version's)")
    add_composing(flags)
    given = parse(flags, words)
    wanted = asked(given)
    if wanted is None:
        return 0
    from geohydra.build import build
    from geohydra.command.performing import recipes_of
    from geohydra.command.planning import plan_of
    from geohydra.config.parameters import parameters_of
    from geohydra.pipeline.cluster import Cluster
    from geohydra.pipeline.render import compile_plan

    jobs = wanted.compose(fixed=True)
    plan, store = plan_of(jobs)
    first = jobs[0].config
    cluster = build(first["cluster"], where="cluster") if "cluster" in first else Cluster()
    compiled = compile_plan(
        plan,
        given.output,
        image=given.image,
        store=store,
        hardware=first["hardware"],
        cluster=cluster,
        parameters=parameters_of(jobs[0], name=wanted.name),
        recipes=recipes_of(plan, jobs, wanted.name),
    )
    print(f"{near_path(given.output)}: {len(plan.steps)} steps, image {compiled.image}, store {store}")
    if compiled.kubernetes is not None:
        print(f"{near_path(compiled.kubernetes)}: the same with what only Kubernetes knows: upload this one to Kubeflow")
    print(_sizes(compiled))
    for note in _notes(cluster, store, plan):
        print(f"note: {note}", file=sys.stderr)
    return 0


def _notes(cluster: Cluster, store: str, plan: Plan) -> Iterator[str]:
    if not cluster.reaches(store):
        yield f"the store {store} is a folder of this machine: before you send this to a cluster, compile it with store=s3://..."
    if plan.at_once is not None:
        yield "sweep.parallel counts where somebody watches (runner=kfp): this file starts all jobs at once"


def _sizes(compiled: Compiled) -> str:
    """What the file takes of a cluster's limits."""
    rows = [(what, f"{size:,}", f"{limit:,}", f"{size / limit:.0%}") for what, size, limit in compiled.sizes]
    return table(("of a cluster's limits", "bytes", "of", "used"), rows)
