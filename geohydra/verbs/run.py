"""Run it (the default): compose, check, plan, perform every step that the store does not hold."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from geohydra.command.arguments import add_composing, asked, parse, parser

if TYPE_CHECKING:
    from geohydra.config.compose import Composed, Search

_EXAMPLES = """  geohydra                                       the demo
  geohydra experiment=first                      a ready-made run from conf/experiment/
  geohydra source=files source.images='images/*.tif' source.labels=roads.geojson 'task.classes=[road]'
  geohydra model=fpn model.encoder=mit_b0 train.epochs=20 hardware=gpu
  geohydra -m train.lr=1e-2,1e-3 model=unet,fpn  a sweep: equal steps run once, a failed job stops no other
  geohydra -m sweep=optuna sweep.trials=20 'train.lr=interval(1e-4,1e-2)' model=unet,fpn    a search for the best
  geohydra --cfg job -p train                    a part of the composed config

A run that is started again goes on where it stood: what the store holds is not made again."""


def main(words: Sequence[str]) -> int:
    """Run one job, or a sweep; the exit code is that of what failed."""
    flags = parser("run", "Run a pipeline. `geohydra` alone means `geohydra run`.", examples=_EXAMPLES)
    add_composing(flags)
    wanted = asked(parse(flags, words))
    if wanted is None:
        return 0
    codes: list[int] = []

    def answer(jobs: Sequence[Composed]) -> Sequence[float | Exception]:
        code, values = perform_jobs(jobs, name=wanted.name)
        codes.append(code)
        return values

    def search(asked: Search) -> None:
        from geohydra.command.searching import perform_search

        codes.append(perform_search(asked, name=wanted.name))

    if wanted.multirun:
        wanted.sweep(answer, search)
    else:
        answer(wanted.compose())
    return max(codes, default=0)


def perform_jobs(jobs: Sequence[Composed], *, name: str = "geohydra") -> tuple[int, Sequence[float | Exception]]:
    """Check, plan and run jobs as one plan, and print how it went: the exit code, and the objective of each job."""
    from geohydra.command.performing import perform_plan
    from geohydra.command.summary import failures, told
    from geohydra.errors import StepError

    done = perform_plan(jobs, name=name)
    print(told(done.jobs, done.outcome, done.folder, done.address))
    for line in failures(done.outcome):
        print(f"geohydra: {line}", file=sys.stderr)
    return done.outcome.exit_code, [_value(StepError(job.job.name, f"the job {job.status}"), job.value) for job in done.jobs]


def _value(missing: Exception, value: float | None) -> float | Exception:
    return missing if value is None else value
