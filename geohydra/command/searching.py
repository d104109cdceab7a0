"""A sweep that decides while it runs: batches of trials until there are enough, all below one run."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geohydra.build import build
from geohydra.command.console import error_lines
from geohydra.command.performing import recipe_of
from geohydra.command.planning import plan_of, stored
from geohydra.command.run_folder import link_stages, search_folder, write_request
from geohydra.command.summary import ended_jobs, searched
from geohydra.config.compose import Composed, Search
from geohydra.config.locking import Listed, locked
from geohydra.errors import ConfigError, GeohydraError, Problems
from geohydra.identity import digest
from geohydra.pipeline.job import run_jobs, ship_rest
from geohydra.pipeline.progress import watching
from geohydra.pipeline.runners import CANCELLED, Judge, Outcome, Runner
from geohydra.pipeline.sweep import SweepRecord, rows_of
from geohydra.plan import Plan
from geohydra.sweeping.goals import Goal, goals_of
from geohydra.sweeping.settings import Study, Tried
from geohydra.tracking import Tracking
from geohydra.tracking.comparison import JobRow

_PASSING = frozenset({"sweep", "runner", "tracking", "hardware", "cluster", "outputs", "store", "lock"})


def perform_search(search: Search, *, name: str) -> int:
    """Batch after batch; what an earlier run of the same search has tried counts. The exit code: 0 where a trial ended well."""
    goals = goals_of(search.base.config)
    listed: Listed = {}
    folder = search_folder(search.base.config["outputs"], str(search.base.config["name"]), _identity(search, goals, listed))
    with closing(search.settings.open_study(search.space, goals, folder)) as study:
        return _Searching(search, study, goals, folder, name, listed).run()


@dataclass(slots=True)
class _Searching:
    """A search under way."""

    search: Search
    study: Study
    goals: Sequence[Goal]
    folder: Path
    name: str
    listed: Listed
    sweep: SweepRecord | None = None
    stopped: bool = False

    def run(self) -> int:
        """From the first batch to the summary."""
        before = len(self.study.tried())
        print(f"search    {', '.join(map(str, self.goals))}{f', going on after {before} trials' if before else ''}")
        for key, dimension in self.search.space.items():
            print(f"          {key}: {dimension}")
        tracking: Tracking = build(self.search.base.config["tracking"], where="tracking")
        try:
            while not self.stopped and (batch := self.study.batch()):
                self._perform(batch, tracking)
        except BaseException as error:
            self._break_off(str(error) or type(error).__name__)
            raise
        return self._end(tracking)

    def _break_off(self, error: str) -> None:
        """The search could not go on: its run must not look as if it did."""
        if self.sweep is not None:
            self.sweep.record.end("FAILED", error)
            ship_rest(self.sweep.shipping, print)

    def _perform(self, batch: Sequence[tuple[int, tuple[str, ...]]], tracking: Tracking) -> None:
        jobs, refused = self._composed(batch)
        self.study.tell(refused)
        if not jobs:
            if len(refused) == len(self.study.tried()):
                raise ConfigError("sweep", "no trial of the first batch can be run", "see above")
            return
        plan, store = plan_of(list(jobs.values()), self.listed)
        numbers = dict(zip((job.name for job in plan.jobs), jobs, strict=True))
        sweep = self._opened(plan, tracking)
        sweep.numbers.update(numbers)
        outcome = self._run(plan, store, tracking, _Judge(self.study, numbers, jobs))
        for job in ended_jobs(plan, outcome):
            link_stages(self.folder / "results" / job.job.name, job.outputs)
        self.stopped = "cancelled" in outcome.jobs.values()
        self.study.tell(list(_tried(plan, outcome, numbers, dict(batch))))

    def _run(self, plan: Plan, store: str, tracking: Tracking, judge: Judge) -> Outcome:
        """One batch, in a folder of its own by the number of its first trial."""
        sweep, first = self._opened(plan, tracking), plan.jobs[0]
        runner: Runner = build(first.config["runner"], where="runner")
        done = stored(plan, store)
        if len(done) < len(plan.steps):
            runner.warm()
        folder = self.folder / "batches" / f"{sweep.numbers[first.name]:03d}"
        write_request(folder, plan, done=done)
        with watching(plan) as listener:
            return run_jobs(
                plan,
                runner=runner,
                tracking=tracking,
                store=store,
                hardware=first.config["hardware"],
                folder=folder,
                listener=listener,
                sweep=sweep,
                judge=judge,
            )

    def _composed(self, batch: Sequence[tuple[int, tuple[str, ...]]]) -> tuple[dict[int, Composed], list[Tried]]:
        """The jobs that can be run, by number; a trial whose values go badly together has failed, and is told."""
        jobs: dict[int, Composed] = {}
        refused = []
        for number, words in batch:
            try:
                job = self.search.compose(words, number)
                plan_of([job], self.listed)
                jobs[number] = job
            except GeohydraError as error:
                refused.append(Tried(number, "failed", words, {}))
                for line in error_lines(error.errors if isinstance(error, Problems) else (error,)):
                    print(line, file=sys.stderr)
        return jobs, refused

    def _opened(self, plan: Plan, tracking: Tracking) -> SweepRecord:
        if self.sweep is None:
            shipping = tracking.start_shipper(log=self.folder / "logs" / "shipping.log")
            self.sweep = SweepRecord.open(plan, tracking, shipping, self.folder, later=_fixed(self.search))
        return self.sweep

    def _end(self, tracking: Tracking) -> int:
        """The last words, also of a search that had nothing left to try."""
        tried = self.study.tried()
        rows = [self._row(one) for one in tried]
        usable = {f"{self._called}-{one.number}": one for one in tried if one.status in ("done", "stored")}

        def recipe(job: str) -> str:
            one = usable[job]
            return recipe_of(self.search.compose(one.overrides, one.number), job, self.name)

        if usable:
            some = next(iter(usable.values()))
            sweep = self.sweep or self._opened(plan_of([self.search.compose(some.overrides, some.number)], self.listed)[0], tracking)
            sweep.end(rows, self.search.base.config, recipe, stopped=self.stopped, searched=True)
            ship_rest(sweep.shipping, print)
        elif self.sweep is not None:
            self.sweep.end(rows, self.search.base.config, lambda _job: "", stopped=self.stopped, searched=True)
            ship_rest(self.sweep.shipping, print)
        print(searched(rows, self.goals, self.folder, tracking.address))
        if self.stopped:
            print("stopped: the same command goes on from here")
        return CANCELLED if self.stopped else 0 if usable else 5

    @property
    def _called(self) -> str:
        return str(self.search.base.config["name"])

    def _row(self, one: Tried) -> JobRow:
        return JobRow(f"{self._called}-{one.number}", one.status, one.overrides, one.metrics, one.seconds)


class _Judge:
    """The study, asked by the names of jobs. A job in its last epoch is let go on: its end is near."""

    def __init__(self, study: Study, numbers: Mapping[str, int], jobs: Mapping[int, Composed]) -> None:
        self._study, self._numbers = study, numbers
        self._epochs = {number: (job.config.get("train") or {}).get("epochs") for number, job in jobs.items()}

    def hear(self, job: str, step: int, metrics: Mapping[str, float]) -> None:
        """The scores of an epoch."""
        number = self._numbers[job]
        if step + 1 != self._epochs[number]:
            self._study.hear(number, step, dict(metrics))

    def gives_up(self, job: str) -> str:
        """Why."""
        return self._study.gives_up(self._numbers[job])


def _tried(plan: Plan, outcome: Outcome, numbers: Mapping[str, int], words: Mapping[int, tuple[str, ...]]) -> Iterator[Tried]:
    for row in rows_of(plan, outcome):
        number = numbers[row.name]
        yield Tried(number, row.status, words[number], dict(row.metrics), row.seconds or 0.0)


def _fixed(search: Search) -> dict[str, Any]:
    """The config without what is varied."""
    varied = {key.lstrip("+").partition("@")[0] for key in search.space}

    def without(config: Mapping[str, Any], above: str) -> dict[str, Any]:
        kept = {key: value for key, value in config.items() if f"{above}{key}" not in varied}
        return {key: without(value, f"{above}{key}.") if isinstance(value, Mapping) else value for key, value in kept.items()}

    return without({**search.base.config, "lock": None}, "")


def _identity(search: Search, goals: Sequence[Goal], listed: Listed) -> str:
    """All that decides what is tried and what comes of it: the same command goes on where it stood."""
    fixed = [word for word in search.fixed if not word.lstrip("+~").startswith("sweep")]
    base = {key: value for key, value in search.base.config.items() if key not in _PASSING}
    try:
        lock: Any = locked([search.base], listed)[0].config["lock"]
    except GeohydraError:
        lock = None
    space = {key: str(dimension) for key, dimension in search.space.items()}
    return digest([search.settings.identity(), list(map(str, goals)), space, fixed, base, lock])
