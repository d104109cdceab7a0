"""What a person sees of a run: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from geohydra.pipeline.runners import Listener, StepOutcome
from geohydra.plan import Plan

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

LINE_EVERY = 10.0
"""Seconds between two lines about the same running step where lines stay."""

Clock = Callable[[], float]


@contextmanager
def watching(plan: Plan, *, stream: TextIO | None = None) -> Iterator[Listener]:
    """A listener that shows the run on a stream: live on a terminal that can move its cursor, line by line elsewhere."""
    from rich.console import Console

    console = Console(file=stream or sys.stdout, highlight=False, soft_wrap=True)
    if not console.is_terminal or console.is_dumb_terminal:
        yield Lines(plan, stream or sys.stdout)
        return
    display = Display(plan, console)
    with display.shown():
        yield display


class Standing:
    """How far one running step is."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.started = clock()
        self._phase = clock()
        self.done, self.total = 0, 0
        self.text = ""
        self.metric = ""

    def hear(self, event: Mapping[str, Any]) -> None:
        """Take in what the step told."""
        if "progress" in event:
            if event["progress"] < self.done or event["total"] != self.total:
                self._phase = self._clock()
            self.done, self.total = int(event["progress"]), int(event["total"])
        if event.get("text"):
            self.text = str(event["text"])
        if metrics := event.get("metrics"):
            self.metric = said(metrics)

    @property
    def share(self) -> float | None:
        """Between 0 and 1; None while nothing is known."""
        return min(self.done / self.total, 1.0) if self.total > 0 else None

    @property
    def seconds(self) -> float:
        """Since the step started."""
        return self._clock() - self.started

    @property
    def left(self) -> float | None:
        """Seconds that the rest takes if it goes on like this."""
        if not self.done or self.done >= self.total:
            return None
        return (self._clock() - self._phase) / self.done * (self.total - self.done)

    @property
    def words(self) -> str:
        """What it does, and the latest metric."""
        return ", ".join(part for part in (self.text, self.metric) if part)


class Lines:
    """One line when a step starts and when it ends; between them one now and then."""

    def __init__(self, plan: Plan, stream: TextIO, *, clock: Clock = time.monotonic) -> None:
        self._wide = max(len(step.id) for step in plan.steps)
        self._stream = stream
        self._clock = clock
        self._running: dict[str, Standing] = {}
        self._last: dict[str, float] = {}

    def on_step(self, identity: str, outcome: StepOutcome) -> None:
        """Say that it started or how it ended."""
        self._running.pop(identity, None)
        if outcome.status == "running":
            self._running[identity] = Standing(self._clock)
            self._last[identity] = self._clock()
        self._say(identity, ended(outcome) if outcome.status != "running" else "started")

    def on_event(self, identity: str, event: Mapping[str, Any]) -> None:
        """Say how far it is, if that was not said just before; say at once that it waits."""
        standing = self._running[identity]
        standing.hear(event)
        now = self._clock()
        if event.get("waiting") or now - self._last[identity] >= LINE_EVERY:
            self._last[identity] = now
            share = "" if standing.share is None else f"{standing.share:.0%}"
            left = "" if standing.left is None else f"{duration(standing.left)} left"
            self._say(identity, ", ".join(part for part in (share, standing.words, left) if part) or duration(standing.seconds))

    def on_notice(self, text: str) -> None:
        """A line of its own."""
        print(text, file=self._stream, flush=True)

    def _say(self, identity: str, text: str) -> None:
        print(f"{identity:<{self._wide}}  {text}", file=self._stream, flush=True)


class Display:
    """A line with a bar for each running step, below the lines of those that ended."""

    def __init__(self, plan: Plan, console: Console, *, clock: Clock = time.monotonic) -> None:
        self._plan = plan
        self._wide = max(len(step.id) for step in plan.steps)
        self._console = console
        self._clock = clock
        self._started = clock()
        self._running: dict[str, Standing] = {}
        self._ended: set[str] = set()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Draw while this is open."""
        from rich.live import Live

        with Live(get_renderable=self._draw, console=self._console, refresh_per_second=5, transient=True):
            yield

    def on_step(self, identity: str, outcome: StepOutcome) -> None:
        """A step that ended becomes a line that stays."""
        self._running.pop(identity, None)
        if outcome.status == "running":
            self._running[identity] = Standing(self._clock)
            return
        if outcome.status != "retried":
            self._ended.add(identity)
        mark, style = _MARKS[outcome.status]
        self._print(f"{mark} {identity:<{self._wide}}  {ended(outcome)}", style)

    def on_event(self, identity: str, event: Mapping[str, Any]) -> None:
        """Seen when the display is drawn next."""
        self._running[identity].hear(event)

    def on_notice(self, text: str) -> None:
        """A line that stays."""
        self._print(text, "")

    def _print(self, text: str, style: str) -> None:
        self._console.print(text, style=style, markup=False, emoji=False)

    def _draw(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 1))
        for _ in range(4):
            table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis")
        for identity, standing in list(self._running.items()):
            share = standing.share
            bar = ProgressBar(total=1.0 if share is not None else None, completed=share or 0.0, width=20, pulse=share is None)
            left = "" if standing.left is None else f"{duration(standing.left)} left"
            percent = "" if share is None else f"{share:4.0%}"
            time_of = Text(left or duration(standing.seconds), style="cyan")
            table.add_row(f"  {identity:<{self._wide}}", bar, percent, time_of, Text(standing.words, style="dim"))
        return Group(table, Text(self._foot(), style="dim", no_wrap=True, overflow="ellipsis"))

    def _foot(self) -> str:
        count = f"{len(self._ended)} of {len(self._plan.steps)} steps, {duration(self._clock() - self._started)}"
        idle = not self._running and len(self._ended) < len(self._plan.steps)
        return f"  {count}{', starting workers' if idle else ''}"


_MARKS: Mapping[str, tuple[str, str]] = {
    "done": ("✓", "green"),
    "stored": ("✓", "dim"),
    "failed": ("✗", "bold red"),
    "retried": ("↻", "yellow"),
    "skipped": ("-", "yellow"),
    "withheld": ("-", "dim"),
    "pruned": ("-", "yellow"),
    "cancelled": ("-", "yellow"),
}


def ended(outcome: StepOutcome) -> str:
    """How a step ended, in words."""
    took, why = duration(outcome.seconds), str(outcome.error).removeprefix(f"step {outcome.id}: ")
    words = {
        "done": f"done in {took}",
        "stored": f"from the store (made in {took})",
        "failed": f"failed after {took}: {why}",
        "retried": f"starts again: {why}",
        "skipped": str(outcome.error.problem if outcome.error else "not run"),
        "withheld": str(outcome.error.problem if outcome.error else "not done"),
        "pruned": f"given up after {took}: {why}",
        "cancelled": "stopped" if outcome.attempts else "not run",
    }
    return words.get(outcome.status, outcome.status)


def said(metrics: Mapping[str, float]) -> str:
    """The metrics of one epoch that tell most: validation scores before losses, totals before single classes."""
    names = sorted(metrics, key=lambda name: (not name.startswith("val/"), name.count("/"), "loss" in name))
    return ", ".join(f"{name} {metrics[name]:.3g}" for name in names[:2])


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
