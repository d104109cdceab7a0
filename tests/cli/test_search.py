"""Searches as a user starts them: batches, kills, trials that fail or have no hope, several goals."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

Call = Callable[..., subprocess.CompletedProcess[str]]

LEARN = '''
"""Tells a score an epoch that is best for a rate of 0.01 and a cubic model, and notes when it starts and ends."""
import math
import time
from pathlib import Path
from geohydra.errors import DataError
VERSION = 1


def note(text):
    with Path("notes.txt").open("a") as stream:
        stream.write(text + chr(10))


def run(config, work):
    rate, exponent = config["train"]["lr"], config["model"]["exponent"]
    note(f"start {rate} {exponent}")
    if exponent == 7:
        raise DataError("model.exponent", "seven does not train", "take another")
    top = 1 - abs(math.log10(rate) + 2) / 4 + (0.1 if exponent == 3 else 0)
    for epoch in range(config["train"]["epochs"]):
        score = top * (epoch + 1) / config["train"]["epochs"]
        work.report.curve({"val/score": score}, step=epoch)
        time.sleep(config["train"]["batch_size"] / 1000)
    work.report.metrics({"val/score": score, "val/cost": rate * exponent})
    note(f"end {rate} {exponent}")
'''

SEARCH = ("-m", "sweep=optuna", "sweep.goal=val/score:max", "sweep.parallel=2", "sweep.startup=4", "pipeline=learning")
VARIED = ("train.lr=interval(1e-4,1e-1)", "model=power,cube")


@pytest.fixture
def learning(project: Path) -> Path:
    """The small project with a step that learns in epochs."""
    (project / "library" / "toysteps" / "learn.py").write_text(LEARN)
    pipeline = "steps:\n  ingest: {step: toysteps.ingest, uses: [source, lock, seed], role: io}\n"
    pipeline += "  train: {step: toysteps.learn, needs: [ingest], uses: [model, chip, train, seed], role: cpu}\n"
    (project / "conf" / "pipeline" / "learning.yaml").write_text(pipeline)
    return project


def noted(project: Path, word: str) -> list[str]:
    notes = project / "notes.txt"
    return [line.split(" ", 1)[1] for line in notes.read_text().splitlines() if line.startswith(word)] if notes.exists() else []


def trials(project: Path, outputs: str = "outputs") -> dict[str, dict[str, str]]:
    """The table of the last sweep, by job."""
    with (project / outputs / "runs" / "latest" / "comparison" / "comparison.csv").open() as stream:
        return {row["job"]: row for row in csv.DictReader(stream)}


def chosen(project: Path, outputs: str = "outputs") -> list[tuple[str, str]]:
    found = trials(project, outputs)
    return [(found[name]["train.lr"], found[name]["model"]) for name in sorted(found, key=lambda name: int(name.rpartition("-")[2]))]


def kill_after(project: Path, ended: int, words: Sequence[str]) -> list[str]:
    """Start the command, and kill it once so many trainings are in the store; what those were."""
    process = subprocess.Popen(
        [sys.executable, "-m", "geohydra", *words], cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 90
    while len(trained(project)) < ended and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return trained(project)


def trained(project: Path) -> list[str]:
    manifests = [json.loads(path.read_text()) for path in (project / "outputs" / "store").glob("*learn*/*/manifest.json")]
    return [f"{one['config']['train']['lr']} {one['config']['model']['exponent']}" for one in manifests]


def test_a_search_tries_as_many_as_asked_and_shares_what_they_have_in_common(learning: Path, geohydra: Call) -> None:
    done = geohydra(*SEARCH, *VARIED, "sweep.trials=8", "sweep.prune=false")

    assert done.returncode == 0, done.stderr
    assert "train.lr: numbers from 0.0001 to 0.1, logarithmic" in done.stdout
    assert "trials    8 done" in done.stdout
    assert len(trials(learning)) == 8
    assert len(re.findall(r"^ingest +done", done.stdout, re.MULTILINE)) == 1
    scores = [float(row["val/score"]) for row in trials(learning).values()]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.slow
def test_a_search_that_was_killed_goes_on_and_repeats_nothing(learning: Path, geohydra: Call) -> None:
    words = (*SEARCH, *VARIED, "sweep.trials=8", "sweep.prune=false", "train.batch_size=150")
    geohydra(*words, "outputs=whole")
    whole = chosen(learning, "whole")
    (learning / "notes.txt").unlink()

    ended = kill_after(learning, 3, words)
    done = geohydra(*words)

    assert done.returncode == 0, done.stderr
    assert "going on after" in done.stdout
    assert len(list((learning / "outputs" / "runs").glob("20*"))) == 1
    assert chosen(learning) == whole
    assert [noted(learning, "start").count(one) for one in ended] == [1] * len(ended)


@pytest.mark.slow
def test_a_search_that_is_stopped_says_so(learning: Path) -> None:
    words = (*SEARCH, *VARIED, "sweep.trials=8", "train.batch_size=900")
    process = subprocess.Popen([sys.executable, "-m", "geohydra", *words], cwd=learning, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while not noted(learning, "start") and time.monotonic() < deadline:
        time.sleep(0.02)

    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[0]

    assert process.returncode == 130
    assert "stopped: the same command goes on from here" in told


@pytest.mark.slow
def test_more_trials_go_on_in_the_same_run(learning: Path, geohydra: Call) -> None:
    geohydra(*SEARCH, *VARIED, "sweep.trials=4")
    four = chosen(learning)

    done = geohydra(*SEARCH, *VARIED, "sweep.trials=6")

    assert "going on after 4 trials" in done.stdout
    assert chosen(learning)[:4] == four
    assert len(chosen(learning)) == 6


@pytest.mark.slow
def test_a_search_that_is_over_only_tells_its_result(learning: Path, geohydra: Call) -> None:
    geohydra(*SEARCH, *VARIED, "sweep.trials=4")
    started = noted(learning, "start")

    done = geohydra(*SEARCH, *VARIED, "sweep.trials=4")

    assert done.returncode == 0, done.stderr
    assert "trials    4 done" in done.stdout
    assert noted(learning, "start") == started


def test_a_trial_without_hope_is_given_up_and_leaves_nothing(learning: Path, geohydra: Call) -> None:
    words = ("sweep.trials=10", "sweep.startup=2", "sweep.warmup=1", "sweep.sampler=random", "train.epochs=6", "train.batch_size=60")

    done = geohydra(*SEARCH, *VARIED, *words)

    assert done.returncode == 0, done.stderr
    found = trials(learning)
    pruned = [name for name, row in found.items() if row["status"] == "pruned"]
    assert pruned
    assert all(found[name]["val/score"] == "" for name in pruned)
    assert f"{len(pruned)} pruned" in done.stdout
    assert "and half of the earlier trials were better by then" in done.stdout
    assert [path for path in (learning / "outputs" / "store" / ".scratch").iterdir() if path.is_dir()] == []


def test_failed_trials_are_told_and_left_out(learning: Path, geohydra: Call) -> None:
    done = geohydra(*SEARCH, "train.lr=interval(1e-3,1e-1)", "model.exponent=7,13,3", "sweep.trials=6", "sweep.sampler=random")

    assert done.returncode == 0, done.stderr
    found = trials(learning)
    assert {row["status"] for row in found.values()} == {"done", "failed"}
    assert {row["model.exponent"] for row in found.values() if row["status"] == "done"} == {"3"}
    assert next(iter(found.values()))["status"] == "done"
    assert "seven does not train" in done.stdout
    assert "13 brings bad luck" in done.stderr


@pytest.mark.slow
def test_a_search_with_nothing_but_failures_fails(learning: Path, geohydra: Call) -> None:
    done = geohydra(*SEARCH, "train.lr=interval(1e-3,1e-1)", "model.exponent=7", "sweep.trials=2")

    assert done.returncode == 5
    assert "trials    2 failed" in done.stdout


@pytest.mark.slow
def test_several_goals_have_a_front(learning: Path, geohydra: Call) -> None:
    goals = "sweep.goal=[val/score:max,val/cost:min]"

    done = geohydra(*SEARCH, *VARIED, "sweep.trials=8", goals)

    assert done.returncode == 0, done.stderr
    found = [(row["front"] == "yes", float(row["val/score"]), float(row["val/cost"])) for row in trials(learning).values()]
    for on_front, score, cost in found:
        beaten = any(s >= score and c <= cost and (s, c) != (score, cost) for _, s, c in found)
        assert on_front == (not beaten)
    assert (learning / "outputs" / "runs" / "latest" / "comparison" / "front.png").exists()


def test_the_best_trial_is_an_experiment_that_finds_all_in_the_store(learning: Path, geohydra: Call) -> None:
    geohydra(*SEARCH, *VARIED, "sweep.trials=4")
    best = learning / "outputs" / "runs" / "latest" / "conf" / "experiment" / "best.yaml"
    (learning / "conf" / "experiment" / "best.yaml").write_text(best.read_text())

    plan = geohydra("plan", "experiment=best")

    assert plan.returncode == 0, plan.stderr
    assert plan.stdout.startswith("toy: 2 steps, 2 stored")


@pytest.mark.slow
def test_a_killed_grid_goes_on_in_its_own_run_and_repeats_nothing(learning: Path, geohydra: Call) -> None:
    words = ("-m", "train.lr=1e-1,1e-2,1e-3,1e-4", "pipeline=learning", "train.batch_size=300", "sweep.goal=val/score")

    ended = kill_after(learning, 2, words)
    done = geohydra(*words)

    assert done.returncode == 0, done.stderr
    assert len(list((learning / "outputs" / "runs").glob("20*"))) == 1
    assert [noted(learning, "start").count(one) for one in ended] == [1] * len(ended)
    assert next(iter(trials(learning))) == "toy-1"


@pytest.mark.slow
def test_a_grid_that_ended_is_a_new_run_the_next_time(learning: Path, geohydra: Call) -> None:
    for _ in range(2):
        geohydra("-m", "train.lr=1e-1,1e-2", "pipeline=learning")

    assert len(list((learning / "outputs" / "runs").glob("20*"))) == 2


def test_the_plan_of_a_search_is_that_of_its_first_batch(learning: Path, geohydra: Call) -> None:
    plan = geohydra("plan", *SEARCH, *VARIED)

    assert plan.stdout.startswith("toy: 3 steps for 2 jobs")
    assert not (learning / "outputs").exists()
