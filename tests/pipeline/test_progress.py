"""What a person sees: lines in a pipe, a display on a terminal."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pexpect
import pytest

from geohydra.pipeline.progress import LINE_EVERY, Lines, Standing, duration, said, watching
from geohydra.pipeline.runners import Failure, StepOutcome

from .conftest import DRIVER, HARDWARE, planned, stage

PLAN = planned({"ingest": {}, "train": {}}, stage("train", "note", "ingest"), stage("ingest", "note"))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations_read_like_speech(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_metrics_shown_are_those_of_validation_and_of_all_classes() -> None:
    assert said({"train/loss": 1.2, "val/iou/water": 0.9, "val/loss": 0.25, "val/iou": 0.7123}) == "val/iou 0.712, val/loss 0.25"


def test_the_rest_is_estimated_from_the_pace_of_the_present_phase() -> None:
    clock = Clock()
    standing = Standing(clock)
    standing.hear({"progress": 10, "total": 10, "text": "first scene"})
    clock.now = 100.0
    standing.hear({"progress": 0, "total": 40, "text": "second scene"})
    clock.now = 105.0
    standing.hear({"progress": 10, "total": 40, "text": "second scene"})

    assert standing.share == 0.25
    assert standing.left == 15.0
    assert standing.words == "second scene"


def test_lines_tell_start_and_end_and_where_outputs_come_from() -> None:
    stream = io.StringIO()
    watch = Lines(PLAN, stream)

    watch.on_step("ingest", StepOutcome("ingest", "stored", "u", seconds=3.2))
    watch.on_step("train", StepOutcome("train", "running", "u"))
    watch.on_step("train", StepOutcome("train", "done", "u", seconds=200))
    watch.on_notice("one sentence")

    assert lines(stream) == ["ingest  from the store (made in 3.2 s)", "train   started", "train   done in 3 min 20 s", "one sentence"]


def test_a_running_step_gets_a_line_only_now_and_then() -> None:
    clock, stream = Clock(), io.StringIO()
    watch = Lines(PLAN, stream, clock=clock)
    watch.on_step("train", StepOutcome("train", "running", "u"))

    for second in range(1, 26):
        clock.now = float(second)
        watch.on_event("train", {"step": second, "metrics": {"val/iou": second / 100}})
        watch.on_event("train", {"progress": second, "total": 100, "text": f"epoch {second}/100"})

    assert lines(stream)[1:] == [
        "train   9%, epoch 9/100, val/iou 0.1, 1 min 31 s left",
        "train   19%, epoch 19/100, val/iou 0.2, 1 min 21 s left",
    ]
    assert LINE_EVERY == 10


def test_waiting_is_told_at_once() -> None:
    stream = io.StringIO()
    watch = Lines(PLAN, stream)
    watch.on_step("train", StepOutcome("train", "running", "u"))

    watch.on_event("train", {"text": "waiting for another run that makes the same output", "waiting": True})

    assert lines(stream)[1] == "train   waiting for another run that makes the same output"


def test_failures_tell_why_and_skipped_steps_for_what() -> None:
    stream = io.StringIO()
    watch = Lines(PLAN, stream)

    watch.on_step("ingest", StepOutcome("ingest", "retried", "u", error=Failure("step ingest", "its process was killed by SIGKILL")))
    watch.on_step("ingest", StepOutcome("ingest", "failed", "u", 2.0, error=Failure("a.tif", "it has no CRS", "give it one")))
    watch.on_step("train", StepOutcome("train", "skipped", "u", error=Failure("step train", "not run, because ingest is missing")))

    assert lines(stream) == [
        "ingest  starts again: its process was killed by SIGKILL",
        "ingest  failed after 2.0 s: a.tif: it has no CRS; give it one",
        "train   not run, because ingest is missing",
    ]


def test_a_pipe_gets_plain_lines() -> None:
    stream = io.StringIO()

    with watching(PLAN, stream=stream) as listener:
        listener.on_step("train", StepOutcome("train", "running", "u"))

    assert stream.getvalue() == "train   started\n"


def test_a_terminal_gets_bars_that_vanish_and_lines_that_stay(steps: Path, tmp_path: Path, notes: Path) -> None:
    import json

    (tmp_path / "driver.py").write_text(DRIVER)
    order = {
        "config": {"count": {"notes": str(notes), "deadly": [], "seconds": 0.25}},
        "stages": [stage("count", "counting")],
        "store": str(tmp_path / "store"),
        "folder": str(tmp_path / "run"),
        "hardware": HARDWARE,
        "runner": {},
    }
    (tmp_path / "order.json").write_text(json.dumps(order))
    terminal = pexpect.spawn(
        sys.executable, [str(tmp_path / "driver.py"), str(tmp_path / "order.json")], dimensions=(24, 100), encoding="utf-8", timeout=30
    )

    terminal.expect(re.escape("40%"))
    terminal.expect(r"\d\.\d s left")
    terminal.expect("counting")
    terminal.expect(r"0 of 1 steps, \d\.\d s")
    terminal.expect(r"✓ count  done in \d\.\d s")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
