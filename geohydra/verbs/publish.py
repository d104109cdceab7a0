"""Upload the plan to a Kubeflow cluster as a version of a pipeline; nothing is run."""

from __future__ import annotations

from collections.abc import Sequence

from geohydra.command.arguments import add_composing, asked, parse, parser

_EXAMPLES = """  geohydra publish runner.host=https://kubeflow.example.org/pipeline store=s3://bucket/geohydra
  geohydra publish --version 2026-11 'pipeline.parameters=[train.lr]' hardware=gpu
  geohydra publish -m train.lr=1e-2,1e-3        one pipeline of all jobs, which a last step compares"""


def main(words: Sequence[str]) -> int:
    """Compose, check, lock, plan, render, upload."""
    flags = parser("publish", "Upload the plan to Kubeflow Pipelines, where it can be started by anyone who may.", examples=_EXAMPLES)
    flags.add_argument("--pipeline", default="", metavar="NAME", help="the pipeline's name (default: the config's)")
    flags.add_argument("--version", default="", metavar="NAME", help="the version's name (default: what the plan is, in eight signs)")
    add_composing(flags)
    wanted = asked(given := parse(flags, words))
    if wanted is None:
        return 0
    from geohydra.command.remote import packed
    from geohydra.identity import digest

    with packed(wanted) as ready:
        name = given.pipeline or ready.name
        version = given.version or digest(ready.file.read_text())[:8]
        pipeline, made = ready.server.publish(ready.file, name=name, version=version, description=f"geohydra: {ready.steps} steps")
        print(f"{name}, version {version}: {ready.server.link('pipeline', pipeline)}/version/{made}")
    return 0
