"""Runs that are stopped, killed or crowded: real runners in processes of their own."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from ..conftest import Driven, alive, family, gone, stage, until


def numbers(notes: Path) -> list[int]:
    return [int(line) for line in notes.read_text().split()] if notes.exists() else []


def said(process: subprocess.Popen[str], text: str) -> bool:
    """Whether a line with this text is printed; waits for it."""
    assert process.stdout is not None
    return any(text in line for line in process.stdout)


def counting(notes: Path, *, seconds: float = 0.2, deadly: tuple[int, ...] = ()) -> dict[str, dict[str, object]]:
    return {"count": {"notes": str(notes), "seconds": seconds, "deadly": deadly}}


def test_after_kill_9_of_the_runner_nothing_runs_and_a_second_run_goes_on(driven: Driven, notes: Path) -> None:
    first = driven.start(counting(notes), stage("count", "counting"))
    until(lambda: len(numbers(notes)) >= 3)
    below = family(first)

    first.kill()

    assert until(lambda: gone(below))
    reached = len(numbers(notes))
    assert reached < 10
    second = driven.start(counting(notes), stage("count", "counting"))
    assert second.wait(20) == 0
    assert numbers(notes)[reached:] == list(range(numbers(notes)[reached], 10))
    assert sorted(set(numbers(notes))) == list(range(10))
    assert len(numbers(notes)) <= 11


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_with_130_and_leaves_no_process(driven: Driven, notes: Path, number: signal.Signals) -> None:
    stages = stage("count", "counting"), stage("after", "note", "count")
    process = driven.start({**counting(notes), "after": {"name": "after", "notes": str(notes)}}, *stages)
    until(lambda: len(numbers(notes)) >= 2)
    below = family(process)

    process.send_signal(number)

    text, _ = process.communicate(timeout=10)
    assert process.returncode == 130
    assert until(lambda: gone(below), seconds=3)
    assert "stopping count" in text
    assert "count  stopped" in text
    assert "after  not run" in text


def test_a_step_that_ignores_the_request_to_stop_is_killed_with_its_children(driven: Driven, notes: Path) -> None:
    process = driven.start({"hold": {"notes": str(notes)}}, stage("hold", "stubborn"), grace=0.5)
    until(lambda: notes.exists() and len(alive(notes)) == 2)

    process.send_signal(signal.SIGINT)

    process.communicate(timeout=10)
    assert process.returncode == 130
    assert until(lambda: not alive(notes))


def test_a_second_ctrl_c_does_not_wait(driven: Driven, notes: Path) -> None:
    process = driven.start({"hold": {"notes": str(notes)}}, stage("hold", "stubborn"), grace=60)
    until(lambda: notes.exists() and len(alive(notes)) == 2)

    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)

    process.communicate(timeout=10)
    assert process.returncode == 130
    assert until(lambda: not alive(notes))


def test_kill_9_of_the_runner_reaches_stubborn_steps_and_their_children(driven: Driven, notes: Path) -> None:
    process = driven.start({"hold": {"notes": str(notes)}}, stage("hold", "stubborn"))
    until(lambda: notes.exists() and len(alive(notes)) == 2)

    process.kill()

    assert until(lambda: not alive(notes))


def test_ctrl_c_while_libraries_are_imported_ends_at_once(driven: Driven, steps: Path, notes: Path) -> None:
    (steps / "plugged" / "endless.py").write_text("import time\ntime.sleep(600)\n")
    process = driven.start(counting(notes), stage("count", "counting"), preload=["plugged.endless"])
    until(lambda: [one for one in family(process) if "forkserver" in " ".join(one.cmdline())])
    time.sleep(0.5)
    below = family(process)

    process.send_signal(signal.SIGINT)

    process.communicate(timeout=5)
    assert process.returncode == 130
    assert until(lambda: gone(below), seconds=5)
    assert numbers(notes) == []


def test_a_killed_fork_server_costs_only_the_attempt(driven: Driven, notes: Path) -> None:
    process = driven.start(counting(notes), stage("count", "counting"))
    until(lambda: len(numbers(notes)) >= 2)
    server = next(one for one in family(process) if one.ppid() == process.pid and "forkserver" in " ".join(one.cmdline()))

    server.kill()

    text, _ = process.communicate(timeout=20)
    assert process.returncode == 0, text
    assert sorted(set(numbers(notes))) == list(range(10))


def test_two_runs_share_one_store_and_the_second_waits_and_says_so(driven: Driven, notes: Path, tmp_path: Path) -> None:
    config = {"pass": {"notes": str(notes), "gate": str(tmp_path / "gate")}}
    first = driven.start(config, stage("pass", "gated"))
    until(notes.exists)
    second = driven.start(config, stage("pass", "gated"))

    assert said(second, "pass  waiting for another run")
    (tmp_path / "gate").touch()

    assert (first.wait(10), second.wait(10)) == (0, 0)
    assert notes.read_text() == "in\n"


def test_a_run_that_waits_for_another_can_be_stopped(driven: Driven, notes: Path, tmp_path: Path) -> None:
    config = {"pass": {"notes": str(notes), "gate": str(tmp_path / "gate")}}
    first = driven.start(config, stage("pass", "gated"))
    until(notes.exists)
    second = driven.start(config, stage("pass", "gated"))
    assert said(second, "pass  waiting for another run")

    second.send_signal(signal.SIGINT)

    assert second.wait(10) == 130
    assert first.poll() is None


def test_a_stored_plan_starts_no_process(driven: Driven, notes: Path) -> None:
    config = {"a": {"name": "a", "notes": str(notes)}}
    assert driven.start(config, stage("a", "note")).wait(20) == 0

    text, _ = driven.start(config, stage("a", "note"), preload=["torch"]).communicate(timeout=20)

    assert "a  from the store" in text
    assert "children: 0" in text


def test_an_unguarded_script_runs_once(driven: Driven, notes: Path) -> None:
    text, _ = driven.start({"a": {"name": "a", "notes": str(notes)}}, stage("a", "note")).communicate(timeout=20)

    assert text.count("script runs") == 1
    assert [line.split()[0] for line in notes.read_text().splitlines()] == ["start", "end"]


def test_a_runner_leaves_no_process_behind_when_it_ends_well(driven: Driven, notes: Path) -> None:
    process = driven.start(counting(notes, seconds=0.05), stage("count", "counting"))
    until(lambda: numbers(notes))
    below = family(process)

    process.communicate(timeout=20)

    assert until(lambda: gone(below))
    assert psutil.pid_exists(process.pid) is False
