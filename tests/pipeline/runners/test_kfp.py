"""The runner for a cluster, with the real client, against a server that speaks the published API and executes what it gets."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from geohydra.build import problems
from geohydra.errors import ConfigError, EngineError
from geohydra.pipeline.runners import Outcome
from geohydra.pipeline.runners.kfp import KfpRunner
from geohydra.plan import Job, Plan, Stage, make_plan
from geohydra.work import Request, give_up, read_manifest

from ...conftest import Watch
from ..conftest import HARDWARE, numbers, planned, stage, until
from .conftest import Kubeflow

There = Callable[..., Outcome]


def cluster(folder: Path, **settings: Any) -> dict[str, Any]:
    return {"_target_": "geohydra.pipeline.cluster.Cluster", "volumes": {str(folder): "claim"}, "report": False, **settings}


@pytest.fixture
def there(kubeflow: Kubeflow, steps: Path, tmp_path: Path, watch: Watch) -> There:
    """Runs a plan on the server."""

    def call(plan: Plan, *, take: Mapping[str, tuple[str, ...]] | None = None, **settings: Any) -> Outcome:
        runner = KfpRunner(**{"host": kubeflow.host, "poll": 0.1, "patience": 0.0, **settings})
        if take is not None:
            runner.take(take)
        return runner.run(plan, store=str(tmp_path / "store"), hardware=HARDWARE, folder=tmp_path / "run", listener=watch)

    return call


@pytest.fixture
def plan(tmp_path: Path, steps: Path) -> Plan:
    """A number, and the squares below it."""
    return make_plan("numbers", [numbers({"n": 4, "scale": 2, "cluster": cluster(tmp_path)})])


def frame(state: str = "RUNNING", **tasks: Any) -> dict[str, Any]:
    """One look at a run: `number="RUNNING"`, or a state with more."""
    named = {f"plugged-{name}": {"state": told} if isinstance(told, str) else told for name, told in tasks.items()}
    return {"state": state, "tasks": named}


def said(watch: Watch) -> str:
    return "\n".join(watch.notices)


def test_a_plan_runs_to_results_in_the_store(there: There, plan: Plan, watch: Watch, tmp_path: Path, kubeflow: Kubeflow) -> None:
    outcome = there(plan)

    assert outcome.exit_code == 0
    assert outcome.jobs == {"numbers": "done"}
    assert all(read_manifest(step.uri) is not None for step in outcome.steps.values())
    assert watch.statuses("squares") == ["running", "done"]
    assert f"{kubeflow.host}/#/runs/details/" in watch.notices[0]
    assert watch.notices[-1].startswith("succeeded")


def test_what_the_store_holds_is_not_submitted(there: There, plan: Plan, kubeflow: Kubeflow) -> None:
    there(plan)
    again = there(plan)

    assert again.jobs == {"numbers": "stored"}
    assert kubeflow.asked("POST /apis/v2beta1/runs") == 1


@pytest.mark.slow
def test_jobs_of_a_sweep_are_one_run(there: There, tmp_path: Path, kubeflow: Kubeflow, steps: Path) -> None:
    jobs = [numbers({"n": 3, "scale": scale, "cluster": cluster(tmp_path)}, name=f"job-{scale}") for scale in (1, 2)]

    outcome = there(make_plan("numbers", jobs))

    assert outcome.jobs == {"job-1": "done", "job-2": "done"}
    assert kubeflow.asked("POST /apis/v2beta1/runs") == 1


@pytest.mark.slow
def test_no_more_jobs_are_under_way_than_allowed(there: There, tmp_path: Path, kubeflow: Kubeflow, steps: Path, watch: Watch) -> None:
    jobs = [numbers({"n": 3, "scale": scale, "cluster": cluster(tmp_path)}, name=f"job-{scale}") for scale in (1, 2, 3)]

    outcome = there(replace(make_plan("numbers", jobs), at_once=2))

    assert set(outcome.jobs.values()) == {"done"}
    assert kubeflow.asked("POST /apis/v2beta1/runs") == 2
    assert watch.statuses("number") == ["running", "done"]


@pytest.mark.slow
def test_a_failed_job_stops_no_other_though_the_cluster_stops_at_it(
    there: There, tmp_path: Path, kubeflow: Kubeflow, steps: Path, watch: Watch
) -> None:
    stages = (
        Stage("first", "plugged.note", 1, (), ("first",), "cpu"),
        Stage("number", "plugged.number", 1, ("first",), ("n",), "cpu"),
    )
    first = {"name": "first", "notes": str(tmp_path / "notes.txt")}
    jobs = [Job(f"job-{n}", {"n": n, "first": first, "cluster": cluster(tmp_path)}, stages) for n in (2, -1, 3, -4)]

    outcome = there(make_plan("numbers", jobs))

    assert outcome.jobs == {"job-2": "done", "job--1": "failed", "job-3": "done", "job--4": "failed"}
    assert outcome.exit_code == 5
    assert kubeflow.asked("POST /apis/v2beta1/runs") in (2, 3)  # in which order a cluster takes jobs is its own affair
    assert "what it did not come to goes into a new run" in said(watch)
    assert not any("left neither" in str(step.error) for step in outcome.steps.values())


@pytest.mark.slow
def test_of_jobs_of_equal_shape_only_the_one_that_failed_is_told_as_failed(
    there: There, tmp_path: Path, kubeflow: Kubeflow, steps: Path
) -> None:
    jobs = [numbers({"n": n, "scale": 2, "cluster": cluster(tmp_path)}, name=f"job-{n}") for n in (2, -1)]

    outcome = there(make_plan("numbers", jobs))

    assert outcome.jobs == {"job-2": "done", "job--1": "failed"}
    assert [step.id for step in outcome.failures] == ["number-2"]
    assert "a number below zero" in str(outcome.failures[0].error)
    assert outcome.failures[0].log is not None
    assert "a number below zero" in outcome.failures[0].log.read_text()


class Hopeless(Watch):
    """Gives a step up after its first score."""

    def gives_up(self, identity: str) -> str:
        return "no hope" if any("metrics" in event for step, event in self.events if step == identity) else ""


@pytest.mark.slow
def test_a_step_without_hope_ends_itself(kubeflow: Kubeflow, tmp_path: Path, steps: Path) -> None:
    watch, folder = Hopeless(), tmp_path / "run"
    gate = {"gate": str(tmp_path / "gate")}
    plan = planned({"a": gate, "b": gate, "cluster": cluster(tmp_path)}, stage("a", "scoring"), stage("b", "scoring", "a"))
    runner = KfpRunner(host=kubeflow.host, poll=0.1, retries=1)

    outcome = runner.run(plan, store=str(tmp_path / "store"), hardware=HARDWARE, folder=folder, listener=watch)

    assert outcome.jobs == {"job": "pruned"}
    assert (outcome.steps["a"].status, outcome.steps["b"].status) == ("pruned", "skipped")
    assert "no hope" in str(outcome.steps["a"].error)
    assert kubeflow.asked(":retry") == 0


@pytest.mark.slow
def test_a_step_that_was_given_up_is_made_when_it_is_wanted_again(there: There, tmp_path: Path, steps: Path) -> None:
    config = {"a": {"gate": str(tmp_path / "gate")}, "cluster": cluster(tmp_path)}
    plan = planned(config, stage("a", "scoring"))
    give_up(Request("plugged.scoring", plan.steps[0].config, {}, str(tmp_path / "store")), "no hope")
    (tmp_path / "gate").touch()

    assert there(plan).jobs == {"job": "done"}


def test_a_failed_step_brings_its_words_and_its_log(there: There, tmp_path: Path, steps: Path, notes: Path, watch: Watch) -> None:
    config = {"a": {"notes": str(notes)}, "b": {"name": "b", "notes": str(notes)}, "cluster": cluster(tmp_path)}

    outcome = there(planned(config, stage("a", "mistaken"), stage("b", "note", "a")))

    failed = outcome.steps["a"]
    assert outcome.exit_code == 5
    assert outcome.steps["b"].status == "skipped"
    assert failed.error is not None
    assert (failed.error.problem, failed.error.hint) == ("images/a.tif: it has no CRS", "give it one")
    assert failed.log is not None
    assert "it has no CRS" in failed.log.read_text()
    assert "the end of the log of a" in said(watch)


@pytest.mark.slow
def test_a_second_run_goes_on_from_the_store(there: There, tmp_path: Path, steps: Path, notes: Path) -> None:
    config = {"a": {"name": "a", "notes": str(notes)}, "b": {"notes": str(tmp_path / "flaky.txt")}, "cluster": cluster(tmp_path)}
    flaky = planned(config, stage("a", "note"), stage("b", "flaky", "a"))

    first, second = there(flaky), there(flaky)

    assert (first.exit_code, second.exit_code) == (5, 0)
    assert second.steps["a"].status == "stored"
    assert notes.read_text().count("start") == 1


@pytest.mark.parametrize(
    ("pod", "message", "words"),
    [
        (
            {"containerStatuses": [{"name": "main", "state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}]},
            "",
            ("OOMKilled", "raise hardware.cpu.memory (it has 0.1 GB)"),
        ),
        ({}, "OOMKilled (exit code 137)", ("OOMKilled", "hardware.cpu.memory")),
        ({"reason": "DeadlineExceeded"}, "Pod was active on the node longer than the specified deadline", ("hardware.cpu.timeout",)),
        ({}, 'pods "x" is forbidden: exceeded quota: team, requested: cpu=4', ("used up its quota", "hardware.cpu.cpu")),
    ],
)
def test_a_pod_that_was_killed_says_what_to_raise(
    there: There, plan: Plan, kubeflow: Kubeflow, pod: dict[str, Any], message: str, words: tuple[str, ...]
) -> None:
    pods = {"plugged-number": {"status": pod}}
    kubeflow.go_wrong(frames=[frame(number="RUNNING"), frame("FAILED", number={"state": "FAILED", "message": message})], pods=pods)

    outcome = there(plan)

    told = str(outcome.steps["number"].error)
    assert outcome.exit_code == 5
    assert all(word in told for word in words), told


def test_an_evicted_pod_is_retried(there: There, plan: Plan, kubeflow: Kubeflow, watch: Watch) -> None:
    gone = {"state": "FAILED", "message": "The node was low on resource: memory. Pod evicted"}
    kubeflow.go_wrong(frames=[frame("FAILED", number=gone), frame("FAILED", number=gone)])

    outcome = there(plan, retries=1)

    assert kubeflow.asked(":retry") == 1
    assert "asked to go on" in said(watch)
    assert "evicted" in str(outcome.steps["number"].error)


def test_another_attempt_of_a_step_is_told(there: There, plan: Plan, kubeflow: Kubeflow, watch: Watch) -> None:
    gone = {"state": "FAILED", "message": "Pod evicted"}
    again = {"state": "RUNNING", "attempts": [gone, {"state": "RUNNING"}]}
    kubeflow.go_wrong(frames=[frame(number="RUNNING"), frame(number=again), frame(number=again), frame("CANCELED")])

    there(plan)

    assert watch.statuses("number") == ["running", "retried", "running", "cancelled"]
    assert "evicted" in str(next(step.error for step in watch.steps if step.status == "retried"))


@pytest.mark.parametrize(
    ("pod", "events", "words"),
    [
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: 3 Insufficient gpu."}]},
            [],
            "no node has room for it",
        ),
        ({}, [{"type": "Warning", "message": "exceeded quota: team, requested: requests.nvidia.com/gpu=1"}], "used up its quota"),
    ],
)
def test_the_reason_of_a_waiting_pod_is_told_once(
    there: There, plan: Plan, kubeflow: Kubeflow, watch: Watch, pod: dict[str, Any], events: list[Any], words: str
) -> None:
    pending = frame(number="PENDING")
    kubeflow.go_wrong(
        frames=[pending, pending, pending, frame("CANCELED")],
        pods={"plugged-number": {"status": pod}},
        events={"plugged-number": events},
    )

    there(plan)

    told = [event["text"] for step, event in watch.events if step == "number"]
    assert len(told) == 1
    assert words in told[0]
    assert "hardware.cpu" in told[0]


def test_an_image_that_is_missing_ends_the_run_with_a_sentence(there: There, plan: Plan, kubeflow: Kubeflow) -> None:
    waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "geohydra:9"'}
    pod = {"containerStatuses": [{"name": "main", "state": {"waiting": waiting}}]}
    kubeflow.go_wrong(frames=[frame(number="PENDING")], pods={"plugged-number": {"status": pod}})

    outcome = there(plan, patience=0.2)

    assert outcome.exit_code == 5
    assert "its image cannot be pulled (ImagePullBackOff" in str(outcome.steps["number"].error)
    assert "cluster.image" in str(outcome.steps["number"].error)
    assert kubeflow.asked(":terminate") == 1


def test_a_run_that_was_cancelled_elsewhere_ends_the_wait(there: There, plan: Plan, kubeflow: Kubeflow) -> None:
    kubeflow.go_wrong(frames=[frame(number="RUNNING"), frame("CANCELED", number="CANCELED")])

    outcome = there(plan)

    assert outcome.exit_code == 130
    assert {step.status for step in outcome.steps.values()} == {"cancelled"}


def test_the_engines_cache_without_the_store_is_told(there: There, plan: Plan, kubeflow: Kubeflow) -> None:
    kubeflow.go_wrong(frames=[frame("SUCCEEDED", number={"state": "SUCCEEDED"})])

    outcome = there(plan)

    assert "runner.cache=false" in str(outcome.steps["number"].error)


def test_progress_and_metrics_come_from_the_log(there: There, plan: Plan, kubeflow: Kubeflow, watch: Watch) -> None:
    log = 'hello\n3/10 epoch\n{"metrics": {"val/iou": 0.5}, "step": 2}\n{"no": "metrics"}\n9/10 half a li'
    kubeflow.go_wrong(frames=[frame(number="RUNNING"), frame(number="RUNNING"), frame("CANCELED")], logs={"plugged-number": log})

    there(plan)

    assert watch.events == [
        ("number", {"progress": 3, "total": 10, "text": "epoch"}),
        ("number", {"metrics": {"val/iou": 0.5}, "step": 2}),
    ]


def test_a_store_that_pods_cannot_reach_is_refused(there: There, steps: Path, tmp_path: Path, kubeflow: Kubeflow) -> None:
    job = numbers({"n": 4, "scale": 2, "cluster": cluster(Path("/elsewhere"))})

    with pytest.raises(ConfigError, match="which pods cannot reach"):
        there(make_plan("numbers", [job]))

    assert kubeflow.asked("POST") == 0


def test_a_cluster_that_is_not_there_is_told_at_once(there: There, plan: Plan) -> None:
    started = time.monotonic()

    with pytest.raises(EngineError, match=r"http://127.0.0.1:9 cannot be reached .*check runner.host"):
        there(plan, host="http://127.0.0.1:9")

    assert time.monotonic() - started < 5


def test_a_silent_cluster_is_borne_for_a_while(there: There, plan: Plan, kubeflow: Kubeflow, watch: Watch) -> None:
    kubeflow.go_wrong(frames=[frame(number="RUNNING")])
    falling = threading.Thread(target=lambda: (until(lambda: watch.steps), kubeflow.go_wrong(down=503)))
    falling.start()

    with pytest.raises(EngineError, match="it answers 503"):
        there(plan, patience=0.3)

    falling.join()
    assert "the run goes on there, looking again" in said(watch)


@pytest.mark.parametrize(("given", "sentence"), [(None, "the server wants a token"), ("KFP_TOKEN", "the token has expired.*KFP_TOKEN")])
def test_a_token_that_is_not_valid_is_told(
    there: There, plan: Plan, kubeflow: Kubeflow, monkeypatch: pytest.MonkeyPatch, given: str | None, sentence: str
) -> None:
    monkeypatch.setenv("KFP_TOKEN", "old")
    kubeflow.go_wrong(token="new")

    with pytest.raises(EngineError, match=sentence):
        there(plan, token_env=given)


def test_a_variable_without_a_token_is_told(there: There, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KFP_TOKEN", raising=False)

    with pytest.raises(ConfigError, match="the variable KFP_TOKEN is not set"):
        there(plan, token_env="KFP_TOKEN")


def test_a_token_in_a_file_is_read_again(there: There, plan: Plan, kubeflow: Kubeflow, tmp_path: Path, watch: Watch) -> None:
    place = tmp_path / "token"
    place.write_text("first")
    kubeflow.go_wrong(token="first")

    def renew() -> None:
        until(lambda: watch.notices)
        kubeflow.go_wrong(token=["first", "second"])
        (tmp_path / "draft").write_text("second")
        (tmp_path / "draft").replace(place)
        asked = len(kubeflow.requests())
        until(lambda: len(kubeflow.requests()) > asked + 1)
        kubeflow.go_wrong(token="second")

    renewing = threading.Thread(target=renew)
    renewing.start()
    outcome = there(plan, token_file=str(place), poll=0.5)
    renewing.join()

    assert outcome.exit_code == 0


def test_a_forbidden_namespace_is_told(there: There, plan: Plan, kubeflow: Kubeflow) -> None:
    kubeflow.go_wrong(forbidden=["team-b"])

    with pytest.raises(ConfigError, match=r"runner.namespace: the server does not let you use the namespace 'team-b'"):
        there(plan, namespace="team-b")


@pytest.mark.parametrize("faults", [{"tag": "1.8.5"}, {"tag": "1.8.5", "old_paths": True}])
def test_a_server_that_is_too_old_is_told(there: There, plan: Plan, kubeflow: Kubeflow, faults: dict[str, Any]) -> None:
    kubeflow.go_wrong(**faults)

    with pytest.raises(EngineError, match=r"upgrade Kubeflow Pipelines"):
        there(plan)


def test_a_page_to_log_in_is_told(there: There, plan: Plan, kubeflow: Kubeflow) -> None:
    kubeflow.go_wrong(login=True)

    with pytest.raises(EngineError, match=r"it wants a login.*runner.token_env or runner.cookies_env"):
        there(plan)


def test_the_runs_own_report_is_asked_for_where_pods_reach_the_tracking_server() -> None:
    runner, uri = KfpRunner(), "http://mlflow"

    assert runner.tells({"cluster": {}, "tracking": {"uri": uri}})
    assert runner.tells({"cluster": {"env": {"MLFLOW_TRACKING_URI": uri}}, "tracking": {}})
    assert not runner.tells({"cluster": {}, "tracking": {"uri": None}})
    assert not runner.tells({"cluster": {}, "tracking": {"uri": "sqlite:///mlflow.db"}})
    assert not runner.tells({"cluster": {"report": False}, "tracking": {"uri": uri}})


@pytest.mark.parametrize("host", ["ftp://kubeflow", "https://me:word@kubeflow", "http://", "a b"])
def test_an_address_with_a_password_or_of_another_kind_is_refused(host: str) -> None:
    node = {"_target_": "geohydra.pipeline.runners.kfp.KfpRunner", "host": host}

    assert [error.where for error in problems(node, where="runner")] == ["runner.host"]


def test_parameters_of_the_pipeline_are_inputs_of_the_run(there: There, plan: Plan, tmp_path: Path) -> None:
    there(plan, take={"n": ("n",)})

    assert "n:" in (tmp_path / "run" / "pipeline.yaml").read_text()


def test_a_run_has_the_account_of_its_cluster(there: There, kubeflow: Kubeflow, tmp_path: Path, steps: Path) -> None:
    kubeflow.go_wrong(frames=[frame("CANCELED")])

    there(make_plan("numbers", [numbers({"n": 4, "scale": 2, "cluster": cluster(tmp_path, service_account="runner")})]))

    with urllib.request.urlopen(f"{kubeflow.host}/apis/v2beta1/runs") as answer:
        (run,) = json.load(answer)["runs"]
    assert run["service_account"] == "runner"


def test_no_secret_stands_in_what_is_written(
    there: There, plan: Plan, kubeflow: Kubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watch: Watch
) -> None:
    monkeypatch.setenv("KFP_TOKEN", "very-secret-words")
    kubeflow.go_wrong(token="very-secret-words")

    there(plan, token_env="KFP_TOKEN")

    written = [path for folder in ("run", "store") for path in (tmp_path / folder).rglob("*") if path.is_file()]
    assert written
    assert not any(b"very-secret-words" in path.read_bytes() for path in written)
    assert "very-secret-words" not in said(watch)


DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from geohydra.pipeline.progress import watching
from geohydra.pipeline.runners.kfp import KfpRunner
from geohydra.plan import Job, Stage, make_plan
folder, host, choice = Path(sys.argv[2]), sys.argv[3], sys.argv[4]
config = {"a": {"notes": str(folder / "notes.txt"), "gate": str(folder / "gate")},
          "cluster": {"_target_": "geohydra.pipeline.cluster.Cluster", "volumes": {str(folder): "claim"}, "report": False}}
plan = make_plan("gated", [Job("job", config, (Stage("a", "plugged.gated", 1, (), ("a",), "cpu"),))])
runner = KfpRunner(host=host, poll=0.1, on_interrupt=choice)
with watching(plan) as listener:
    hardware = {"cpu": {"cpu": 1, "memory": 0.1}}
    outcome = runner.run(plan, store=str(folder / "store"), hardware=hardware, folder=folder / "run", listener=listener)
raise SystemExit(outcome.exit_code)
"""


@pytest.mark.slow
@pytest.mark.parametrize("choice", ["leave", "terminate"])
def test_ctrl_c_leaves_the_run_or_stops_it(kubeflow: Kubeflow, steps: Path, tmp_path: Path, choice: str) -> None:
    (tmp_path / "driver.py").write_text(DRIVER)
    command = [sys.executable, str(tmp_path / "driver.py"), str(steps), str(tmp_path), kubeflow.host, choice]

    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=_hear)
    until(lambda: (tmp_path / "notes.txt").exists(), seconds=60)
    first.send_signal(signal.SIGINT)
    out, _ = first.communicate(timeout=60)

    assert first.returncode == 130, out
    assert kubeflow.asked(":terminate") == (choice == "terminate")
    if choice == "leave":
        assert "the run goes on" in out
        (tmp_path / "gate").touch()
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        assert second.returncode == 0, second.stdout + second.stderr
        assert kubeflow.asked("POST /apis/v2beta1/runs") == 1


def _hear() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
