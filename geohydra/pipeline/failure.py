"""What a person reads after a run that failed: which steps did, why, the end of their logs, what was not run for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from geohydra.pipeline.runners import StepOutcome

_LOG_LINES = 40


def failure_report(name: str, steps: Sequence[StepOutcome], *, error: str = "") -> str:
    """The report as Markdown. `error` is what the engine said where no step tells more."""
    return "\n".join([f"# {name} failed", "", *([error, ""] if error else []), *_failed(steps), *_others(steps)])


def _failed(steps: Sequence[StepOutcome]) -> Iterator[str]:
    for step in steps:
        if step.status != "failed":
            continue
        yield from (f"## {step.id}", "", str(step.error or "It ended without a word."), "")
        if step.attempts > 1:
            yield from (f"Tried {step.attempts} times.", "")
        if step.log is not None and step.log.exists():
            yield from (f"The end of {step.log}:", "", "```", *_end(step.log), "```", "")


def _others(steps: Sequence[StepOutcome]) -> Iterator[str]:
    told = {"done": "done", "stored": "from the store", "skipped": "not run", "withheld": "withheld", "cancelled": "stopped"}
    for status, words in told.items():
        names = [step.id for step in steps if step.status == status]
        if names:
            yield f"- {words}: {', '.join(names)}"
    if any(step.status in ("done", "stored") for step in steps):
        yield "\nWhat is done stays in the store: the same run, started again, goes on from there."


def _end(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
