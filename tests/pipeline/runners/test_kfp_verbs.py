"""`geohydra publish`, `schedule` and `remote`, against a server that speaks the published API."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from geohydra.cli import main

from .conftest import Kubeflow

Say = Callable[..., tuple[int, str, str]]

ID = r"[0-9a-f]{8}-[0-9a-f-]{27}"


@pytest.fixture
def say(kubeflow: Kubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """One command: exit code, output, errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", kubeflow.host)

    def call(*words: str) -> tuple[int, str, str]:
        code = main(words)
        return code, *capsys.readouterr()

    return call


def small(folder: Path) -> tuple[str, ...]:
    return ("experiment=quick", f"store={folder}/store", f"+cluster.volumes={{{folder}: claim}}", "tracking=none")


def test_a_plan_is_published_as_a_version_once(say: Say, kubeflow: Kubeflow, tmp_path: Path) -> None:
    first = say("publish", "--version", "one", *small(tmp_path))
    second = say("publish", "--version", "two", *small(tmp_path))
    same = say("publish", "--version", "two", *small(tmp_path))

    assert [first[0], second[0]] == [0, 0]
    assert re.search(rf"quick, version one: {kubeflow.host}/#/pipelines/details/{ID}/version/{ID}", first[1])
    assert kubeflow.asked("POST /apis/v2beta1/pipelines HTTP") + kubeflow.asked("POST /apis/v2beta1/pipelines/upload?") == 0
    assert [line for line in kubeflow.requests() if line == "POST /apis/v2beta1/pipelines"] == ["POST /apis/v2beta1/pipelines"]
    assert kubeflow.asked("upload_version") == 3
    assert same[0] == 6
    assert "already exist" in same[2]


def test_a_schedule_is_made_paused_and_deleted(say: Say, tmp_path: Path) -> None:
    made = say("schedule", "create", "--cron", "0 3 * * 1", *small(tmp_path))
    (identity,) = re.findall(ID, made[1])

    assert made[0] == 0
    assert "quick  0 0 3 * * 1  on" in say("schedule", "list")[1]
    assert say("schedule", "pause", identity)[:2] == (0, f"{identity}: paused\n")
    assert "paused" in say("schedule", "list")[1]
    assert say("schedule", "resume", identity)[:2] == (0, f"{identity}: resumed\n")
    assert say("schedule", "delete", identity)[:2] == (0, f"{identity}: deleted\n")
    assert identity not in say("schedule", "list")[1]


def test_a_schedule_replaces_those_of_its_name(say: Say, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        say("schedule", "create", "--cron", "0 3 * * *", "--name", name, *small(tmp_path))
    say("schedule", "create", "--cron", "0 4 * * *", "--name", "a", "--replace", *small(tmp_path))

    rows = say("schedule", "list")[1].splitlines()[2:]

    assert sorted(row.split()[1] for row in rows) == ["a", "b", "c"]
    assert "0 0 4 * * *" in next(row for row in rows if row.split()[1] == "a")


@pytest.mark.parametrize("cron", ["", "every night", "0 3 * *", "0 3 * * * * *", "0 3 * * $(x)"])
def test_what_is_no_cron_expression_is_refused(say: Say, kubeflow: Kubeflow, cron: str) -> None:
    code, _, errors = say("schedule", "create", "--cron", cron)

    assert code == 2
    assert "is no cron expression; five fields" in errors
    assert kubeflow.requests() == []


def test_runs_are_submitted_listed_stopped_retried_and_cloned(say: Say, kubeflow: Kubeflow, tmp_path: Path) -> None:
    failed = {"state": "FAILED", "error": "pods went away", "tasks": {"ingest": {"state": "FAILED", "message": "Evicted"}}}
    kubeflow.go_wrong(frames=[failed])
    made = say("remote", "submit", *small(tmp_path), "pipeline.parameters=[train.lr]")
    (identity,) = re.findall(ID, made[1])

    watched = say("remote", "watch", identity, "runner.poll=0.1")
    clone = say("remote", "clone", identity, "--set", "train_lr=0.5", "--name", "another")

    assert made[0] == 0
    assert made[1].startswith("submitted: quick ")
    assert watched[0] == 5
    assert "ingest: failed, Evicted" in watched[1]
    assert clone[0] == 0
    assert say("remote", "retry", identity)[0] == 0
    assert say("remote", "stop", identity)[0] == 0
    assert say("remote", "watch", identity, "runner.poll=0.1")[0] == 130
    listed = say("remote", "list")[1]
    assert "another" in listed
    assert "canceled" in listed


def test_the_same_plan_is_not_submitted_twice_while_it_runs(say: Say, kubeflow: Kubeflow, tmp_path: Path) -> None:
    kubeflow.go_wrong(frames=[{"state": "RUNNING"}])

    first, second = (say("remote", "submit", *small(tmp_path)) for _ in range(2))

    assert second[1].startswith("is under way already")
    assert re.findall(ID, first[1]) == re.findall(ID, second[1])


def test_a_parameter_that_a_run_does_not_have_is_refused(say: Say, kubeflow: Kubeflow, tmp_path: Path) -> None:
    kubeflow.go_wrong(frames=[{"state": "RUNNING"}])
    (identity,) = re.findall(ID, say("remote", "submit", *small(tmp_path))[1])

    code, _, errors = say("remote", "clone", identity, "--set", "train_lr=1")

    assert code == 2
    assert "train_lr: the run has no parameter of this name; it has config_analyze" in errors


@pytest.mark.parametrize("words", [("remote", "retry", "none"), ("remote", "watch", "none"), ("schedule", "pause", "none")])
def test_an_id_that_the_server_does_not_know_is_told(say: Say, words: tuple[str, ...]) -> None:
    code, _, errors = say(*words)

    assert code == 6
    assert "it does not know" in errors


def test_a_verb_without_an_id_is_refused(say: Say) -> None:
    assert "which run?" in say("remote", "stop")[2]


def test_another_runner_has_no_cluster(say: Say) -> None:
    assert "this runner has no cluster; take runner=kfp" in say("remote", "list", "runner=local")[2]
