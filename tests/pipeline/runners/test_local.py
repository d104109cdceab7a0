"""The local runner, with real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from geohydra.errors import ConfigError, StoreError
from geohydra.plan import Job, Stage, make_plan
from geohydra.work import read_manifest

from ...conftest import Watch
from ..conftest import Run, alive, planned, stage, until


def spans(notes: Path) -> dict[str, tuple[float, float]]:
    found: dict[str, dict[str, float]] = {}
    for line in notes.read_text().splitlines():
        what, name, moment = line.split()
        found.setdefault(name, {})[what] = float(moment)
    return {name: (span["start"], span["end"]) for name, span in found.items()}


def most_at_once(found: dict[str, tuple[float, float]]) -> int:
    return max(sum(start <= moment < end for start, end in found.values()) for moment, _ in found.values())


def noting(names: str, notes: Path, *, seconds: float = 0.0) -> dict[str, dict[str, object]]:
    return {name: {"name": name, "notes": str(notes), "seconds": seconds} for name in names}


def test_a_step_starts_after_all_that_it_needs(run: Run, notes: Path) -> None:
    plan = planned(
        noting("abcd", notes), stage("d", "note", "b", "c"), stage("b", "note", "a"), stage("c", "note", "a"), stage("a", "note")
    )

    outcome = run(plan, cpu=2)

    found = spans(notes)
    assert all(found[later][0] >= found[earlier][1] for earlier, later in ("ab", "ac", "bd", "cd"))
    assert outcome.jobs == {"job": "done"}
    assert outcome.exit_code == 0
    assert all(read_manifest(step.uri) for step in outcome.steps.values())


@pytest.mark.parametrize(
    ("settings", "most"), [({"parallel": 2, "cpu": 8}, 2), ({"parallel": 8, "cpu": 3}, 3), ({"cpu": 8, "memory": 0.1}, 1)]
)
def test_no_more_steps_run_at_once_than_the_machine_and_parallel_allow(
    run: Run, notes: Path, settings: dict[str, float], most: int
) -> None:
    plan = planned(noting("abcde", notes, seconds=0.4), *(stage(name, "note") for name in "abcde"))

    run(plan, **settings)

    assert most_at_once(spans(notes)) == most


def test_a_step_that_asks_for_more_than_there_is_runs_alone(run: Run, notes: Path) -> None:
    plan = planned(noting("abc", notes, seconds=0.2), stage("a", "note"), stage("b", "note", role="all"), stage("c", "note"))

    outcome = run(plan, cpu=2)

    first, last = spans(notes)["b"]
    assert outcome.exit_code == 0
    assert all(end <= first or start >= last for name, (start, end) in spans(notes).items() if name != "b")


def test_a_killed_step_is_tried_again_and_goes_on_where_it_was(run: Run, notes: Path, watch: Watch) -> None:
    plan = planned({"count": {"notes": str(notes), "deadly": [3]}}, stage("count", "counting"))

    outcome = run(plan, retries=1)

    assert notes.read_text().split() == [str(number) for number in range(10)]
    assert watch.statuses("count") == ["running", "retried", "running", "done"]
    assert outcome.steps["count"].attempts == 2


def test_a_step_that_is_killed_again_and_again_fails_and_names_the_signal(run: Run, notes: Path) -> None:
    plan = planned({"count": {"notes": str(notes), "deadly": [1, 2, 3], "signal": "SIGSEGV"}}, stage("count", "counting"))

    outcome = run(plan, retries=1)

    failure = outcome.steps["count"].error
    assert failure is not None
    assert failure.problem == "its process was killed by SIGSEGV"
    assert outcome.steps["count"].attempts == 2
    assert outcome.exit_code == 5
    assert "Segmentation fault" in Path(str(outcome.steps["count"].log)).read_text()


def test_a_system_error_that_may_pass_is_tried_again(run: Run, notes: Path) -> None:
    outcome = run(planned({"net": {"notes": str(notes)}}, stage("net", "flaky")), retries=1)

    assert outcome.jobs == {"job": "done"}


def test_a_mistake_of_the_user_is_not_tried_again_and_keeps_its_words(run: Run, notes: Path) -> None:
    outcome = run(planned({"look": {"notes": str(notes)}}, stage("look", "mistaken")), retries=3)

    failure = outcome.steps["look"].error
    assert failure is not None
    assert (failure.where, failure.problem, failure.hint) == ("images/a.tif", "it has no CRS", "give it one")
    assert notes.read_text() == "tried\n"
    assert outcome.exit_code == 3


def test_an_unforeseen_error_leaves_its_traceback_in_the_log(run: Run) -> None:
    outcome = run(planned({"break": {}}, stage("break", "broken")), retries=3)

    step = outcome.steps["break"]
    assert step.error is not None
    assert step.error.problem == "ZeroDivisionError: no number"
    assert str(step.log) in step.error.hint
    assert 'raise ZeroDivisionError("no number' in Path(str(step.log)).read_text()
    assert step.attempts == 1
    assert read_manifest(step.uri) is None


def test_a_failed_step_stops_only_those_that_need_it(run: Run, notes: Path, watch: Watch) -> None:
    def job(name: str, step: str) -> Job:
        config = {"name": name, **noting("ac", notes), "b": {"name": f"b{name}", "notes": str(notes)}}
        stages = (stage("a", "note"), stage("b", step, "a"), stage("c", "note", "b"))
        return Job(name, config, tuple(Stage(**one) for one in stages))

    outcome = run(make_plan("sweep", [job("good", "note"), job("bad", "broken")]), cpu=2)

    assert outcome.jobs == {"good": "done", "bad": "failed"}
    assert [step.id for step in outcome.failures] == ["b-2"]
    assert outcome.steps["c-2"].status == "skipped"
    assert "b-2 is missing" in str(outcome.steps["c-2"].error)
    assert watch.statuses("a") == ["running", "done"]


def test_what_is_stored_is_not_run_again(run: Run, notes: Path, watch: Watch) -> None:
    plan = planned(noting("ab", notes), stage("a", "note"), stage("b", "note", "a"))
    run(plan)
    told = len(watch.steps)

    outcome = run(plan)

    assert len(notes.read_text().splitlines()) == 4
    assert [step.status for step in watch.steps[told:]] == ["stored", "stored"]
    assert outcome.jobs == {"job": "stored"}


def test_a_log_holds_all_that_a_step_and_its_children_print(run: Run, tmp_path: Path) -> None:
    run(planned({"shout": {}}, stage("shout", "loud", role="all")), cpu=2)

    log = (tmp_path / "run" / "logs" / "shout.log").read_text().splitlines()
    assert log == ["from Python", "from Python, as an error", "from below", "from a child", "threads 2 2"]


def test_events_arrive_thinned_and_whole(run: Run, watch: Watch) -> None:
    run(planned({"tell": {}}, stage("tell", "telling")))

    told = [event for _, event in watch.events]
    progress = [event for event in told if "progress" in event]
    assert progress[-1] == {"progress": 1000, "total": 1000, "text": "number 999"}
    assert len(progress) < 100
    assert [event["step"] for event in told if "metrics" in event] == [0, 1, 2]
    assert told[-1] == {"text": "all told"}


def test_children_of_a_killed_step_do_not_outlive_it(run: Run, notes: Path) -> None:
    run(planned({"hold": {"notes": str(notes), "die": True}}, stage("hold", "stubborn")), retries=0)

    assert until(lambda: not alive(notes))


def test_a_role_that_wants_a_gpu_is_refused_where_there_is_none(run: Run, notes: Path, watch: Watch) -> None:
    plan = planned(noting("ab", notes), stage("a", "note"), stage("b", "note", "a", role="gpu"))

    with pytest.raises(ConfigError, match=r"hardware.gpu.gpu: 1 GPUs are asked for, this machine has 0; choose hardware=cpu"):
        run(plan, gpu=0)

    assert watch.steps == []


def test_an_unknown_role_is_refused_with_those_that_are_known(run: Run, notes: Path) -> None:
    with pytest.raises(ConfigError, match=r"no role 'tpu' in this hardware; it has cpu, all, gpu"):
        run(planned(noting("a", notes), stage("a", "note", role="tpu")))


def test_a_run_folder_that_cannot_be_made_is_told_before_a_step_starts(run: Run, notes: Path, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where the run folder should be")

    with pytest.raises(StoreError, match="a file stands where a folder is needed"):
        run(planned(noting("a", notes), stage("a", "note")))


def test_the_environment_of_the_runner_is_that_of_its_steps(run: Run, tmp_path: Path, steps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (steps / "plugged" / "asking.py").write_text(
        "import os\nVERSION = 1\ndef run(config, work):\n    print(os.environ.get('SAID'), os.getcwd())\n"
    )
    monkeypatch.setenv("SAID", "today")
    monkeypatch.chdir(tmp_path)

    run(planned({"ask": {}}, stage("ask", "asking")))

    assert (tmp_path / "run" / "logs" / "ask.log").read_text() == f"today {tmp_path}\n"
